//! Delivery updates: what a logistics partner says of one delivery.
//!
//! ```json
//! {"delivery_id":"0f3c…","status":"out_for_delivery","time":"2026-11-24T08:30:00Z","reason":"van 7"}
//! ```
//! `delivery_id` is the name that the shop gave the delivery: 32 hexadecimal digits. `status` is one of [`Status`]. `time`
//! is RFC 3339, with the offset from UTC: when it happened. `reason` is text of at most 1,000 bytes, or null, or not there.
//! Unknown fields are kept and written again.

use std::collections::BTreeSet;
use std::fmt;
use std::str::FromStr;

use chrono::DateTime;
use compact_str::CompactString;

use super::codec::{Count, Sink};
use super::quote::quoted;
use super::status::Status;
use super::validate::{Member, check_text, duplicate, members, push_member, read_text, string, whole};
use super::{Identity, Order, Violation, ViolationCode};

/// What a partner says of one delivery. Its key is the delivery, so that one delivery's updates stay in order.
///
/// ```
/// use orderflow::order::{DeliveryUpdate, Order, Status};
/// let update = DeliveryUpdate::new("0123456789abcdef0123456789abcdef", Status::Failed, "2026-11-24T08:30:00+01:00")?
///     .with_reason("nobody was there")?;
/// let mut value = Vec::new();
/// update.encode(&mut value);
/// let read = DeliveryUpdate::decode(&value)?;
/// assert_eq!((read.status(), read.reason()), (Status::Failed, Some("nobody was there")));
/// assert_eq!(read.at(), 1_795_505_400_000, "milliseconds since 1970");
/// # Ok::<(), orderflow::order::Violation>(())
/// ```
#[derive(Clone, PartialEq, Eq)]
pub struct DeliveryUpdate {
    /// In lower case.
    delivery_id: CompactString,
    delivery: [u8; 16],
    status: Status,
    time: CompactString,
    at: i64,
    reason: Option<CompactString>,
    identity: Option<Identity>,
    extra: Option<Box<str>>,
}

impl DeliveryUpdate {
    /// The delivery `delivery_id` has had this status since `time`.
    ///
    /// # Errors
    /// The first rule that an argument breaks: `DLV-ID`, `DLV-TIME`.
    pub fn new(delivery_id: &str, status: Status, time: &str) -> Result<Self, Violation> {
        let (delivery_id, delivery) = read_delivery(delivery_id)?;
        let (time, at) = (CompactString::new(time), instant(time)?);
        Ok(Self { delivery_id, delivery, status, time, at, reason: None, identity: None, extra: None })
    }

    /// Says why.
    ///
    /// # Errors
    /// The rule that the text breaks.
    pub fn with_reason(mut self, reason: &str) -> Result<Self, Violation> {
        check_text(reason, "/reason")?;
        self.reason = Some(CompactString::new(reason));
        Ok(self)
    }

    /// Gives the update an identity of the caller's own, so that a repeated one has one effect.
    ///
    /// # Errors
    /// `ORD-IDENTITY`: the value is empty or begins with `of1:`, which is the form of numbered records.
    pub fn with_identity(mut self, value: impl AsRef<[u8]>) -> Result<Self, Violation> {
        self.identity = Some(Identity::opaque(value)?);
        Ok(self)
    }

    /// The delivery's name: 32 hexadecimal digits in lower case.
    #[must_use]
    pub fn delivery_id(&self) -> &str {
        &self.delivery_id
    }

    /// The delivery's name as its 16 bytes.
    #[must_use]
    pub fn delivery(&self) -> [u8; 16] {
        self.delivery
    }

    /// What the delivery has become.
    #[must_use]
    pub fn status(&self) -> Status {
        self.status
    }

    /// When, in milliseconds since 1970.
    #[must_use]
    pub fn at(&self) -> i64 {
        self.at
    }

    /// Why, where the partner said so.
    #[must_use]
    pub fn reason(&self) -> Option<&str> {
        self.reason.as_deref()
    }

    fn write(&self, sink: &mut impl Sink) {
        sink.put(b"{\"delivery_id\":");
        sink.text(&self.delivery_id);
        sink.put(b",\"status\":");
        sink.text(self.status.as_str());
        sink.put(b",\"time\":");
        sink.text(&self.time);
        if let Some(reason) = &self.reason {
            sink.put(b",\"reason\":");
            sink.text(reason);
        }
        if let Some(extra) = &self.extra {
            sink.put(b",");
            sink.put(extra.as_bytes());
        }
        sink.put(b"}");
    }
}

impl Order for DeliveryUpdate {
    const TYPE: &'static str = "delivery_update";
    const TOPIC: &'static str = "delivery_updates";

    fn key(&self) -> &[u8] {
        self.delivery_id.as_bytes()
    }

    fn identity(&self) -> Option<&Identity> {
        self.identity.as_ref()
    }

    fn set_identity(&mut self, identity: Identity) {
        self.identity = Some(identity);
    }

    fn encoded_len(&self) -> usize {
        let mut count = Count::default();
        self.write(&mut count);
        count.bytes()
    }

    fn encode(&self, out: &mut Vec<u8>) {
        self.write(out);
    }

    fn decode(value: &[u8]) -> Result<Self, Violation> {
        let text = whole(value)?;
        let mut fields = Fields::default();
        let mut seen = BTreeSet::new();
        for member in &members(text, text)? {
            if !seen.insert(&*member.key) {
                return Err(duplicate("", member));
            }
            fields.read(member)?;
        }
        fields.finish()
    }
}

impl fmt::Debug for DeliveryUpdate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("DeliveryUpdate")
            .field("delivery_id", &self.delivery_id)
            .field("status", &self.status)
            .field("time", &self.time)
            // A reason may tell about a person, and unknown fields may.
            .field("reason", &self.reason.as_ref().map(|reason| format!("{} bytes", reason.len())))
            .field("identity", &self.identity)
            .finish_non_exhaustive()
    }
}

/// What was read so far.
#[derive(Default)]
struct Fields {
    delivery: Option<(CompactString, [u8; 16])>,
    status: Option<Status>,
    time: Option<(CompactString, i64)>,
    reason: Option<CompactString>,
    extra: String,
}

impl Fields {
    fn read(&mut self, member: &Member<'_>) -> Result<(), Violation> {
        match &*member.key {
            "delivery_id" => {
                self.delivery = Some(text(member, "/delivery_id", ViolationCode::DeliveryId, read_delivery)?)
            }
            "status" => self.status = Some(text(member, "/status", ViolationCode::DeliveryStatus, read_status)?),
            "time" => {
                let read = |text: &str| Ok((CompactString::new(text), instant(text)?));
                self.time = Some(text(member, "/time", ViolationCode::DeliveryTime, read)?);
            }
            "reason" => self.reason = read_text(member, "/reason")?,
            _ => push_member(member, &mut self.extra),
        }
        Ok(())
    }

    fn finish(self) -> Result<DeliveryUpdate, Violation> {
        let missing = |name: &str, pointer: &'static str| {
            Violation::new(ViolationCode::FieldMissing, format!("the field `{name}` is missing")).at(pointer)
        };
        let (delivery_id, delivery) = self.delivery.ok_or_else(|| missing("delivery_id", "/delivery_id"))?;
        let status = self.status.ok_or_else(|| missing("status", "/status"))?;
        let (time, at) = self.time.ok_or_else(|| missing("time", "/time"))?;
        let extra = (!self.extra.is_empty()).then(|| self.extra.into());
        Ok(DeliveryUpdate { delivery_id, delivery, status, time, at, reason: self.reason, identity: None, extra })
    }
}

/// Reads a field that is text.
fn text<T>(
    member: &Member<'_>,
    pointer: &'static str,
    code: ViolationCode,
    read: impl FnOnce(&str) -> Result<T, Violation>,
) -> Result<T, Violation> {
    let not_text =
        || Violation::new(code, format!("{} is not a string", quoted(member.raw))).at(pointer).offset_by(member.offset);
    let text = string(member).ok_or_else(not_text)?.map_err(|violation| violation.at(pointer))?;
    read(&text).map_err(|violation| violation.offset_by(member.offset))
}

fn read_delivery(text: &str) -> Result<(CompactString, [u8; 16]), Violation> {
    let is_name = text.len() == 32 && text.bytes().all(|byte| byte.is_ascii_hexdigit());
    let number = if is_name { u128::from_str_radix(text, 16).ok() } else { None };
    let number = number.ok_or_else(|| {
        let sentence = format!("{} is not 32 hexadecimal digits", quoted(text));
        Violation::new(ViolationCode::DeliveryId, sentence).at("/delivery_id")
    })?;
    let mut name = CompactString::new(text);
    name.make_ascii_lowercase();
    Ok((name, number.to_be_bytes()))
}

fn read_status(text: &str) -> Result<Status, Violation> {
    Status::from_str(text).map_err(|_| {
        let names = Status::ALL.map(Status::as_str).join(", ");
        let sentence = format!("{} is not the status of a delivery: {names}", quoted(text));
        Violation::new(ViolationCode::DeliveryStatus, sentence).at("/status")
    })
}

fn instant(text: &str) -> Result<i64, Violation> {
    let read = DateTime::parse_from_rfc3339(text).map(|time| time.timestamp_millis());
    read.map_err(|_| {
        let sentence = format!("{} is not an instant of RFC 3339, such as 2026-11-24T08:30:00Z", quoted(text));
        Violation::new(ViolationCode::DeliveryTime, sentence).at("/time")
    })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const ID: &str = "0123456789abcdef0123456789ABCDEF";

    fn refused(value: &str) -> (ViolationCode, String, usize) {
        let violation = DeliveryUpdate::decode(value.as_bytes()).unwrap_err();
        (violation.code(), violation.pointer().to_owned(), violation.offset())
    }

    #[test]
    fn each_rule_has_its_code_and_the_pointer_of_its_field() {
        use ViolationCode as V;
        let whole = format!(r#"{{"delivery_id":"{ID}","status":"failed","time":"2026-11-24T08:30:00Z"}}"#);
        let update = DeliveryUpdate::decode(whole.as_bytes()).unwrap();
        assert_eq!(update.delivery_id(), ID.to_ascii_lowercase());
        assert_eq!(update.key(), ID.to_ascii_lowercase().as_bytes());
        for (from, to, code, pointer) in [
            (ID, "17", V::DeliveryId, "/delivery_id"),
            (ID, "+123456789abcdef0123456789abcdef", V::DeliveryId, "/delivery_id"),
            ("\"failed\"", "\"lost\"", V::DeliveryStatus, "/status"),
            ("\"failed\"", "null", V::DeliveryStatus, "/status"),
            ("2026-11-24T08:30:00Z", "11/24/2026", V::DeliveryTime, "/time"),
            ("2026-11-24T08:30:00Z", "2026-11-24T08:30:00", V::DeliveryTime, "/time"),
            ("Z\"}", "Z\",\"reason\":7}", V::FieldType, "/reason"),
            ("Z\"}", "Z\",\"reason\":\"\\u0000\"}", V::FieldControl, "/reason"),
            ("Z\"}", "Z\",\"status\":\"failed\"}", V::FieldDuplicate, "/status"),
            ("\"time\"", "\"times\"", V::FieldMissing, "/time"),
        ] {
            let (found, at, _) = refused(&whole.replace(from, to));
            assert_eq!((found, at.as_str()), (code, pointer), "{to}");
        }
        assert_eq!(refused(&whole.replace("failed", "lost")).2, whole.find("\"failed").unwrap());
        assert_eq!(refused("[]").0, V::NotObject);
    }

    #[test]
    fn unknown_fields_are_kept_and_a_reason_of_null_is_none() {
        let text = format!(
            r#"{{"van":7,"delivery_id":"{ID}","status":"failed","time":"2026-11-24T08:30:00Z","reason":null}}"#
        );
        let update = DeliveryUpdate::decode(text.as_bytes()).unwrap();
        assert_eq!(update.reason(), None);
        let mut value = Vec::new();
        update.encode(&mut value);
        assert!(String::from_utf8(value).unwrap().ends_with(r#","van":7}"#));
        assert!(!format!("{:?}", update.with_reason("Ada moved").unwrap()).contains("Ada"));
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]

        #[test]
        fn an_update_is_read_as_it_was_written(id: u128, status in 0_usize..5, reason in prop::option::of("[ -~é]{0,40}"), seconds in 0_i64..4_000_000_000) {
            let time = DateTime::from_timestamp(seconds, 0).unwrap().to_rfc3339();
            let update = DeliveryUpdate::new(&format!("{id:032x}"), Status::ALL[status], &time).unwrap();
            let update = match &reason { Some(reason) => update.with_reason(reason).unwrap(), None => update };
            let mut value = Vec::new();
            update.encode(&mut value);
            prop_assert_eq!(value.len(), update.encoded_len());
            prop_assert_eq!(DeliveryUpdate::decode(&value).unwrap(), update);
        }

        #[test]
        fn hostile_bytes_give_a_violation_or_an_update(bytes in prop::collection::vec(any::<u8>(), 0..60), cut in 0_usize..100) {
            drop(DeliveryUpdate::decode(&bytes));
            let text = format!(r#"{{"delivery_id":"{ID}","status":"failed","time":"2026-11-24T08:30:00Z"}}"#);
            prop_assert!(cut >= text.len() || DeliveryUpdate::decode(text.get(..cut).unwrap().as_bytes()).is_err());
        }
    }
}
