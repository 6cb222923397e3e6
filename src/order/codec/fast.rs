//! The fast path: known fields in their usual order, read without a general parser.
//!
//! It either reads a whole, valid order or gives `None`, and then the general parser says what is wrong or unusual. So
//! it holds no judgement of its own: a property test shows that both agree on every input.

use compact_str::CompactString;

use super::plain_prefix;
use crate::order::date::Moment;
use crate::order::particulars::Record;
use crate::order::validate::{ID_MAX, Kind, ORDER_BYTES_MAX, QUANTITY_MAX, TEXT_MAX, check_id, check_text};
use crate::order::{Customer, DeliveryAddress, Movement, OrderTime};

/// So much is looked at to find an order at the beginning of longer bytes.
const PREFIX_MAX: usize = 1024;

/// An order as it stands in the bytes: nothing is copied but a customer's particulars.
#[derive(Debug)]
pub(in crate::order) struct Plain<'a> {
    pub(in crate::order) kind: Kind,
    /// Where the value of `type` begins.
    pub(in crate::order) type_offset: usize,
    pub(in crate::order) order_id: &'a str,
    pub(in crate::order) product_id: &'a str,
    pub(in crate::order) quantity: u32,
    pub(in crate::order) timestamp: &'a str,
    pub(in crate::order) moment: Moment,
    pub(in crate::order) movement: Option<Movement>,
    pub(in crate::order) customer: Option<Box<Customer>>,
    pub(in crate::order) delivery_address: Option<Box<DeliveryAddress>>,
}

/// Reads an order whose fields are the known ones in their usual order; `None`: look closer.
#[inline]
pub(in crate::order) fn read(value: &[u8]) -> Option<Plain<'_>> {
    if value.len() > ORDER_BYTES_MAX {
        return None;
    }
    let (plain, cursor) = Cursor::new(std::str::from_utf8(value).ok()?).blank().order()?;
    (cursor.blank().at == value.len()).then_some(plain)
}

/// Reads an order that the bytes begin with, and gives its length; `None`: look closer.
#[inline]
pub(in crate::order) fn read_prefix(bytes: &[u8]) -> Option<(Plain<'_>, usize)> {
    let near = bytes.get(..PREFIX_MAX).unwrap_or(bytes);
    // Usually a line holds one order; where the bytes end within a character, what is before it may do.
    let near = memchr::memchr(b'\n', near).and_then(|line_end| near.get(..line_end)).unwrap_or(near);
    let text = match std::str::from_utf8(near) {
        Ok(text) => text,
        Err(error) => std::str::from_utf8(near.get(..error.valid_up_to())?).ok()?,
    };
    let (plain, cursor) = Cursor::new(text).order()?;
    Some((plain, cursor.at))
}

/// A field's name and what is before it, in the shapes that are looked for.
struct Name {
    /// As we write it: `,"type":`.
    compact: &'static [u8],
    /// As Python writes it: `, "type": `.
    spaced: &'static [u8],
    before: &'static [u8],
    quoted: &'static [u8],
}

macro_rules! name {
    ($before:literal, $name:literal) => {
        const {
            Name {
                compact: concat!($before, "\"", $name, "\":").as_bytes(),
                spaced: concat!($before, " \"", $name, "\": ").as_bytes(),
                before: $before.as_bytes(),
                quoted: concat!("\"", $name, "\"").as_bytes(),
            }
        }
    };
}

/// A place in the text. It is passed by value and what moves it is inlined, so that it stays in registers: behind a
/// reference each field waits until the one before it is written to memory.
#[derive(Clone, Copy)]
struct Cursor<'a> {
    text: &'a str,
    at: usize,
}

/// What was read, and the place behind it.
type Read<'a, T> = Option<(T, Cursor<'a>)>;

impl<'a> Cursor<'a> {
    #[inline]
    fn new(text: &'a str) -> Self {
        Self { text, at: 0 }
    }

    #[inline]
    fn order(self) -> Read<'a, Plain<'a>> {
        let (order_id, cursor) = self.name(&name!("{", "order_id"))?.id()?;
        let (product_id, cursor) = cursor.name(&name!(",", "product_id"))?.id()?;
        let (quantity, cursor) = cursor.name(&name!(",", "quantity"))?.quantity()?;
        let cursor = cursor.name(&name!(",", "type"))?;
        let type_offset = cursor.at;
        let (kind, cursor) = cursor.plain()?;
        let kind = Kind::read(kind.as_bytes())?;
        let (timestamp, cursor) = cursor.name(&name!(",", "timestamp"))?.plain()?;
        let moment = OrderTime::moment(timestamp)?;
        let (movement, customer, delivery_address) = (None, None, None);
        let plain = Plain {
            kind,
            type_offset,
            order_id,
            product_id,
            quantity,
            timestamp,
            moment,
            movement,
            customer,
            delivery_address,
        };
        let cursor = cursor.blank();
        match cursor.byte(b'}') {
            Some(cursor) => Some((plain, cursor)),
            None => cursor.optional_fields(plain),
        }
    }

    #[inline]
    fn rest(self) -> &'a [u8] {
        self.text.as_bytes().get(self.at..).unwrap_or_default()
    }

    #[inline]
    fn behind(self, bytes: usize) -> Self {
        Self { at: self.at + bytes, ..self }
    }

    #[inline]
    fn blank(self) -> Self {
        let mut at = self.at;
        while let Some(b' ' | b'\n' | b'\r' | b'\t') = self.text.as_bytes().get(at) {
            at += 1;
        }
        Self { at, ..self }
    }

    #[inline]
    fn byte(self, byte: u8) -> Option<Self> {
        (self.text.as_bytes().get(self.at) == Some(&byte)).then(|| self.behind(1))
    }

    fn literal(self, bytes: &[u8]) -> Option<Self> {
        self.rest().starts_with(bytes).then(|| self.behind(bytes.len()))
    }

    /// The place behind a field's name and what is before it; `None` where another field follows.
    #[inline(always)]
    fn name(self, name: &Name) -> Option<Self> {
        let rest = self.rest();
        if rest.starts_with(name.compact) {
            let cursor = self.behind(name.compact.len());
            // Python writes a space behind the colon, and one behind the comma.
            let is_blank = self.text.as_bytes().get(cursor.at).is_some_and(|byte| *byte <= b' ');
            return Some(if is_blank { cursor.blank() } else { cursor });
        }
        if rest.starts_with(name.spaced) {
            return Some(self.behind(name.spaced.len()));
        }
        self.name_anyhow(name)
    }

    /// As [`Cursor::name`], with any blanks.
    #[cold]
    fn name_anyhow(self, name: &Name) -> Option<Self> {
        Some(self.blank().literal(name.before)?.blank().literal(name.quoted)?.blank().byte(b':')?.blank())
    }

    /// A string of printable ASCII without escapes.
    #[inline(always)]
    fn plain(self) -> Read<'a, &'a str> {
        let (b'"', inside) = self.rest().split_first()? else { return None };
        self.string(plain_prefix(inside))
    }

    /// A string without escapes in any script.
    #[cold]
    fn text(self) -> Read<'a, &'a str> {
        let (b'"', inside) = self.rest().split_first()? else { return None };
        self.string(inside.iter().position(|byte| *byte < 0x20 || matches!(byte, b'"' | b'\\'))?)
    }

    /// The string that begins here, if it has this length.
    #[inline]
    fn string(self, length: usize) -> Read<'a, &'a str> {
        let start = self.at + 1;
        let end = start + length;
        if self.text.as_bytes().get(end) != Some(&b'"') {
            return None;
        }
        Some((self.text.get(start..end)?, Self { at: end + 1, ..self }))
    }

    #[inline(always)]
    fn id(self) -> Read<'a, &'a str> {
        match self.plain() {
            // Printable ASCII holds no control character, so usually the length is all that there is to check.
            Some((text, behind)) => (!text.is_empty() && text.len() <= ID_MAX).then_some((text, behind)),
            None => self.text().filter(|(text, _)| check_id(text, "").is_ok()),
        }
    }

    /// An integer without a sign, from 1 to the largest quantity. JSON has no leading zeros.
    #[inline(always)]
    fn quantity(self) -> Read<'a, u32> {
        let (mut quantity, mut at) = (0, self.at);
        while let Some(digit @ b'0'..=b'9') = self.text.as_bytes().get(at) {
            quantity = quantity * 10 + u32::from(digit - b'0');
            if quantity == 0 || quantity > QUANTITY_MAX {
                return None;
            }
            at += 1;
        }
        // A fraction or an exponent may follow: then the next field does not, and the general parser looks closer.
        (quantity > 0).then_some((quantity, Self { at, ..self }))
    }

    #[cold]
    fn optional_fields(self, mut plain: Plain<'a>) -> Read<'a, Plain<'a>> {
        let mut cursor = self;
        match plain.kind {
            Kind::Inventory => {
                let (movement, behind) = cursor.name(&name!(",", "movement"))?.plain()?;
                plain.movement = Some(Movement::read(movement.as_bytes())?);
                cursor = behind;
            }
            Kind::Delivery => {
                if let Some(value) = cursor.name(&name!(",", "customer")) {
                    let (customer, behind) = value.record()?;
                    (plain.customer, cursor) = (Some(customer), behind);
                }
                if let Some(value) = cursor.name(&name!(",", "delivery_address")) {
                    let (address, behind) = value.record()?;
                    (plain.delivery_address, cursor) = (Some(address), behind);
                }
            }
        }
        Some((plain, cursor.blank().byte(b'}')?))
    }

    fn particular(self, pointer: &'static str) -> Read<'a, &'a str> {
        match self.plain() {
            Some((text, behind)) => (text.len() <= TEXT_MAX).then_some((text, behind)),
            None => self.text().filter(|(text, _)| check_text(text, pointer).is_ok()),
        }
    }

    /// An object of at least one known text, each at most once.
    fn record<R: Record>(self) -> Read<'a, Box<R>> {
        let mut record = Box::<R>::default();
        let mut cursor = self.byte(b'{')?;
        loop {
            let (name, behind) = cursor.blank().plain()?;
            let (slot, pointer) = record.slot(name)?;
            if slot.is_some() {
                return None;
            }
            let (text, behind) = behind.blank().byte(b':')?.blank().particular(pointer)?;
            *slot = Some(CompactString::new(text));
            let behind = behind.blank();
            match behind.byte(b',') {
                Some(next) => cursor = next,
                None => return Some((record, behind.byte(b'}')?)),
            }
        }
    }
}

#[cfg(test)]
mod tests;
