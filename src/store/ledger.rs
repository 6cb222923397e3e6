//! The packed rows in which a transaction keeps what it applied of one partition.
//!
//! One row an order would cost ten times more time and space; here an order takes about 20 bytes.
//! Offsets, timestamps and identities are differences to the order before, and a source is written
//! once a row. What an effect adds to an order follows its head. A row is ended before it is larger
//! than a page of the store, as larger rows are rounded up to a power of two of pages.
//!
//! ```text
//!  row   = form, topic, partition, version, order*
//!  order = offset, timestamp, identity, order id, what the effect adds
//! ```
//! The form says what a row's lines are: orders (1), or moves of deliveries (2), which have a row of their own.

use std::fmt;

use super::delivery_line::MoveLine;
use super::pack::{Unpack, put_bytes, put_i64, put_u64};
use super::{EventId, Topic};
use crate::Result;
use crate::order::{Identity, Source};

const ORDERS: u8 = 1;
const MOVES: u8 = 2;
/// From this size on no order is added to a row: the last one should still fit into a page of 4,096 bytes.
const ROW_BYTES: usize = 3_600;

const NO_IDENTITY: u64 = 0;
const OPAQUE: u64 = 1;
const NEW_SOURCE: u64 = 2;
const KNOWN_SOURCE: u64 = 3;
/// How many sources a row remembers; a further one is written out each time.
const KNOWN_MAX: usize = 32;

/// What stands before a row's orders.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Head {
    /// The store's number of the topic.
    pub(crate) topic: u32,
    pub(crate) partition: i32,
    /// The position's version after the row's transaction.
    pub(crate) version: u64,
    pub(crate) lines: Lines,
}

/// What the lines of a row are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Lines {
    /// Orders that were applied.
    Orders,
    /// Moves that deliveries made.
    Moves,
}

/// Writes one row.
#[derive(Debug)]
pub(crate) struct LedgerWriter {
    head: Head,
    out: Vec<u8>,
    orders: u64,
    offset: i64,
    timestamp: i64,
    sources: Vec<(Source, u64)>,
    key: Vec<u8>,
}

impl LedgerWriter {
    /// A row that uses `buffer`.
    pub(crate) fn new(head: Head, buffer: Vec<u8>) -> Self {
        let mut row =
            Self { head, out: buffer, orders: 0, offset: 0, timestamp: 0, sources: Vec::new(), key: Vec::new() };
        row.begin();
        row
    }

    /// Begins another row of the same head.
    pub(crate) fn begin(&mut self) {
        (self.orders, self.offset, self.timestamp) = (0, 0, 0);
        self.sources.clear();
        self.out.clear();
        self.out.push(match self.head.lines {
            Lines::Orders => ORDERS,
            Lines::Moves => MOVES,
        });
        put_u64(u64::from(self.head.topic), &mut self.out);
        put_i64(i64::from(self.head.partition), &mut self.out);
        put_u64(self.head.version, &mut self.out);
    }

    /// Whether the next order belongs into another row.
    #[inline]
    pub(crate) fn is_full(&self) -> bool {
        self.out.len() >= ROW_BYTES
    }

    /// Begins an order. What the effect adds is appended to what this returns.
    pub(crate) fn order(
        &mut self,
        offset: i64,
        timestamp: i64,
        identity: Option<&Identity>,
        order_id: &str,
    ) -> &mut Vec<u8> {
        put_i64(offset.wrapping_sub(self.offset), &mut self.out);
        put_i64(timestamp.wrapping_sub(self.timestamp), &mut self.out);
        (self.offset, self.timestamp) = (offset, timestamp);
        self.orders += 1;
        self.identity(identity);
        put_bytes(order_id.as_bytes(), &mut self.out);
        &mut self.out
    }

    /// How many orders the row has.
    pub(crate) fn orders(&self) -> u64 {
        self.orders
    }

    pub(crate) fn bytes(&self) -> &[u8] {
        &self.out
    }

    /// Gives the buffer back.
    pub(crate) fn into_buffer(self) -> Vec<u8> {
        self.out
    }

    fn identity(&mut self, identity: Option<&Identity>) {
        match identity {
            None => put_u64(NO_IDENTITY, &mut self.out),
            Some(Identity::Numbered { source, index }) => self.numbered(source, *index),
            Some(opaque) => {
                self.key.clear();
                opaque.write_store_key(&mut self.key);
                put_u64(OPAQUE, &mut self.out);
                put_bytes(&self.key, &mut self.out);
            }
        }
    }

    fn numbered(&mut self, source: &Source, index: u64) {
        let known = self.sources.iter_mut().zip(KNOWN_SOURCE..).find(|((other, _), _)| other == source);
        if let Some(((_, last), code)) = known {
            put_u64(code, &mut self.out);
            put_i64(index.wrapping_sub(*last) as i64, &mut self.out);
            *last = index;
            return;
        }
        put_u64(NEW_SOURCE, &mut self.out);
        put_bytes(source.as_str().as_bytes(), &mut self.out);
        put_u64(index, &mut self.out);
        if self.sources.len() < KNOWN_MAX {
            self.sources.push((*source, index));
        }
    }
}

/// Reads one row.
#[derive(Debug)]
pub(crate) struct LedgerReader<'a> {
    head: Head,
    row: Unpack<'a>,
    offset: i64,
    timestamp: i64,
    sources: Vec<(Source, u64)>,
}

/// The head of an order in a row.
#[derive(Debug)]
pub(crate) struct Line<'a> {
    pub(crate) offset: i64,
    pub(crate) timestamp: i64,
    pub(crate) identity: Option<Kept<'a>>,
    pub(crate) order_id: &'a str,
}

/// An identity as the ledger keeps it.
#[derive(Debug)]
pub(crate) enum Kept<'a> {
    /// Our own form.
    Numbered(Identity),
    /// Every other: its key in the store, which for a long value is its digest.
    Opaque(&'a [u8]),
}

impl fmt::Display for Kept<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Numbered(identity) => identity.fmt(f),
            Self::Opaque([0, value @ ..]) => match Identity::from_header(value) {
                Ok(identity) => identity.fmt(f),
                Err(_) => Ok(()),
            },
            Self::Opaque([_, digest @ ..]) => {
                f.write_str("sha256:")?;
                digest.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
            }
            Self::Opaque([]) => Ok(()),
        }
    }
}

impl Line<'_> {
    /// What the order's delivery is called.
    pub(crate) fn event_id(&self, topic: &Topic, partition: i32) -> EventId {
        match &self.identity {
            Some(Kept::Opaque(key)) => EventId::of_store_key(key),
            Some(Kept::Numbered(identity)) => EventId::of(Some(identity), topic, partition, self.offset),
            None => EventId::of(None, topic, partition, self.offset),
        }
    }
}

impl<'a> LedgerReader<'a> {
    pub(crate) fn new(row: &'a [u8]) -> Result<Self> {
        let mut row = Unpack::new(row, "a row of the ledger");
        let lines = match row.byte()? {
            ORDERS => Lines::Orders,
            MOVES => Lines::Moves,
            _ => return Err(row.broken()),
        };
        let head = Head { topic: row.u32()?, partition: row.i32()?, version: row.u64()?, lines };
        Ok(Self { head, row, offset: 0, timestamp: 0, sources: Vec::new() })
    }

    pub(crate) fn head(&self) -> Head {
        self.head
    }

    /// The next order's head. What the effect added is read from [`LedgerReader::rest`] before the next call.
    pub(crate) fn line(&mut self) -> Result<Option<Line<'a>>> {
        if self.row.is_empty() {
            return Ok(None);
        }
        self.offset = self.offset.wrapping_add(self.row.i64()?);
        self.timestamp = self.timestamp.wrapping_add(self.row.i64()?);
        let identity = self.identity()?;
        let order_id = self.row.text()?;
        Ok(Some(Line { offset: self.offset, timestamp: self.timestamp, identity, order_id }))
    }

    /// What follows the head of an order.
    pub(crate) fn rest(&mut self) -> &mut Unpack<'a> {
        &mut self.row
    }

    /// Passes over what follows the head of a line; `order` does so for an order.
    pub(crate) fn skip(&mut self, order: impl FnOnce(&mut Unpack<'_>) -> Result<()>) -> Result<()> {
        match self.head.lines {
            Lines::Orders => order(&mut self.row),
            Lines::Moves => MoveLine::read(&mut self.row).map(drop),
        }
    }

    fn identity(&mut self) -> Result<Option<Kept<'a>>> {
        let (source, index) = match self.row.u64()? {
            NO_IDENTITY => return Ok(None),
            OPAQUE => return self.row.bytes().map(|key| Some(Kept::Opaque(key))),
            NEW_SOURCE => {
                let source: Source = self.row.text()?.parse().map_err(|_| self.row.broken())?;
                let index = self.row.u64()?;
                if self.sources.len() < KNOWN_MAX {
                    self.sources.push((source, index));
                }
                (source, index)
            }
            known => {
                let difference = self.row.i64()?;
                let place = usize::try_from(known - KNOWN_SOURCE).ok();
                let known = place.and_then(|place| self.sources.get_mut(place)).ok_or_else(|| self.row.broken())?;
                known.1 = known.1.wrapping_add(difference as u64);
                *known
            }
        };
        let identity = Identity::numbered(source, index).map_err(|_| self.row.broken())?;
        Ok(Some(Kept::Numbered(identity)))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::ErrorCode;

    const HEAD: Head = Head { topic: 3, partition: 5, version: 9, lines: Lines::Orders };

    fn identities() -> impl Strategy<Value = Option<Identity>> {
        prop_oneof![
            Just(None),
            (0_u8..40, 0_u64..1 << 48)
                .prop_map(|(name, index)| { Some(Identity::numbered(Source::of_digest([name; 32]), index).unwrap()) }),
            "[a-z]{1,140}".prop_map(|text| Some(Identity::opaque(text).unwrap())),
        ]
    }

    fn kept(identity: &Identity) -> String {
        match identity {
            Identity::Opaque(bytes) if bytes.len() > 128 => {
                let mut key = Vec::new();
                identity.write_store_key(&mut key);
                key[1..].iter().fold("sha256:".to_owned(), |text, byte| format!("{text}{byte:02x}"))
            }
            _ => identity.to_string(),
        }
    }

    proptest! {
        #[test]
        fn a_row_is_read_as_it_was_written(
            orders in prop::collection::vec((any::<i64>(), any::<i64>(), identities(), "[0-9é]{0,9}", any::<u64>()), 0..60),
        ) {
            let mut writer = LedgerWriter::new(HEAD, vec![1, 2, 3]);
            for (offset, timestamp, identity, order_id, added) in &orders {
                put_u64(*added, writer.order(*offset, *timestamp, identity.as_ref(), order_id));
            }
            prop_assert_eq!(writer.orders(), orders.len() as u64);
            let row = writer.into_buffer();
            let mut reader = LedgerReader::new(&row).unwrap();
            prop_assert_eq!(reader.head(), HEAD);
            for (offset, timestamp, identity, order_id, added) in &orders {
                let line = reader.line().unwrap().unwrap();
                prop_assert_eq!((line.offset, line.timestamp, line.order_id), (*offset, *timestamp, order_id.as_str()));
                prop_assert_eq!(line.identity.as_ref().map(ToString::to_string), identity.as_ref().map(kept));
                let topic = Topic::new(crate::place::TopicId::NONE, "t");
                prop_assert_eq!(line.event_id(&topic, 5), EventId::of(identity.as_ref(), &topic, 5, *offset));
                prop_assert_eq!(reader.rest().u64().unwrap(), *added);
            }
            prop_assert!(reader.line().unwrap().is_none());
        }

        #[test]
        fn hostile_bytes_give_an_error_or_lines(bytes in prop::collection::vec(any::<u8>(), 0..80)) {
            let mut row = vec![ORDERS];
            row.extend(bytes);
            if let Ok(mut reader) = LedgerReader::new(&row) {
                while let Ok(Some(_)) = reader.line() {}
            }
        }
    }

    #[test]
    fn a_row_of_another_form_is_refused() {
        assert_eq!(LedgerReader::new(&[MOVES + 1, 0, 0, 0]).unwrap_err().code(), ErrorCode::StoreCorrupt);
    }
}
