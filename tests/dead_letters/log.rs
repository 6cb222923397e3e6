//! Records with all their parts, written to a broker's log and read from it.
#![allow(dead_code, reason = "each test program uses a part of it")]

use bytes::Bytes;
use orderflow::broker::{DevBroker, Spot};
use orderflow::wire::compression::{Compression, Compressor, Decompressor};
use orderflow::wire::record_batch::{BatchBuilder, BatchReader, Header, RecordParts};

/// A record with all its parts.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Raw {
    pub(crate) key: Option<Vec<u8>>,
    pub(crate) value: Option<Vec<u8>>,
    pub(crate) headers: Vec<(Vec<u8>, Option<Vec<u8>>)>,
}

impl Raw {
    pub(crate) fn of(value: &str) -> Self {
        Self { key: Some(b"key".to_vec()), value: Some(value.into()), headers: Vec::new() }
    }

    pub(crate) fn with(mut self, name: &str, value: Option<&[u8]>) -> Self {
        self.headers.push((name.into(), value.map(<[u8]>::to_vec)));
        self
    }

    /// The text of the header of this name, which is there once.
    pub(crate) fn header(&self, name: &str) -> Option<String> {
        let mut named = self.headers.iter().filter(|(known, _)| known == name.as_bytes());
        let found = named.next().map(|(_, value)| String::from_utf8(value.clone().unwrap()).unwrap());
        assert!(named.next().is_none(), "{name} is there twice: {self:?}");
        found
    }
}

/// Appends records as one batch.
pub(crate) fn write(broker: &DevBroker, topic: &str, partition: i32, records: &[Raw]) {
    let mut builder = BatchBuilder::new(Compression::None, Vec::new());
    for (n, record) in records.iter().enumerate() {
        let headers: Vec<_> =
            record.headers.iter().map(|(key, value)| Header { key, value: value.as_deref() }).collect();
        let value = record.value.as_deref();
        let parts = RecordParts { key: record.key.as_deref(), headers: &headers, value_len: value.map(<[u8]>::len) };
        let timestamp = 1_700_000_000_000 + n as i64;
        builder.append(timestamp, &parts, |out| out.extend_from_slice(value.unwrap_or(b""))).unwrap();
    }
    let batch: Bytes = builder.close(&mut Compressor::new()).bytes();
    broker.inject(topic, partition, batch, Spot::Next).unwrap();
}

/// A partition's records; a topic that does not exist has none.
pub(crate) fn read(broker: &DevBroker, topic: &str, partition: i32) -> Vec<Raw> {
    let (mut decompressor, mut records) = (Decompressor::new(), Vec::new());
    for batch in broker.batches(topic, partition).unwrap_or_default() {
        let view = BatchReader::new(batch).next().unwrap().unwrap();
        for record in view.records(&mut decompressor).unwrap() {
            let record = record.unwrap();
            let owned = |bytes: Option<&[u8]>| bytes.map(<[u8]>::to_vec);
            let headers = record.headers.map(|header| (header.key.to_vec(), owned(header.value))).collect();
            records.push(Raw { key: owned(record.key), value: owned(record.value), headers });
        }
    }
    records
}
