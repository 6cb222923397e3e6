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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::consumer::sample::batch_of;
    use crate::wire::compression::Decompressor;
    use crate::wire::record_batch::{BatchReader, Header};

    fn kept(audience: Audience) -> Tales {
        let headers =
            [Header { key: b"other", value: None }, Header { key: b"idempotency-key", value: Some(b"of1:a:7") }];
        let batch = BatchReader::new(batch_of(40, &[b"one", b"", b"three"], &headers)).next().unwrap().unwrap();
        let mut tales = Tales::new(audience);
        for record in batch.records(&mut Decompressor::new()).unwrap() {
            tales.keep(&record.unwrap());
        }
        tales
    }

    #[test]
    fn records_are_told_as_they_were() {
        let tales = kept(Audience::Observer);
        let told: Vec<_> = tales.iter().map(|told| (told.offset, told.key, told.value, told.identity)).collect();
        let identity = Some(&b"of1:a:7"[..]);
        assert_eq!(told[0], (40, Some(&b"k0"[..]), Some(&b"one"[..]), identity));
        assert_eq!(told[1], (41, Some(&b"k1"[..]), Some(&b""[..]), identity));
        assert_eq!(told[2], (42, Some(&b"k2"[..]), Some(&b"three"[..]), identity));
    }

    #[test]
    fn what_is_taken_back_is_not_told() {
        let mut tales = kept(Audience::Observer);
        tales.truncate(1);
        assert_eq!(tales.iter().map(|told| told.offset).collect::<Vec<_>>(), [40]);
        assert_eq!(tales.bytes.len(), b"k0oneof1:a:7".len());
    }

    #[test]
    fn without_an_audience_only_the_last_time_is_kept() {
        let tales = kept(Audience::Nobody);
        assert_eq!((tales.iter().count(), tales.last_timestamp()), (0, Some(1_002)));
    }
}
