//! What the observer is told of records after their effects are committed.
//!
//! By then the orders belong to the store, so the bytes are kept here, all records of a part in one buffer.
//! Without an observer nothing is kept but the last time.

use crate::order::IDENTITY_HEADER;
use crate::wire::record_batch::Record;

/// Whether anybody listens.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Audience {
    Observer,
    Nobody,
}

/// Records of one part of a transaction.
#[derive(Debug)]
pub(crate) struct Tales {
    audience: Audience,
    bytes: Vec<u8>,
    tales: Vec<Tale>,
    last_timestamp: Option<i64>,
}

#[derive(Clone, Copy, Debug)]
struct Tale {
    offset: i64,
    timestamp: i64,
    start: usize,
    key: Option<u32>,
    value: Option<u32>,
    identity: Option<u32>,
}

/// A record, borrowed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Told<'t> {
    pub(crate) offset: i64,
    pub(crate) timestamp: i64,
    pub(crate) key: Option<&'t [u8]>,
    pub(crate) value: Option<&'t [u8]>,
    pub(crate) identity: Option<&'t [u8]>,
}

impl Tales {
    /// Nothing kept yet.
    pub(crate) fn new(audience: Audience) -> Self {
        Self { audience, bytes: Vec::new(), tales: Vec::new(), last_timestamp: None }
    }

    /// Keeps a record's bytes.
    pub(crate) fn keep(&mut self, record: &Record<'_>) {
        self.last_timestamp = Some(record.timestamp);
        if self.audience == Audience::Nobody {
            return;
        }
        let identity = record.headers.named(IDENTITY_HEADER.as_bytes()).next().flatten();
        let start = self.bytes.len();
        let mut put = |field: Option<&[u8]>| {
            field.map(|bytes| {
                self.bytes.extend_from_slice(bytes);
                bytes.len() as u32
            })
        };
        let (key, value, identity) = (put(record.key), put(record.value), put(identity));
        self.tales.push(Tale { offset: record.offset, timestamp: record.timestamp, start, key, value, identity });
    }

    /// Drops all but the first `count`.
    pub(crate) fn truncate(&mut self, count: usize) {
        if let Some(first) = self.tales.get(count) {
            self.bytes.truncate(first.start);
            self.tales.truncate(count);
        }
    }

    /// The records, in their order.
    pub(crate) fn iter(&self) -> impl Iterator<Item = Told<'_>> {
        self.tales.iter().map(|tale| {
            let mut rest = self.bytes.get(tale.start..).unwrap_or_default();
            let mut field = |length: Option<u32>| {
                let (field, behind) = rest.split_at_checked(length? as usize)?;
                rest = behind;
                Some(field)
            };
            let (key, value, identity) = (field(tale.key), field(tale.value), field(tale.identity));
            Told { offset: tale.offset, timestamp: tale.timestamp, key, value, identity }
        })
    }

    /// The timestamp of the last record.
    pub(crate) fn last_timestamp(&self) -> Option<i64> {
        self.last_timestamp
    }
}
