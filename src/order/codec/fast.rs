//! The fast path: known fields in their usual order, read without a general parser.
//!
//! It either reads a whole, valid order or gives `None`, and then the general parser says what is wrong or unusual. So
//! it holds no judgement of its own: a property test shows that both agree on every input.

use compact_str::CompactString;

use super::{Core, plain_prefix};
use crate::order::particulars::Record;
use crate::order::validate::{Draft, ID_MAX, Kind, QUANTITY_MAX, check_id, check_text};
use crate::order::{Movement, OrderTime};

/// Reads an order whose fields are the known ones in their usual order; `None`: look closer.
#[inline]
pub(in crate::order) fn read(value: &[u8]) -> Option<Draft> {
    let mut cursor = Cursor { rest: value };
    cursor.blank();
    cursor.byte(b'{')?;
    let order_id = cursor.field(b"\"order_id\"")?.id()?;
    let product_id = cursor.next_field(b"\"product_id\"")?.id()?;
    let quantity = cursor.next_field(b"\"quantity\"")?.quantity()?;
    cursor.next_field(b"\"type\"")?;
    let type_offset = value.len() - cursor.rest.len();
    let kind = Kind::read(cursor.plain()?.as_bytes())?;
    let timestamp = OrderTime::read(cursor.next_field(b"\"timestamp\"")?.plain()?)?;
    let core = Core { order_id, product_id, quantity, timestamp, identity: None, extra: None };
    let mut draft = Draft { kind, type_offset, core, movement: None, customer: None, delivery_address: None };
    cursor.blank();
    if cursor.byte(b'}').is_none() {
        cursor.optional_fields(&mut draft)?;
    }
    cursor.blank();
    cursor.rest.is_empty().then_some(draft)
}

struct Cursor<'a> {
    rest: &'a [u8],
}

impl<'a> Cursor<'a> {
    #[inline]
    fn blank(&mut self) {
        while let [b' ' | b'\n' | b'\r' | b'\t', rest @ ..] = self.rest {
            self.rest = rest;
        }
    }

    #[inline]
    fn byte(&mut self, byte: u8) -> Option<()> {
        let (first, rest) = self.rest.split_first()?;
        if *first != byte {
            return None;
        }
        self.rest = rest;
        Some(())
    }

    /// Moves over this field's name to its value.
    #[inline]
    fn field(&mut self, quoted_name: &[u8]) -> Option<&mut Self> {
        self.blank();
        self.rest = self.rest.strip_prefix(quoted_name)?;
        self.blank();
        self.byte(b':')?;
        self.blank();
        Some(self)
    }

    #[inline]
    fn next_field(&mut self, quoted_name: &[u8]) -> Option<&mut Self> {
        self.blank();
        self.byte(b',')?;
        self.field(quoted_name)
    }

    /// A string of printable ASCII without escapes.
    #[inline]
    fn plain(&mut self) -> Option<&'a str> {
        self.byte(b'"')?;
        let (text, rest) = self.rest.split_at_checked(plain_prefix(self.rest))?;
        self.rest = rest.strip_prefix(b"\"")?;
        std::str::from_utf8(text).ok()
    }

    /// A string without escapes in any script.
    fn text(&mut self) -> Option<&'a str> {
        let start = self.rest;
        if let Some(text) = self.plain() {
            return Some(text);
        }
        let inside = start.strip_prefix(b"\"")?;
        let end = inside.iter().position(|byte| *byte < 0x20 || matches!(byte, b'"' | b'\\'))?;
        let (text, rest) = inside.split_at_checked(end)?;
        self.rest = rest.strip_prefix(b"\"")?;
        std::str::from_utf8(text).ok()
    }

    #[inline]
    fn id(&mut self) -> Option<CompactString> {
        let start = self.rest;
        let text = match self.plain() {
            // Printable ASCII holds no control character, so the length is all that remains to be checked.
            Some(text) if !text.is_empty() && text.len() <= ID_MAX => text,
            _ => {
                self.rest = start;
                let text = self.text()?;
                check_id(text, "").ok()?;
                text
            }
        };
        Some(CompactString::new(text))
    }

    /// An integer without a sign, from 1 to the largest quantity. JSON has no leading zeros.
    #[inline]
    fn quantity(&mut self) -> Option<u32> {
        let mut quantity = 0;
        while let [digit @ b'0'..=b'9', rest @ ..] = self.rest {
            quantity = quantity * 10 + u32::from(digit - b'0');
            if quantity == 0 || quantity > QUANTITY_MAX {
                return None;
            }
            self.rest = rest;
        }
        // A fraction or an exponent may follow: then the next field does not, and the general parser looks closer.
        (quantity > 0).then_some(quantity)
    }

    fn optional_fields(&mut self, draft: &mut Draft) -> Option<()> {
        match draft.kind {
            Kind::Inventory => {
                draft.movement = Some(Movement::read(self.next_field(b"\"movement\"")?.plain()?.as_bytes())?);
            }
            Kind::Delivery => {
                if let Some(cursor) = self.try_next_field(b"\"customer\"") {
                    draft.customer = Some(cursor.record()?);
                }
                if let Some(cursor) = self.try_next_field(b"\"delivery_address\"") {
                    draft.delivery_address = Some(cursor.record()?);
                }
            }
        }
        self.blank();
        self.byte(b'}')
    }

    /// As [`Cursor::next_field`], but where another field follows the cursor stays.
    fn try_next_field(&mut self, quoted_name: &[u8]) -> Option<&mut Self> {
        let start = self.rest;
        if self.next_field(quoted_name).is_none() {
            self.rest = start;
            return None;
        }
        Some(self)
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
            let text = self.text()?;
            check_text(text, pointer).ok()?;
            *slot = Some(CompactString::new(text));
            self.blank();
            match self.rest.split_first()? {
                (b',', rest) => self.rest = rest,
                (b'}', rest) => {
                    self.rest = rest;
                    return Some(record);
                }
                _ => return None,
            }
        }
    }
}

#[cfg(test)]
mod tests;
