//! A classic member against answers played by hand.

mod faults;
mod hostile;

use bytes::Bytes;

use super::super::assignor::Assignor;
use super::super::complaint::Cause;
use super::super::member::{Commits, Effect, Event, Incarnation, Lane, Partitions, Settings};
use super::super::message::{Answer, Call};
use super::super::rig::{Rig, orders, seconds, settings};
use super::super::subscription::{Subscription, decode_assignment, encode_assignment};
use super::{Classic, Phase};
use crate::place::TopicPartition;
use crate::wire::message::*;

type Member = Rig<Classic>;

fn eager() -> Settings {
    Settings { assignors: vec![Assignor::Range], ..settings() }
}

fn cooperative() -> Settings {
    Settings { assignors: vec![Assignor::CooperativeSticky], ..settings() }
}

fn mixed() -> Settings {
    Settings { assignors: vec![Assignor::CooperativeSticky, Assignor::Range], ..settings() }
}

/// A member of generation 1 that follows and holds these partitions.
fn stable(settings: Settings, held: impl IntoIterator<Item = i32>) -> Member {
    let protocol = settings.assignors[0].name();
    let mut rig = Rig::started(Classic::new(settings));
    rig.join(protocol, 1, "other");
    rig.sync(held);
    rig.begin();
    rig.news();
    rig
}

fn entry(numbers: impl IntoIterator<Item = i32>) -> Bytes {
    let partitions = numbers.into_iter().map(|number| TopicPartition::new("orders", number));
    encode_assignment(&partitions.collect()).unwrap()
}

fn accepted(protocol: &str, generation_id: i32, leader: &str) -> JoinGroupResponse {
    let protocol_name = Some(protocol.to_owned());
    let (leader, member_id) = (leader.to_owned(), "c-1".to_owned());
    JoinGroupResponse { generation_id, protocol_name, leader, member_id, ..Default::default() }
}

impl Member {
    fn join(&mut self, protocol: &str, generation: i32, leader: &str) -> Vec<Effect> {
        self.answer(Lane::Join, Answer::Join(accepted(protocol, generation, leader)))
    }

    fn refuse_join(&mut self, error_code: i16) -> Vec<Effect> {
        let member_id = "c-1".to_owned();
        self.answer(Lane::Join, Answer::Join(JoinGroupResponse { error_code, member_id, ..Default::default() }))
    }

    fn sync(&mut self, numbers: impl IntoIterator<Item = i32>) -> Vec<Effect> {
        self.answer(Lane::Join, Answer::Sync(SyncGroupResponse { assignment: entry(numbers), ..Default::default() }))
    }

    fn refuse_sync(&mut self, error_code: i16) -> Vec<Effect> {
        self.answer(Lane::Join, Answer::Sync(SyncGroupResponse { error_code, ..Default::default() }))
    }

    fn beat(&mut self, error_code: i16) -> Vec<Effect> {
        let answer = HeartbeatResponse { error_code, ..Default::default() };
        self.answer(Lane::Heartbeat, Answer::Heartbeat(answer))
    }

    fn joining(&self) -> &JoinGroupRequest {
        match self.call(Lane::Join) {
            Some(Call::Join(request)) => request,
            other => panic!("{other:?} in flight: {:?}", self.member),
        }
    }

    fn syncing(&self) -> &SyncGroupRequest {
        match self.call(Lane::Join) {
            Some(Call::Sync(request)) => request,
            other => panic!("{other:?} in flight: {:?}", self.member),
        }
    }

    /// What the member says in its JoinGroup that it owns.
    fn claims(&self) -> (Vec<i32>, Option<i32>) {
        let subscription = Subscription::decode(&self.joining().protocols[0].metadata).unwrap();
        (subscription.owned.iter().map(|at| at.partition).collect(), subscription.generation)
    }

    /// The group rebalances, as the next heartbeat tells.
    fn rebalance(&mut self) {
        self.pass(seconds(3));
        self.beat(27);
    }
}

fn assigned(incarnation: u64, numbers: impl IntoIterator<Item = i32>, epoch: i32) -> Effect {
    Effect::Assigned { incarnation: Incarnation(incarnation), partitions: orders(numbers), epoch }
}

fn revoked(incarnation: u64, numbers: impl IntoIterator<Item = i32>) -> Effect {
    Effect::Revoked { incarnation: Incarnation(incarnation), partitions: orders(numbers) }
}

fn lost(incarnation: u64, numbers: impl IntoIterator<Item = i32>) -> Effect {
    Effect::Lost { incarnation: Incarnation(incarnation), partitions: orders(numbers) }
}

/// Case 17.
#[test]
fn a_member_joins_again_with_the_id_that_it_was_given_also_after_a_lost_answer() {
    let mut rig = Rig::started(Classic::new(eager()));
    assert_eq!((rig.joining().member_id.as_str(), rig.joining().session_timeout_ms), ("", 45_000));
    rig.refuse_join(79);
    assert_eq!(rig.joining().member_id, "c-1");
    rig.cut(Lane::Join);
    rig.find();
    assert_eq!(rig.joining().member_id, "c-1");
    rig.join("range", 1, "other");
    assert_eq!((rig.syncing().member_id.as_str(), rig.syncing().generation_id), ("c-1", 1));
    assert_eq!(rig.syncing().protocol_name.as_deref(), Some("range"));
    rig.sync([0, 1]);
    assert_eq!(rig.news(), [assigned(1, [0, 1], 1)]);
    assert!(matches!(&rig.member.commits, Commits::As(credentials) if credentials.epoch == 1));
}

/// Case 1, eager.
#[test]
fn an_eager_member_gives_everything_back_before_it_joins() {
    let mut rig = stable(eager(), 0..4);
    rig.rebalance();
    assert_eq!(rig.news(), [revoked(1, 0..4)]);
    assert!(rig.call(Lane::Join).is_none());
    assert!(matches!(&rig.member.commits, Commits::As(credentials) if credentials.epoch == 1));
    rig.pass(seconds(3));
    rig.beat(27);
    rig.release(0..4);
    assert_eq!(rig.claims(), (vec![], None));
    assert_eq!(rig.member.commits, Commits::Held);
    rig.join("range", 2, "other");
    rig.sync([2, 3]);
    assert_eq!(rig.news(), [assigned(2, [2, 3], 2)]);
}

/// Case 22: with a mixed list an eager member may join at any time.
#[test]
fn a_mixed_list_is_run_eagerly_so_that_a_downgrade_owns_nothing_twice() {
    let mut rig = stable(mixed(), 0..4);
    rig.rebalance();
    assert_eq!(rig.news(), [revoked(1, 0..4)]);
    rig.release(0..4);
    assert_eq!(rig.claims().0, Vec::<i32>::new());
    rig.join("range", 2, "other");
    rig.sync([0, 1]);
    assert_eq!(rig.news(), [assigned(2, [0, 1], 2)]);
}

/// Case 20.
#[test]
fn a_cooperative_member_keeps_what_stays_and_joins_again_once_it_has_given_up_what_moves() {
    let mut rig = stable(cooperative(), 0..4);
    rig.rebalance();
    assert_eq!(rig.news(), []);
    assert_eq!(rig.claims(), (vec![0, 1, 2, 3], Some(1)));
    assert_eq!(rig.member.commits, Commits::Held);
    rig.join("cooperative-sticky", 2, "other");
    rig.sync([0, 1]);
    assert_eq!(rig.news(), [revoked(1, [2, 3])]);
    assert!(matches!(&rig.member.commits, Commits::As(credentials) if credentials.epoch == 2), "the new generation");
    assert!(rig.call(Lane::Join).is_none());
    rig.release([2, 3]);
    assert_eq!(rig.claims(), (vec![0, 1], Some(2)));
    rig.join("cooperative-sticky", 3, "other");
    rig.sync([0, 1]);
    assert_eq!(rig.news(), [], "what stays is not touched");
    assert_eq!(rig.member.phase, Phase::Stable);
}

#[test]
fn a_cooperative_member_that_only_receives_does_not_join_again() {
    let mut rig = stable(cooperative(), [0]);
    rig.rebalance();
    rig.join("cooperative-sticky", 2, "other");
    rig.sync([0, 1]);
    assert_eq!(rig.news(), [assigned(2, [1], 2)]);
    assert!(rig.call(Lane::Join).is_none());
}

/// What the application did not give back in time is lost, and the member joins without it.
#[test]
fn what_is_not_given_back_in_time_is_lost_and_the_join_goes_on() {
    let mut rig = stable(Settings { rebalance_timeout: seconds(10), ..eager() }, 0..2);
    rig.rebalance();
    rig.news();
    rig.release([0]);
    rig.pass(seconds(6));
    let news = rig.news();
    assert!(matches!(&news[0], Effect::Warn(warning) if warning.cause == Cause::NotSettled));
    assert_eq!(news[1..], [lost(1, [1])]);
    assert_eq!(rig.claims().0, Vec::<i32>::new());
}

fn led(settings: Settings, members: &[(&str, &[&str])]) -> Member {
    let mut rig = Rig::started(Classic::new(settings));
    rig.answer(Lane::Join, Answer::Join(leading(members)));
    rig
}

fn leading(members: &[(&str, &[&str])]) -> JoinGroupResponse {
    let member = |(id, topics): &(&str, &[&str])| JoinGroupResponseMember {
        member_id: (*id).to_owned(),
        metadata: Subscription::to(topics.iter().copied()).encode_for(Assignor::Range).unwrap(),
        ..Default::default()
    };
    JoinGroupResponse { members: members.iter().map(member).collect(), ..accepted("range", 1, "c-1") }
}

#[test]
fn a_leader_brings_an_entry_for_every_member_also_from_an_assignor_that_forgets_some() {
    let mut rig = led(eager(), &[("c-1", &["orders"]), ("c-2", &["orders"])]);
    assert!(matches!(&rig.news()[..], [Effect::Plan { generation: 1, members, .. }] if members.len() == 2));
    assert!(rig.flying.is_empty());
    rig.take(Event::Planned { generation: 0, plan: vec![] });
    assert!(rig.flying.is_empty(), "the plan of another generation");
    rig.take(Event::Planned { generation: 1, plan: vec![("c-1".into(), entry(0..4)), ("ghost".into(), entry([0]))] });
    let plan: Vec<_> = rig.syncing().assignments.iter().map(|one| one.member_id.as_str()).collect();
    assert_eq!(plan, ["c-1", "c-2"]);
    assert!(rig.syncing().assignments[1].assignment.len() >= 2, "Java refuses fewer bytes");
    assert!(decode_assignment(&rig.syncing().assignments[1].assignment).unwrap().is_empty());
}

/// Next five: the leader watches topics that only others subscribe to.
#[test]
fn a_leader_joins_again_when_a_topic_of_any_member_changes_and_a_follower_does_not() {
    let mut rig = led(eager(), &[("c-1", &["orders"]), ("c-2", &["wages"])]);
    let asks = |effect: &Effect| matches!(effect, Effect::RefreshMetadata { names, .. } if names.contains("wages"));
    assert_eq!(rig.took(asks), 1);
    rig.take(Event::Planned { generation: 1, plan: vec![] });
    rig.sync([]);
    rig.see(4);
    assert!(rig.call(Lane::Join).is_none());
    rig.see(5);
    assert_eq!(rig.joining().member_id, "c-1");

    let mut rig = stable(eager(), 0..2);
    rig.see(5);
    assert_eq!(rig.news(), []);
    assert!(rig.call(Lane::Join).is_none());
}

/// KIP-814: the leader of a static replacement leaves the assignment as it is. And in a mixed group nobody leads.
#[test]
fn a_leader_that_must_not_assign_and_a_group_without_leader_sync_with_an_empty_list() {
    let skip = JoinGroupResponse { skip_assignment: true, ..leading(&[("c-1", &["orders"])]) };
    for answer in [skip, accepted("range", 1, "")] {
        let mut rig = Rig::started(Classic::new(eager()));
        rig.answer(Lane::Join, Answer::Join(answer));
        assert!(rig.syncing().assignments.is_empty());
        rig.sync([1]);
        assert_eq!(rig.news(), [assigned(1, [1], 1)]);
    }
}

/// An empty plan of a leader that has no metadata yet is no error.
#[test]
fn an_empty_assignment_is_taken_as_nothing() {
    let mut rig = Rig::started(Classic::new(eager()));
    rig.join("range", 1, "other");
    rig.answer(Lane::Join, Answer::Sync(SyncGroupResponse::default()));
    assert_eq!((rig.news(), &rig.member.phase), (vec![], &Phase::Stable));
}

/// Case 16, and 15 for static members.
#[test]
fn leaving_settles_first_and_a_static_member_says_no_farewell() {
    let mut rig = stable(eager(), 0..2);
    rig.take(Event::Leave { within: seconds(20) });
    assert_eq!(rig.news(), [revoked(1, 0..2)]);
    rig.release(0..2);
    let Some(Call::Leave(request)) = rig.call(Lane::Heartbeat) else { panic!("{:?}", rig.flying) };
    assert_eq!(request.members[0].member_id, "c-1");
    rig.cut(Lane::Heartbeat);
    assert_eq!(rig.news(), [Effect::Left]);

    let mut rig = stable(Settings { instance_id: Some("till-3".into()), ..eager() }, 0..2);
    rig.take(Event::Leave { within: seconds(20) });
    rig.release(0..2);
    assert_eq!(rig.news(), [revoked(1, 0..2), Effect::Left]);
    assert!(rig.flying.is_empty());
}

#[test]
fn a_member_that_is_too_slow_leaves_and_joins_as_a_new_one() {
    let mut rig = stable(eager(), 0..2);
    rig.take(Event::TooSlow);
    assert_eq!(rig.news()[1..], [lost(1, 0..2)]);
    assert!(matches!(rig.call(Lane::Heartbeat), Some(Call::Leave(_))));
    rig.answer(Lane::Heartbeat, Answer::Leave(LeaveGroupResponse::default()));
    rig.take(Event::Back);
    assert_eq!(rig.joining().member_id, "");
}

#[test]
fn a_member_that_steps_aside_gives_everything_up_leaves_and_joins_as_a_new_one() {
    let mut rig = stable(eager(), 0..2);
    rig.take(Event::StepAside);
    assert_eq!(rig.news(), [lost(1, 0..2)]);
    assert!(matches!(rig.call(Lane::Heartbeat), Some(Call::Leave(_))));
    rig.answer(Lane::Heartbeat, Answer::Leave(LeaveGroupResponse::default()));
    assert_eq!(rig.joining().member_id, "");
}
