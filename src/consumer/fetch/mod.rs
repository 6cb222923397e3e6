//! Fetching: a task and a session for each broker that leads partitions of ours.
//!
//! The reader says in [`Targets`] what each broker is to be asked for; a [`task`] compares that with what
//! it does before each request. So a change is a change of state, not a message in a queue, and nothing
//! is lost or late when a broker is slow.
//!
//! ```text
//!  reader --Targets--> task(broker 1) --session, Fetch--> broker 1
//!     ^                   | answer: headers walked, next fetch on its way
//!     +------ Event <-----+
//! ```

pub(crate) mod prefetch;
pub(crate) mod session;
pub(crate) mod task;
pub(crate) mod walk;

use std::sync::atomic::{AtomicI64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use litemap::LiteMap;
use tokio::sync::Notify;

use self::prefetch::Hold;
use crate::Error;
use crate::place::TopicId;
use crate::wire::kafka_error::KafkaError;
use crate::wire::record_batch::{BatchError, BatchReader};

/// Names one stretch of reading a partition: from where the reader placed it until it places it anew.
///
/// An answer to an older stretch is recognised by it and dropped.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) struct Stretch(pub(crate) u64);

/// What a broker is to be asked for in one partition.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Target {
    pub(crate) topic: TopicId,
    pub(crate) stretch: Stretch,
    /// Where the stretch begins.
    pub(crate) from: i64,
    pub(crate) leader_epoch: i32,
    pub(crate) flow: Flow,
}

/// Whether a partition is fetched.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Flow {
    On,
    Paused,
}

/// What a broker is to be asked for.
#[derive(Debug, Default)]
pub(crate) struct Targets {
    partitions: Mutex<LiteMap<i32, Target>>,
    changed: Notify,
    /// Odd while an answer is awaited.
    turns: AtomicI64,
}

impl Targets {
    /// Changes what is asked for; the task looks before its next request.
    pub(crate) fn change<T>(&self, change: impl FnOnce(&mut LiteMap<i32, Target>) -> T) -> T {
        let result = change(&mut self.lock());
        self.changed.notify_one();
        result
    }

    /// The number of the answer that is awaited, if one is.
    pub(crate) fn awaited(&self) -> Option<i64> {
        Some(self.turns.load(Ordering::Relaxed)).filter(|turn| turn % 2 != 0)
    }

    /// An answer is awaited from now on, or is not any more.
    fn turn(&self) {
        self.turns.fetch_add(1, Ordering::Relaxed);
    }

    fn lock(&self) -> MutexGuard<'_, LiteMap<i32, Target>> {
        self.partitions.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What a fetch task tells the reader.
#[derive(Debug)]
pub(crate) enum Event {
    /// Records, or only news of where the partition ends.
    Fetched(Fetched),
    /// The broker does not serve this stretch any more; the task has let go of it.
    Refused { partition: i32, stretch: Stretch, at: i64, refusal: Refusal },
    /// The broker cannot be reached, or can again.
    Broker { node: i32, trouble: Option<Error> },
}

/// Why a broker does not serve a partition.
#[derive(Debug)]
pub(crate) enum Refusal {
    /// It answered with this error.
    Answered(KafkaError),
    /// A single batch is larger than a fetch may be.
    TooLarge,
}

/// A partition's part of one answer.
#[derive(Debug)]
pub(crate) struct Fetched {
    pub(crate) partition: i32,
    pub(crate) stretch: Stretch,
    /// The batches that are whole. Records before the position may be among them.
    pub(crate) batches: BatchReader,
    /// Where the fetch began.
    pub(crate) from: i64,
    /// The offset behind the batches; where the fetch began if there are none.
    pub(crate) next: i64,
    /// The leader epoch of the last batch.
    pub(crate) leader_epoch: Option<i32>,
    /// Aborted transactions among them, as producer id and first offset.
    pub(crate) aborted: Vec<(i64, i64)>,
    /// What is wrong with the batch at `next`, if anything: the partition cannot go on.
    pub(crate) fault: Option<BatchError>,
    /// The offset behind the last record that can be read.
    pub(crate) end: i64,
    /// Counts the frame until the last part of it is dropped.
    pub(crate) hold: Option<Arc<Hold>>,
}
