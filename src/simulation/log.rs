//! What the broker's logs have.

use crate::broker::DevBroker;
use crate::order::IDENTITY_HEADER;
use crate::wire::compression::Decompressor;
use crate::wire::record_batch::BatchReader;

/// A record of a topic.
#[derive(Clone, Debug)]
pub(super) struct Written {
    pub(super) partition: i32,
    pub(super) offset: i64,
    pub(super) identity: Option<String>,
    pub(super) value: String,
}

/// All records of a topic, by partition and offset; none if there is no such topic.
pub(super) fn read(broker: &DevBroker, topic: &str) -> Vec<Written> {
    let mut records = Vec::new();
    for (partition, batches) in (0..).map_while(|partition| Some((partition, broker.batches(topic, partition).ok()?))) {
        for batch in batches {
            read_batch(partition, batch, &mut records);
        }
    }
    records
}

fn read_batch(partition: i32, batch: bytes::Bytes, records: &mut Vec<Written>) {
    let mut decompressor = Decompressor::new();
    let view = BatchReader::new(batch).next().unwrap().unwrap();
    if view.is_control() {
        return;
    }
    let text = |bytes: Option<&[u8]>| String::from_utf8_lossy(bytes.unwrap_or_default()).into_owned();
    for record in view.records(&mut decompressor).unwrap() {
        let record = record.unwrap();
        let identity = record.headers.clone().find(|header| header.key == IDENTITY_HEADER.as_bytes());
        records.push(Written {
            partition,
            offset: record.offset,
            identity: identity.map(|header| text(header.value)),
            value: text(record.value),
        });
    }
}

/// Where the partitions of a topic end.
pub(super) fn ends(broker: &DevBroker, topic: &str) -> Vec<i64> {
    (0..).map_while(|partition| broker.offsets(topic, partition).ok()).map(|offsets| offsets.end).collect()
}

/// Whether a group's commits are at the ends of a topic.
pub(super) fn is_read(broker: &DevBroker, group: &str, topic: &str) -> bool {
    let at_end = |(partition, end): (i32, i64)| end == 0 || broker.committed(group, topic, partition) == Some(end);
    (0..).zip(ends(broker, topic)).all(at_end)
}
