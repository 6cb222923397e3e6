//! Noticing what does not move on, so that no partition of ours stands still in silence.
//!
//! Most troubles are told where they happen. What only takes too long (an answer, an order, a commit, another member) is
//! told by nobody, so each look compares what there was to do with what there was at the last look. What has not moved for
//! [`PATIENCE`] goes to the log once, and to health until it moves. ARCHITECTURE.md lists every such state.
//!
//! ```text
//!  reader, dispatcher, committer, membership --each second--> Seen --> Standstills --> Turn --> health, log
//! ```

use std::time::Duration;

use tokio::time::Instant;

use super::control::Concern;
use super::group::member::Commits;
use super::reader::Reader;
use super::run::{Course, Run};
use crate::flight::Because;

/// How long something may stand still before it is told. With a look each second everything is told within 10 s.
const PATIENCE: Duration = Duration::from_secs(7);

/// What may stand still.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum About {
    /// A partition's position, while there are orders behind it.
    Position(i32),
    /// A partition's way to its broker.
    Reading(i32),
    /// A broker's answer to a fetch.
    Answer(i32),
    /// The release of what was revoked in this assignment.
    Release(u64),
    /// The group between two generations.
    Generation,
    /// The commit of positions.
    Commit,
}

/// Something that there is to do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Seen {
    pub(crate) about: About,
    /// Changes when it moves on.
    pub(crate) mark: i64,
    /// What it may take beyond [`PATIENCE`], because somebody asked for it.
    pub(crate) allowed: Duration,
    /// What it waits for, with the way out.
    pub(crate) why: String,
}

/// What follows from a look.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Turn {
    /// It stands still for so long, because of this.
    Stands { about: About, since: Duration, why: String, is_new: bool },
    /// It moves again, or is over.
    Moves { about: About },
}

/// What was there to do at the last look.
#[derive(Debug, Default)]
pub(crate) struct Standstills(Vec<Watched>);

#[derive(Debug)]
struct Watched {
    about: About,
    mark: i64,
    since: Instant,
    is_told: bool,
}

impl Standstills {
    /// Compares what there is to do now with the last look.
    pub(crate) fn look(&mut self, now: Instant, seen: Vec<Seen>) -> Vec<Turn> {
        let mut turns = Vec::new();
        let over = |watched: &mut Watched| {
            let same = |seen: &Seen| (seen.about, seen.mark) == (watched.about, watched.mark);
            !seen.iter().any(same)
        };
        let over: Vec<Watched> = self.0.extract_if(.., over).collect();
        turns.extend(over.iter().filter(|watched| watched.is_told).map(|watched| Turn::Moves { about: watched.about }));
        for Seen { about, mark, allowed, why } in seen {
            let Some(watched) = self.0.iter_mut().find(|watched| watched.about == about) else {
                self.0.push(Watched { about, mark, since: now, is_told: false });
                continue;
            };
            let since = now.saturating_duration_since(watched.since);
            if since >= PATIENCE.saturating_add(allowed) {
                let is_new = !std::mem::replace(&mut watched.is_told, true);
                turns.push(Turn::Stands { about, since, why, is_new });
            }
        }
        turns
    }
}

impl Run {
    /// Looks whether everything moves on, and tells of what does not.
    pub(super) fn look_round(&mut self, reader: &mut Reader, course: &mut Course) {
        let seen = self.what_is_to_be_done(reader, course);
        let mut is_news = false;
        for turn in course.standstills.look(Instant::now(), seen) {
            match turn {
                Turn::Stands { about, since, why, is_new } => {
                    let seconds = since.as_secs();
                    if is_new {
                        tracing::warn!(?about, seconds, "no progress: {why}");
                        is_news = true;
                    }
                    self.control.concern(Concern::Standstill(about), format!("no progress for {seconds} s: {why}"));
                }
                Turn::Moves { about } => {
                    tracing::info!(?about, "it moves on");
                    self.control.relieve(Concern::Standstill(about));
                }
            }
        }
        if is_news {
            self.control.flights().trouble(Because::Stall);
        }
    }

    fn what_is_to_be_done(&self, reader: &mut Reader, course: &Course) -> Vec<Seen> {
        let mut seen = Vec::new();
        let revoked = |partition: i32| course.revoked.iter().any(|(_, revoked)| revoked.contains(&partition));
        if !course.paused {
            seen.extend(reader.troubles());
            let unread = |partition: i32| seen.iter().any(|seen| seen.about == About::Reading(partition));
            let behind = self.control.behind().into_iter();
            let behind = behind.filter(|(partition, _)| !revoked(*partition) && !unread(*partition));
            let standing: Vec<Seen> = behind.map(|(part, position)| self.position_of(part, position)).collect();
            seen.extend(standing);
        }
        seen.extend(course.revoked.iter().map(|(incarnation, partitions)| Seen {
            about: About::Release(incarnation.0),
            mark: 0,
            allowed: Duration::ZERO,
            why: self.release_of(partitions),
        }));
        seen.extend(self.commits_held());
        seen.retain(|seen| !self.is_told_otherwise(seen.about));
        seen
    }

    /// What is told at once where it happens need not be told again.
    fn is_told_otherwise(&self, about: About) -> bool {
        let concern = match about {
            About::Position(partition) | About::Reading(partition) => Concern::Partition(partition),
            About::Answer(node) => Concern::Broker(node),
            About::Commit => Concern::Commit,
            About::Generation => Concern::Membership,
            About::Release(_) => return false,
        };
        self.control.has(concern)
    }

    fn position_of(&self, partition: i32, position: i64) -> Seen {
        let obstacle = self.dispatch.obstacle(partition);
        let obstacle = obstacle.unwrap_or_else(|| "nothing of what the log has beyond it has come yet".to_owned());
        let why = format!("partition {partition} stands at offset {position}: {obstacle}");
        Seen { about: About::Position(partition), mark: position, allowed: Duration::ZERO, why }
    }

    fn release_of(&self, partitions: &[i32]) -> String {
        let group = self.offsets.group();
        let in_hand = partitions.iter().find(|partition| !self.dispatch.is_clear(**partition));
        let waits = match in_hand.map(|partition| (partition, self.dispatch.obstacle(*partition))) {
            Some((partition, Some(obstacle))) => format!("of partition {partition}, {obstacle}"),
            Some((partition, None)) => format!("an order of partition {partition} is in hand"),
            None => "their positions are not committed yet".to_owned(),
        };
        format!(
            "partitions {partitions:?} are to go to other members of group {group}, which wait for them: {waits}; \
             `orders status -g {group}` names the members"
        )
    }

    fn commits_held(&self) -> Vec<Seen> {
        let group = self.offsets.group();
        let mut seen = Vec::new();
        if matches!(self.offsets.authority().borrow().commits, Some(Commits::Held)) {
            let why = format!(
                "group {group} is between two generations, so nothing is committed: it waits for a member that has not joined \
                 again; `orders status -g {group}` names the members"
            );
            seen.push(Seen { about: About::Generation, mark: 0, allowed: Duration::ZERO, why });
        } else if let Some(mark) = self.committer.outstanding() {
            let why = format!(
                "positions of group {group} wait to be committed, and its coordinator does not answer; \
                 see whether the brokers that keep __consumer_offsets run"
            );
            // A steady commit is due each interval, which a look has to wait for.
            let allowed = self.config.commit_interval.saturating_sub(PATIENCE / 2);
            seen.push(Seen { about: About::Commit, mark, allowed, why });
        }
        seen
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn seen(about: About, mark: i64) -> Seen {
        Seen { about, mark, allowed: Duration::ZERO, why: "it waits".to_owned() }
    }

    fn told(turns: &[Turn]) -> Vec<(About, bool)> {
        let told = |turn: &Turn| match turn {
            Turn::Stands { about, is_new, .. } => (*about, *is_new),
            Turn::Moves { about } => (*about, false),
        };
        turns.iter().map(told).collect()
    }

    #[tokio::test(start_paused = true)]
    async fn what_does_not_move_is_told_after_seven_seconds_and_once_as_new() {
        let (mut standstills, begun) = (Standstills::default(), Instant::now());
        let mut look = |second: u64, mark| {
            standstills.look(begun + Duration::from_secs(second), vec![seen(About::Position(3), mark)])
        };
        assert_eq!(told(&look(0, 40)), []);
        assert_eq!(told(&look(6, 40)), []);
        assert_eq!(told(&look(7, 40)), [(About::Position(3), true)]);
        assert_eq!(told(&look(8, 40)), [(About::Position(3), false)]);
        assert_eq!(look(9, 41), [Turn::Moves { about: About::Position(3) }]);
        assert_eq!(told(&look(15, 41)), []);
        assert_eq!(told(&look(16, 41)), [(About::Position(3), true)]);
    }

    #[tokio::test(start_paused = true)]
    async fn what_moves_or_is_over_in_time_is_never_told() {
        let (mut standstills, begun) = (Standstills::default(), Instant::now());
        for second in 0..60 {
            let all = vec![seen(About::Commit, second / 5), seen(About::Position(0), second)];
            let held = (second % 7 < 6).then(|| seen(About::Generation, 0));
            let now = begun + Duration::from_secs(second.unsigned_abs());
            assert_eq!(standstills.look(now, all.into_iter().chain(held).collect()), []);
        }
    }

    #[tokio::test(start_paused = true)]
    async fn what_was_asked_to_take_longer_may() {
        let (mut standstills, begun) = (Standstills::default(), Instant::now());
        let mut look = |second: u64| {
            let poll = Seen { allowed: Duration::from_secs(30), ..seen(About::Answer(1), 5) };
            standstills.look(begun + Duration::from_secs(second), vec![poll])
        };
        assert_eq!((look(0), look(36)), (vec![], vec![]));
        assert_eq!(told(&look(37)), [(About::Answer(1), true)]);
    }
}
