//! What a run has to reach before it may end by itself: the ends that the partitions had at its start.
//!
//! Partitions that are ours count by our own position, the others by what the group has committed, or by the store's own
//! position where a store committed it. A partition with
//! nothing between its start and that end is reached from the beginning.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use litemap::LiteMap;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use super::commit::GroupOffsets;
use super::config::Isolation;
use super::lookup::{Edge, Lookup};
use super::positions::Positions;
use crate::cluster::Cluster;
use crate::shutdown::Tasks;
use crate::store::Topic;
use crate::{Error, ErrorCode, Result};

/// How often it is looked whether the others have reached the end.
const LOOK: Duration = Duration::from_millis(200);

/// The ends that are to be reached.
pub(crate) struct Goal {
    ends: LiteMap<i32, i64>,
    ours: BTreeSet<i32>,
    /// Those of ours that have not begun: nothing is known of their positions yet.
    beginning: BTreeSet<i32>,
    /// Before the group has said what is ours, nothing is reached.
    is_joined: bool,
    reached: watch::Receiver<LiteMap<i32, i64>>,
    _look: Tasks,
}

/// What the group's other members do.
pub(crate) struct Group {
    pub(crate) topic: Topic,
    pub(crate) offsets: Arc<GroupOffsets>,
    pub(crate) positions: Arc<dyn Positions>,
}

impl Group {
    async fn reached(&self, partitions: &[i32]) -> Result<LiteMap<i32, i64>> {
        let committed = self.offsets.read(&self.topic.name, partitions).await?;
        self.positions.reached(&self.topic, committed).await
    }
}

impl Goal {
    /// The ends that the partitions have now.
    ///
    /// # Errors
    /// A leader cannot be asked; mostly another try mends that.
    pub(crate) async fn find(cluster: &Cluster, group: Group, partitions: i32, isolation: Isolation) -> Result<Self> {
        let lookup = Lookup { cluster, topic: &group.topic.name };
        let numbers: Vec<i32> = (0..partitions).collect();
        let mut ends = LiteMap::new();
        let mut starts = lookup.offsets(&numbers, Edge::First).await;
        for (partition, end) in lookup.offsets(&numbers, Edge::End(isolation)).await {
            let missing = || Err(Error::new(ErrorCode::Protocol, "the broker told no offset").retriable());
            let (start, end) = (starts.remove(&partition).unwrap_or_else(missing)?, end?);
            if start < end {
                ends.insert(partition, end);
            }
        }
        let tasks = Tasks::new();
        let (told, reached) = watch::channel(LiteMap::new());
        tasks.spawn(look(group, ends.keys().copied().collect(), told, tasks.stop_signal()));
        Ok(Self { ends, ours: BTreeSet::new(), beginning: BTreeSet::new(), is_joined: false, reached, _look: tasks })
    }

    /// The group has said what is ours.
    pub(crate) fn joined(&mut self) {
        self.is_joined = true;
    }

    /// These are ours from now on.
    pub(crate) fn gained(&mut self, partitions: &[i32]) {
        self.ours.extend(partitions);
        self.beginning.extend(partitions);
    }

    /// This one of ours has begun.
    pub(crate) fn begun(&mut self, partition: i32) {
        self.beginning.remove(&partition);
    }

    /// These are not ours any more.
    pub(crate) fn gave_up(&mut self, partitions: &[i32]) {
        self.ours.retain(|partition| !partitions.contains(partition));
        self.beginning.retain(|partition| !partitions.contains(partition));
    }

    /// Whether all ends are reached, with our own positions.
    pub(crate) fn is_reached(&self, position: impl Fn(i32) -> Option<i64>) -> bool {
        let reached = self.reached.borrow();
        let at = |partition: i32| match self.ours.contains(&partition) {
            true => position(partition),
            false => reached.get(&partition).copied(),
        };
        let is_settled = self.is_joined && self.beginning.is_empty();
        is_settled && self.ends.iter().all(|(partition, end)| at(*partition).is_some_and(|at| at >= *end))
    }

    /// Waits until the others have committed something.
    ///
    /// # Cancel safety
    /// Nothing is lost when the future is dropped.
    pub(crate) async fn changed(&mut self) {
        if self.reached.changed().await.is_err() {
            std::future::pending::<()>().await;
        }
    }
}

/// Tells how far the group is, as often as it changes.
async fn look(group: Group, partitions: Vec<i32>, told: watch::Sender<LiteMap<i32, i64>>, stop: CancellationToken) {
    let looking = async {
        loop {
            tokio::time::sleep(LOOK).await;
            // What cannot be read now is read the next time.
            let Ok(reached) = group.reached(&partitions).await else { continue };
            told.send_if_modified(|before| {
                let is_new = *before != reached;
                *before = reached;
                is_new
            });
        }
    };
    tokio::select! {
        () = stop.cancelled() => {}
        () = looking => {}
    }
}
