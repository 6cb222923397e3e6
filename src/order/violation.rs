//! Violations: the rules an order can break, each with a stable code.
//!
//! The same codes appear in lint, in dead letters, in metrics and in these docs; a code is never given another meaning.

use std::borrow::Cow;
use std::fmt;

use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

use crate::error::{Error, ErrorCode};

macro_rules! violation_codes {
    ($($(#[$doc:meta])* $name:ident = $text:literal,)*) => {
        /// Which rule was broken, as a code that stays the same across releases.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
        #[non_exhaustive]
        pub enum ViolationCode { $($(#[$doc])* $name,)* }

        impl ViolationCode {
            const ALL: &'static [Self] = &[$(Self::$name,)*];

            /// The code as text: `ORD-QTY-RANGE`.
            #[must_use]
            pub const fn as_str(self) -> &'static str {
                match self { $(Self::$name => $text,)* }
            }
        }
    };
}

violation_codes! {
    /// The bytes are not one JSON value in UTF-8.
    Json = "ORD-JSON",
    /// The JSON value is not an object.
    NotObject = "ORD-NOT-OBJECT",
    /// The record has no value (`null`), so there is no order in it.
    ValueMissing = "ORD-VALUE-MISSING",
    /// The entry is longer than the limit.
    TooLarge = "ORD-TOO-LARGE",
    /// Arrays and objects are nested deeper than the limit.
    TooDeep = "ORD-TOO-DEEP",
    /// A field that every order has is not there.
    FieldMissing = "ORD-FIELD-MISSING",
    /// A field is there twice.
    FieldDuplicate = "ORD-FIELD-DUPLICATE",
    /// A field's value is of the wrong JSON type (where no code of its own says so).
    FieldType = "ORD-FIELD-TYPE",
    /// A text field is longer than the limit.
    FieldLength = "ORD-FIELD-LENGTH",
    /// A text field holds a control character.
    FieldControl = "ORD-FIELD-CONTROL",
    /// `order_id` or `product_id` is not a string; as a number it would lose its leading zeros.
    IdType = "ORD-ID-TYPE",
    /// `order_id` or `product_id` is the empty string.
    IdEmpty = "ORD-ID-EMPTY",
    /// `order_id` or `product_id` is longer than the limit.
    IdLength = "ORD-ID-LENGTH",
    /// `order_id` or `product_id` holds a control character.
    IdControl = "ORD-ID-CONTROL",
    /// `quantity` is not an integer.
    QuantityType = "ORD-QTY-TYPE",
    /// `quantity` is not in 1 to 1,000,000.
    QuantityRange = "ORD-QTY-RANGE",
    /// `timestamp` is not a string.
    DateType = "ORD-DATE-TYPE",
    /// `timestamp` is neither `M/D/YYYY` nor ISO 8601, or no such day or time exists.
    DateInvalid = "ORD-DATE-INVALID",
    /// `type` names no order type.
    TypeUnknown = "ORD-TYPE-UNKNOWN",
    /// `type` names another order type than the one that is read here; files filter such orders out.
    TypeOther = "ORD-TYPE-OTHER",
    /// `movement` is neither `receipt` nor `issue`.
    MovementUnknown = "ORD-MOVEMENT-UNKNOWN",
    /// `delivery_id` is not the name of a delivery: 32 hexadecimal digits.
    DeliveryId = "DLV-ID",
    /// `status` names no status of a delivery.
    DeliveryStatus = "DLV-STATUS",
    /// `time` is not an instant of RFC 3339.
    DeliveryTime = "DLV-TIME",
    /// The header `idempotency-key` is there twice, or empty, or a key cannot be used as one.
    Identity = "ORD-IDENTITY",
    /// The file ends within its JSON array.
    FileTruncated = "ORD-FILE-TRUNCATED",
    /// Something follows the file's JSON array.
    FileTrailing = "ORD-FILE-TRAILING",
    /// Where the next entry of the file's JSON array begins cannot be told.
    FileStructure = "ORD-FILE-STRUCTURE",
}

impl ViolationCode {
    /// All codes, in the order of these docs.
    pub fn all() -> impl Iterator<Item = Self> {
        Self::ALL.iter().copied()
    }

    /// The code with this text, if there is one.
    #[must_use]
    pub fn from_text(text: &str) -> Option<Self> {
        Self::all().find(|code| code.as_str() == text)
    }
}

impl fmt::Display for ViolationCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl Serialize for ViolationCode {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.as_str())
    }
}

impl<'de> Deserialize<'de> for ViolationCode {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = Cow::<'de, str>::deserialize(deserializer)?;
        Self::from_text(&text).ok_or_else(|| de::Error::custom(format_args!("`{text}` is no violation code")))
    }
}

/// One broken rule: its code, the JSON pointer of the field, a sentence, the offending value's place in the entry.
///
/// ```
/// use orderflow::order::{InventoryOrder, Order, ViolationCode};
/// let value = br#"{"order_id": "1", "product_id": "2", "quantity": 0, "type": "inventory", "timestamp": "5/30/2023"}"#;
/// let violation = InventoryOrder::decode(value).unwrap_err();
/// assert_eq!(violation.code(), ViolationCode::QuantityRange);
/// assert_eq!(violation.to_string(), "ORD-QTY-RANGE: 0 is not in 1 to 1,000,000 (/quantity)");
/// assert_eq!(violation.offset(), 49);
/// ```
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Violation {
    code: ViolationCode,
    pointer: Cow<'static, str>,
    sentence: Cow<'static, str>,
    offset: usize,
}

impl Violation {
    /// A violation of the whole entry; [`Violation::at`] and [`Violation::offset_by`] narrow it down.
    pub fn new(code: ViolationCode, sentence: impl Into<Cow<'static, str>>) -> Self {
        Self { code, pointer: Cow::Borrowed(""), sentence: sentence.into(), offset: 0 }
    }

    /// Names the field by its JSON pointer (RFC 6901).
    #[must_use]
    pub fn at(mut self, pointer: impl Into<Cow<'static, str>>) -> Self {
        self.pointer = pointer.into();
        self
    }

    /// Moves the place by `bytes` further into the entry.
    #[must_use]
    pub fn offset_by(mut self, bytes: usize) -> Self {
        self.offset = self.offset.saturating_add(bytes);
        self
    }

    /// Which rule was broken.
    #[must_use]
    pub fn code(&self) -> ViolationCode {
        self.code
    }

    /// The JSON pointer (RFC 6901) of the offending field; empty for the entry as a whole.
    #[must_use]
    pub fn pointer(&self) -> &str {
        &self.pointer
    }

    /// What is wrong, in plain English. It quotes ids, quantities and timestamps, and never a customer's particulars.
    #[must_use]
    pub fn sentence(&self) -> &str {
        &self.sentence
    }

    /// Where the offending value begins, in bytes from the beginning of the entry.
    #[must_use]
    pub fn offset(&self) -> usize {
        self.offset
    }

    /// The violation of a record whose value is null.
    #[must_use]
    pub fn value_missing() -> Self {
        Self::new(ViolationCode::ValueMissing, "the record has no value")
    }
}

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.code, self.sentence)?;
        if self.pointer.is_empty() { Ok(()) } else { write!(f, " ({})", self.pointer) }
    }
}

impl std::error::Error for Violation {}

impl From<Violation> for Error {
    fn from(violation: Violation) -> Self {
        Self::new(ErrorCode::Order, format!("the order breaks the rule {}", violation.code)).caused_by(violation)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_are_distinct_and_found_by_their_text() {
        let mut texts: Vec<_> = ViolationCode::all().map(ViolationCode::as_str).collect();
        assert!(ViolationCode::all().all(|code| ViolationCode::from_text(code.as_str()) == Some(code)));
        texts.sort_unstable();
        texts.dedup();
        assert_eq!(texts.len(), ViolationCode::all().count());
        assert!(texts.iter().all(|text| text.starts_with("ORD-") || text.starts_with("DLV-")));
    }

    #[test]
    fn an_error_made_of_a_violation_names_the_rule_and_keeps_the_violation_as_its_cause() {
        let error = Error::from(Violation::new(ViolationCode::IdEmpty, "the id is empty").at("/order_id"));
        assert_eq!(error.code(), ErrorCode::Order);
        assert!(error.to_string().contains("ORD-ID-EMPTY"), "{error}");
        let cause = std::error::Error::source(&error).map(ToString::to_string);
        assert_eq!(cause.as_deref(), Some("ORD-ID-EMPTY: the id is empty (/order_id)"));
    }

    #[test]
    fn a_violation_survives_being_stored() {
        let violation = Violation::new(ViolationCode::Json, String::from("not JSON")).at("/x").offset_by(7);
        let text = serde_json::to_string(&violation).unwrap();
        assert_eq!(serde_json::from_str::<Violation>(&text).unwrap(), violation);
    }
}
