//! Which store a group's positions are in.
//!
//! A store names itself beside each offset that it commits. Effects that are spread over two stores are complete in
//! neither, so a consumer whose store is not the one that the commits name does not work, nor does it join: it says so and
//! looks again. Taking a group over is a person's decision; it rewrites the commits before anything is read, so that a
//! crash in the middle leaves nothing to remember.
//!
//! ```text
//!  before each join, and every 10 s while in the group
//!                   all commits of the group --another store is named--> not admitted, looked at again
//!                   |                     --this store, in a later version than it has--> a restored backup at its first
//!                   |                        look at a group without members, and goes on; else a copy works: the same
//!       |                     | adopt: every commit names this store, own positions win
//!       |                     | rebuild: every partition at 0 (the store is empty, the log begins at 0)
//!       v                     v
//!  assigned         own position, or the commit that names this store in version 0
//!       |
//!       +--> claim: committed, answered, and all commits looked at again --> first effect (rule R10)
//! ```

use futures::FutureExt;
use futures::future::BoxFuture;
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

use litemap::LiteMap;

use super::commit::{Committed, GroupOffsets, Note};
use crate::cluster::admin::groups::{Commit, commits, describe_group};
use crate::cluster::admin::{OffsetSpec, list_offsets};
use crate::cluster::{Cluster, TopicState, TopicView, refusal};
use crate::gather::Gather;
use crate::place::{Place, TopicPartition};
use crate::store::{Position, Topic};
use crate::{Error, ErrorCode, Result};

/// The version in a claim of a store that has no position there yet: it begins where the claim says.
pub(crate) const NOT_BEGUN: u64 = 0;

/// What becomes of a group whose positions are not this store's.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Takeover {
    /// It is left alone.
    #[default]
    Refused,
    /// This store goes on from the group's committed offsets; where it has a position, from that.
    Adopt,
    /// This store, which is empty, is built from the log's beginning.
    Rebuild,
}

/// The claim of one store on its group.
pub(crate) struct Claim {
    pub(crate) cluster: Cluster,
    pub(crate) offsets: Arc<GroupOffsets>,
    pub(crate) topic: Arc<str>,
    /// The store's name.
    pub(crate) own: String,
    pub(crate) takeover: Mutex<Takeover>,
}

impl Claim {
    /// The topic as the latest metadata show it, which a takeover needs.
    pub(crate) fn seen(&self) -> Result<Arc<TopicView>> {
        match self.cluster.view().topic(&self.topic) {
            Some(TopicState::Known(topic)) => Ok(topic.clone()),
            _ => Err(Error::new(ErrorCode::UnknownTopic, "the topic is not known yet")
                .at(Place::topic(self.topic.clone()))
                .retriable()),
        }
    }

    /// What is to be done about a foreign group, until it is done.
    pub(crate) fn takeover(&self) -> Takeover {
        *self.takeover.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn taken_over(&self) {
        *self.takeover.lock().unwrap_or_else(PoisonError::into_inner) = Takeover::Refused;
    }

    /// All commits of the group.
    pub(crate) fn commits(&self) -> BoxFuture<'_, Result<Vec<Commit>>> {
        async move { commits(&self.cluster, self.offsets.group()).await }.boxed()
    }

    /// Whether nobody else's store is named by the group's commits, which are returned.
    pub(crate) fn demand(&self) -> BoxFuture<'_, Result<Vec<Commit>>> {
        async move {
            let commits = self.commits().await?;
            commits.iter().try_for_each(|commit| self.refuse_another(&commit.at, commit.offset, &commit.text))?;
            Ok(commits)
        }
        .boxed()
    }

    /// The topic whose position of this store a commit tells, and its version.
    pub(crate) fn told_of(&self, commit: &Commit) -> Option<(Topic, u64)> {
        match Note::read(&commit.text, commit.offset) {
            Note::Store { name, version, topic: Some(id), .. } if name == self.own => {
                Some((Topic::new(id, commit.at.topic.clone()), version))
            }
            _ => None,
        }
    }

    /// Refuses a commit that names another store: its effects are there.
    pub(crate) fn refuse_another(&self, at: &TopicPartition, offset: i64, text: &str) -> Result<()> {
        match Note::read(text, offset) {
            Note::Store { name, version, .. } if name != self.own => {
                let (group, own) = (self.offsets.group(), &self.own);
                let sentence = format!(
                    "the positions of group {group} are in the store {name} (version {version}, offset {offset}), not in {own}"
                );
                Err(Error::new(ErrorCode::StoreClaimed, sentence).at(Place::partition(at)).remedy(
                    "run with that store, which serves one process (PostgreSQL will serve many); or let this one take the \
                     group over with --adopt; or build an empty one from the log's beginning with --rebuild",
                ))
            }
            _ => Ok(()),
        }
    }

    /// Takes the group over with its committed offsets. Where this store has a position, that one counts when the
    /// partition begins, whatever its claim says. What a later version of this store has committed, in `newer`, is taken back.
    pub(crate) fn adopt<'a>(&'a self, commits: Vec<Commit>, newer: &'a [Newer]) -> BoxFuture<'a, Result<()>> {
        async move {
            let foreign = commits.into_iter().filter(|commit| !self.is_own(commit));
            let foreign = foreign.map(|commit| (commit.at, commit.offset, commit.leader_epoch));
            self.take(foreign.chain(newer.iter().map(Newer::start)).collect()).await?;
            self.taken_over();
            Ok(())
        }
        .boxed()
    }

    /// Takes back what a later version of this store has committed: the store is a restored backup, which goes on from where
    /// it stands.
    ///
    /// # Errors
    /// The group has members, or this process has worked in it: then another process works with a copy of the store.
    pub(crate) fn take_back<'a>(&'a self, newer: &'a [Newer], has_worked: bool) -> BoxFuture<'a, Result<()>> {
        async move {
            let Some(first) = newer.first() else { return Ok(()) };
            if has_worked {
                return Err(first.refusal(&self.own));
            }
            match self.take(newer.iter().map(Newer::start).collect()).await {
                Err(error) if error.code() == ErrorCode::StoreClaimed => Err(first.refusal(&self.own)),
                taken => {
                    taken?;
                    tracing::warn!(at = %first.at, "{}: what came since is applied to it again", first.sentence(&self.own));
                    Ok(())
                }
            }
        }
        .boxed()
    }

    /// Claims partitions at these offsets and leader epochs in a group without members.
    async fn take(&self, taken: Vec<(TopicPartition, i64, i32)>) -> Result<()> {
        if taken.is_empty() {
            return Ok(());
        }
        self.demand_no_members().await?;
        let mut claims: Vec<(Arc<str>, LiteMap<i32, Committed>)> = Vec::new();
        for (at, offset, leader_epoch) in taken {
            let claim = self.not_begun(offset, leader_epoch);
            tracing::warn!(%at, offset, "this store takes the partition over");
            match claims.iter_mut().find(|(topic, _)| *topic == at.topic) {
                Some((_, of_topic)) => drop(of_topic.insert(at.partition, claim)),
                None => claims.push((at.topic, [(at.partition, claim)].into_iter().gather())),
            }
        }
        for (topic, claims) in claims {
            self.write(&topic, &claims, None).await?.into_iter().next().map_or(Ok(()), |(_, error)| Err(error))?;
        }
        Ok(())
    }

    /// Takes the group over for an empty store, which begins at offset 0 of each partition.
    pub(crate) fn rebuild<'a>(
        &'a self,
        topic: &'a TopicView,
        own: &'a BTreeMap<i32, Position>,
    ) -> BoxFuture<'a, Result<()>> {
        async move {
            if !own.is_empty() {
                let sentence = format!("the store {} is not empty, and only an empty one can be rebuilt", self.own);
                return Err(Error::new(ErrorCode::ConfigUnsupported, sentence)
                    .remedy("name a new file; a rebuild that was interrupted goes on without --rebuild"));
            }
            let starts = list_offsets(&self.cluster, topic, OffsetSpec::Earliest).await?;
            if let Some((partition, start)) = starts.iter().find(|(_, start)| **start > 0) {
                let sentence =
                    format!("the log begins at {start}: a store built from it would lack what was there before");
                return Err(Error::new(ErrorCode::OffsetOutOfRange, sentence)
                    .at(Place::partition(&TopicPartition::new(topic.name.clone(), *partition)))
                    .remedy("restore a backup, or go on from the group's offsets with --adopt"));
            }
            let commits = self.commits().await?;
            if !commits.iter().all(|commit| self.is_own(commit)) {
                self.demand_no_members().await?;
            }
            // What else the group reads is read from its beginning as well: the store has nothing of it.
            let others = commits.into_iter().filter(|commit| commit.at.topic != topic.name && !self.is_own(commit));
            self.take(others.map(|commit| (commit.at, 0, -1)).collect()).await?;
            let claims = starts.into_keys().map(|partition| (partition, self.not_begun(0, -1))).gather();
            self.write(&topic.name, &claims, None).await?.into_iter().next().map_or(Ok(()), |(_, error)| Err(error))?;
            self.taken_over();
            Ok(())
        }
        .boxed()
    }

    /// Commits the positions as this store's, and waits for the answers. Returns what was refused.
    ///
    /// # Errors
    /// The coordinator could not be asked, or another store claimed the group in the same moment.
    pub(crate) fn stake<'a>(
        &'a self,
        topic: &'a Topic,
        positions: &'a BTreeMap<i32, Position>,
        losses: u64,
    ) -> BoxFuture<'a, Result<Vec<(i32, Error)>>> {
        async move {
            let claims =
                positions.iter().map(|(partition, position)| (*partition, self.begun(topic, position))).gather();
            let refused = self.write(&topic.name, &claims, Some(losses)).await?;
            // Two stores that both saw a free group have both claimed it by now: at least one of them sees the other here.
            self.demand().await.map(|_| refused)
        }
        .boxed()
    }

    /// Writes claims. What is refused is tried again: a group in motion lets a member commit later.
    async fn write(
        &self,
        topic: &str,
        claims: &LiteMap<i32, Committed>,
        losses: Option<u64>,
    ) -> Result<Vec<(i32, Error)>> {
        if claims.is_empty() {
            return Ok(Vec::new());
        }
        let refused = self.offsets.write(topic, claims, losses).await?.into_iter().map(|(partition, error)| {
            let place = Place::partition(&TopicPartition::new(topic, partition));
            let error = refusal(error, "the store's claim on the group was to be committed");
            (partition, error.at(place).retriable())
        });
        Ok(refused.collect())
    }

    /// Whoever is in the group may apply to another store at this moment.
    async fn demand_no_members(&self) -> Result<()> {
        let group = self.offsets.group();
        let members = match describe_group(&self.cluster, group).await {
            Err(error) if error.code() == ErrorCode::UnknownGroup => 0,
            described => described?.members.len(),
        };
        if members == 0 {
            return Ok(());
        }
        let sentence = format!("group {group} has {members} members, so it cannot be taken over");
        Err(Error::new(ErrorCode::StoreClaimed, sentence)
            .remedy(format!("stop them (`orders status -g {group}` names them), or wait for their sessions to end")))
    }

    fn is_own(&self, commit: &Commit) -> bool {
        matches!(Note::read(&commit.text, commit.offset), Note::Store { name, .. } if name == self.own)
    }

    fn begun(&self, topic: &Topic, position: &Position) -> Committed {
        let (offset, leader_epoch, name) = (position.next, position.leader_epoch, self.own.clone());
        let (version, topic, tripped) = (position.version, Some(topic.id), position.tripped);
        let note = Note::Store { name, version, topic, tried: position.tried.clone(), tripped };
        Committed { offset, leader_epoch, text: note.write(offset) }
    }

    fn not_begun(&self, offset: i64, leader_epoch: i32) -> Committed {
        let (name, version) = (self.own.clone(), NOT_BEGUN);
        let text = Note::Store { name, version, topic: None, tried: Vec::new(), tripped: None }.write(offset);
        Committed { offset, leader_epoch, text }
    }
}

/// A commit that tells of a later version of this store than this is.
#[derive(Debug)]
pub(crate) struct Newer {
    pub(crate) at: TopicPartition,
    /// The committed version and offset.
    pub(crate) committed: (u64, i64),
    pub(crate) own: Option<Position>,
}

impl Newer {
    /// Where this store goes on, with the leader epoch.
    fn start(&self) -> (TopicPartition, i64, i32) {
        let (next, leader_epoch) = self.own.as_ref().map_or((0, -1), |own| (own.next, own.leader_epoch));
        (self.at.clone(), next, leader_epoch)
    }

    /// A store's commits follow its transactions, so they are never ahead of it.
    fn sentence(&self, store: &str) -> String {
        let (version, offset) = self.committed;
        let here = self.own.as_ref().map_or((0, 0), |own| (own.version, own.next));
        format!(
            "the store {store} is older than what it has committed (version {version}, offset {offset}; here {}, {})",
            here.0, here.1
        )
    }

    fn refusal(&self, store: &str) -> Error {
        let sentence =
            format!("{}, and the group has members: another process works with a copy of it", self.sentence(store));
        Error::new(ErrorCode::StoreClaimed, sentence).at(Place::partition(&self.at)).remedy(
            "end both processes, and start the one whose store is to be kept: it applies what the other had. A restored backup \
             goes on by itself when the group has no members",
        )
    }
}
