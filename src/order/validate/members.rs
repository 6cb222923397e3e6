//! Members: a JSON object taken apart, each value still as its text at its place.

use std::borrow::Cow;
use std::fmt;

use serde::Deserialize;
use serde::de::{Deserializer, MapAccess, Visitor};
use serde_json::value::RawValue;

use crate::order::{Violation, ViolationCode};

/// The most bytes of an order's JSON, and of an entry in a file unless told otherwise: 1 MiB.
pub const ORDER_BYTES_MAX: usize = 1 << 20;

/// The deepest nesting of arrays and objects that is read, the order itself included.
pub const DEPTH_MAX: usize = 32;

/// One member of an object.
pub(in crate::order) struct Member<'a> {
    pub(in crate::order) key: Cow<'a, str>,
    /// The value's JSON text.
    pub(in crate::order) raw: &'a str,
    /// Where the value begins, in bytes from the beginning of the entry.
    pub(in crate::order) offset: usize,
}

impl Member<'_> {
    pub(in crate::order) fn is_null(&self) -> bool {
        self.raw == "null"
    }
}

/// A JSON text that is one valid value, within the limits.
pub(in crate::order) fn whole(value: &[u8]) -> Result<&str, Violation> {
    if value.len() > ORDER_BYTES_MAX {
        let sentence = format!("the order is {} bytes long; at most {ORDER_BYTES_MAX} are read", value.len());
        return Err(Violation::new(ViolationCode::TooLarge, sentence));
    }
    let text = std::str::from_utf8(value).map_err(|error| {
        Violation::new(ViolationCode::Json, "the bytes are not UTF-8").offset_by(error.valid_up_to())
    })?;
    serde_json::from_str::<&RawValue>(text).map_err(|error| not_json(text, &error))?;
    match too_deep(text.as_bytes()) {
        Some(offset) => {
            let sentence = format!("arrays and objects are nested deeper than {DEPTH_MAX}");
            Err(Violation::new(ViolationCode::TooDeep, sentence).offset_by(offset))
        }
        None => Ok(text),
    }
}

/// The members of the object that `raw`, a part of the valid JSON text `entry`, is.
pub(in crate::order) fn members<'a>(entry: &'a str, raw: &'a str) -> Result<Vec<Member<'a>>, Violation> {
    let start = place_in(entry, raw);
    if !raw.trim_start().starts_with('{') {
        let before = raw.len() - raw.trim_start().len();
        return Err(
            Violation::new(ViolationCode::NotObject, "the value is not a JSON object").offset_by(start + before)
        );
    }
    let members = serde_json::from_str::<Members<'a>>(raw).map_err(|error| not_json(raw, &error).offset_by(start))?;
    let place = |(key, raw): (Cow<'a, str>, &'a RawValue)| {
        let raw = raw.get();
        Member { key, raw, offset: place_in(entry, raw) }
    };
    Ok(members.0.into_iter().map(place).collect())
}

/// The text of a JSON string; `None` where the value is not a string.
pub(in crate::order) fn string<'a>(member: &Member<'a>) -> Option<Result<Cow<'a, str>, Violation>> {
    member.raw.starts_with('"').then(|| {
        // The value is a valid JSON string already; what can be wrong is an escaped half of a surrogate pair.
        serde_json::from_str::<Text<'a>>(member.raw).map(|text| text.0).map_err(|_| {
            Violation::new(ViolationCode::Json, "the text holds an escape that is no character")
                .offset_by(member.offset)
        })
    })
}

/// Appends a JSON text without the spaces and line ends between its parts.
pub(in crate::order) fn push_compact(raw: &str, out: &mut String) {
    let (mut inside, mut escaped) = (false, false);
    out.extend(raw.chars().filter(|character| {
        let keep = inside || !matches!(character, ' ' | '\t' | '\n' | '\r');
        if *character == '"' && !escaped {
            inside = !inside;
        }
        escaped = inside && *character == '\\' && !escaped;
        keep
    }));
}

/// Where `part`, a slice of `entry`, begins in it.
fn place_in(entry: &str, part: &str) -> usize {
    part.as_ptr().addr().saturating_sub(entry.as_ptr().addr())
}

fn not_json(text: &str, error: &serde_json::Error) -> Violation {
    let sentence = error.to_string();
    let sentence = sentence.split(" at line ").next().unwrap_or_default();
    // At the end of the text that is where something is missing. serde_json tells line and column, both from 1; the column counts bytes and is 0 at a line's very beginning.
    let lines_before = error.line().saturating_sub(1);
    let line_start: usize = text.split_inclusive('\n').take(lines_before).map(str::len).sum();
    // It tells a control character by the byte before it.
    let before = usize::from(!sentence.starts_with("control character"));
    let offset = if error.is_eof() { text.len() } else { line_start + error.column().saturating_sub(before) };
    Violation::new(ViolationCode::Json, format!("not valid JSON: {sentence}")).offset_by(offset)
}

/// Where a valid JSON text exceeds the depth limit.
fn too_deep(text: &[u8]) -> Option<usize> {
    let (mut depth, mut inside, mut escaped) = (0_usize, false, false);
    for (offset, byte) in text.iter().enumerate() {
        match byte {
            b'"' if !escaped => inside = !inside,
            b'{' | b'[' if !inside => depth += 1,
            b'}' | b']' if !inside => depth = depth.saturating_sub(1),
            _ => {}
        }
        if depth > DEPTH_MAX {
            return Some(offset);
        }
        escaped = inside && *byte == b'\\' && !escaped;
    }
    None
}

#[derive(Deserialize)]
#[serde(transparent)]
struct Text<'a>(#[serde(borrow)] Cow<'a, str>);

struct Members<'a>(Vec<(Cow<'a, str>, &'a RawValue)>);

impl<'de> Deserialize<'de> for Members<'de> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Collect;
        impl<'de> Visitor<'de> for Collect {
            type Value = Members<'de>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a JSON object")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
                let mut members = Vec::new();
                while let Some((key, raw)) = map.next_entry::<Text<'de>, &'de RawValue>()? {
                    members.push((key.0, raw));
                }
                Ok(Members(members))
            }
        }
        deserializer.deserialize_map(Collect)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn members_keep_their_text_and_their_place() {
        let entry = r#" {"a" : [1, {"b":2}] ,"\u0062":"x\"y"} "#;
        let found = members(entry, entry).unwrap();
        let seen: Vec<_> = found.iter().map(|member| (&*member.key, member.raw, member.offset)).collect();
        assert_eq!(seen, [("a", r#"[1, {"b":2}]"#, 8), ("b", r#""x\"y""#, 31)]);
        assert_eq!(&entry[31..37], r#""x\"y""#);
    }

    #[test]
    fn spaces_are_dropped_between_parts_and_kept_in_strings() {
        let mut out = String::new();
        push_compact("{ \"a \\\" b\\\\\" :\n[ 1 ,\t\" \" ] }", &mut out);
        assert_eq!(out, "{\"a \\\" b\\\\\":[1,\" \"]}");
    }

    #[test]
    fn broken_json_is_told_with_its_place() {
        for (text, offset) in [
            ("{\"a\":}", 5),
            ("{\"a\":1,}", 7),
            ("{\n\"a\": 1\n!}", 9),
            ("", 0),
            ("{} x", 3),
            ("{\"a\":1", 6),
            ("[\"a\nb\"]", 3),
            ("[\"\u{1}\"]", 2),
        ] {
            let violation = whole(text.as_bytes()).unwrap_err();
            assert_eq!((violation.code(), violation.offset()), (ViolationCode::Json, offset), "{text:?} {violation}");
        }
        assert_eq!(whole(b"{\"a\":\"\xff\"}").unwrap_err().offset(), 6);
    }

    #[test]
    fn depth_is_bounded_and_brackets_in_strings_do_not_count() {
        let nested = |depth: usize| format!("{}{}", "[".repeat(depth), "]".repeat(depth));
        assert!(whole(nested(DEPTH_MAX).as_bytes()).is_ok());
        let violation = whole(nested(100_000).as_bytes()).unwrap_err();
        assert_eq!((violation.code(), violation.offset()), (ViolationCode::TooDeep, DEPTH_MAX));
        assert!(whole(format!("\"\\\"{}\"", "[".repeat(100)).as_bytes()).is_ok());
    }
}
