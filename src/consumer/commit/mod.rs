//! Committing positions to Kafka, behind what is settled.
//!
//! Whoever settles an order notes the new position; one task commits the newest of each partition, one
//! request at a time, so that no older position can land after a newer one. With a store these commits
//! are for lag tools only (rule R10); without one they are where the next run begins.
//!
//! ```text
//!  note(partition, position) --> newest of each --every auto.commit.interval.ms--> OffsetCommit
//!                                     ^                                                |
//!                                     +---- refused, unless there is a newer one ------+
//! ```

mod note;
mod offsets;

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use litemap::LiteMap;
use tokio::sync::Notify;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

pub(crate) use self::note::Note;
pub(crate) use self::offsets::{Committed, GroupOffsets};
use super::control::{Concern, Control};
use crate::backoff::Backoff;
use crate::shutdown::Tasks;
use crate::wire::kafka_error::KafkaError;

/// Takes positions to be committed.
pub(crate) struct Committer {
    desk: Arc<Desk>,
    tasks: Tasks,
}

/// What is shared with the committing task.
struct Desk {
    offsets: Arc<GroupOffsets>,
    topic: Arc<str>,
    control: Control,
    interval: Duration,
    backoff: Backoff,
    tray: Mutex<Tray>,
    noted: Notify,
    done: Notify,
}

#[derive(Default)]
struct Tray {
    waiting: LiteMap<i32, Committed>,
    /// A request is under way.
    sending: bool,
    /// Somebody waits for the tray to be empty, so no interval is kept.
    hurry: bool,
}

impl Committer {
    /// Starts the committing task.
    pub(crate) fn start(
        offsets: Arc<GroupOffsets>,
        topic: Arc<str>,
        control: Control,
        interval: Duration,
        backoff: Backoff,
    ) -> Self {
        let (tray, noted, done) = Default::default();
        let desk = Arc::new(Desk { offsets, topic, control, interval, backoff, tray, noted, done });
        let tasks = Tasks::new();
        tasks.spawn(desk.clone().run(tasks.stop_signal()));
        Self { desk, tasks }
    }

    /// Notes a partition's newest position.
    pub(crate) fn note(&self, partition: i32, position: Committed) {
        let first = {
            let mut tray = self.desk.tray();
            tray.waiting.insert(partition, position).is_none()
        };
        if first {
            self.desk.noted.notify_one();
        }
    }

    /// A partition is not ours any more: its position is not committed.
    pub(crate) fn forget(&self, partition: i32) {
        self.desk.tray().waiting.remove(&partition);
    }

    /// Commits what is noted, at most `within`. Returns whether everything is committed.
    pub(crate) async fn flush(&self, within: Duration) -> bool {
        let empty = async {
            loop {
                let done = self.desk.done.notified();
                {
                    let mut tray = self.desk.tray();
                    if tray.waiting.is_empty() && !tray.sending {
                        break;
                    }
                    tray.hurry = true;
                }
                self.desk.noted.notify_one();
                done.await;
            }
        };
        let flushed = tokio::time::timeout(within, empty).await.is_ok();
        self.desk.tray().hurry = false;
        flushed
    }

    /// Ends the task; a request under way is awaited at most `within`.
    pub(crate) async fn finish(&self, within: Duration) {
        self.tasks.finish(within).await;
    }
}

impl Desk {
    async fn run(self: Arc<Self>, stop: CancellationToken) {
        let mut last = Instant::now();
        let mut failures = 0;
        loop {
            tokio::select! {
                () = stop.cancelled() => return,
                () = self.due(last, failures) => {}
            }
            // A request that is under way is never dropped: it could land after a newer one.
            last = Instant::now();
            failures = if self.commit().await { 0 } else { failures.saturating_add(1) };
            self.done.notify_waiters();
        }
    }

    /// Waits until something is to be committed and the time has come.
    async fn due(&self, last: Instant, failures: u32) {
        if failures > 0 {
            tokio::time::sleep(self.backoff.delay(failures - 1, fastrand::f64())).await;
        }
        loop {
            let (empty, hurry) = {
                let tray = self.tray();
                (tray.waiting.is_empty(), tray.hurry)
            };
            if !empty && (hurry || failures > 0 || last.elapsed() >= self.interval) {
                return;
            }
            let noted = self.noted.notified();
            if empty {
                noted.await;
            } else {
                let _ = tokio::time::timeout_at(last + self.interval, noted).await;
            }
        }
    }

    async fn commit(&self) -> bool {
        let commits = {
            let mut tray = self.tray();
            tray.sending = true;
            std::mem::take(&mut tray.waiting)
        };
        let refused = match self.offsets.write(&self.topic, &commits).await {
            Ok(refused) => refused,
            Err(error) => {
                self.worry(&error.to_string());
                self.put_back(commits, |_| true);
                return false;
            }
        };
        if let Some((partition, error)) = refused.iter().next() {
            self.worry(&format!("partition {partition}: {}", sentence(*error)));
        } else {
            self.control.relieve(Concern::Commit);
        }
        self.put_back(commits, |partition| refused.contains_key(partition));
        refused.is_empty()
    }

    fn worry(&self, why: &str) {
        let group = self.offsets.group();
        tracing::warn!(group, why, "positions cannot be committed");
        self.control.concern(Concern::Commit, format!("positions of group {group} cannot be committed: {why}"));
    }

    fn put_back(&self, commits: LiteMap<i32, Committed>, wanted: impl Fn(&i32) -> bool) {
        let mut tray = self.tray();
        tray.sending = false;
        for (partition, commit) in commits.into_iter().filter(|(partition, _)| wanted(partition)) {
            tray.waiting.entry(partition).or_insert(commit);
        }
    }

    fn tray(&self) -> MutexGuard<'_, Tray> {
        self.tray.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What a refusal means for a consumer without membership.
fn sentence(error: KafkaError) -> String {
    match error {
        KafkaError::UnknownMemberId | KafkaError::IllegalGeneration | KafkaError::RebalanceInProgress => {
            "the group has members: this consumer has all partitions, so it needs a group of its own".to_owned()
        }
        other => other.to_string(),
    }
}
