//! What the relay has in hand: some pages of the outbox, and what became of their rows.

use bytes::Bytes;
use tokio::time::Instant;

use super::rounds::{Event, Fault, Page, Row};
use crate::error::told;
use crate::producer::Pending;
use crate::store::{ALL_SHARDS, DeliveryTold, Done, Leases, Original, Tidings, Waiting, WaitingEvent, bit, shard_of};
use crate::{Error, ErrorCode};

/// What an event takes beside its record, with its receipts.
const EVENT_BYTES: u64 = 320;

/// The rows of a hand, and what became of those that were accepted.
#[derive(Default)]
pub(super) struct Desk {
    pub(super) leases: Leases,
    /// The leases under which the hand's first page was read.
    pub(super) under: Leases,
    pub(super) events: Vec<WaitingEvent>,
    /// Where the last event was found.
    found: usize,
    /// Row and part, with the receipts to come.
    pub(super) posted: Vec<((u64, u8), Vec<Pending>)>,
    /// What failed first in this round.
    pub(super) why: Option<String>,
    /// When the outbox was measured last.
    pub(super) measured: Option<Instant>,
}

impl Desk {
    /// What was read before is dealt with.
    pub(super) fn begin_hand(&mut self) {
        self.under = self.leases.clone();
        self.events.clear();
        self.posted.clear();
        self.found = 0;
    }

    /// Where an event is. They are asked for in their order, so it is usually where the last one was, or behind it.
    pub(super) fn place(&mut self, number: u64) -> Option<usize> {
        let is_it = |place: &usize| self.events.get(*place).is_some_and(|event| event.number == number);
        let found = (self.found..self.events.len()).chain(0..self.found).find(is_it)?;
        self.found = found;
        Some(found)
    }

    pub(super) fn unwritten(&mut self, (number, part): (u64, u8), error: &Error) -> Event {
        self.why.get_or_insert_with(|| told(error));
        // A record that is too large says nothing about the others, nor does a notification that fails.
        let is_alone = matches!(error.code(), ErrorCode::TooLarge | ErrorCode::Handler);
        Event::Unwritten(number, part, if is_alone { Fault::Record } else { Fault::Topic })
    }

    pub(super) fn store_failed(&mut self, error: &Error) -> Event {
        self.why.get_or_insert_with(|| told(error));
        Event::Failed(if error.code() == ErrorCode::Closed { Fault::Closed } else { Fault::Store })
    }
}

/// A page as the machine sees it. What no topic wants is spent, and so are shards in which a row has nothing to tell.
pub(super) fn machine_page(waiting: &Waiting, is_shared: bool, topic: impl Fn(&Tidings, u8) -> Option<String>) -> Page {
    let (mut rows, mut spent) = (Vec::new(), Vec::new());
    for number in &waiting.spent {
        spent.extend([0, 1].map(|part| Done { number: *number, part, shards: ALL_SHARDS }));
    }
    for WaitingEvent { number, left, tidings } in &waiting.events {
        let (number, present, key) = (*number, present(tidings), key_of(tidings));
        for (part, left) in (0_u8..).zip(*left).filter(|(_, left)| *left != 0) {
            let Some(topic) = topic(tidings, part) else {
                spent.push(Done { number, part, shards: left });
                continue;
            };
            let (shards, empty) = (left & present, left & !present);
            if is_shared && empty != 0 {
                spent.push(Done { number, part, shards: empty });
            }
            rows.push(Row { number, part, topic, shards, key });
        }
    }
    let bytes = waiting.events.iter().map(|event| memory_of(&event.tidings)).sum();
    Page { rows, spent, until: waiting.until, is_last: waiting.is_last, is_held: waiting.is_held, bytes }
}

/// The memory that an event takes, until it is let go and under way.
fn memory_of(tidings: &Tidings) -> u64 {
    let of_delivery = |told: &DeliveryTold| EVENT_BYTES + told.order.as_ref().map_or(0, |order| order.len() as u64);
    match tidings {
        Tidings::Scheduled(told) => told.iter().map(of_delivery).sum(),
        Tidings::Moved(told) | Tidings::Returned(told) => of_delivery(told),
        Tidings::LowStock(_) => EVENT_BYTES,
        Tidings::Own(event) => EVENT_BYTES + event.key.len() as u64 + event.value.len() as u64,
        Tidings::Letter(letter) => {
            let Original { key, value, headers } = &letter.original;
            let of = |bytes: &Option<Bytes>| bytes.as_ref().map_or(0, |bytes| bytes.len() as u64);
            let headers = headers.iter().map(|(name, value)| name.len() as u64 + of(value));
            EVENT_BYTES + of(key) + of(value) + headers.sum::<u64>()
        }
    }
}

/// The shards in which a row has something to tell.
fn present(tidings: &Tidings) -> u64 {
    match tidings {
        Tidings::Scheduled(told) => told.iter().fold(0, |shards, told| shards | bit(shard_of(told.id.as_bytes()))),
        _ => ALL_SHARDS,
    }
}

fn mixed(kind: u8, bytes: impl Iterator<Item = u8>) -> u64 {
    bytes.fold(u64::from(kind), |hash, byte| hash.rotate_left(5).wrapping_mul(0x0100_0000_01b3) ^ u64::from(byte))
}

/// The key of a row's events, as a hash; none: many.
fn key_of(tidings: &Tidings) -> Option<u64> {
    let of_name = |name: &[u8]| name.first_chunk().map_or(0, |start| u64::from_le_bytes(*start));
    match tidings {
        Tidings::Scheduled(_) => None,
        Tidings::Letter(letter) => Some(of_name(letter.id.as_bytes())),
        Tidings::Moved(told) | Tidings::Returned(told) => Some(of_name(told.id.as_bytes())),
        Tidings::LowStock(low) => Some(mixed(b'p', low.product_id.bytes())),
        Tidings::Own(event) => Some(mixed(b'o', event.topic.bytes().chain(event.key.iter().copied()))),
    }
}
