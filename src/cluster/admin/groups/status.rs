//! How a group stands: a verdict on each partition, from looks at it.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use tokio::time::Instant;

use super::watch::{Sight, Watch};
use super::{Group, Member, Verdict, age, commits, describe_group, ends, warnings};
use crate::cluster::admin::{OffsetSpec, persist};
use crate::cluster::{Cluster, Missing, TopicState};
use crate::config::properties;
use crate::error::Result;
use crate::place::TopicPartition;

/// The time between two looks.
const BETWEEN_LOOKS: Duration = Duration::from_millis(500);

/// How long a topic's leaders are waited for; a partition without one is shown without its end.
const LEADERS: Duration = Duration::from_secs(2);

/// How a group stands.
#[derive(Clone, Debug, PartialEq)]
pub struct GroupStatus {
    /// The group at the last look.
    pub group: Group,
    /// Each partition that the group has committed in, owns or subscribes to, ordered by topic and number.
    pub partitions: Vec<PartitionStatus>,
    /// How long it was looked at: no time where the first look was enough.
    pub watched: Duration,
    /// What is odd about it, as sentences.
    pub warnings: Vec<String>,
}

/// How a group stands in one partition.
#[derive(Clone, Debug, PartialEq)]
pub struct PartitionStatus {
    /// The partition.
    pub at: TopicPartition,
    /// Which of the group's members owns it.
    pub owner: Option<usize>,
    /// The next offset that the group has committed to read.
    pub position: Option<i64>,
    /// The log's end for a reader of committed records (the last stable offset).
    pub end: Option<i64>,
    /// The log's end, open transactions included.
    pub high_watermark: Option<i64>,
    /// How many offsets lie between position and end: records, markers and gaps. `None` while nothing is committed.
    pub lag: Option<i64>,
    /// How long the first unread record has been in the log, by its own time and this machine's clock, in seconds.
    pub lag_seconds: Option<f64>,
    /// When nothing will be left at the present speeds, in seconds from now; `None` for never, or not known.
    pub drain_seconds: Option<f64>,
    /// What is to be thought of it.
    pub verdict: Verdict,
}

/// A static id that another member has than before.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Handover {
    pub(super) instance: String,
    pub(super) member: String,
    pub(super) times: u32,
}

impl GroupStatus {
    /// The member that owns a partition.
    #[must_use]
    pub fn owner(&self, partition: &PartitionStatus) -> Option<&Member> {
        self.group.members.get(partition.owner?)
    }
}

/// Looks at a group until a verdict on each partition can be given, at most for `patience`.
///
/// Where nothing lags, one look is enough. A consumer with Kafka's defaults commits every 5 s, so `patience` should cover
/// two such steps (11 s): a member that commits nothing in all that time is called stalled.
///
/// # Errors
/// As [`describe_group`]. A partition without a leader is no error: its figures are missing.
///
/// # Cancel safety
/// Safe: it only reads.
pub async fn group_status(cluster: &Cluster, name: &str, patience: Duration) -> Result<GroupStatus> {
    let began = Instant::now();
    let mut observer = Observer { cluster, name, began, watches: Vec::new(), statics: Vec::new() };
    let mut group = observer.look().await?;
    while !observer.is_decided(&group) && began.elapsed() + BETWEEN_LOOKS <= patience {
        tokio::time::sleep(BETWEEN_LOOKS).await;
        group = observer.look().await?;
    }
    Ok(observer.conclude(group).await)
}

/// Whoever looks.
struct Observer<'c> {
    cluster: &'c Cluster,
    name: &'c str,
    began: Instant,
    /// Ordered by partition.
    watches: Vec<(TopicPartition, Watch)>,
    statics: Vec<Handover>,
}

impl Observer<'_> {
    /// Positions first, ends afterwards: a group that reads on meanwhile is never beyond the end that is seen.
    async fn look(&mut self) -> Result<Group> {
        let group = describe_group(self.cluster, self.name).await?;
        self.note_statics(&group.members);
        let committed = persist(self.cluster, || commits(self.cluster, self.name)).await?;
        let committed: Vec<(TopicPartition, i64)> =
            committed.into_iter().map(|commit| (commit.at, commit.offset)).collect();
        let partitions = self.partitions(&group, &committed).await?;
        let bare = partitions.iter().filter(|at| find(&committed, at).is_none());
        let bare: Vec<TopicPartition> = bare.cloned().collect();
        let starts = ends::offsets(self.cluster, &bare, OffsetSpec::Earliest).await;
        let ends = ends::offsets(self.cluster, &partitions, OffsetSpec::LatestStable).await;
        let at = self.began.elapsed();
        for partition in partitions {
            let of = |offsets: &[(TopicPartition, i64)]| find(offsets, &partition);
            let sight = Sight { at, position: of(&committed), start: of(&starts), end: of(&ends) };
            match self.watches.binary_search_by(|(known, _)| known.cmp(&partition)) {
                Ok(index) => self.watches.get_mut(index).into_iter().for_each(|(_, watch)| watch.look(sight)),
                Err(index) => self.watches.insert(index, (partition, Watch::begin(sight))),
            }
        }
        Ok(group)
    }

    /// What the group has committed in and what it owns, with all partitions of those topics and of the subscribed ones.
    async fn partitions(&self, group: &Group, committed: &[(TopicPartition, i64)]) -> Result<Vec<TopicPartition>> {
        let owned = group.members.iter().flat_map(|member| &member.partitions);
        let mut partitions: Vec<TopicPartition> = committed.iter().map(|(at, _)| at).chain(owned).cloned().collect();
        let subscribed = group.members.iter().flat_map(|member| &member.topics).map(String::as_str);
        let mut topics: Vec<String> =
            partitions.iter().map(|at| &*at.topic).chain(subscribed).map(str::to_owned).collect();
        topics.sort_unstable();
        topics.dedup();
        for topic in topics {
            let asked = self.cluster.topic(&topic, Missing::Refuse, LEADERS).await;
            if let Err(error) = &asked {
                tracing::debug!(topic, %error, "a topic of the group cannot be looked at");
            }
            // A topic that lacks a leader has partitions all the same.
            if let Some(TopicState::Known(view)) = self.cluster.view().topic(&topic) {
                let all = 0..view.partition_count();
                partitions.extend(all.map(|partition| TopicPartition::new(view.name.clone(), partition)));
            }
        }
        partitions.sort_unstable();
        partitions.dedup();
        Ok(partitions)
    }

    fn note_statics(&mut self, members: &[Member]) {
        for (instance, member) in members.iter().filter_map(|member| Some((member.instance.as_ref()?, member))) {
            match self.statics.iter_mut().find(|known| known.instance == *instance) {
                Some(known) if known.member != member.id => {
                    known.member.clone_from(&member.id);
                    known.times = known.times.saturating_add(1);
                }
                Some(_) => {}
                None => {
                    self.statics.push(Handover { instance: instance.clone(), member: member.id.clone(), times: 0 });
                }
            }
        }
    }

    /// Whether another look would change nothing.
    fn is_decided(&self, group: &Group) -> bool {
        let owners = owners(group);
        let known = |(at, watch): &(TopicPartition, Watch)| owner(&owners, at).is_none() || watch.is_decided();
        group.is_settled() && self.watches.iter().all(known)
    }

    async fn conclude(self, group: Group) -> GroupStatus {
        let partitions: Vec<TopicPartition> = self.watches.iter().map(|(at, _)| at.clone()).collect();
        let highs = ends::offsets(self.cluster, &partitions, OffsetSpec::Latest).await;
        let watched = self.watches.iter().map(|(_, watch)| watch.last().at).max().unwrap_or_default();
        let owners = owners(&group);
        let mut stand = Vec::with_capacity(self.watches.len());
        let until = Instant::now() + self.cluster.config().millis(&properties::REQUEST_TIMEOUT);
        for (at, watch) in self.watches {
            let owner = owner(&owners, &at);
            let (verdict, drain_seconds) = watch.judge(owner.is_some());
            let Sight { position, end, .. } = watch.last();
            let lag = watch.lag();
            let asked = tokio::time::timeout_at(until, lag_seconds(self.cluster, &at, position, lag));
            let lag_seconds = asked.await.ok().flatten();
            let high_watermark = find(&highs, &at);
            let part =
                PartitionStatus { at, owner, position, end, high_watermark, lag, lag_seconds, drain_seconds, verdict };
            stand.push(part);
        }
        let mut status = GroupStatus { group, partitions: stand, watched, warnings: Vec::new() };
        let handovers: Vec<Handover> = self.statics.into_iter().filter(|known| known.times > 0).collect();
        status.warnings = warnings::warnings(&status, &handovers);
        status
    }
}

fn find(offsets: &[(TopicPartition, i64)], at: &TopicPartition) -> Option<i64> {
    let index = offsets.binary_search_by(|(other, _)| other.cmp(at)).ok()?;
    offsets.get(index).map(|(_, offset)| *offset)
}

/// Which member owns which partition, ordered.
fn owners(group: &Group) -> Vec<(&TopicPartition, usize)> {
    let members = group.members.iter().enumerate();
    let mut owners: Vec<_> =
        members.flat_map(|(index, member)| member.partitions.iter().map(move |at| (at, index))).collect();
    owners.sort_unstable();
    owners
}

fn owner(owners: &[(&TopicPartition, usize)], at: &TopicPartition) -> Option<usize> {
    let index = owners.binary_search_by(|(other, _)| (*other).cmp(at)).ok()?;
    owners.get(index).map(|(_, member)| *member)
}

/// How long the first unread record has been there.
async fn lag_seconds(cluster: &Cluster, at: &TopicPartition, position: Option<i64>, lag: Option<i64>) -> Option<f64> {
    if lag? == 0 {
        return Some(0.0);
    }
    let made = match age::first_time(cluster, at, position?).await {
        Ok(made) => u64::try_from(made?).ok()?,
        Err(error) => {
            tracing::debug!(%at, %error, "the oldest unread record cannot be read");
            return None;
        }
    };
    let now = SystemTime::now().duration_since(UNIX_EPOCH).ok()?;
    Some(now.saturating_sub(Duration::from_millis(made)).as_secs_f64())
}
