//! What goes wrong while the shop works, as a seed decides it.
//!
//! The same seed gives the same troubles in the same order, in every release. What each of them hits depends on what is on its way.

use std::fmt;
use std::time::Duration;

use orderflow::broker::Verdict;
use orderflow::order::generate::Chance;
use orderflow::wire::kafka_error::KafkaError;
use orderflow::wire::message::ApiKey;

/// Nodes of a broker in trouble: enough for a leader to move, and for three replicas.
pub(crate) const NODES: u16 = 3;
/// Partitions of each topic.
pub(crate) const PARTITIONS: i32 = 6;
/// The longest pause before the next trouble.
const PAUSE_MS: u32 = 16;
/// The longest time that something is held up.
const HOLD_UP_MS: u32 = 40;
/// How many requests in a row one trouble falls on at most.
const IN_A_ROW: u32 = 3;

/// One thing that goes wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Trouble {
    /// How long all is well before.
    pub(crate) after: Duration,
    pub(crate) what: What,
}

/// What goes wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum What {
    /// Requests to a node, of one API or of any, meet this verdict.
    Requests { node: i32, api: Option<ApiKey>, verdict: Verdict, times: u64 },
    /// A node restarts.
    Restart { node: i32 },
    /// A node restarts on another port. Never the first, whose address people were told.
    ChangePort { node: i32 },
    /// A partition gets another leader, in one topic or the other.
    MoveLeader { first_topic: bool, partition: i32, node: i32 },
    /// A partition begins a new leader epoch under its leader.
    BumpEpoch { first_topic: bool, partition: i32 },
    /// The group's commits are another node's affair.
    MoveCoordinator { node: i32 },
    /// Fetch sessions are forgotten.
    ForgetSessions,
    /// The stores misbehave in their next transactions.
    Store(Mood),
}

/// How a store misbehaves.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Mood {
    /// A transaction takes this much longer.
    Slow(Duration),
    /// A transaction fails, and nothing of it is kept.
    Fails,
    /// A transaction is kept, and its answer is an error.
    LosesAnswer,
}

/// All troubles of a seed, without an end.
#[derive(Clone, Debug)]
pub(crate) struct Schedule(Chance);

impl Schedule {
    pub(crate) fn new(seed: u64) -> Self {
        Self(Chance::new(seed))
    }

    fn millis(&mut self, most: u32) -> Duration {
        Duration::from_millis(u64::from(self.0.below(most) + 1))
    }

    fn node(&mut self) -> i32 {
        self.number(i32::from(NODES)) + 1
    }

    fn number(&mut self, bound: i32) -> i32 {
        i32::try_from(self.0.below(bound.unsigned_abs())).unwrap_or_default()
    }

    fn what(&mut self) -> What {
        let (first_topic, partition, node) = (self.0.below(2) == 0, self.number(PARTITIONS), self.node());
        match self.0.below(24) {
            0..=3 => self.requests(node, Some(ApiKey::Produce)),
            4..=7 => self.requests(node, Some(ApiKey::Fetch)),
            8..=11 => self.requests(node, None),
            12 | 13 => What::Restart { node },
            14 => What::ChangePort { node: node.max(2) },
            15..=17 => What::MoveLeader { first_topic, partition, node },
            18 => What::BumpEpoch { first_topic, partition },
            19 => What::MoveCoordinator { node },
            20 => What::ForgetSessions,
            21 => What::Store(Mood::Slow(self.millis(HOLD_UP_MS))),
            22 => What::Store(Mood::Fails),
            _ => What::Store(Mood::LosesAnswer),
        }
    }

    fn requests(&mut self, node: i32, api: Option<ApiKey>) -> What {
        let verdict = match (self.0.below(10), api) {
            (0 | 1, _) => Verdict::Cut,
            (2..=4, _) => Verdict::CutAfter,
            (5, _) => Verdict::SilenceAfter,
            (6, _) => Verdict::DelayAnswer(self.millis(HOLD_UP_MS)),
            (7, _) => Verdict::Throttle(self.millis(HOLD_UP_MS)),
            (8, Some(ApiKey::Produce)) => Verdict::Duplicate,
            (_, Some(ApiKey::Produce)) => self.refusal(&[
                Verdict::Error(KafkaError::NotEnoughReplicas),
                Verdict::ErrorAfter(KafkaError::NotEnoughReplicasAfterAppend),
                Verdict::Error(KafkaError::KafkaStorageError),
                Verdict::Error(KafkaError::NotLeaderOrFollower),
                Verdict::ErrorAfter(KafkaError::RequestTimedOut),
            ]),
            (_, Some(_)) => self.refusal(&[
                Verdict::Error(KafkaError::NotLeaderOrFollower),
                Verdict::Error(KafkaError::KafkaStorageError),
                Verdict::Error(KafkaError::FetchSessionIdNotFound),
                Verdict::Error(KafkaError::LeaderNotAvailable),
            ]),
            (_, None) => Verdict::Delay(self.millis(HOLD_UP_MS)),
        };
        What::Requests { node, api, verdict, times: u64::from(self.0.below(IN_A_ROW)) + 1 }
    }

    fn refusal(&mut self, all: &[Verdict]) -> Verdict {
        self.0.one_of(all).copied().unwrap_or(Verdict::Pass)
    }
}

impl Iterator for Schedule {
    type Item = Trouble;

    fn next(&mut self) -> Option<Trouble> {
        Some(Trouble { after: self.millis(PAUSE_MS), what: self.what() })
    }
}

impl fmt::Display for What {
    /// What kind of trouble it is, for the count of them.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Requests { verdict, .. } => match verdict {
                Verdict::Cut => "connections cut",
                Verdict::CutAfter | Verdict::SilenceAfter => "answers lost",
                Verdict::Delay(_) | Verdict::DelayAnswer(_) => "delays",
                Verdict::Throttle(_) => "throttles",
                Verdict::Duplicate => "answered as duplicates",
                _ => "refusals",
            },
            Self::Restart { .. } | Self::ChangePort { .. } => "restarts",
            Self::MoveLeader { .. } | Self::BumpEpoch { .. } => "leader changes",
            Self::MoveCoordinator { .. } => "coordinator moves",
            Self::ForgetSessions => "sessions forgotten",
            Self::Store(_) => "store troubles",
        })
    }
}
