//! A classic member under random answers, honest ones and others.

use proptest::prelude::*;

use super::*;
use crate::consumer::group::member::{Silence, Tag};

#[test]
fn an_assignment_of_garbage_is_told_and_joins_again() {
    let mut rig = Rig::started(Classic::new(eager()));
    rig.join("range", 1, "other");
    let assignment = Bytes::from_static(&[0, 0, 0x7f, 0xff, 0xff, 0xff]);
    rig.answer(Lane::Join, Answer::Sync(SyncGroupResponse { assignment, ..Default::default() }));
    assert!(matches!(&rig.news()[..], [Effect::Warn(warning)] if warning.cause == Cause::Senseless));
    rig.pass(seconds(1));
    assert_eq!(rig.joining().member_id, "c-1");
}

#[test]
fn a_generation_below_zero_or_a_protocol_that_was_not_offered_is_not_joined() {
    for (protocol, generation) in [("range", -1), ("roundrobin", 1)] {
        let mut rig = Rig::started(Classic::new(eager()));
        rig.join(protocol, generation, "other");
        assert!(rig.flying.is_empty());
        rig.pass(seconds(1));
        assert_eq!(rig.joining().member_id, "");
    }
}

/// What may happen to a member.
#[derive(Clone, Debug)]
enum Turn {
    Pass(u64),
    Join { raise: i32, leads: bool },
    Sync(Vec<i32>),
    Beat(i16),
    Refuse(i16),
    Cut(Lane),
    Late(u64),
    Coordinator(bool),
    Begin,
    Release,
    Plan(bool),
    See(i32),
    Slow(bool),
    Leave(u64),
}

fn turn() -> impl Strategy<Value = Turn> {
    let errors = || prop::sample::select(vec![0_i16, 14, 15, 16, 22, 25, 27, 27, 79, 81, -1, 82, 30]);
    prop_oneof![
        5 => (1..4_000_u64).prop_map(Turn::Pass),
        1 => (4_000..400_000_u64).prop_map(Turn::Pass),
        6 => (-2..3_i32, any::<bool>()).prop_map(|(raise, leads)| Turn::Join { raise, leads }),
        6 => prop::collection::vec(-1..6_i32, 0..6).prop_map(Turn::Sync),
        5 => errors().prop_map(Turn::Beat),
        2 => errors().prop_map(Turn::Refuse),
        2 => any::<bool>().prop_map(|join| Turn::Cut(if join { Lane::Join } else { Lane::Heartbeat })),
        1 => (0..40_u64).prop_map(Turn::Late),
        2 => any::<bool>().prop_map(Turn::Coordinator),
        3 => Just(Turn::Begin),
        5 => Just(Turn::Release),
        3 => any::<bool>().prop_map(Turn::Plan),
        1 => (0..6_i32).prop_map(Turn::See),
        1 => any::<bool>().prop_map(Turn::Slow),
        1 => (1..90_u64).prop_map(Turn::Leave),
    ]
}

fn play(rig: &mut Member, turn: Turn) {
    let protocol = rig.member.settings.assignors[0].name();
    match (turn, rig.call(Lane::Join).cloned(), rig.call(Lane::Heartbeat).cloned()) {
        (Turn::Pass(millis), ..) => rig.pass(std::time::Duration::from_millis(millis)),
        (Turn::Join { raise, leads }, Some(Call::Join(_)), _) => {
            let leader = if leads { "c-1" } else { "other" };
            rig.join(protocol, rig.member.generation.saturating_add(raise), leader);
        }
        (Turn::Sync(numbers), Some(Call::Sync(_)), _) => drop(rig.sync(numbers)),
        (Turn::Refuse(error), Some(Call::Join(_)), _) if error != 0 => drop(rig.refuse_join(error)),
        (Turn::Refuse(error), Some(Call::Sync(_)), _) if error != 0 => drop(rig.refuse_sync(error)),
        (Turn::Beat(error), _, Some(Call::Heartbeat(_))) => drop(rig.beat(error)),
        (Turn::Beat(_), _, Some(_)) => {
            rig.answer(Lane::Heartbeat, Answer::Leave(LeaveGroupResponse::default()));
        }
        (Turn::Cut(lane), ..) if rig.call(lane).is_some() => rig.cut(lane),
        (Turn::Late(tag), ..) if rig.flying.iter().all(|(flying, ..)| flying.0 != tag) => {
            let answer = Answer::Sync(SyncGroupResponse { assignment: entry(0..6), ..Default::default() });
            rig.take(Event::Answered { tag: Tag(tag), answer });
            rig.take(Event::Failed { tag: Tag(tag), silence: Silence::TimedOut });
        }
        (Turn::Coordinator(true), ..) => drop(rig.take(Event::CoordinatorFound)),
        (Turn::Coordinator(false), ..) => drop(rig.take(Event::CoordinatorLost { error: Some(15) })),
        (Turn::Begin, ..) => rig.begin(),
        (Turn::Release, ..) => give_back(rig),
        (Turn::Plan(is_late), ..) => {
            let generation = rig.member.generation - i32::from(is_late);
            rig.take(Event::Planned { generation, plan: vec![("c-1".into(), entry(0..2))] });
        }
        (Turn::See(partitions), ..) => rig.see(partitions),
        (Turn::Slow(true), ..) => drop(rig.take(Event::TooSlow)),
        (Turn::Slow(false), ..) => drop(rig.take(Event::Back)),
        (Turn::Leave(within), ..) => drop(rig.take(Event::Leave { within: seconds(within) })),
        _ => {}
    }
}

/// The application gives back what it was asked for.
fn give_back(rig: &mut Member) {
    let revoked = rig.log.iter().filter_map(|effect| match effect {
        Effect::Revoked { incarnation, partitions } => Some((incarnation, partitions)),
        _ => None,
    });
    let asked: Partitions =
        revoked.filter_map(|(at, asked)| Some(asked.intersection(rig.held.get(at)?))).flatten().cloned().collect();
    rig.release(asked.into_iter().map(|partition| partition.number));
}

fn check(rig: &Member) {
    let held: Partitions = rig.held.values().flatten().cloned().collect();
    assert_eq!(rig.member.holding.partitions(), held, "both count what is held");
    assert!(rig.member.generation >= -1 && rig.member.told.len() < 40 && rig.flying.len() <= 2);
    if let Commits::As(credentials) = &rig.member.commits {
        assert!(credentials.epoch >= 0 && !credentials.member_id.is_empty(), "{:?}", rig.member);
    }
    if rig.member.commits == Commits::Barred {
        assert!(held.is_empty(), "held without the right to commit: {:?}", rig.member);
    }
    let is_eager = !rig.member.is_cooperative();
    if is_eager && matches!(rig.call(Lane::Join), Some(Call::Join(_))) && rig.member.phase == Phase::Joining {
        assert!(held.is_empty(), "an eager member joins with nothing: {:?}", rig.member);
    }
    if let Some(end) = rig.log.iter().position(|effect| matches!(effect, Effect::Fatal(_))) {
        let quiet = |effect: &&Effect| !matches!(effect, Effect::Left | Effect::FindCoordinator | Effect::WakeAt(_));
        let after: Vec<&Effect> = rig.log[end + 1..].iter().filter(quiet).collect();
        let leaves = |effect: &&Effect| matches!(effect, Effect::Send { call: Call::Leave(_), .. });
        assert!(after.iter().all(leaves) && after.len() <= 1, "after the end: {after:?}");
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, ..ProptestConfig::default() })]

    #[test]
    fn no_course_of_events_breaks_what_must_hold(
        mode in 0..3_usize,
        is_static in any::<bool>(),
        turns in prop::collection::vec(turn(), 1..120),
    ) {
        let instance_id = is_static.then(|| "till-3".to_owned());
        let base = [eager(), cooperative(), mixed()][mode].clone();
        let mut rig = Rig::started(Classic::new(Settings { instance_id, ..base }));
        for turn in turns {
            play(&mut rig, turn);
            check(&rig);
        }
        // Faults end: the member comes to rest in the group, or has said why not.
        let over = |effect: &Effect| matches!(effect, Effect::Fatal(_) | Effect::Left);
        if rig.took(over) == 0 {
            rig.see(6);
            rig.take(Event::Back);
            for round in 0..60 {
                rig.take(Event::CoordinatorFound);
                play(&mut rig, Turn::Join { raise: 1, leads: false });
                play(&mut rig, Turn::Plan(false));
                play(&mut rig, Turn::Sync((0..6).collect()));
                // One more generation, in which this member gets everything.
                play(&mut rig, Turn::Beat(if round < 20 { 27 } else { 0 }));
                play(&mut rig, Turn::Release);
                rig.begin();
                rig.pass(seconds(1));
                check(&rig);
            }
            let held: Partitions = rig.held.values().flatten().cloned().collect();
            prop_assert!(rig.took(over) > 0 || held == orders(0..6), "{:?}", rig.member);
        }
    }
}
