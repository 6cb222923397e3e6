//! The committer under a membership that the test decides, at the development broker.

use std::future::Future;

use super::*;
use crate::backoff::Backoff;
use crate::broker::{DevBroker, Rule, Verdict};
use crate::cluster::{Cluster, GroupCoordinator};
use crate::consumer::group::configured::Configured;
use crate::consumer::group::member::Commits;
use crate::consumer::group::session::{Membership, Session};
use crate::flight::Files;
use crate::wire::kafka_error::KafkaError;
use crate::wire::message::ApiKey;

const GROUP: &str = "shipping";
const TOPIC: &str = "orders";

/// A committer whose membership is what the test says.
struct Desk {
    broker: DevBroker,
    committer: Committer,
    authority: watch::Sender<Authority>,
    control: Control,
    _membership: (Membership, Session),
}

impl Desk {
    async fn set_up() -> Self {
        let broker = DevBroker::builder().topic(TOPIC, 2).start().await.unwrap();
        let cluster = Cluster::connect(&broker.config()).await.unwrap();
        let coordinator = Arc::new(GroupCoordinator::new(cluster, GROUP.to_owned()));
        let configured = Configured::read(&broker.config(), GROUP, TOPIC.into()).unwrap();
        let (membership, session, _) = Membership::pair(configured, coordinator.clone(), &Files::default());
        let (authority, told) = watch::channel(Authority::default());
        let offsets = Arc::new(GroupOffsets::new(coordinator, told, membership.voice().clone()));
        let (control, interval) = (Control::new(Files::default()), Duration::from_millis(100));
        let backoff = Backoff::new(interval, interval);
        let committer = Committer::start(offsets, TOPIC.into(), control.clone(), interval, backoff);
        let desk = Self { broker, committer, authority, control, _membership: (membership, session) };
        desk.committer.admit(0);
        desk.say(Commits::As(outsider()), 0);
        desk
    }

    fn say(&self, commits: Commits, losses: u64) {
        self.authority.send_modify(|authority| *authority = Authority { commits: Some(commits), losses });
    }

    fn note(&self, partition: i32, offset: i64) {
        self.committer.note(partition, Committed { offset, leader_epoch: -1, text: String::new() });
    }

    fn committed(&self, partition: i32) -> Option<i64> {
        self.broker.committed(GROUP, TOPIC, partition)
    }

    async fn until(&self, is_so: impl Fn(&Self) -> bool) {
        let looking = async {
            while !is_so(self) {
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        };
        tokio::time::timeout(Duration::from_secs(30), looking).await.expect("it comes");
    }

    /// Long enough for anything to be committed that ever will be.
    fn while_passes(&self) -> impl Future<Output = ()> + use<> {
        tokio::time::sleep(Duration::from_secs(60))
    }
}

/// One who is no member may commit as long as the group has none.
fn outsider() -> Credentials {
    Credentials { member_id: String::new(), epoch: -1, instance_id: None }
}

#[tokio::test(start_paused = true)]
async fn what_is_ours_is_committed_and_nothing_else() {
    let desk = Desk::set_up().await;
    desk.note(0, 5);
    desk.note(1, 7);
    desk.until(|desk| desk.committed(0) == Some(5)).await;
    desk.committer.forget(0);
    desk.note(0, 6);
    desk.while_passes().await;
    assert_eq!((desk.committed(0), desk.committed(1)), (Some(5), None));
    assert!(!desk.committer.has(0) && !desk.committer.has(1));
}

#[tokio::test(start_paused = true)]
async fn positions_wait_while_the_group_is_between_two_generations() {
    let desk = Desk::set_up().await;
    desk.say(Commits::Held, 0);
    desk.note(0, 5);
    desk.while_passes().await;
    assert_eq!((desk.committed(0), desk.committer.has(0)), (None, true));
    desk.say(Commits::As(outsider()), 0);
    desk.until(|desk| desk.committed(0) == Some(5)).await;
}

#[tokio::test(start_paused = true)]
async fn what_was_noted_before_a_loss_is_not_committed_under_the_next_membership() {
    let desk = Desk::set_up().await;
    desk.say(Commits::Barred, 0);
    desk.note(0, 5);
    // The member has lost its partitions and joined again before anybody here has heard of the loss.
    desk.say(Commits::As(outsider()), 1);
    desk.while_passes().await;
    assert_eq!((desk.committed(0), desk.committer.has(0)), (None, true), "it is committed before the loss is heard of");
    desk.committer.lost(&[0]);
    desk.while_passes().await;
    assert_eq!((desk.committed(0), desk.committer.has(0)), (None, false), "it is committed after the loss");
    desk.committer.admit(0);
    desk.note(0, 9);
    desk.until(|desk| desk.committed(0) == Some(9)).await;
}

#[tokio::test(start_paused = true)]
async fn a_commit_that_a_loss_overtakes_is_not_sent_again() {
    let desk = Desk::set_up().await;
    let silence = desk.broker.install(Rule::on(ApiKey::OffsetCommit).times(1).then(Verdict::Silence));
    desk.note(0, 5);
    desk.until(|_| silence.applied() == 1).await;
    // Nobody knows what became of it, and everything of the next membership is there before its deadline has passed.
    desk.committer.lost(&[0]);
    desk.say(Commits::As(outsider()), 1);
    desk.committer.admit(0);
    desk.while_passes().await;
    assert_eq!((desk.committed(0), desk.committer.has(0)), (None, false));
}

#[tokio::test(start_paused = true)]
async fn what_was_refused_is_sent_again_unless_there_is_a_newer_position() {
    let desk = Desk::set_up().await;
    let error = Verdict::Error(KafkaError::CoordinatorLoadInProgress);
    let refused = desk.broker.install(Rule::on(ApiKey::OffsetCommit).times(2).then(error));
    desk.note(0, 5);
    desk.until(|_| refused.applied() == 1).await;
    desk.note(0, 8);
    desk.until(|desk| desk.committed(0).is_some()).await;
    assert_eq!((desk.committed(0), refused.applied()), (Some(8), 2));
    desk.until(|desk| !desk.control.has(Concern::Commit)).await;
}

#[tokio::test(start_paused = true)]
async fn what_is_not_to_wait_does_not() {
    let desk = Desk::set_up().await;
    let begun = Instant::now();
    desk.note(0, 5);
    desk.until(|desk| desk.committed(0) == Some(5)).await;
    desk.committer.note_at_once(0, Committed { offset: 6, leader_epoch: -1, text: String::new() });
    desk.until(|desk| desk.committed(0) == Some(6)).await;
    assert!(begun.elapsed() < Duration::from_millis(150), "{:?}", begun.elapsed());
}
