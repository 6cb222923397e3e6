//! What must hold of every decoder for every input: it ends, in bounded memory, with a value or an error.
//!
//! One function a decoder, over the crate's public face. `cargo fuzz` runs them with guided input, `cargo test` with
//! arbitrary and with mutated valid input: the same functions.

mod messages;

use std::io::Read;

use bytes::Bytes;
use orderflow::config::{ClientConfig, parse_properties};
use orderflow::order::{
    DeliveryOrder, Entry, EntryReader, Identity, InventoryOrder, Order, OrderReader, OrderTime, Source, lint,
};
use orderflow::wire::compression::{Compression, Decompressor};
use orderflow::wire::message::RequestHeader;
use orderflow::wire::record_batch::{AbortedTransactions, BatchReader};

pub use messages::message;

/// A check with its name.
pub type Check = (&'static str, fn(&[u8]));

/// All checks.
pub const ALL: &[Check] = &[
    ("record_batch", record_batch),
    ("compression", compression),
    ("message", message),
    ("request_header", request_header),
    ("order_file", order_file),
    ("order_codec", order_codec),
    ("date", date),
    ("identity", identity),
    ("properties", properties),
];

/// What a decompressor may give here; a real fetch allows more.
const OUTPUT_MAX: usize = 1 << 20;

/// Record batches as a fetch's answer holds them: headers, records, their headers, control records.
pub fn record_batch(bytes: &[u8]) {
    let mut decompressor = Decompressor::with_limit(OUTPUT_MAX);
    let mut aborted = AbortedTransactions::new([(7, 0), (i64::MAX, i64::MAX), (-1, -1)]);
    for batch in BatchReader::new(Bytes::copy_from_slice(bytes)) {
        let Ok(batch) = batch else { break };
        let control = batch.control(&mut decompressor).ok().flatten();
        let _ = (batch.check_crc(), aborted.judge(&batch, control));
        let _ = (batch.last_offset(), batch.max_timestamp(), batch.stamp(), batch.leader_epoch());
        let Ok(records) = batch.records(&mut decompressor) else { continue };
        let mut count = 0_u64;
        for record in records {
            let Ok(record) = record else { break };
            count += 1;
            let _ = (record.offset, record.timestamp, record.key, record.value);
            for header in record.headers {
                let _ = (header.key, header.value);
            }
            let _ = Identity::from_headers(record.headers.into_iter().map(|header| (header.key, header.value)));
        }
        assert!(count <= u64::from(batch.count()), "more records than the batch announces");
    }
}

/// Compressed bytes in every codec: the first byte chooses.
pub fn compression(bytes: &[u8]) {
    let Some((choice, input)) = bytes.split_first() else { return };
    let codecs = [Compression::None, Compression::Gzip, Compression::Snappy, Compression::Lz4, Compression::Zstd];
    let codec = codecs[usize::from(*choice) % codecs.len()];
    let mut decompressor = Decompressor::with_limit(OUTPUT_MAX);
    if let Ok(output) = decompressor.decompress(codec, input) {
        assert!(codec == Compression::None || output.len() <= OUTPUT_MAX, "{} bytes of {codec:?}", output.len());
    }
}

/// The header of a request, as the development broker reads it.
pub fn request_header(bytes: &[u8]) {
    let Ok((header, body)) = RequestHeader::decode(Bytes::copy_from_slice(bytes)) else { return };
    assert!(body.len() <= bytes.len());
    let mut again = Vec::new();
    if header.encode(&mut again).is_ok() {
        let (same, rest) = RequestHeader::decode(again.into()).expect("what was encoded is decoded");
        assert_eq!((same, rest.len()), (header, 0));
    }
}

/// Gives its bytes a few at a time.
struct Trickle<'a>(&'a [u8], usize);

impl Read for Trickle<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
        let count = self.1.min(buffer.len());
        (&mut self.0).take(count as u64).read(buffer)
    }
}

/// Order files, NDJSON and arrays: the same entries however the bytes come, and every index once.
pub fn order_file(bytes: &[u8]) {
    entries_of::<InventoryOrder>(bytes);
    entries_of::<DeliveryOrder>(bytes);
    let findings = lint(bytes).map(|finding| finding.expect("bytes in memory can be read"));
    assert!(findings.count() <= 40 * bytes.len() + 1);
}

fn entries_of<O: Order>(bytes: &[u8]) {
    let source = Source::of_digest([7; 32]);
    let read = |step: usize| -> Vec<Entry<O>> {
        let entries = EntryReader::new(Trickle(bytes, step)).entry_bytes_max(512);
        let orders = OrderReader::of_entries(entries).with_source(source);
        orders.map(|entry| entry.expect("bytes in memory can be read")).collect()
    };
    let whole = read(usize::MAX);
    assert_eq!(read(3), whole, "the same entries, three bytes at a time");
    for (expected, entry) in (0..).zip(&whole) {
        let index = match entry {
            Entry::Order(located) => located.index,
            Entry::Filtered { index } => *index,
            Entry::Rejected(rejection) => rejection.index,
        };
        assert_eq!(index, expected, "every entry counts once");
    }
}

/// A record's value as an order of either type: what is read is written again as the same order.
pub fn order_codec(bytes: &[u8]) {
    recoded::<InventoryOrder>(bytes);
    recoded::<DeliveryOrder>(bytes);
}

fn recoded<O: Order>(bytes: &[u8]) {
    if let Some((read, length)) = O::decode_prefix(bytes) {
        assert_eq!(read, O::decode(&bytes[..length]), "a prefix is read as it is alone");
    }
    let Ok(order) = O::decode(bytes) else { return };
    let mut value = Vec::new();
    order.encode(&mut value);
    assert_eq!(value.len(), order.encoded_len());
    assert_eq!(O::decode(&value).as_ref(), Ok(&order), "{}", value.escape_ascii());
}

/// An order's timestamp.
pub fn date(bytes: &[u8]) {
    let Ok(text) = std::str::from_utf8(bytes) else { return };
    if let Ok(time) = text.parse::<OrderTime>() {
        assert_eq!(time.as_str(), text, "a timestamp is written as it was read");
        let _ = (time.date(), time.time(), time.offset_minutes());
    }
}

/// The value of the header `idempotency-key`, and a source as a store keeps it.
pub fn identity(bytes: &[u8]) {
    if let Ok(identity) = Identity::from_header(bytes) {
        let mut header = Vec::new();
        identity.write_header(&mut header);
        assert_eq!(header.len(), identity.header_len());
        assert_eq!(Identity::from_header(&header).as_ref(), Ok(&identity));
        if let Identity::Numbered { .. } = identity {
            assert_eq!(header, bytes, "our own form has one spelling");
        }
        let _ = identity.to_string();
    }
    let Ok(text) = std::str::from_utf8(bytes) else { return };
    if let Ok(source) = text.parse::<Source>() {
        assert_eq!(source.as_str(), text);
    }
}

/// A file of client properties, and the settings it amounts to.
pub fn properties(bytes: &[u8]) {
    let Ok(text) = std::str::from_utf8(bytes) else { return };
    let Ok(pairs) = parse_properties(text) else { return };
    let Ok(config) = ClientConfig::from_properties(pairs) else { return };
    let _ = (config.bootstrap(), config.warnings().len(), config.effective().count());
}
