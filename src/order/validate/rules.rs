//! Rules: what a single value of an order must be.

use crate::order::quote::quoted;
use crate::order::{Violation, ViolationCode};

/// The most bytes of `order_id` and `product_id`.
pub const ID_MAX: usize = 200;

/// The most bytes of a customer's or an address's text.
pub const TEXT_MAX: usize = 1_000;

/// The largest `quantity`.
pub const QUANTITY_MAX: u32 = 1_000_000;

/// Which order type a value is of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::order) enum Kind {
    Inventory,
    Delivery,
}

impl Kind {
    /// Reads the field `type`, in any case.
    #[inline]
    pub(in crate::order) fn read(text: &[u8]) -> Option<Self> {
        match text {
            b"inventory" => Some(Self::Inventory),
            b"delivery" => Some(Self::Delivery),
            _ if text.eq_ignore_ascii_case(b"inventory") => Some(Self::Inventory),
            _ if text.eq_ignore_ascii_case(b"delivery") => Some(Self::Delivery),
            _ => None,
        }
    }
}

/// The violation of an order of another type than the one that is read. Files meet it often, so it allocates nothing.
pub(in crate::order) fn other_type(kind: Kind, offset: usize) -> Violation {
    let sentence = match kind {
        Kind::Inventory => "the order is of type `inventory`",
        Kind::Delivery => "the order is of type `delivery`",
    };
    Violation::new(ViolationCode::TypeOther, sentence).at("/type").offset_by(offset)
}

/// Whether a text is an id: `order_id`, `product_id`.
pub(in crate::order) fn check_id(text: &str, pointer: &'static str) -> Result<(), Violation> {
    let violation = if text.is_empty() {
        Violation::new(ViolationCode::IdEmpty, "the id is empty")
    } else if text.len() > ID_MAX {
        Violation::new(
            ViolationCode::IdLength,
            format!("the id is {} bytes long; at most {ID_MAX} are read", text.len()),
        )
    } else if text.contains(char::is_control) {
        Violation::new(ViolationCode::IdControl, format!("the id {} holds a control character", quoted(text)))
    } else {
        return Ok(());
    };
    Err(violation.at(pointer))
}

/// Whether a text can be a customer's or an address's. Tabs and line ends are allowed. The sentence does not quote it.
pub(in crate::order) fn check_text(text: &str, pointer: &'static str) -> Result<(), Violation> {
    let violation = if text.len() > TEXT_MAX {
        let sentence = format!("the text is {} bytes long; at most {TEXT_MAX} are read", text.len());
        Violation::new(ViolationCode::FieldLength, sentence)
    } else if text.contains(|character: char| character.is_control() && !matches!(character, '\t' | '\n' | '\r')) {
        Violation::new(ViolationCode::FieldControl, "the text holds a control character")
    } else {
        return Ok(());
    };
    Err(violation.at(pointer))
}

/// Whether a number can be a quantity.
pub(in crate::order) fn check_quantity(quantity: u32) -> Result<(), Violation> {
    if (1..=QUANTITY_MAX).contains(&quantity) { Ok(()) } else { Err(out_of_range(&quantity.to_string())) }
}

/// Reads the JSON value of `quantity`.
pub(super) fn read_quantity(raw: &str) -> Result<u32, Violation> {
    let digits = raw.strip_prefix('-').unwrap_or(raw);
    if !digits.bytes().all(|byte| byte.is_ascii_digit()) {
        let sentence = format!("{} is not an integer", quoted(raw));
        return Err(Violation::new(ViolationCode::QuantityType, sentence).at("/quantity"));
    }
    let quantity = raw.parse().map_err(|_| out_of_range(raw))?;
    check_quantity(quantity)?;
    Ok(quantity)
}

fn out_of_range(digits: &str) -> Violation {
    let shown = digits.get(..20).map_or_else(|| digits.to_owned(), |start| format!("{start}…"));
    Violation::new(ViolationCode::QuantityRange, format!("{shown} is not in 1 to 1,000,000")).at("/quantity")
}
