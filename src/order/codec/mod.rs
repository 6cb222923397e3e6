//! The codec: orders to and from the JSON of a record's value.
//!
//! Writing goes through [`Sink`], once to count and once to write, so that the length is exact by construction.
//! Reading tries `fast` (the known fields in their usual order) and leaves everything unusual to `validate`.

pub(super) mod fast;
mod sink;

use std::fmt;

use compact_str::CompactString;

use self::fast::Plain;
pub(super) use self::sink::{Count, Sink, plain_prefix};
use super::validate::{self, Draft, Kind, check_id, check_quantity};
use super::{Identity, OrderTime, Violation};

/// What every order has.
#[derive(Clone, PartialEq, Eq)]
pub(super) struct Core {
    pub(super) order_id: CompactString,
    pub(super) product_id: CompactString,
    pub(super) quantity: u32,
    pub(super) timestamp: OrderTime,
    pub(super) identity: Option<Identity>,
    /// Unknown fields as the inside of a JSON object, without spaces: `"a":1,"b":[2]`.
    pub(super) extra: Option<Box<str>>,
}

impl Core {
    pub(super) fn new(order_id: &str, product_id: &str, quantity: u32, timestamp: &str) -> Result<Self, Violation> {
        check_id(order_id, "/order_id")?;
        check_id(product_id, "/product_id")?;
        check_quantity(quantity)?;
        Ok(Self {
            order_id: CompactString::new(order_id),
            product_id: CompactString::new(product_id),
            quantity,
            timestamp: timestamp.parse()?,
            identity: None,
            extra: None,
        })
    }

    #[inline]
    pub(super) fn of_plain(plain: &Plain<'_>) -> Self {
        Self {
            order_id: CompactString::new(plain.order_id),
            product_id: CompactString::new(plain.product_id),
            quantity: plain.quantity,
            timestamp: OrderTime::of_moment(plain.timestamp, plain.moment),
            identity: None,
            extra: None,
        }
    }

    /// Writes from the opening brace to the timestamp. A timestamp holds no character that JSON escapes.
    #[inline]
    pub(super) fn write_known(&self, type_and_timestamp: &[u8], sink: &mut impl Sink) {
        sink.put(b"{\"order_id\":");
        sink.text(&self.order_id);
        sink.put(b",\"product_id\":");
        sink.text(&self.product_id);
        sink.put(b",\"quantity\":");
        sink.number(self.quantity);
        sink.put(type_and_timestamp);
        sink.put(self.timestamp.as_str().as_bytes());
        sink.put(b"\"");
    }

    #[inline]
    pub(super) fn write_rest(&self, sink: &mut impl Sink) {
        if let Some(extra) = &self.extra {
            sink.put(b",");
            sink.put(extra.as_bytes());
        }
        sink.put(b"}");
    }

    pub(super) fn debug_fields(&self, shape: &mut fmt::DebugStruct<'_, '_>) {
        shape
            .field("order_id", &self.order_id)
            .field("product_id", &self.product_id)
            .field("quantity", &self.quantity)
            .field("timestamp", &self.timestamp)
            .field("identity", &self.identity)
            // Unknown fields may tell about a person.
            .field("unknown_fields", &format_args!("{} bytes", self.extra.as_ref().map_or(0, |extra| extra.len())));
    }
}

impl fmt::Debug for Core {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut shape = f.debug_struct("Core");
        self.debug_fields(&mut shape);
        shape.finish()
    }
}

/// An order type that is made of what the two parsers give.
pub(super) trait Build: Sized {
    const KIND: Kind;

    fn of_plain(plain: Plain<'_>) -> Self;
    fn of_draft(draft: Draft) -> Self;
}

/// Reads a value that must be of this type.
#[inline]
pub(super) fn decode<B: Build>(value: &[u8]) -> Result<B, Violation> {
    match fast::read(value) {
        Some(plain) => of_type(plain),
        None => validate::examine(value, Some(B::KIND)).map(B::of_draft).map_err(validate::first_of),
    }
}

/// Reads an order that the bytes begin with, if the fast path can, and gives its length.
#[inline]
pub(super) fn decode_prefix<B: Build>(bytes: &[u8]) -> Option<(Result<B, Violation>, usize)> {
    let (plain, length) = fast::read_prefix(bytes)?;
    Some((of_type(plain), length))
}

#[inline]
fn of_type<B: Build>(plain: Plain<'_>) -> Result<B, Violation> {
    if plain.kind == B::KIND {
        Ok(B::of_plain(plain))
    } else {
        Err(validate::other_type(plain.kind, plain.type_offset))
    }
}

/// The accessors that both order types have.
macro_rules! core_accessors {
    ($order:ident) => {
        impl $order {
            /// The order's number. It is text (leading zeros count) and not unique: one order has several products.
            #[must_use]
            pub fn order_id(&self) -> &str {
                &self.core.order_id
            }

            /// The product's number. It is text: leading zeros count.
            #[must_use]
            pub fn product_id(&self) -> &str {
                &self.core.product_id
            }

            /// How many pieces: 1 to 1,000,000.
            #[must_use]
            pub fn quantity(&self) -> u32 {
                self.core.quantity
            }

            /// When the order was placed.
            #[must_use]
            pub fn timestamp(&self) -> &OrderTime {
                &self.core.timestamp
            }

            /// The unknown fields as the inside of a JSON object without spaces, `"a":1,"b":[2]`; empty where there are none.
            #[must_use]
            pub fn unknown_fields(&self) -> &str {
                self.core.extra.as_deref().unwrap_or_default()
            }

            /// Gives the order an identity of the caller's own, so that a repeated request has one effect.
            ///
            /// # Errors
            /// `ORD-IDENTITY`: the value is empty or begins with `of1:`, which is the form of numbered orders.
            pub fn with_identity(mut self, value: impl AsRef<[u8]>) -> Result<Self, Violation> {
                self.core.identity = Some(Identity::opaque(value)?);
                Ok(self)
            }
        }

        /// As the JSON object of the record's value. Only for `serde_json`, because unknown fields are kept as their text.
        impl serde::Serialize for $order {
            fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                $crate::order::json::serialize_raw(self, serializer)
            }
        }

        /// From the JSON object of a record's value, validated. Only for `serde_json`.
        impl<'de> serde::Deserialize<'de> for $order {
            fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                $crate::order::json::deserialize_raw(deserializer)
            }
        }
    };
}

/// The methods of `Order` that do not differ between the two order types.
macro_rules! core_order_methods {
    () => {
        fn identity(&self) -> Option<&Identity> {
            self.core.identity.as_ref()
        }

        fn set_identity(&mut self, identity: Identity) {
            self.core.identity = Some(identity);
        }

        fn encoded_len(&self) -> usize {
            let mut count = codec::Count::default();
            self.write(&mut count);
            count.bytes()
        }

        fn encode(&self, out: &mut Vec<u8>) {
            self.write(out);
        }

        #[inline]
        fn decode(value: &[u8]) -> Result<Self, Violation> {
            codec::decode(value)
        }

        #[inline]
        fn decode_prefix(bytes: &[u8]) -> Option<(Result<Self, Violation>, usize)> {
            codec::decode_prefix(bytes)
        }
    };
}

pub(super) use {core_accessors, core_order_methods};

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_usual_order_allocates_nothing() {
        let file = include_str!("../../../fixtures/orders.json");
        let values = file.lines().map(|line| line.trim().trim_end_matches(',')).filter(|line| line.starts_with('{'));
        let cores: Vec<Core> =
            values.filter_map(|value| Some(Core::of_plain(&fast::read(value.as_bytes())?))).collect();
        assert_eq!(cores.len(), 34, "every order of the fixture takes the fast path");
        for core in cores {
            assert!(![&core.order_id, &core.product_id].iter().any(|id| id.is_heap_allocated()), "{core:?}");
            assert!(!core.timestamp.is_heap_allocated() && core.extra.is_none());
        }
    }
}
