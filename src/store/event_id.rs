//! What a delivery or a dead letter is called.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use super::Topic;
use crate::order::Identity;
use crate::{Error, ErrorCode, Result};

/// The name of what an order led to: derived from the order's identity, or from its place if it has none.
///
/// So copies of one order share it, and a store that is built again from the log has the same names.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct EventId([u8; 16]);

impl EventId {
    /// The name for an order.
    #[must_use]
    pub fn of(identity: Option<&Identity>, topic: &Topic, partition: i32, offset: i64) -> Self {
        let mut key = Vec::with_capacity(64);
        match identity {
            Some(identity) => {
                identity.write_store_key(&mut key);
                Self::of_store_key(&key)
            }
            None => {
                key.extend_from_slice(topic.id.as_bytes());
                // Without an identity of its own a topic is its name (rule R11).
                if topic.id.is_none() {
                    key.extend_from_slice(topic.name.as_bytes());
                }
                key.extend_from_slice(&partition.to_be_bytes());
                key.extend_from_slice(&offset.to_be_bytes());
                Self::of_parts(b"place", &key)
            }
        }
    }

    /// The name for an order whose identity has this key in the store.
    pub(crate) fn of_store_key(key: &[u8]) -> Self {
        Self::of_parts(b"identity", key)
    }

    fn of_parts(kind: &[u8], key: &[u8]) -> Self {
        let digest: [u8; 32] = Sha256::new().chain_update(kind).chain_update([0]).chain_update(key).finalize().into();
        Self(digest.first_chunk().copied().unwrap_or_default())
    }

    /// The name with these 16 bytes.
    #[must_use]
    pub const fn new(bytes: [u8; 16]) -> Self {
        Self(bytes)
    }

    /// The 16 bytes.
    #[must_use]
    pub const fn as_bytes(&self) -> &[u8; 16] {
        &self.0
    }
}

impl fmt::Display for EventId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let digit = |nibble: u8| if nibble < 10 { b'0' + nibble } else { b'a' - 10 + nibble };
        let mut text = [0; 32];
        for (digits, byte) in text.chunks_exact_mut(2).zip(self.0) {
            digits.copy_from_slice(&[digit(byte >> 4), digit(byte & 15)]);
        }
        f.write_str(std::str::from_utf8(&text).unwrap_or_default())
    }
}

impl fmt::Debug for EventId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "EventId({self})")
    }
}

impl FromStr for EventId {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        let bad = || Error::new(ErrorCode::ConfigValue, format!("`{text}` is not 32 hexadecimal digits"));
        if text.len() != 32 || !text.bytes().all(|byte| byte.is_ascii_hexdigit()) {
            return Err(bad());
        }
        u128::from_str_radix(text, 16).map(|number| Self(number.to_be_bytes())).map_err(|_| bad())
    }
}

impl From<EventId> for String {
    fn from(id: EventId) -> Self {
        id.to_string()
    }
}

impl TryFrom<String> for EventId {
    type Error = Error;

    fn try_from(text: String) -> Result<Self> {
        text.parse()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::place::TopicId;

    #[test]
    fn an_identity_names_the_event_wherever_it_stands_and_a_place_names_it_without_one() {
        let topic = Topic::new(TopicId::new([1; 16]), "orders");
        let other = Topic::new(TopicId::new([2; 16]), "orders");
        let identity = Identity::opaque("checkout:1").unwrap();
        assert_eq!(EventId::of(Some(&identity), &topic, 0, 1), EventId::of(Some(&identity), &other, 3, 9));
        let places = [(&topic, 0, 1), (&topic, 0, 2), (&topic, 1, 1), (&other, 0, 1)];
        let names: std::collections::BTreeSet<_> =
            places.iter().map(|(topic, partition, offset)| EventId::of(None, topic, *partition, *offset)).collect();
        assert_eq!(names.len(), places.len());
    }

    #[test]
    fn a_name_is_read_as_it_is_written() {
        let id = EventId::new([0xab; 16]);
        assert_eq!(id.to_string(), "ab".repeat(16));
        assert_eq!(id.to_string().parse::<EventId>().unwrap(), id);
        for bad in ["", "ab", &"+a".repeat(16), &"zz".repeat(16)] {
            assert!(bad.parse::<EventId>().is_err());
        }
        assert_eq!(serde_json::from_str::<EventId>(&serde_json::to_string(&id).unwrap()).unwrap(), id);
    }
}
