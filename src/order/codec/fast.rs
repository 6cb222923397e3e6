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
    let mut cursor = Cursor::new(std::str::from_utf8(value).ok()?);
    cursor.blank();
    let plain = cursor.order()?;
    cursor.blank();
    (cursor.at == value.len()).then_some(plain)
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
    let mut cursor = Cursor::new(text);
    let plain = cursor.order()?;
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

struct Cursor<'a> {
    text: &'a str,
    at: usize,
}

impl<'a> Cursor<'a> {
    #[inline]
    fn new(text: &'a str) -> Self {
        Self { text, at: 0 }
    }

    #[inline]
    fn order(&mut self) -> Option<Plain<'a>> {
        let order_id = self.name(&name!("{", "order_id"))?.id()?;
        let product_id = self.name(&name!(",", "product_id"))?.id()?;
        let quantity = self.name(&name!(",", "quantity"))?.quantity()?;
        let type_offset = self.name(&name!(",", "type"))?.at;
        let kind = Kind::read(self.plain()?.as_bytes())?;
        let timestamp = self.name(&name!(",", "timestamp"))?.plain()?;
        let moment = OrderTime::moment(timestamp)?;
        let (movement, customer, delivery_address) = (None, None, None);
        let mut plain = Plain {
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
        self.blank();
        if self.byte(b'}').is_none() {
            self.optional_fields(&mut plain)?;
        }
        Some(plain)
    }

    #[inline]
    fn rest(&self) -> &'a [u8] {
        self.text.as_bytes().get(self.at..).unwrap_or_default()
    }

    #[inline]
    fn blank(&mut self) {
        while let Some(b' ' | b'\n' | b'\r' | b'\t') = self.text.as_bytes().get(self.at) {
            self.at += 1;
        }
    }

    #[inline]
    fn byte(&mut self, byte: u8) -> Option<()> {
        if self.text.as_bytes().get(self.at) != Some(&byte) {
            return None;
        }
        self.at += 1;
        Some(())
    }

    fn literal(&mut self, bytes: &[u8]) -> Option<()> {
        self.rest().strip_prefix(bytes)?;
        self.at += bytes.len();
        Some(())
    }

    /// Moves over a field's name, with what is before it, to its value. Where another field follows the cursor stays.
    #[inline]
    fn name(&mut self, name: &Name) -> Option<&mut Self> {
        let rest = self.rest();
        if rest.starts_with(name.compact) {
            self.at += name.compact.len();
            // Python writes a space behind the colon, and one behind the comma.
            if self.text.as_bytes().get(self.at).is_some_and(|byte| *byte <= b' ') {
                self.blank();
            }
            return Some(self);
        }
        if rest.starts_with(name.spaced) {
            self.at += name.spaced.len();
            return Some(self);
        }
        self.name_anyhow(name)
    }

    /// As [`Cursor::name`], with any blanks.
    #[cold]
    fn name_anyhow(&mut self, name: &Name) -> Option<&mut Self> {
        let start = self.at;
        let found = self.blank_parts(name);
        if found.is_none() {
            self.at = start;
        }
        found.map(|()| self)
    }

    fn blank_parts(&mut self, name: &Name) -> Option<()> {
        self.blank();
        self.literal(name.before)?;
        self.blank();
        self.literal(name.quoted)?;
        self.blank();
        self.byte(b':')?;
        self.blank();
        Some(())
    }

    /// A string of printable ASCII without escapes. Where it is none the cursor stays.
    #[inline]
    fn plain(&mut self) -> Option<&'a str> {
        let (b'"', inside) = self.rest().split_first()? else { return None };
        self.string(plain_prefix(inside))
    }

    /// A string without escapes in any script.
    #[cold]
    fn text(&mut self) -> Option<&'a str> {
        let (b'"', inside) = self.rest().split_first()? else { return None };
        self.string(inside.iter().position(|byte| *byte < 0x20 || matches!(byte, b'"' | b'\\'))?)
    }

    /// The string that begins here, if it has this length.
    #[inline]
    fn string(&mut self, length: usize) -> Option<&'a str> {
        let start = self.at + 1;
        let end = start + length;
        if self.text.as_bytes().get(end) != Some(&b'"') {
            return None;
        }
        self.at = end + 1;
        self.text.get(start..end)
    }

    #[inline]
    fn id(&mut self) -> Option<&'a str> {
        match self.plain() {
            // Printable ASCII holds no control character, so usually the length is all that there is to check.
            Some(text) => (!text.is_empty() && text.len() <= ID_MAX).then_some(text),
            None => self.text().filter(|text| check_id(text, "").is_ok()),
        }
    }

    /// An integer without a sign, from 1 to the largest quantity. JSON has no leading zeros.
    #[inline]
    fn quantity(&mut self) -> Option<u32> {
        let mut quantity = 0;
        while let Some(digit @ b'0'..=b'9') = self.text.as_bytes().get(self.at) {
            quantity = quantity * 10 + u32::from(digit - b'0');
            if quantity == 0 || quantity > QUANTITY_MAX {
                return None;
            }
            self.at += 1;
        }
        // A fraction or an exponent may follow: then the next field does not, and the general parser looks closer.
        (quantity > 0).then_some(quantity)
    }

    #[cold]
    fn optional_fields(&mut self, plain: &mut Plain<'a>) -> Option<()> {
        match plain.kind {
            Kind::Inventory => {
                plain.movement = Some(Movement::read(self.name(&name!(",", "movement"))?.plain()?.as_bytes())?);
            }
            Kind::Delivery => {
                if let Some(cursor) = self.name(&name!(",", "customer")) {
                    plain.customer = Some(cursor.record()?);
                }
                if let Some(cursor) = self.name(&name!(",", "delivery_address")) {
                    plain.delivery_address = Some(cursor.record()?);
                }
            }
        }
        self.blank();
        self.byte(b'}')
    }

    fn particular(&mut self, pointer: &'static str) -> Option<&'a str> {
        match self.plain() {
            Some(text) => (text.len() <= TEXT_MAX).then_some(text),
            None => self.text().filter(|text| check_text(text, pointer).is_ok()),
        }
    }

    /// An object of at least one known text, each at most once.
    fn record<R: Record>(&mut self) -> Option<Box<R>> {
        let mut record = Box::<R>::default();
        self.byte(b'{')?;
        loop {
            self.blank();
            let name = self.plain()?;
            let (slot, pointer) = record.slot(name)?;
            if slot.is_some() {
                return None;
            }
            self.blank();
            self.byte(b':')?;
            self.blank();
            *slot = Some(CompactString::new(self.particular(pointer)?));
            self.blank();
            if self.byte(b',').is_none() {
                self.byte(b'}')?;
                return Some(record);
            }
        }
    }
}

#[cfg(test)]
mod tests;
