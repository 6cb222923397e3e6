//! Orders of a file: each entry read as an order of one type, filtered out, or rejected with its place.

use std::fmt;
use std::io::Read;
use std::marker::PhantomData;

use super::entries::EntryReader;
use super::raw_entry::RawEntry;
use super::window::Spot;
use crate::Result;
use crate::order::{Identity, Order, Source, Violation, ViolationCode};

/// What an entry of an order file is to a reader of one order type.
#[derive(Clone, Debug, PartialEq)]
pub enum Entry<O> {
    /// An order of this type.
    Order(Located<O>),
    /// An order of another type.
    Filtered {
        /// Which entry of the file it is, from 0.
        index: u64,
    },
    /// Not an order.
    Rejected(Rejection),
}

/// An order with its place in the file.
#[derive(Clone, Debug, PartialEq)]
pub struct Located<O> {
    /// The order. Where the reader has a source it has its identity.
    pub order: O,
    /// Which entry of the file it is, from 0, counting good and bad ones of every type.
    pub index: u64,
    /// The line in which the entry begins, from 1.
    pub line: u64,
    /// The column in which the entry begins, from 1, in bytes.
    pub column: u64,
}

/// An entry that is not an order, or what is wrong with the file behind its last entry.
///
/// `Display` is `LINE:COLUMN: CODE: sentence (pointer)`, to be put behind a file's name and a colon.
#[derive(Clone, Debug, PartialEq)]
pub struct Rejection {
    /// Which entry of the file it is, from 0, counting good and bad ones of every type.
    pub index: u64,
    /// The line of the offending value, from 1.
    pub line: u64,
    /// The column of the offending value, from 1, in bytes.
    pub column: u64,
    /// The line in which the entry begins, from 1.
    pub entry_line: u64,
    /// The column in which the entry begins, from 1, in bytes.
    pub entry_column: u64,
    /// The rule that was broken.
    pub violation: Violation,
    /// The entry's bytes.
    pub bytes: Vec<u8>,
    /// Whether `bytes` is only the entry's beginning.
    pub cut: bool,
}

impl Rejection {
    pub(super) fn new(entry: &RawEntry<'_>, violation: Violation) -> Self {
        let (line, column) = entry.place_of(violation.offset());
        Self {
            index: entry.index(),
            line,
            column,
            entry_line: entry.line(),
            entry_column: entry.column(),
            violation,
            bytes: entry.bytes().to_vec(),
            cut: entry.is_cut(),
        }
    }

    /// The entry's bytes on one line, for a file of rejected entries: line ends stand as spaces.
    #[must_use]
    pub fn to_line(&self) -> Vec<u8> {
        self.bytes.iter().map(|byte| if matches!(byte, b'\n' | b'\r') { b' ' } else { *byte }).collect()
    }
}

impl fmt::Display for Rejection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}: {}", self.line, self.column, self.violation)
    }
}

/// Reads the orders of one type from a file, in constant memory.
///
/// ```
/// use orderflow::order::{DeliveryOrder, Entry, Order, OrderReader, Source};
/// let file = br#"{"order_id": "1", "product_id": "2", "quantity": 3, "type": "inventory", "timestamp": "5/30/2023"}
/// {"order_id": "1", "product_id": "2", "quantity": 3, "type": "delivery", "timestamp": "5/30/2023"}
/// {"order_id": "1", "product_id": "2", "quantity": 0, "type": "delivery", "timestamp": "5/30/2023"}"#;
/// for entry in OrderReader::<DeliveryOrder, _>::new(&file[..]).with_source(Source::of_digest([7; 32])) {
///     match entry? {
///         Entry::Filtered { index } => assert_eq!(index, 0),
///         Entry::Order(located) => {
///             assert_eq!(located.order.identity().unwrap().to_string(), "of1:BwcHBwcHBwcHBwcHBwcHBw:1");
///         }
///         Entry::Rejected(rejection) => {
///             assert_eq!(rejection.to_string(), "3:50: ORD-QTY-RANGE: 0 is not in 1 to 1,000,000 (/quantity)");
///         }
///     }
/// }
/// # Ok::<(), orderflow::Error>(())
/// ```
pub struct OrderReader<O, R> {
    entries: EntryReader<R>,
    source: Option<Source>,
    orders: PhantomData<fn() -> O>,
}

impl<O: Order, R: Read> OrderReader<O, R> {
    /// Reads from `input`, which needs no buffer of its own.
    pub fn new(input: R) -> Self {
        Self::of_entries(EntryReader::new(input))
    }

    /// Reads from entries with settings of their own.
    pub fn of_entries(entries: EntryReader<R>) -> Self {
        Self { entries, source: None, orders: PhantomData }
    }

    /// Gives each order its identity: the source and the entry's index.
    #[must_use]
    pub fn with_source(mut self, source: Source) -> Self {
        self.source = Some(source);
        self
    }

    /// The entries that are read.
    #[must_use]
    pub fn entries(&self) -> &EntryReader<R> {
        &self.entries
    }

    /// The end of a followed file is its end, as [`EntryReader::end_here`].
    pub fn end_here(&mut self) {
        self.entries.end_here();
    }

    /// Gives back the entries, and with them the input.
    pub fn into_entries(self) -> EntryReader<R> {
        self.entries
    }
}

/// An item is an error (`ORD-INPUT`) where the input cannot be read. Behind `None` there may be more only where a file is
/// followed ([`EntryReader::follow`]).
impl<O: Order, R: Read> Iterator for OrderReader<O, R> {
    type Item = Result<Entry<O>>;

    #[inline]
    fn next(&mut self) -> Option<Self::Item> {
        let source = self.source;
        if let Some((order, index, spot)) = self.entries.next_read(usual::<O>) {
            return Some(Ok(match order {
                Some(order) => placed(order, index, spot, source),
                None => Entry::Filtered { index },
            }));
        }
        match self.entries.next_entry() {
            Ok(entry) => Some(Ok(judge(&entry?, source))),
            Err(error) => Some(Err(error)),
        }
    }
}

/// The order that the bytes begin with, or `None` for one of another type, with its length.
#[inline]
fn usual<O: Order>(bytes: &[u8]) -> Option<(Option<O>, usize)> {
    match O::decode_prefix(bytes)? {
        (Ok(order), length) => Some((Some(order), length)),
        (Err(violation), length) if violation.code() == ViolationCode::TypeOther => Some((None, length)),
        (Err(_), _) => None,
    }
}

#[inline]
fn judge<O: Order>(entry: &RawEntry<'_>, source: Option<Source>) -> Entry<O> {
    let read = match entry.violation() {
        Some(violation) => Err(violation.clone()),
        None => O::decode(entry.bytes()),
    };
    match read {
        Ok(order) => placed(order, entry.index(), entry.spot, source),
        Err(violation) if violation.code() == ViolationCode::TypeOther => Entry::Filtered { index: entry.index() },
        Err(violation) => Entry::Rejected(Rejection::new(entry, violation)),
    }
}

#[inline]
fn placed<O: Order>(mut order: O, index: u64, spot: Spot, source: Option<Source>) -> Entry<O> {
    if let Some(source) = source {
        // A file of 2^48 entries would have at least as many bytes: no index comes near the limit.
        order.set_identity(Identity::Numbered { source, index });
    }
    Entry::Order(Located { order, index, line: spot.line, column: spot.column })
}

#[cfg(test)]
mod tests;
