//! A KIP-848 member under answers that no honest coordinator gives, and under random ones.

use proptest::prelude::*;

use super::*;
use crate::consumer::group::member::{Partitions, Seen, Silence, Tag, Topic};
use crate::place::TopicId;

/// Case 11.
#[test]
fn a_negative_or_falling_epoch_in_a_success_is_ignored() {
    let mut rig = inside(settings(), 0..2);
    for epoch in [-1, -7, 0, i32::MIN] {
        rig.pass(seconds(5));
        rig.grant(epoch, [3]);
        assert!(matches!(rig.commits(), Commits::As(credentials) if credentials.epoch == 1));
    }
    let senseless = |effect: &Effect| matches!(effect, Effect::Warn(warning) if warning.cause == Cause::Senseless);
    assert_eq!((rig.took(senseless), rig.news().len()), (1, 1));
    rig.pass(seconds(5));
    assert_eq!(rig.owned(), Some(vec![0, 1]));
}

/// Case 11.
#[test]
fn partitions_that_stand_twice_or_below_zero_rewind_nothing() {
    let mut rig = inside(settings(), 0..2);
    rig.pass(seconds(5));
    let mut doubled = assignment([1, 0, 1, -1, 0]);
    doubled.topic_partitions.push(TopicPartitions { topic_id: ORDERS, partitions: vec![0, 1, i32::MIN] });
    rig.answered(response(2, Some(doubled)));
    assert_eq!(rig.news(), []);
}

/// Case 11.
#[test]
fn an_interval_that_is_senseless_makes_no_hot_loop_and_costs_no_session() {
    for (millis, within) in [(0, 3..6), (-5, 3..6), (1, 0..1), (i32::MAX, 5..16)] {
        let mut rig = inside(settings(), 0..2);
        rig.pass(seconds(5));
        rig.answered(ConsumerGroupHeartbeatResponse { heartbeat_interval_ms: millis, ..response(1, None) });
        let before = rig.now;
        while rig.flying.is_empty() {
            rig.pass(std::time::Duration::from_millis(50));
        }
        let waited = rig.now - before;
        assert!(within.contains(&waited.as_secs()) && waited.as_millis() >= 100, "{millis}: {waited:?}");
    }
}

#[test]
fn a_topic_that_nobody_subscribed_to_is_not_taken() {
    let mut rig = joining(settings());
    let other = TopicId::new([9; 16]);
    let seen = |id, name: &str| Seen { topic: Topic { id, name: name.into() }, partitions: 4 };
    rig.take(Event::Metadata(vec![seen(ORDERS, "orders"), seen(other, "wages")]));
    let mut mixed = assignment([0]);
    mixed.topic_partitions.push(TopicPartitions { topic_id: other, partitions: vec![0, 1] });
    rig.answered(response(1, Some(mixed)));
    let news = rig.news();
    assert!(matches!(&news[0], Effect::Warn(warning) if warning.cause == Cause::Senseless));
    assert_eq!(news[1..], [assigned(1, [0], 1)]);
}

/// What may happen to a member.
#[derive(Clone, Debug)]
enum Turn {
    Pass(u64),
    Grant { raise: i32, held: Vec<i32>, interval: i32 },
    Keep { epoch: i32 },
    Refuse(i16),
    Cut(bool),
    Late { tag: u64, epoch: i32 },
    Coordinator(bool),
    Begin,
    Release(Vec<i32>),
    Forged { incarnation: u64, numbers: Vec<i32> },
    See(i32),
    Slow(bool),
    Leave(u64),
}

fn turn() -> impl Strategy<Value = Turn> {
    let numbers = || prop::collection::vec(-1..6_i32, 0..6);
    let errors = prop::sample::select(vec![14_i16, 15, 16, 25, 29, 69, 81, 110, 111, -1, 77, 82, 30, 35]);
    prop_oneof![
        4 => (1..8_000_u64).prop_map(Turn::Pass),
        1 => (8_000..400_000_u64).prop_map(Turn::Pass),
        8 => (-1..3_i32, numbers(), -1..9_000_i32)
            .prop_map(|(raise, held, interval)| Turn::Grant { raise, held, interval }),
        3 => (-3..9_i32).prop_map(|epoch| Turn::Keep { epoch }),
        3 => errors.prop_map(Turn::Refuse),
        2 => any::<bool>().prop_map(Turn::Cut),
        1 => (0..40_u64, 0..9_i32).prop_map(|(tag, epoch)| Turn::Late { tag, epoch }),
        2 => any::<bool>().prop_map(Turn::Coordinator),
        5 => Just(Turn::Begin),
        5 => numbers().prop_map(Turn::Release),
        1 => (0..9_u64, numbers()).prop_map(|(incarnation, numbers)| Turn::Forged { incarnation, numbers }),
        1 => (0..6_i32).prop_map(Turn::See),
        1 => any::<bool>().prop_map(Turn::Slow),
        1 => (1..90_u64).prop_map(Turn::Leave),
    ]
}

fn play(rig: &mut Member, turn: Turn) {
    let is_flying = !rig.flying.is_empty();
    match turn {
        Turn::Pass(millis) => rig.pass(std::time::Duration::from_millis(millis)),
        Turn::Grant { raise, held, interval } if is_flying => {
            let epoch = rig.member.epoch.saturating_add(raise);
            let answer = response(epoch, Some(assignment(held)));
            rig.answered(ConsumerGroupHeartbeatResponse { heartbeat_interval_ms: interval, ..answer });
        }
        Turn::Keep { epoch } if is_flying => drop(rig.keep_alive(epoch)),
        Turn::Refuse(error) if is_flying => drop(rig.refuse(error)),
        Turn::Cut(is_found) if is_flying => {
            rig.cut(Lane::Heartbeat);
            if is_found {
                rig.find();
            }
        }
        Turn::Grant { .. } | Turn::Keep { .. } | Turn::Refuse(_) | Turn::Cut(_) => {}
        Turn::Late { tag, epoch } => {
            // A tag that is not in flight: doubled, or of another life.
            let tag = Tag(tag);
            if rig.flying.iter().all(|(flying, ..)| *flying != tag) {
                let answer = Answer::ConsumerHeartbeat(response(epoch, Some(assignment(0..6))));
                assert!(rig.take(Event::Answered { tag, answer }).iter().all(is_quiet));
                rig.take(Event::Failed { tag, silence: Silence::TimedOut });
            }
        }
        Turn::Coordinator(true) => drop(rig.take(Event::CoordinatorFound)),
        Turn::Coordinator(false) => drop(rig.take(Event::CoordinatorLost { error: Some(15) })),
        Turn::Begin => rig.begin(),
        Turn::Release(numbers) => {
            let asked: Partitions = rig.asked();
            rig.release(numbers.into_iter().filter(|number| asked.is_superset(&orders([*number]))));
        }
        Turn::Forged { incarnation, numbers } => {
            let incarnation = Incarnation(incarnation);
            if !rig.held.contains_key(&incarnation) {
                rig.take(Event::Released { incarnation, partitions: orders(numbers) });
            }
        }
        Turn::See(partitions) => rig.see(partitions),
        Turn::Slow(true) => drop(rig.take(Event::TooSlow)),
        Turn::Slow(false) => drop(rig.take(Event::Back)),
        Turn::Leave(within) => drop(rig.take(Event::Leave { within: seconds(within) })),
    }
}

fn is_quiet(effect: &Effect) -> bool {
    !matches!(effect, Effect::Assigned { .. } | Effect::Revoked { .. } | Effect::Lost { .. } | Effect::Commits(_))
}

impl Member {
    /// The partitions that the application was asked to give back and still has.
    fn asked(&self) -> Partitions {
        let revoked = self.log.iter().filter_map(|effect| match effect {
            Effect::Revoked { incarnation, partitions } => Some((incarnation, partitions)),
            _ => None,
        });
        let held = revoked.filter_map(|(incarnation, asked)| Some(asked.intersection(self.held.get(incarnation)?)));
        held.flatten().cloned().collect()
    }

    /// What must hold at every moment; the bench checks each effect besides.
    fn check(&self) {
        let held: Partitions = self.held.values().flatten().cloned().collect();
        assert_eq!(self.member.holding.partitions(), held, "both count what is held");
        assert!(self.member.epoch >= 0);
        if let Some(Call::ConsumerHeartbeat(request)) = self.call(Lane::Heartbeat) {
            assert!(request.member_epoch >= -2);
        }
        assert!(self.member.told.len() < 40 && self.flying.len() <= 1);
        match self.commits() {
            Commits::As(credentials) => assert!(credentials.epoch > 0 && credentials.epoch == self.member.epoch),
            Commits::Held | Commits::Barred => assert!(held.is_empty(), "held without the right to commit"),
        }
        let ends = |effect: &Effect| matches!(effect, Effect::Fatal(_) | Effect::FallBack);
        if let Some(end) = self.log.iter().position(ends) {
            let after = self.log[end + 1..].iter();
            let farewell =
                |effect: &&Effect| !matches!(effect, Effect::Left | Effect::FindCoordinator | Effect::WakeAt(_));
            let after: Vec<&Effect> = after.filter(farewell).collect();
            let leaves = |effect: &&Effect| matches!(effect, Effect::Send { call: Call::ConsumerHeartbeat(request), .. } if request.member_epoch < 0);
            assert!(after.iter().all(leaves) && after.len() <= 1, "after the end: {after:?}");
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, ..ProptestConfig::default() })]

    #[test]
    fn no_course_of_events_breaks_what_must_hold(
        is_static in any::<bool>(),
        turns in prop::collection::vec(turn(), 1..120),
    ) {
        let instance_id = is_static.then(|| "till-3".to_owned());
        let mut rig = joining(Settings { instance_id, ..settings() });
        for turn in turns {
            play(&mut rig, turn);
            rig.check();
        }
        // Faults end: the member comes to rest in the group, or has said why not.
        let over = |effect: &Effect| matches!(effect, Effect::Fatal(_) | Effect::FallBack | Effect::Left);
        if rig.took(over) == 0 {
            rig.see(6);
            rig.take(Event::Back);
            for _ in 0..40 {
                rig.take(Event::CoordinatorFound);
                let epoch = rig.member.epoch.max(1);
                match rig.call(Lane::Heartbeat) {
                    Some(Call::ConsumerHeartbeat(request)) if request.member_epoch < 0 => drop(rig.keep_alive(-1)),
                    Some(_) => drop(rig.grant(epoch, 0..6)),
                    None => rig.pass(seconds(5)),
                }
                let asked = rig.asked();
                rig.release(asked.into_iter().map(|partition| partition.number));
                rig.begin();
                rig.check();
            }
            let held: Partitions = rig.held.values().flatten().cloned().collect();
            prop_assert!(rig.took(over) > 0 || held == orders(0..6), "{:?}", rig.member);
        }
    }
}
