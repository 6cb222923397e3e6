//! What a broker's log says of the orders that were sent.

use std::collections::{BTreeMap, BTreeSet};

use orderflow::broker::DevBroker;
use orderflow::producer::Receipt;
use orderflow::wire::compression::Decompressor;
use orderflow::wire::record_batch::{BatchReader, ProducerStamp};
use orderflow::{Error, Result};

/// A record as the log has it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Written {
    pub(crate) key: String,
    pub(crate) order_id: String,
    pub(crate) identity: String,
}

/// What a sender was told of an order.
#[derive(Debug)]
pub(crate) struct Told {
    pub(crate) key: String,
    pub(crate) order_id: String,
    pub(crate) result: Result<Receipt>,
}

impl Told {
    pub(crate) fn error(&self) -> &Error {
        self.result.as_ref().expect_err("the order is not acknowledged")
    }

    fn may_be_written(&self) -> bool {
        self.result.as_ref().map_or_else(Error::possibly_written, |_| true)
    }
}

/// A topic's records, by partition. Their place in the list is their offset.
pub(crate) fn read(broker: &DevBroker, topic: &str) -> Vec<Vec<Written>> {
    let partitions = (0..).map_while(|partition| broker.batches(topic, partition).ok());
    partitions
        .map(|batches| {
            let mut records = Vec::new();
            for batch in batches {
                read_batch(batch, &mut records);
            }
            records
        })
        .collect()
}

fn read_batch(batch: bytes::Bytes, records: &mut Vec<Written>) {
    let mut decompressor = Decompressor::new();
    let view = BatchReader::new(batch).next().unwrap().unwrap();
    view.check_crc().unwrap();
    for record in view.records(&mut decompressor).unwrap() {
        let record = record.unwrap();
        assert_eq!(record.offset, records.len() as i64, "the log has no holes");
        let value: serde_json::Value = serde_json::from_slice(record.value.unwrap()).unwrap();
        let identity = record.headers.clone().find(|header| header.key == b"idempotency-key").unwrap().value.unwrap();
        records.push(Written {
            key: String::from_utf8(record.key.unwrap().to_vec()).unwrap(),
            order_id: value["order_id"].as_str().unwrap().to_owned(),
            identity: String::from_utf8(identity.to_vec()).unwrap(),
        });
    }
}

/// Under which numbers the batches of a partition were written.
pub(crate) fn stamps(broker: &DevBroker, topic: &str, partition: i32) -> Vec<ProducerStamp> {
    let batches = broker.batches(topic, partition).unwrap().into_iter();
    batches.map(|batch| BatchReader::new(batch).next().unwrap().unwrap().stamp()).collect()
}

/// Holds the log to what was told. `told` is in the order in which the orders were accepted, as their ids are.
pub(crate) fn judge(broker: &DevBroker, topic: &str, told: &[Told], story: &str) {
    let log = read(broker, topic);
    let mut places: BTreeMap<&str, Vec<(i32, i64)>> = BTreeMap::new();
    for (partition, records) in (0..).zip(&log) {
        for (offset, record) in (0..).zip(records) {
            places.entry(&record.order_id).or_default().push((partition, offset));
        }
    }
    for order in told {
        let found = places.remove(order.order_id.as_str()).unwrap_or_default();
        assert!(found.len() <= 1, "{story}: {} is there {} times: {found:?}", order.order_id, found.len());
        assert!(found.is_empty() || order.may_be_written(), "{story}: {order:?} is at {found:?}");
        if let Ok(receipt) = &order.result {
            let (partition, offset) = *found.first().unwrap_or_else(|| panic!("{story}: {order:?} is nowhere"));
            assert_eq!(receipt.partition, partition, "{story}: {order:?}");
            assert!(receipt.offset.is_none_or(|told| told == offset), "{story}: {order:?} is at {offset}");
            assert_eq!(log[partition as usize][offset as usize].key, order.key, "{story}: {order:?}");
        }
    }
    assert!(places.is_empty(), "{story}: nobody sent {places:?}");
    for records in &log {
        assert!(records.is_sorted_by(|one, next| one.order_id < next.order_id), "{story}: reordered: {records:?}");
        let identities: BTreeSet<_> = records.iter().map(|record| &record.identity).collect();
        assert_eq!(identities.len(), records.len(), "{story}: an identity is there twice");
    }
}

/// As [`judge`], and every order is acknowledged.
pub(crate) fn all_written(broker: &DevBroker, topic: &str, told: &[Told], story: &str) {
    for order in told {
        assert!(order.result.is_ok(), "{story}: {order:?}");
    }
    judge(broker, topic, told, story);
}
