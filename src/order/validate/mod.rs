//! Validation: an order's JSON examined rule by rule, on `serde_json`, for everything that is not usual.
//!
//! All violations of an entry are found, in the order of their places; fields that are missing come last. `decode` gives
//! the first, lint gives all.

mod members;
mod rules;

use std::collections::BTreeSet;

use compact_str::CompactString;

pub use self::members::{DEPTH_MAX, ORDER_BYTES_MAX};
pub(super) use self::members::{Member, members, string, whole};
pub use self::rules::{ID_MAX, QUANTITY_MAX, TEXT_MAX};
pub(super) use self::rules::{Kind, check_id, check_quantity, check_text, other_type};
use super::codec::{Core, Sink};
use super::particulars::Record;
use super::quote::quoted;
use super::{Customer, DeliveryAddress, Movement, OrderTime, Violation, ViolationCode};

/// An order of either type, as read.
#[derive(Debug, PartialEq)]
pub(super) struct Draft {
    pub(super) kind: Kind,
    /// Where the value of `type` begins.
    pub(super) type_offset: usize,
    pub(super) core: Core,
    pub(super) movement: Option<Movement>,
    pub(super) customer: Option<Box<Customer>>,
    pub(super) delivery_address: Option<Box<DeliveryAddress>>,
}

/// The violation that `decode` tells.
pub(super) fn first_of(violations: Vec<Violation>) -> Violation {
    let whole = || Violation::new(ViolationCode::Json, "the entry is not an order");
    violations.into_iter().next().unwrap_or_else(whole)
}

/// Reads a value by the rules. With `expected`, another order type is the only violation told of it.
///
/// The list of violations is never empty.
pub(super) fn examine(value: &[u8], expected: Option<Kind>) -> Result<Draft, Vec<Violation>> {
    let text = whole(value).map_err(|violation| vec![violation])?;
    let members = members(text, text).map_err(|violation| vec![violation])?;
    let mut fields = Fields { entry: text, ..Fields::default() };
    fields.read_type(&members);
    if let (Some((kind, offset)), Some(expected)) = (fields.kind, expected)
        && kind != expected
    {
        return Err(vec![other_type(kind, offset)]);
    }
    fields.read_all(&members);
    fields.finish()
}

/// What was read so far.
#[derive(Default)]
struct Fields<'a> {
    entry: &'a str,
    kind: Option<(Kind, usize)>,
    order_id: Option<CompactString>,
    product_id: Option<CompactString>,
    quantity: Option<u32>,
    timestamp: Option<OrderTime>,
    movement: Option<Movement>,
    customer: Option<Box<Customer>>,
    delivery_address: Option<Box<DeliveryAddress>>,
    extra: String,
    missing: Vec<Violation>,
    violations: Vec<Violation>,
}

impl<'a> Fields<'a> {
    /// The type decides which fields are known, so it is read before them.
    fn read_type(&mut self, members: &[Member<'a>]) {
        let Some(member) = members.iter().find(|member| member.key == "type") else { return };
        let text = string(member).and_then(Result::ok);
        self.kind = text.and_then(|text| Kind::read(text.as_bytes())).map(|kind| (kind, member.offset));
    }

    fn read_all(&mut self, members: &[Member<'a>]) {
        let mut seen = BTreeSet::new();
        for member in members {
            if seen.insert(&*member.key) { self.read(member) } else { self.violations.push(duplicate("", member)) }
        }
        for (name, pointer) in [
            ("order_id", "/order_id"),
            ("product_id", "/product_id"),
            ("quantity", "/quantity"),
            ("type", "/type"),
            ("timestamp", "/timestamp"),
        ] {
            if !seen.contains(name) {
                let sentence = format!("the field `{name}` is missing");
                self.missing.push(Violation::new(ViolationCode::FieldMissing, sentence).at(pointer));
            }
        }
    }

    fn read(&mut self, member: &Member<'a>) {
        let kind = self.kind.map(|(kind, _)| kind);
        let read = match (&*member.key, kind) {
            ("order_id", _) => read_id(member, "/order_id").map(|id| self.order_id = Some(id)),
            ("product_id", _) => read_id(member, "/product_id").map(|id| self.product_id = Some(id)),
            ("quantity", _) => rules::read_quantity(member.raw)
                .map(|quantity| self.quantity = Some(quantity))
                .map_err(|violation| violation.offset_by(member.offset)),
            ("type", Some(_)) => Ok(()),
            ("type", None) => Err(unknown_type(member)),
            ("timestamp", _) => read_timestamp(member).map(|time| self.timestamp = Some(time)),
            ("movement", Some(Kind::Inventory)) => read_movement(member).map(|movement| self.movement = movement),
            ("customer", Some(Kind::Delivery)) => {
                self.customer = self.read_record(member, "/customer");
                Ok(())
            }
            ("delivery_address", Some(Kind::Delivery)) => {
                self.delivery_address = self.read_record(member, "/delivery_address");
                Ok(())
            }
            _ => {
                push_member(member, &mut self.extra);
                Ok(())
            }
        };
        self.violations.extend(read.err());
    }

    fn read_record<R: Record>(&mut self, member: &Member<'a>, pointer: &'static str) -> Option<Box<R>> {
        if member.is_null() {
            return None;
        }
        let inside = match members(self.entry, member.raw) {
            Ok(inside) => inside,
            Err(violation) => {
                self.violations.push(retyped(violation, pointer));
                return None;
            }
        };
        let (mut record, mut extra, mut seen) = (Box::<R>::default(), String::new(), BTreeSet::new());
        for field in &inside {
            if !seen.insert(&*field.key) {
                self.violations.push(duplicate(pointer, field));
            } else if let Some((slot, pointer)) = record.slot(&field.key) {
                match read_text(field, pointer) {
                    Ok(text) => *slot = text,
                    Err(violation) => self.violations.push(violation),
                }
            } else {
                push_member(field, &mut extra);
            }
        }
        record.keep((!extra.is_empty()).then(|| extra.into()));
        Some(record)
    }

    fn finish(mut self) -> Result<Draft, Vec<Violation>> {
        self.violations.append(&mut self.missing);
        let whole = (self.kind, self.order_id, self.product_id, self.quantity, self.timestamp);
        let (Some((kind, type_offset)), Some(order_id), Some(product_id), Some(quantity), Some(timestamp)) = whole
        else {
            return Err(self.violations);
        };
        if !self.violations.is_empty() {
            return Err(self.violations);
        }
        let extra = (!self.extra.is_empty()).then(|| self.extra.into());
        let core = Core { order_id, product_id, quantity, timestamp, identity: None, extra };
        let Self { movement, customer, delivery_address, .. } = self;
        Ok(Draft { kind, type_offset, core, movement, customer, delivery_address })
    }
}

fn read_id(member: &Member<'_>, pointer: &'static str) -> Result<CompactString, Violation> {
    let not_text = || {
        let sentence = format!("{} is not a string; an id's leading zeros count", quoted(member.raw));
        Violation::new(ViolationCode::IdType, sentence).at(pointer).offset_by(member.offset)
    };
    let text = string(member).ok_or_else(not_text)?.map_err(|violation| violation.at(pointer))?;
    check_id(&text, pointer).map_err(|violation| violation.offset_by(member.offset))?;
    Ok(CompactString::from(text))
}

fn read_timestamp(member: &Member<'_>) -> Result<OrderTime, Violation> {
    let not_text = || {
        let sentence = format!("{} is not a string", quoted(member.raw));
        Violation::new(ViolationCode::DateType, sentence).at("/timestamp").offset_by(member.offset)
    };
    let text = string(member).ok_or_else(not_text)?.map_err(|violation| violation.at("/timestamp"))?;
    text.parse().map_err(|violation: Violation| violation.offset_by(member.offset))
}

/// `null` is as good as no movement.
fn read_movement(member: &Member<'_>) -> Result<Option<Movement>, Violation> {
    if member.is_null() {
        return Ok(None);
    }
    let text = string(member).and_then(Result::ok);
    let movement = text.and_then(|text| Movement::read(text.as_bytes()));
    movement.map(Some).ok_or_else(|| {
        let sentence = format!("{} is neither `receipt` nor `issue`", quoted(member.raw));
        Violation::new(ViolationCode::MovementUnknown, sentence).at("/movement").offset_by(member.offset)
    })
}

/// `null` is as good as no text. The sentences do not quote the value: it tells about a person.
pub(super) fn read_text(member: &Member<'_>, pointer: &'static str) -> Result<Option<CompactString>, Violation> {
    if member.is_null() {
        return Ok(None);
    }
    let not_text =
        || Violation::new(ViolationCode::FieldType, "the value is not a string").at(pointer).offset_by(member.offset);
    let text = string(member).ok_or_else(not_text)?.map_err(|violation| violation.at(pointer))?;
    check_text(&text, pointer).map_err(|violation| violation.offset_by(member.offset))?;
    Ok(Some(CompactString::from(text)))
}

fn unknown_type(member: &Member<'_>) -> Violation {
    let sentence = match string(member) {
        Some(Ok(text)) => format!("{} is no order type: `inventory` and `delivery` are", quoted(&text)),
        _ => format!("{} is not a string that names an order type", quoted(member.raw)),
    };
    Violation::new(ViolationCode::TypeUnknown, sentence).at("/type").offset_by(member.offset)
}

pub(super) fn duplicate(parent: &str, member: &Member<'_>) -> Violation {
    let sentence = format!("the field {} is there twice", quoted(&member.key));
    let pointer = format!("{parent}/{}", member.key.replace('~', "~0").replace('/', "~1"));
    Violation::new(ViolationCode::FieldDuplicate, sentence).at(pointer).offset_by(member.offset)
}

/// What is wrong with an object inside an order is told by the field's own code and pointer.
fn retyped(violation: Violation, pointer: &'static str) -> Violation {
    if violation.code() != ViolationCode::NotObject {
        return violation.at(pointer);
    }
    let offset = violation.offset();
    Violation::new(ViolationCode::FieldType, "the value is not an object").at(pointer).offset_by(offset)
}

/// Keeps an unknown field as `"key":value`.
pub(super) fn push_member(member: &Member<'_>, extra: &mut String) {
    if !extra.is_empty() {
        extra.push(',');
    }
    let mut key = Vec::new();
    key.text(&member.key);
    extra.push_str(&String::from_utf8_lossy(&key));
    extra.push(':');
    members::push_compact(member.raw, extra);
}

#[cfg(test)]
mod tests;
