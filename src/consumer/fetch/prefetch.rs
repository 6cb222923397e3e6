//! How much may be read ahead from one broker (G5).
//!
//! What is counted is the frame, whole: a single record that is kept keeps all of it in memory. It is
//! given back when the last part of the frame is dropped.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use tokio::sync::Notify;

/// A frame is counted with at least this much, so that a flood of small ones is bounded too.
const LEAST: usize = 4 * 1024;

/// The room for frames from one broker.
#[derive(Debug)]
pub(crate) struct Prefetch {
    limit: AtomicUsize,
    held: AtomicUsize,
    freed: Notify,
}

/// A frame that is counted until this is dropped.
#[derive(Debug)]
pub(crate) struct Hold {
    room: Arc<Prefetch>,
    bytes: usize,
}

impl Prefetch {
    /// Room for `limit` bytes.
    pub(crate) fn new(limit: usize) -> Self {
        Self { limit: AtomicUsize::new(limit), held: AtomicUsize::new(0), freed: Notify::new() }
    }

    /// Changes the room, as brokers come and go and share what there is.
    pub(crate) fn set_limit(&self, limit: usize) {
        self.limit.store(limit, Ordering::Release);
        self.freed.notify_one();
    }

    /// Waits until at least half of the room is free, or `most`, and says how much may be asked for.
    ///
    /// Waiting for half keeps fetches large while the consumer is slow.
    pub(crate) async fn room(&self, most: usize) -> usize {
        loop {
            let limit = self.limit.load(Ordering::Acquire);
            let free = limit.saturating_sub(self.held.load(Ordering::Acquire));
            if free >= most.min(limit / 2).max(1) {
                return free.min(most);
            }
            self.freed.notified().await;
        }
    }

    /// Counts a frame.
    pub(crate) fn hold(self: &Arc<Self>, bytes: usize) -> Arc<Hold> {
        let bytes = bytes.max(LEAST);
        self.held.fetch_add(bytes, Ordering::AcqRel);
        Arc::new(Hold { room: self.clone(), bytes })
    }
}

impl Drop for Hold {
    fn drop(&mut self) {
        self.room.held.fetch_sub(self.bytes, Ordering::AcqRel);
        self.room.freed.notify_one();
    }
}

#[cfg(test)]
mod tests {
    use futures::FutureExt;

    use super::*;

    #[tokio::test]
    async fn a_fetch_waits_until_half_the_room_is_free_again() {
        let room = Arc::new(Prefetch::new(100_000));
        assert_eq!(room.room(80_000).await, 80_000);
        let first = room.hold(40_000);
        assert_eq!(room.room(80_000).await, 60_000);
        let second = room.hold(30_000);
        assert_eq!(room.room(80_000).now_or_never(), None);
        drop(first);
        assert_eq!(room.room(80_000).await, 70_000);
        drop(second);
    }

    #[tokio::test]
    async fn a_frame_that_was_larger_than_the_room_is_counted_whole() {
        let room = Arc::new(Prefetch::new(10_000));
        let hold = room.hold(50_000);
        assert_eq!(room.room(1_000).now_or_never(), None);
        drop(hold.clone());
        assert_eq!(room.room(1_000).now_or_never(), None);
        drop(hold);
        assert_eq!(room.room(1_000).await, 1_000);
    }
}
