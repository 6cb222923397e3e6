//! A KIP-848 member against answers played by hand.

mod faults;
mod frames;
mod hostile;

use super::super::complaint::Cause;
use super::super::member::{Commits, Effect, Event, Incarnation, Lane, Settings};
use super::super::message::{Answer, Call};
use super::super::rig::{ORDERS, Rig, orders, seconds, settings};
use super::NextGeneration;
use crate::wire::message::consumer_group_heartbeat::Assignment;
use crate::wire::message::{ConsumerGroupHeartbeatRequest, ConsumerGroupHeartbeatResponse, TopicPartitions};

type Member = Rig<NextGeneration>;

fn joining(settings: Settings) -> Member {
    Rig::started(NextGeneration::new(settings))
}

/// A member in epoch 1 that holds these partitions, and has said so.
fn inside(settings: Settings, held: impl IntoIterator<Item = i32>) -> Member {
    let mut rig = joining(settings);
    rig.grant(1, held);
    rig.begin();
    rig.keep_alive(1);
    rig.news();
    rig
}

fn assignment(numbers: impl IntoIterator<Item = i32>) -> Assignment {
    let partitions = numbers.into_iter().collect();
    Assignment { topic_partitions: vec![TopicPartitions { topic_id: ORDERS, partitions }] }
}

fn response(epoch: i32, assignment: Option<Assignment>) -> ConsumerGroupHeartbeatResponse {
    ConsumerGroupHeartbeatResponse {
        member_epoch: epoch,
        heartbeat_interval_ms: 5_000,
        assignment,
        ..Default::default()
    }
}

impl Member {
    fn answered(&mut self, response: ConsumerGroupHeartbeatResponse) -> Vec<Effect> {
        self.answer(Lane::Heartbeat, Answer::ConsumerHeartbeat(response))
    }

    /// Success, with partitions of `orders`.
    fn grant(&mut self, epoch: i32, numbers: impl IntoIterator<Item = i32>) -> Vec<Effect> {
        self.answered(response(epoch, Some(assignment(numbers))))
    }

    fn keep_alive(&mut self, epoch: i32) -> Vec<Effect> {
        self.answered(response(epoch, None))
    }

    fn refuse(&mut self, error_code: i16) -> Vec<Effect> {
        self.answered(ConsumerGroupHeartbeatResponse { error_code, ..Default::default() })
    }

    fn request(&self) -> &ConsumerGroupHeartbeatRequest {
        match self.call(Lane::Heartbeat) {
            Some(Call::ConsumerHeartbeat(request)) => request,
            other => panic!("{other:?} in flight: {:?}", self.member),
        }
    }

    fn owned(&self) -> Option<Vec<i32>> {
        let topics = self.request().topic_partitions.as_ref()?;
        Some(topics.iter().flat_map(|topic| topic.partitions.clone()).collect())
    }

    fn commits(&self) -> &Commits {
        &self.member.commits
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

/// Case 1: two members share. This one has all, then half.
#[test]
fn a_share_is_given_up_before_it_is_acknowledged_and_the_rest_is_kept() {
    let mut rig = inside(settings(), 0..4);
    rig.pass(seconds(5));
    assert_eq!(rig.owned(), None, "a stable member only keeps alive");
    rig.grant(1, [2, 3]);
    assert_eq!(rig.news(), [revoked(1, [0, 1])]);
    rig.release([0, 1]);
    assert_eq!((rig.owned(), rig.request().member_epoch), (Some(vec![2, 3]), 1));
    rig.grant(2, [2, 3]);
    assert_eq!(rig.news(), []);
    assert!(matches!(rig.commits(), Commits::As(credentials) if credentials.epoch == 2));
}

/// Case 3: the application takes its time. Nothing is given away early.
#[test]
fn a_slow_revocation_is_not_acknowledged_and_heartbeats_go_on_without_a_list() {
    let mut rig = inside(settings(), 0..2);
    rig.pass(seconds(5));
    rig.grant(1, [0]);
    for _ in 0..3 {
        rig.pass(seconds(5));
        assert_eq!(rig.owned(), None);
        rig.keep_alive(1);
    }
    rig.release([1]);
    assert_eq!(rig.owned(), Some(vec![0]));
}

/// The target moves on while a revocation runs: what is acknowledged is what is held, and what came back is given anew.
#[test]
fn what_is_acknowledged_is_what_is_held_and_not_the_newest_target() {
    let mut rig = inside(settings(), 0..3);
    rig.pass(seconds(5));
    rig.grant(1, [0, 1]);
    rig.pass(seconds(5));
    rig.grant(1, [0, 2]);
    assert_eq!(rig.news(), [revoked(1, [2])], "one step after the other");
    rig.pass(seconds(5));
    rig.cut(Lane::Heartbeat);
    rig.find();
    assert_eq!(rig.owned(), Some(vec![0, 1, 2]), "partition 2 is still with the application");
    rig.grant(1, [0, 2]);
    rig.news();
    rig.release([2]);
    assert_eq!(rig.owned(), Some(vec![0, 1]));
    assert_eq!(rig.news(), [revoked(1, [1])], "nothing is assigned before the release is confirmed");
    rig.grant(1, [0, 2]);
    assert_eq!(rig.news(), []);
    rig.release([1]);
    rig.grant(2, [0, 2]);
    assert_eq!(rig.news(), [assigned(2, [2], 2)]);
}

/// Case 4: the application never settles.
#[test]
fn a_revocation_that_is_not_settled_in_time_is_a_loss_without_commit() {
    let mut rig = inside(Settings { rebalance_timeout: seconds(8), ..settings() }, 0..2);
    rig.pass(seconds(5));
    rig.grant(1, [0]);
    rig.pass(seconds(5));
    rig.keep_alive(1);
    rig.news();
    rig.pass(seconds(3));
    let news = rig.news();
    assert_eq!(news[1..], [lost(1, [0, 1])]);
    assert!(matches!(&news[0], Effect::Warn(warning) if warning.cause == Cause::NotSettled));
    assert_eq!(rig.commits(), &Commits::Barred);
    rig.pass(seconds(1));
    assert_eq!(rig.request().member_epoch, 0);
}

/// Case 6: the answer that raised the epoch was lost.
#[test]
fn after_an_unknown_outcome_the_next_heartbeat_says_everything() {
    let mut rig = inside(settings(), 0..2);
    rig.pass(seconds(5));
    rig.cut(Lane::Heartbeat);
    rig.find();
    let request = rig.request().clone();
    assert_eq!((request.member_epoch, request.rebalance_timeout_ms), (1, 300_000));
    assert_eq!(request.subscribed_topic_names, Some(vec!["orders".to_owned()]));
    assert_eq!(rig.owned(), Some(vec![0, 1]));
    rig.grant(2, 0..2);
    assert_eq!(rig.news(), []);
}

/// Case 10: one topic is known, the other is not yet.
#[test]
fn what_is_known_of_an_assignment_is_taken_and_acknowledged_while_the_rest_is_looked_up() {
    let mut rig = joining(settings());
    rig.grant(1, [0, 3, 4, 5]);
    let news = rig.news();
    assert_eq!(news[0], assigned(1, [0, 3], 1));
    assert!(matches!(&news[1], Effect::RefreshMetadata { ids, .. } if ids.contains(&ORDERS)));
    rig.begin();
    assert_eq!(rig.owned(), Some(vec![0, 3]));
    rig.grant(1, [0, 3, 4, 5]);
    rig.pass(seconds(4));
    let asked = rig.took(|effect| matches!(effect, Effect::RefreshMetadata { .. }));
    assert!((4..10).contains(&asked), "asked {asked} times");
    rig.news();
    rig.see(6);
    assert_eq!(rig.news(), [assigned(2, [4, 5], 1)]);
    rig.begin();
    assert_eq!(rig.owned(), Some(vec![0, 3, 4, 5]));
    rig.grant(1, []);
    assert_eq!(rig.news(), [revoked(1, [0, 3]), revoked(2, [4, 5])], "a deleted topic is given up under its name");
}

/// Case 12: the acknowledgement of a life that is over.
#[test]
fn a_release_of_an_earlier_life_means_nothing_to_the_next() {
    let mut rig = inside(settings(), 0..2);
    rig.pass(seconds(5));
    rig.grant(1, [0]);
    rig.pass(seconds(5));
    rig.refuse(110);
    rig.pass(seconds(1));
    rig.grant(5, 0..2);
    rig.news();
    rig.take(Event::Released { incarnation: Incarnation(1), partitions: orders([1]) });
    rig.take(Event::Began { incarnation: Incarnation(1) });
    rig.pass(seconds(5));
    assert_eq!(rig.owned(), None, "nothing was released");
    assert_eq!(rig.news(), []);
}

#[test]
fn a_member_that_owns_nothing_asks_early_and_says_everything() {
    let mut rig = joining(settings());
    rig.grant(1, None);
    let began = rig.now;
    let mut beats = Vec::new();
    for _ in 0..8 {
        while rig.flying.is_empty() {
            rig.pass(std::time::Duration::from_millis(50));
        }
        beats.push((rig.now - began).as_millis());
        assert_eq!(rig.owned(), Some(vec![]));
        rig.keep_alive(1);
    }
    assert_eq!(beats, [100, 300, 700, 1500, 3100, 6300, 11300, 16300]);
}

/// Section 7, the next five: the application hangs.
#[test]
fn a_member_that_is_too_slow_leaves_with_everything_and_joins_again_when_it_is_back() {
    let mut rig = inside(settings(), 0..2);
    rig.take(Event::TooSlow);
    let news = rig.news();
    assert!(matches!(&news[0], Effect::Warn(warning) if warning.cause == Cause::TooSlow));
    assert_eq!(news[1..], [lost(1, [0, 1])]);
    assert_eq!(rig.request().member_epoch, -1);
    rig.take(Event::Back);
    assert_eq!(rig.flying.len(), 1, "first it leaves");
    rig.keep_alive(-1);
    assert_eq!((rig.request().member_epoch, rig.request().member_id.as_str()), (0, "m"));
    rig.grant(3, 0..2);
    assert_eq!(rig.news(), [assigned(2, [0, 1], 3)]);
}

#[test]
fn a_member_that_steps_aside_gives_everything_up_leaves_and_joins_again() {
    let mut rig = inside(settings(), 0..2);
    rig.take(Event::StepAside);
    assert_eq!(rig.news(), [lost(1, [0, 1])]);
    assert_eq!(rig.request().member_epoch, -1);
    rig.keep_alive(-1);
    assert_eq!(rig.request().member_epoch, 0);
}

/// Case 16: leaving.
#[test]
fn leaving_settles_first_and_is_said_once_whatever_the_answer() {
    let answers: [&dyn Fn(&mut Member); 4] =
        [&|rig| drop(rig.keep_alive(-1)), &|rig| drop(rig.refuse(25)), &|rig| drop(rig.refuse(69)), &|rig| {
            rig.cut(Lane::Heartbeat)
        }];
    for answer in answers {
        let mut rig = inside(settings(), 0..2);
        rig.take(Event::Leave { within: seconds(30) });
        assert_eq!(rig.news(), [revoked(1, [0, 1])]);
        rig.pass(seconds(5));
        rig.grant(2, 0..4);
        assert_eq!(rig.news(), [], "who leaves takes nothing new");
        rig.release([0, 1]);
        assert_eq!((rig.request().member_epoch, rig.owned()), (-1, None));
        answer(&mut rig);
        assert_eq!(rig.news(), [Effect::Left]);
        rig.pass(seconds(100));
        assert!(rig.flying.is_empty(), "one try only");
    }
}

#[test]
fn leaving_ends_in_time_when_nobody_answers_or_nothing_is_settled() {
    let mut rig = inside(settings(), 0..2);
    rig.take(Event::Leave { within: seconds(8) });
    rig.pass(seconds(6));
    assert_eq!(rig.news(), [revoked(1, [0, 1]), lost(1, [0, 1])]);
    if rig.request().member_epoch > 0 {
        rig.keep_alive(1);
    }
    assert_eq!(rig.request().member_epoch, -1);
    rig.pass(seconds(2));
    assert_eq!(rig.news(), [Effect::Left]);
}
