//! Dead letters as they are listed, shown and tried again: rows of the `orders` commands.

use std::fmt;

use serde::{Deserialize, Serialize};

use super::EventId;

/// Whether a row is a dead letter or a refusal.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum DeadLetterKind {
    /// The record could not be applied; copies of it are tried again.
    DeadLetter,
    /// The business said no; copies of it are duplicates.
    Refused,
}

/// Whether something is still to be done about a dead letter.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum DeadLetterState {
    /// It waits for somebody.
    Open,
    /// A copy was applied since.
    Resolved,
    /// It was replayed, and applied.
    Replayed,
    /// An operator closed it for good.
    Discarded,
}

impl fmt::Display for DeadLetterState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Open => "open",
            Self::Resolved => "resolved",
            Self::Replayed => "replayed",
            Self::Discarded => "discarded",
        })
    }
}

/// What is done with a dead letter that is tried again.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Replayed {
    /// Its effect is applied, and it is closed.
    Apply,
    /// It is closed already, or an order of its identity was settled; nothing is done.
    Duplicate,
    /// It fails again, and stays open.
    Fail,
    /// It is closed for good.
    Discard,
    /// It stays open until its consumer has asked a handler, and applies it then.
    Request,
}

/// What became of a dead letter that was tried again.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ReplayRow {
    /// Its name.
    pub id: EventId,
    /// What was done.
    pub did: Replayed,
    /// Why; empty if it was applied.
    pub reason: String,
}

/// A dead letter or a refusal.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct DeadLetterRow {
    /// Its name.
    pub id: EventId,
    /// Which of the two.
    pub kind: DeadLetterKind,
    /// Whether something is still to be done.
    pub state: DeadLetterState,
    /// The cause, as a stable code.
    pub code: String,
    /// The cause, as a sentence.
    pub reason: String,
    /// The order's identity, if it has one.
    pub idempotency_key: Option<String>,
    /// The topic of the first copy that failed; none for a backfilled order.
    pub topic: Option<String>,
    /// The partition of the first copy that failed; none for a backfilled order.
    pub partition: Option<i32>,
    /// The offset of the first copy that failed; none for a backfilled order.
    pub offset: Option<i64>,
    /// How often it was tried, copies included.
    pub attempts: u32,
    /// When it failed first, in RFC 3339.
    pub first_failed: String,
    /// When it failed last, in RFC 3339.
    pub last_failed: String,
    /// Whether a replay was asked for.
    pub replayed: bool,
}

/// A dead letter or a refusal with the record it came from.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct OriginalRow {
    /// What is known of it.
    #[serde(flatten)]
    pub row: DeadLetterRow,
    /// The record's timestamp, in RFC 3339.
    pub timestamp: String,
    /// The record's key.
    pub key: Option<Text>,
    /// The record's value.
    pub value: Option<Text>,
    /// The record's headers, in their order.
    pub headers: Vec<(Text, Option<Text>)>,
}

/// Bytes of a record: text where they are UTF-8, otherwise hexadecimal digits.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum Text {
    /// UTF-8.
    Plain(String),
    /// Anything else.
    Binary {
        /// Two digits a byte.
        hex: String,
    },
}

impl Text {
    /// The bytes that are shown; `None`: the digits are no bytes.
    #[must_use]
    pub fn to_bytes(&self) -> Option<Vec<u8>> {
        match self {
            Self::Plain(text) => Some(text.clone().into_bytes()),
            Self::Binary { hex } => {
                let digit = |digit: u8| char::from(digit).to_digit(16).and_then(|digit| u8::try_from(digit).ok());
                let pairs = hex.as_bytes().chunks(2);
                pairs
                    .map(|pair| match pair {
                        [high, low] => Some(digit(*high)? << 4 | digit(*low)?),
                        _ => None,
                    })
                    .collect()
            }
        }
    }

    /// How `bytes` are shown.
    #[must_use]
    pub fn of(bytes: &[u8]) -> Self {
        match std::str::from_utf8(bytes) {
            Ok(text) => Self::Plain(text.to_owned()),
            Err(_) => Self::Binary { hex: bytes.iter().map(|byte| format!("{byte:02x}")).collect() },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_that_are_no_text_are_shown_in_hexadecimal() {
        assert_eq!(serde_json::to_string(&Text::of(b"a\"")).unwrap(), r#""a\"""#);
        assert_eq!(serde_json::to_string(&Text::of(&[0xff, 1])).unwrap(), r#"{"hex":"ff01"}"#);
        assert_eq!(Text::of(&[0xff, 1]).to_bytes(), Some(vec![0xff, 1]));
        assert_eq!(Text::Binary { hex: "ff0".into() }.to_bytes(), None);
    }
}
