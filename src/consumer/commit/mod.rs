//! Committing positions to Kafka, behind what is settled.
//!
//! Whoever settles an order notes the new position; one task commits the newest of each partition, one
//! request at a time, so that no older position can land after a newer one. With a store these commits
//! are for lag tools only (rule R10); without one they are where the next run begins.
//!
//! Only what this member owns is committed, as the member that it is now. While the group is between two generations the
//! positions wait; those of partitions that were lost are dropped, also when the loss is heard of after the next join.
//!
//! ```text
//!  note(partition, position) --> newest of each --every auto.commit.interval.ms--> OffsetCommit
//!                                     ^                                                |
//!                                     +---- refused, unless there is a newer one ------+
//! ```

mod note;
mod offsets;
#[cfg(test)]
#[cfg(feature = "dev-broker")]
mod tests;

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use litemap::LiteMap;
use tokio::sync::{Notify, watch};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

pub(crate) use self::note::Note;
use self::offsets::concerns_membership;
pub(crate) use self::offsets::{Committed, GroupOffsets};
use super::control::{Concern, Control};
use super::group::member::Credentials;
use super::group::session::Authority;
use crate::backoff::Backoff;
use crate::shutdown::Tasks;

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
    /// The partitions that are ours; of others nothing is taken.
    owned: BTreeSet<i32>,
    /// How many losses we have heard of; the member may know of more.
    losses: u64,
    /// The partitions of the request that is under way.
    sending: Vec<i32>,
    /// How many requests were answered without a refusal.
    successes: i64,
    /// Somebody waits for the tray to be empty, so no interval is kept.
    hurry: bool,
    /// Something was noted that is not to wait.
    urgent: bool,
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

    /// The group whose positions these are.
    pub(crate) fn group(&self) -> &str {
        self.desk.offsets.group()
    }

    /// A partition is ours from now on: its positions may be committed.
    pub(crate) fn admit(&self, partition: i32) {
        self.desk.tray().owned.insert(partition);
    }

    /// Notes the newest position of a partition, if it is ours.
    pub(crate) fn note(&self, partition: i32, position: Committed) {
        let first = {
            let mut tray = self.desk.tray();
            tray.owned.contains(&partition) && tray.waiting.insert(partition, position).is_none()
        };
        if first {
            self.desk.noted.notify_one();
        }
    }

    /// As [`Committer::note`], and commits without regard for the interval.
    pub(crate) fn note_at_once(&self, partition: i32, position: Committed) {
        self.desk.tray().urgent = true;
        self.note(partition, position);
        self.desk.noted.notify_one();
    }

    /// A partition was given back: nothing of it is committed any more.
    pub(crate) fn forget(&self, partition: i32) {
        self.desk.tray().forget(partition);
    }

    /// These were lost: nothing of them is committed, under this membership or a later one (rule R7).
    pub(crate) fn lost(&self, partitions: &[i32]) {
        let mut tray = self.desk.tray();
        partitions.iter().for_each(|partition| tray.forget(*partition));
        tray.losses = tray.losses.saturating_add(1);
        drop(tray);
        self.desk.noted.notify_one();
        self.desk.done.notify_waiters();
    }

    /// Whether a position of this partition is still to be committed, or its answer is awaited.
    pub(crate) fn has(&self, partition: i32) -> bool {
        let tray = self.desk.tray();
        tray.waiting.contains_key(&partition) || tray.sending.contains(&partition)
    }

    /// If something is to be committed, how many commits succeeded so far.
    pub(crate) fn outstanding(&self) -> Option<i64> {
        let tray = self.desk.tray();
        let is_empty = tray.waiting.is_empty() && tray.sending.is_empty();
        (!is_empty).then_some(tray.successes)
    }

    /// Commits without regard for the interval, or with it again.
    pub(crate) fn set_pace(&self, pace: Pace) {
        self.desk.tray().hurry = pace == Pace::AtOnce;
        self.desk.noted.notify_one();
    }

    /// Waits until a commit was answered.
    ///
    /// # Cancel safety
    /// Look at [`Committer::has`] before each call.
    pub(crate) async fn answered(&self) {
        self.desk.done.notified().await;
    }

    /// Commits what is noted, at most `within`. Returns whether everything is committed.
    pub(crate) async fn flush(&self, within: Duration) -> bool {
        let empty = async {
            loop {
                let done = self.desk.done.notified();
                {
                    let mut tray = self.desk.tray();
                    if tray.waiting.is_empty() && tray.sending.is_empty() {
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

impl Tray {
    fn forget(&mut self, partition: i32) {
        self.owned.remove(&partition);
        self.waiting.remove(&partition);
    }

    /// As whom to commit now. Losses that we have not heard of yet hold everything up.
    fn credentials(&self, authority: &Authority) -> Option<Option<Credentials>> {
        let credentials = authority.credentials().ok()?;
        (authority.losses == self.losses).then(|| credentials.cloned())
    }
}

/// When positions are committed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Pace {
    /// Every `auto.commit.interval.ms`.
    Steady,
    /// As soon as they are noted: somebody waits.
    AtOnce,
}

impl Desk {
    async fn run(self: Arc<Self>, stop: CancellationToken) {
        let mut authority = self.offsets.authority();
        let mut last = Instant::now();
        let mut failures = 0;
        loop {
            tokio::select! {
                () = stop.cancelled() => return,
                () = self.due(&mut authority, last, failures) => {}
            }
            // A request that is under way is never dropped: it could land after a newer one.
            last = Instant::now();
            failures = if self.commit(&authority).await { 0 } else { failures.saturating_add(1) };
            self.done.notify_waiters();
        }
    }

    /// Waits until something is to be committed, may be committed, and the time has come.
    async fn due(&self, authority: &mut watch::Receiver<Authority>, last: Instant, failures: u32) {
        if failures > 0 {
            tokio::time::sleep(self.backoff.delay(failures - 1, fastrand::f64())).await;
        }
        loop {
            let (ready, hurry) = {
                let tray = self.tray();
                let may = tray.credentials(&authority.borrow_and_update()).is_some();
                (may && !tray.waiting.is_empty(), tray.hurry || tray.urgent)
            };
            if ready && (hurry || failures > 0 || last.elapsed() >= self.interval) {
                return;
            }
            let changed = async {
                if authority.changed().await.is_err() {
                    // The membership is over, and nothing will change any more.
                    std::future::pending::<()>().await;
                }
            };
            tokio::select! {
                () = self.noted.notified() => {}
                () = changed => {}
                () = tokio::time::sleep_until(last + self.interval), if ready => {}
            }
        }
    }

    async fn commit(&self, authority: &watch::Receiver<Authority>) -> bool {
        let (credentials, commits, losses) = {
            let mut tray = self.tray();
            // Read before the positions are taken, so that no position goes out under a later membership.
            let Some(credentials) = tray.credentials(&authority.borrow()) else { return true };
            tray.urgent = false;
            tray.sending = tray.waiting.keys().copied().collect();
            (credentials, std::mem::take(&mut tray.waiting), tray.losses)
        };
        let refused = match self.offsets.write_as(credentials.as_ref(), &self.topic, &commits).await {
            Ok(refused) => refused,
            Err(error) => {
                self.worry(&error.to_string());
                self.put_back(commits, losses, |_| true);
                return false;
            }
        };
        match refused.iter().find(|(_, error)| !concerns_membership(**error)) {
            Some((partition, error)) => self.worry(&format!("partition {partition}: {error}")),
            None => self.control.relieve(Concern::Commit),
        }
        self.put_back(commits, losses, |partition| refused.contains_key(partition));
        refused.is_empty()
    }

    fn worry(&self, why: &str) {
        let group = self.offsets.group();
        tracing::warn!(group, why, "positions cannot be committed");
        self.control.concern(Concern::Commit, format!("positions of group {group} cannot be committed: {why}"));
    }

    /// What was refused is tried again, unless there is a newer position, or the partition is not ours any more.
    fn put_back(&self, commits: LiteMap<i32, Committed>, losses: u64, wanted: impl Fn(&i32) -> bool) {
        let mut tray = self.tray();
        tray.sending.clear();
        if !commits.keys().any(&wanted) {
            tray.successes = tray.successes.saturating_add(1);
        }
        if tray.losses != losses {
            return;
        }
        for (partition, commit) in commits.into_iter().filter(|(partition, _)| wanted(partition)) {
            if tray.owned.contains(&partition) {
                tray.waiting.entry(partition).or_insert(commit);
            }
        }
    }

    fn tray(&self) -> MutexGuard<'_, Tray> {
        self.tray.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
