//! What a broker remembers of a fetch between two requests (KIP-227).
//!
//! In a session only what changed is sent, and only what has something new is answered. When either
//! side has lost the thread, a full request begins a new session.
//!
//! ```text
//!  none --full request--> open --changes only--> open ...
//!    ^                     |
//!    +--error, lost answer-+
//! ```

use litemap::LiteMap;
use serde::{Deserialize, Serialize};

/// Kafka's code for a session that the broker does not know.
const SESSION_NOT_FOUND: i16 = 70;

/// No session, or the request that begins one.
const FIRST_EPOCH: i32 = 0;

/// A request that begins none.
const NO_SESSION: i32 = -1;

/// What is asked of one partition.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Wanted {
    /// The first offset to be read.
    pub(crate) offset: i64,
    /// The leader epoch that we know, -1 if unknown.
    pub(crate) leader_epoch: i32,
    /// The most bytes to be read.
    pub(crate) max_bytes: i32,
}

/// The part of a fetch request that the session decides.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Ask<K> {
    pub(crate) session_id: i32,
    pub(crate) session_epoch: i32,
    pub(crate) wanted: Vec<(K, Wanted)>,
    pub(crate) forgotten: Vec<K>,
}

impl<K> Ask<K> {
    /// A request for one partition, outside of any session.
    pub(crate) fn alone(key: K, wanted: Wanted) -> Self {
        Self { session_id: 0, session_epoch: NO_SESSION, wanted: vec![(key, wanted)], forgotten: Vec::new() }
    }
}

/// What to do with an answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Reply {
    /// Read it.
    Read,
    /// It holds nothing; ask again, in full.
    AskAgain,
}

/// One session with one broker, over partitions that are named by `K`.
#[derive(Debug)]
pub(crate) struct FetchSession<K> {
    id: i32,
    epoch: i32,
    known: LiteMap<K, Wanted>,
    turn: usize,
}

impl<K: Ord + Copy> FetchSession<K> {
    /// No session yet.
    pub(crate) fn new() -> Self {
        Self { id: 0, epoch: FIRST_EPOCH, known: LiteMap::new(), turn: 0 }
    }

    /// The next request, so that the broker knows exactly what is in `wanted`.
    pub(crate) fn ask(&mut self, wanted: &LiteMap<K, Wanted>) -> Ask<K> {
        let ask = if self.epoch == FIRST_EPOCH { self.full(wanted) } else { self.changes(wanted) };
        self.known.clone_from(wanted);
        ask
    }

    /// A full request names the partitions from another one on each time, since a broker may fill its answer from the
    /// first ones alone. Within a session the broker sees to that.
    fn full(&mut self, wanted: &LiteMap<K, Wanted>) -> Ask<K> {
        let mut all: Vec<_> = wanted.iter().map(|(key, want)| (*key, *want)).collect();
        if let Some(first) = self.turn.checked_rem(all.len()) {
            all.rotate_left(first);
        }
        self.turn = self.turn.wrapping_add(1);
        Ask { session_id: self.id, session_epoch: FIRST_EPOCH, wanted: all, forgotten: Vec::new() }
    }

    fn changes(&self, wanted: &LiteMap<K, Wanted>) -> Ask<K> {
        let changed = wanted.iter().filter(|(key, want)| self.known.get(key) != Some(want));
        let forgotten = self.known.keys().filter(|key| !wanted.contains_key(key));
        Ask {
            session_id: self.id,
            session_epoch: self.epoch,
            wanted: changed.map(|(key, want)| (*key, *want)).collect(),
            forgotten: forgotten.copied().collect(),
        }
    }

    /// Takes the answer's session and error code into account.
    pub(crate) fn answered(&mut self, session_id: i32, error_code: i16) -> Reply {
        if error_code != 0 {
            if error_code == SESSION_NOT_FOUND {
                self.id = 0;
            }
            self.epoch = FIRST_EPOCH;
            return Reply::AskAgain;
        }
        let continues = session_id != 0 && (self.epoch == FIRST_EPOCH || session_id == self.id);
        self.id = session_id;
        self.epoch = match self.epoch {
            _ if !continues => FIRST_EPOCH,
            i32::MAX => 1,
            epoch => epoch.saturating_add(1),
        };
        Reply::Read
    }

    /// The answer did not come, so it is unknown what the broker remembers. On a new connection the next request ends
    /// the old session and begins another.
    pub(crate) fn lost(&mut self) {
        self.epoch = FIRST_EPOCH;
    }

    /// Whether the broker was asked for this partition.
    pub(crate) fn knows(&self, key: K) -> bool {
        self.known.contains_key(&key)
    }
}

#[cfg(test)]
mod tests;
