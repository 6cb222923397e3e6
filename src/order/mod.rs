//! What an order is: parsed, validated, encoded, identified.
//!
//! An order travels as the JSON object that the shop's other programs read and write; nothing in this folder knows Kafka.
//!
//! ```text
//!  order file --EntryReader--> entries --OrderReader--> orders, filtered, rejected (with line and column)
//!                                              |
//!  record value --decode--> fast path, else serde_json --> InventoryOrder | DeliveryOrder --encode--> record value
//!                                              |
//!                                          Violation: code, pointer, sentence, offset
//! ```
//!
//! # Rules
//! `order_id` and `product_id` are strings of 1 to 200 bytes without control characters (a number is refused, as leading
//! zeros count); `quantity` is an integer in 1 to 1,000,000; `type` is read in any case; `timestamp` is `M/D/YYYY` or
//! ISO 8601. Unknown fields are kept and written again, after the known ones and in their order. [`ViolationCode`] lists
//! every rule.

mod codec;
mod date;
mod delivery;
mod file;
pub mod generate;
mod identity;
mod inventory;
mod json;
mod particulars;
mod quote;
mod source;
mod status;
mod update;
mod validate;
mod violation;

use std::fmt;

pub use self::date::OrderTime;
pub use self::delivery::DeliveryOrder;
pub use self::file::{
    Change, DigestReader, Entry, EntryReader, Finding, Format, GrowingFile, Lint, Located, OrderReader, RawEntry,
    Rejection, digest_of, lint,
};
pub(crate) use self::identity::IdentityReader;
pub use self::identity::{IDENTITY_HEADER, INDEX_LIMIT, Identity, OPAQUE_WHOLE_MAX};
pub use self::inventory::{InventoryOrder, Movement};
pub use self::json::Json;
pub use self::particulars::{Customer, DeliveryAddress};
pub use self::source::{SOURCE_MAX, Source};
pub use self::status::Status;
pub use self::update::DeliveryUpdate;
pub use self::validate::{DEPTH_MAX, ID_MAX, ORDER_BYTES_MAX, QUANTITY_MAX, TEXT_MAX};
pub use self::violation::{Violation, ViolationCode};

/// A domain event that producers publish and consumers apply.
///
/// The trait is open. A shop's own order type usually wraps its serde type in [`Json`]:
///
/// ```
/// use orderflow::order::{Identity, Json, Order, Violation, ViolationCode};
///
/// #[derive(Clone, Debug, PartialEq, serde::Serialize, serde::Deserialize)]
/// struct Refund {
///     order_id: String,
///     cents: u64,
/// }
///
/// #[derive(Clone, Debug, PartialEq)]
/// struct RefundOrder {
///     body: Json<Refund>,
///     identity: Option<Identity>,
/// }
///
/// impl Order for RefundOrder {
///     const TYPE: &'static str = "refund";
///     const TOPIC: &'static str = "refund_orders";
///     fn key(&self) -> &[u8] { self.body.order_id.as_bytes() }
///     fn identity(&self) -> Option<&Identity> { self.identity.as_ref() }
///     fn set_identity(&mut self, identity: Identity) { self.identity = Some(identity); }
///     fn encoded_len(&self) -> usize { self.body.text().len() }
///     fn encode(&self, out: &mut Vec<u8>) { out.extend_from_slice(self.body.text().as_bytes()); }
///     fn decode(value: &[u8]) -> Result<Self, Violation> {
///         let body = Json::<Refund>::decode(Self::TYPE, value)?;
///         Ok(Self { body, identity: None })
///     }
/// }
///
/// let refund = Refund { order_id: "97537".into(), cents: 1250 };
/// let order = RefundOrder { body: Json::new(RefundOrder::TYPE, refund)?, identity: None };
/// let mut value = Vec::new();
/// order.encode(&mut value);
/// assert_eq!(value, br#"{"type":"refund","order_id":"97537","cents":1250}"#);
/// assert_eq!(RefundOrder::decode(&value)?, order);
/// assert_eq!(RefundOrder::decode(br#"{"type":"inventory"}"#).unwrap_err().code(), ViolationCode::TypeOther);
/// # Ok::<(), Violation>(())
/// ```
pub trait Order: Clone + fmt::Debug + PartialEq + Send + Sync + 'static {
    /// The value of the field `type`, in lower case.
    const TYPE: &'static str;
    /// The topic where orders of this type go unless told otherwise.
    const TOPIC: &'static str;

    /// The record's key: orders with one key are applied in their order.
    fn key(&self) -> &[u8];

    /// What makes two records the same order. `None`: the producer numbers it.
    fn identity(&self) -> Option<&Identity>;

    /// Gives the order its identity.
    fn set_identity(&mut self, identity: Identity);

    /// How many bytes [`Order::encode`] appends, exactly.
    fn encoded_len(&self) -> usize;

    /// Appends the record's value.
    fn encode(&self, out: &mut Vec<u8>);

    /// Parses and validates a record's value. The identity is not in the value and stays unset.
    ///
    /// # Errors
    /// The first rule that the value breaks; `ORD-TYPE-OTHER`, before every other rule, where its `type` names another
    /// order type.
    fn decode(value: &[u8]) -> Result<Self, Violation>;

    /// Reads an order that `bytes` begin with, and gives its length: as [`Order::decode`] reads exactly so many bytes.
    ///
    /// It spares the reader of a JSON array to look for the entry's end first. `None`, the default, never errs: then the
    /// end is looked for.
    #[must_use]
    fn decode_prefix(bytes: &[u8]) -> Option<(Result<Self, Violation>, usize)> {
        let _ = bytes;
        None
    }
}
