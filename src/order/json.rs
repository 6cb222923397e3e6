//! JSON of any serde type as an order's value.

use std::fmt;
use std::ops::Deref;

use serde::de::{DeserializeOwned, Error as _};
use serde::ser::Error as _;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use serde_json::value::RawValue;

use super::quote::quoted;
use super::validate::{Kind, members, other_type, string, whole};
use super::{Order, Violation, ViolationCode};

/// A serde type together with its JSON text, for an [`Order`] of a shop's own.
///
/// The text is made once, so that its length is known before it is written; a decoded one is kept as it was read,
/// unknown fields included. `T` reads and writes a JSON object; the field `type` is added and checked here.
#[derive(Clone, PartialEq, Eq)]
pub struct Json<T> {
    value: T,
    text: Box<str>,
}

impl<T: Serialize> Json<T> {
    /// The value as an object with the field `type`, which comes first unless `T` has it itself.
    ///
    /// # Errors
    /// `ORD-JSON`, `ORD-NOT-OBJECT`: `T` does not write a JSON object. `ORD-TYPE-OTHER`: it writes another `type`.
    pub fn new(kind: &str, value: T) -> Result<Self, Violation> {
        let text = serde_json::to_string(&value)
            .map_err(|error| Violation::new(ViolationCode::Json, format!("the value cannot be written: {error}")))?;
        let fields = members(&text, &text)?;
        if fields.iter().any(|field| field.key == "type") {
            check_kind(kind, &text)?;
            return Ok(Self { value, text: text.into() });
        }
        let kind = serde_json::Value::from(kind);
        let inside = text.get(1..).unwrap_or_default();
        let comma = if fields.is_empty() { "" } else { "," };
        let text = format!("{{\"type\":{kind}{comma}{inside}").into();
        Ok(Self { value, text })
    }
}

impl<T: DeserializeOwned> Json<T> {
    /// Reads a record's value whose `type` must be `kind`, in any case.
    ///
    /// # Errors
    /// `ORD-TYPE-OTHER`: it is an inventory or delivery order. `ORD-TYPE-UNKNOWN`: it is of a type known to nobody here.
    /// `ORD-JSON`, `ORD-NOT-OBJECT` and the like: it is not JSON, or not what `T` reads.
    pub fn decode(kind: &str, value: &[u8]) -> Result<Self, Violation> {
        let text = whole(value)?;
        check_kind(kind, text)?;
        let value = serde_json::from_str(text).map_err(|error| {
            Violation::new(ViolationCode::FieldType, format!("not an order of type `{kind}`: {error}"))
        })?;
        Ok(Self { value, text: text.into() })
    }
}

impl<T> Json<T> {
    /// The JSON text.
    #[must_use]
    pub fn text(&self) -> &str {
        &self.text
    }

    /// The value, without its text.
    pub fn into_value(self) -> T {
        self.value
    }
}

impl<T> Deref for Json<T> {
    type Target = T;

    fn deref(&self) -> &T {
        &self.value
    }
}

impl<T: fmt::Debug> fmt::Debug for Json<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.value.fmt(f)
    }
}

fn check_kind(kind: &str, text: &str) -> Result<(), Violation> {
    let fields = members(text, text)?;
    let Some(field) = fields.iter().find(|field| field.key == "type") else {
        return Err(Violation::new(ViolationCode::FieldMissing, "the field `type` is missing").at("/type"));
    };
    let found = match string(field) {
        Some(found) => found.map_err(|violation| violation.at("/type"))?,
        None => field.raw.into(),
    };
    if found.eq_ignore_ascii_case(kind) {
        return Ok(());
    }
    Err(match Kind::read(found.as_bytes()) {
        Some(other) => other_type(other, field.offset),
        None => Violation::new(ViolationCode::TypeUnknown, format!("{} is not `{kind}`", quoted(&found)))
            .at("/type")
            .offset_by(field.offset),
    })
}

/// Serialises an order as its JSON text.
pub(super) fn serialize_raw<O: Order, S: Serializer>(order: &O, serializer: S) -> Result<S::Ok, S::Error> {
    let mut value = Vec::with_capacity(order.encoded_len());
    order.encode(&mut value);
    let text = String::from_utf8(value).map_err(S::Error::custom)?;
    RawValue::from_string(text).map_err(S::Error::custom)?.serialize(serializer)
}

/// Deserialises an order from its JSON text.
pub(super) fn deserialize_raw<'de, O: Order, D: Deserializer<'de>>(deserializer: D) -> Result<O, D::Error> {
    let text = Box::<RawValue>::deserialize(deserializer)?;
    O::decode(text.get().as_bytes()).map_err(D::Error::custom)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;

    type Map = BTreeMap<String, serde_json::Value>;

    #[test]
    fn the_type_is_added_once_and_checked() {
        assert_eq!(Json::new("refund", Map::new()).unwrap().text(), r#"{"type":"refund"}"#);
        let own = Map::from([("type".to_owned(), "Refund".into())]);
        assert_eq!(Json::new("refund", own.clone()).unwrap().text(), r#"{"type":"Refund"}"#);
        assert_eq!(Json::new("other", own).unwrap_err().code(), ViolationCode::TypeUnknown);
        assert_eq!(Json::new("refund", 7).unwrap_err().code(), ViolationCode::NotObject);
    }

    #[test]
    fn a_decoded_text_is_kept_as_it_was_and_a_foreign_type_is_told() {
        let text = r#"{ "later": [1 ], "type": "REFUND" }"#;
        assert_eq!(Json::<Map>::decode("refund", text.as_bytes()).unwrap().text(), text);
        for (text, code) in [
            (r#"{"type":"Delivery"}"#, ViolationCode::TypeOther),
            (r#"{"type":"gift"}"#, ViolationCode::TypeUnknown),
            (r#"{"type":7}"#, ViolationCode::TypeUnknown),
            ("{}", ViolationCode::FieldMissing),
            ("[]", ViolationCode::NotObject),
            ("{", ViolationCode::Json),
        ] {
            assert_eq!(Json::<Map>::decode("refund", text.as_bytes()).unwrap_err().code(), code, "{text}");
        }
        let not_t = Json::<u8>::decode("refund", br#"{"type":"refund"}"#).unwrap_err();
        assert_eq!(not_t.code(), ViolationCode::FieldType);
    }
}
