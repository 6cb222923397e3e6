//! Whether a schema still takes all that an earlier one took, and still has all that it had.
//!
//! It knows the part of JSON Schema that our types lead to: objects, arrays, enums, types, bounds, references and `anyOf`.

use serde_json::Value;

/// What a change from one schema to another breaks, a sentence each.
pub(super) fn breaks(old: &Value, new: &Value) -> Vec<String> {
    let mut comparison = Comparison { roots: (old, new), broken: Vec::new() };
    comparison.schema(old, new, "");
    comparison.broken
}

struct Comparison<'a> {
    roots: (&'a Value, &'a Value),
    broken: Vec<String>,
}

fn resolved<'a>(root: &'a Value, mut schema: &'a Value) -> &'a Value {
    while let Some(pointer) = schema["$ref"].as_str().and_then(|reference| reference.strip_prefix('#')) {
        schema = root.pointer(pointer).unwrap();
    }
    schema
}

/// The alternatives of a schema, which is one itself if it has none.
fn alternatives<'a>(root: &'a Value, schema: &'a Value) -> Vec<&'a Value> {
    let schema = resolved(root, schema);
    match schema["anyOf"].as_array().or(schema["oneOf"].as_array()) {
        Some(any) => any.iter().flat_map(|one| alternatives(root, one)).collect(),
        None => vec![schema],
    }
}

fn types(schema: &Value) -> Vec<&str> {
    match &schema["type"] {
        Value::String(one) => vec![one],
        Value::Array(several) => several.iter().filter_map(Value::as_str).collect(),
        _ => Vec::new(),
    }
}

fn takes(wide: &str, narrow: &str) -> bool {
    wide == narrow || (wide == "number" && narrow == "integer")
}

/// The values that are allowed, if they are listed.
fn values(schema: &Value) -> Option<Vec<&Value>> {
    match &schema["const"] {
        Value::Null => schema["enum"].as_array().map(|values| values.iter().collect()),
        only => Some(vec![only]),
    }
}

impl Comparison<'_> {
    fn broken(&mut self, at: &str, sentence: impl std::fmt::Display) {
        self.broken.push(format!("{}: {sentence}", if at.is_empty() { "/" } else { at }));
    }

    fn schema(&mut self, old: &Value, new: &Value, at: &str) {
        let (olds, news) = (alternatives(self.roots.0, old), alternatives(self.roots.1, new));
        if let ([old], [new]) = (&*olds, &*news) {
            return self.one(old, new, at);
        }
        // Each alternative that there was is taken by one that there is.
        for old in olds {
            let tried = news.iter().map(|new| {
                let mut comparison = Comparison { roots: self.roots, broken: Vec::new() };
                comparison.one(old, new, at);
                comparison.broken
            });
            if let Some(nearest) = tried.min_by_key(Vec::len).filter(|broken| !broken.is_empty()) {
                self.broken.extend(nearest);
            }
        }
    }

    fn one(&mut self, old: &Value, new: &Value, at: &str) {
        let (before, now) = (types(old), types(new));
        let lost = before.iter().filter(|old| !now.is_empty() && !now.iter().any(|new| takes(new, old)));
        let lost: Vec<_> = lost.collect();
        if !lost.is_empty() || (before.is_empty() && !now.is_empty()) {
            self.broken(at, format!("the type {before:?} has become {now:?}"));
        }
        match (values(old), values(new)) {
            (Some(old), Some(new)) => {
                for gone in old.iter().filter(|value| !new.contains(value)) {
                    self.broken(at, format!("the value {gone} is gone"));
                }
            }
            (None, Some(_)) => self.broken(at, "only some values are left"),
            (_, None) => {}
        }
        for (bound, is_narrower) in [
            ("minimum", (|old, new| new > old) as fn(f64, f64) -> bool),
            ("minLength", |old, new| new > old),
            ("maximum", |old, new| new < old),
            ("maxLength", |old, new| new < old),
        ] {
            match (old[bound].as_f64(), new[bound].as_f64()) {
                (Some(old), Some(new)) if is_narrower(old, new) => {
                    self.broken(at, format!("{bound} was {old} and is {new}"));
                }
                (None, Some(new)) => self.broken(at, format!("{bound} is {new} now")),
                _ => {}
            }
        }
        if !old["items"].is_null() {
            self.schema(&old["items"], &new["items"], &format!("{at}/[]"));
        }
        self.members(old, new, at);
    }

    fn members(&mut self, old: &Value, new: &Value, at: &str) {
        let (nothing, none) = (serde_json::Map::new(), Vec::new());
        let of = |schema: &'_ Value| schema["properties"].as_object().cloned().unwrap_or(nothing.clone());
        let required = |schema: &'_ Value| schema["required"].as_array().cloned().unwrap_or(none.clone());
        let (before, now, needed, needs) = (of(old), of(new), required(old), required(new));
        for (name, schema) in &before {
            let at = format!("{at}/{name}");
            match now.get(name) {
                Some(now) => self.schema(schema, now, &at),
                None => self.broken(&at, "it is gone"),
            }
        }
        for name in needs.iter().filter(|name| !needed.contains(name)) {
            self.broken(at, format!("{name} must be there now"));
        }
        if new["additionalProperties"] == false && old["additionalProperties"] != false {
            self.broken(at, "further members are refused now");
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn promised() -> Value {
        json!({
            "type": "object",
            "properties": {
                "version": {"type": "integer", "minimum": 0},
                "status": {"$ref": "#/$defs/Status"},
                "reason": {"type": ["string", "null"]},
                "customer": {"anyOf": [{"$ref": "#/$defs/Customer"}, {"type": "null"}]},
            },
            "required": ["version", "status"],
            "$defs": {
                "Status": {"type": "string", "enum": ["scheduled", "delivered"]},
                "Customer": {"type": "object", "properties": {"name": {"type": "string"}}},
            },
        })
    }

    fn change(pointer: &str, to: Value) -> Vec<String> {
        let mut changed = promised();
        match changed.pointer_mut(pointer) {
            Some(place) => *place = to,
            None => {
                let (parent, name) = pointer.rsplit_once('/').unwrap();
                changed.pointer_mut(parent).unwrap()[name] = to;
            }
        }
        breaks(&promised(), &changed)
    }

    #[test]
    fn what_takes_all_that_was_taken_breaks_nothing() {
        assert_eq!(breaks(&promised(), &promised()), [""; 0]);
        assert_eq!(change("/properties/more", json!({"type": "string"})), [""; 0]);
        assert_eq!(change("/$defs/Status/enum", json!(["scheduled", "delivered", "lost"])), [""; 0]);
        assert_eq!(change("/properties/version/type", json!(["integer", "null"])), [""; 0]);
        assert_eq!(change("/$defs/Customer/properties/email", json!({"type": "string"})), [""; 0]);
    }

    #[test]
    fn every_change_that_breaks_a_promise_is_found() {
        for (pointer, to, said) in [
            ("/properties", json!({"version": {"type": "integer", "minimum": 0}}), "/status: it is gone"),
            ("/required", json!(["version", "status", "reason"]), "/: \"reason\" must be there now"),
            ("/properties/reason/type", json!("string"), "/reason: the type"),
            ("/properties/version/type", json!("string"), "/version: the type"),
            ("/properties/version/minimum", json!(1), "/version: minimum was 0 and is 1"),
            ("/properties/version/maximum", json!(9), "/version: maximum is 9 now"),
            ("/$defs/Status/enum", json!(["scheduled"]), "/status: the value \"delivered\" is gone"),
            ("/properties/reason/enum", json!(["late"]), "/reason: only some values are left"),
            ("/$defs/Customer/properties/name/type", json!("integer"), "/customer/name: the type"),
            ("/properties/customer", json!({"$ref": "#/$defs/Customer"}), "/customer: the type"),
            ("/additionalProperties", json!(false), "/: further members are refused now"),
        ] {
            let broken = change(pointer, to);
            assert!(broken.iter().any(|sentence| sentence.starts_with(said)), "{pointer}: {broken:?}");
        }
    }
}
