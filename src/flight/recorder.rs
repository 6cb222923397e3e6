//! The handle on a ring that everything which records shares.

use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError, TryLockError};

use serde::Serialize;
use tokio::time::Instant;

use super::Machine;
use super::ring::Ring;
use super::track::{Recorded, Track};

/// A recorder, or none: the default records nothing and costs nothing.
#[derive(Clone, Default)]
pub(crate) struct Recorder(Option<Arc<Shared>>);

struct Shared {
    began: Instant,
    /// In milliseconds since 1970.
    began_at: i64,
    /// The ring's newest segment, to be seen without its lock.
    segment: AtomicU64,
    /// How many machines were named.
    machines: AtomicU64,
    ring: Mutex<Ring>,
}

/// What a recorder holds at a moment.
#[derive(Debug, Default)]
pub(crate) struct Held {
    pub(crate) lines: Vec<u8>,
    pub(crate) lost: u64,
    /// In milliseconds since 1970.
    pub(crate) began: i64,
}

impl Recorder {
    /// A recorder of at most so many bytes; 0: none.
    pub(crate) fn new(max_bytes: usize) -> Self {
        if max_bytes == 0 {
            return Self::default();
        }
        let ring = Ring::new(max_bytes);
        Self(Some(Arc::new(Shared {
            began: Instant::now(),
            began_at: chrono::Utc::now().timestamp_millis(),
            segment: AtomicU64::new(ring.number()),
            machines: AtomicU64::new(0),
            ring: Mutex::new(ring),
        })))
    }

    /// Has a machine's steps recorded from now on. `of` is a partition's number, where it is about one.
    pub(crate) fn watch<M: Machine>(&self, machine: M, of: Option<i32>) -> Recorded<M> {
        let track = self.track((M::KIND, M::FORM), of);
        Recorded::new(machine, track)
    }

    /// A track under a name that no other has.
    pub(crate) fn track(&self, (kind, form): (&str, u16), of: Option<i32>) -> Track {
        let number = self.0.as_ref().map_or(0, |shared| shared.machines.fetch_add(1, Ordering::Relaxed) + 1);
        let name = match of {
            _ if number == 0 => String::new(),
            Some(of) => format!("{kind}/{of}#{number}"),
            None => format!("{kind}#{number}"),
        };
        Track::new(self.clone(), name, form)
    }

    pub(crate) fn is_on(&self) -> bool {
        self.0.is_some()
    }

    /// Records something that no machine decided. It must not name anything of an order but its place.
    pub(crate) fn note(&self, note: &impl Serialize) {
        if !self.is_on() {
            return;
        }
        let mut line = format!("{{\"at\":{},\"note\":", self.at()).into_bytes();
        if serde_json::to_writer(&mut line, note).is_ok() {
            line.push(b'}');
            self.push(&line);
        }
    }

    /// Microseconds since the recorder began.
    pub(super) fn at(&self) -> u64 {
        let passed = self.0.as_ref().map(|shared| shared.began.elapsed().as_micros()).unwrap_or_default();
        u64::try_from(passed).unwrap_or(u64::MAX)
    }

    /// The newest segment; 0 without a ring.
    pub(super) fn segment(&self) -> u64 {
        self.0.as_ref().map_or(0, |shared| shared.segment.load(Ordering::Relaxed))
    }

    /// Keeps a line. Returns whether it had room.
    pub(super) fn push(&self, line: &[u8]) -> bool {
        let Some(shared) = &self.0 else { return false };
        let mut ring = shared.ring.lock().unwrap_or_else(PoisonError::into_inner);
        let kept = ring.push(line);
        shared.segment.store(ring.number(), Ordering::Relaxed);
        kept
    }

    /// All that is held; `None` without a ring. A lock that a panicking thread has is not waited for.
    pub(super) fn held(&self) -> Option<Held> {
        let shared = self.0.as_ref()?;
        let ring = match std::thread::panicking() {
            false => shared.ring.lock().unwrap_or_else(PoisonError::into_inner),
            true => match shared.ring.try_lock() {
                Ok(ring) => ring,
                Err(TryLockError::Poisoned(poisoned)) => poisoned.into_inner(),
                Err(TryLockError::WouldBlock) => return None,
            },
        };
        Some(Held { lines: ring.copy(), lost: ring.lost(), began: shared.began_at })
    }

    #[cfg(test)]
    pub(super) fn bytes(&self) -> usize {
        self.0.as_ref().map_or(0, |shared| shared.ring.lock().unwrap().bytes())
    }
}

impl fmt::Debug for Recorder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if self.is_on() { "Recorder(on)" } else { "Recorder(off)" })
    }
}
