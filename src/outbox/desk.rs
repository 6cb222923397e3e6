//! What the relay has in hand: a page of the outbox, and what became of its rows.

use tokio::time::Instant;

use super::rounds::{Event, Fault, Page, Row};
use crate::error::told;
use crate::producer::Pending;
use crate::store::{ALL_SHARDS, Done, Leases, Tidings, Waiting, WaitingEvent, bit, shard_of};
use crate::{Error, ErrorCode};

/// The rows of a page, and what became of those that were accepted.
#[derive(Default)]
pub(super) struct Desk {
    pub(super) leases: Leases,
    /// The leases under which the page was read.
    pub(super) under: Leases,
    pub(super) events: Vec<WaitingEvent>,
    /// Row and part, with the receipts to come.
    pub(super) posted: Vec<((u64, u8), Vec<Pending>)>,
    /// What failed first in this round.
    pub(super) why: Option<String>,
    /// When the outbox was measured last.
    pub(super) measured: Option<Instant>,
}

impl Desk {
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
    Page { rows, spent, until: waiting.until, is_last: waiting.is_last, is_held: waiting.is_held }
}

/// The shards in which a row has something to tell.
fn present(tidings: &Tidings) -> u64 {
    match tidings {
        Tidings::Scheduled(told) => told.iter().fold(0, |shards, told| shards | bit(shard_of(told.id.as_bytes()))),
        _ => ALL_SHARDS,
    }
}

/// The key of a row's events, as a hash; none: many.
fn key_of(tidings: &Tidings) -> Option<u64> {
    let of_name = |name: &[u8]| name.first_chunk().map_or(0, |start| u64::from_le_bytes(*start));
    match tidings {
        Tidings::Scheduled(_) => None,
        Tidings::Letter(letter) => Some(of_name(letter.id.as_bytes())),
        Tidings::Moved(told) | Tidings::Returned(told) => Some(of_name(told.id.as_bytes())),
        Tidings::LowStock(low) => {
            Some(low.product_id.bytes().fold(u64::from(b'p'), |hash, byte| {
                hash.rotate_left(5).wrapping_mul(0x0100_0000_01b3) ^ u64::from(byte)
            }))
        }
    }
}
