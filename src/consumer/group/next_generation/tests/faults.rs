//! What a KIP-848 member does when answers are errors or do not come.

use super::*;
use crate::consumer::group::complaint::Complaint;
use crate::consumer::group::member::Fallback;

fn a_static() -> Settings {
    Settings { instance_id: Some("till-3".into()), ..settings() }
}

/// A member that waits for the answer of its first or of its second heartbeat.
fn at_beat(number: usize, settings: Settings) -> Member {
    if number == 1 {
        return joining(settings);
    }
    let mut rig = inside(settings, 0..2);
    rig.pass(seconds(5));
    rig
}

/// Case 5.
#[test]
fn a_fenced_member_loses_all_once_and_joins_under_the_same_id_then_under_a_fresh_one() {
    let mut rig = at_beat(2, settings());
    rig.refuse(110);
    assert_eq!(rig.news(), [lost(1, [0, 1])]);
    assert_eq!(rig.commits(), &Commits::Barred);
    rig.pass(seconds(1));
    assert_eq!((rig.request().member_epoch, rig.request().member_id.as_str()), (0, "m"));
    rig.refuse(110);
    rig.pass(seconds(1));
    assert_eq!((rig.request().member_epoch, rig.request().member_id.as_str()), (-1, "m"), "the second in a row");
    rig.keep_alive(-1);
    assert_eq!((rig.request().member_epoch, rig.request().member_id.as_str()), (0, "m.1"));
    rig.grant(9, 0..2);
    assert_eq!(rig.news(), [assigned(2, [0, 1], 9)]);
}

#[test]
fn an_unknown_member_joins_under_a_fresh_id() {
    for beat in [1, 2] {
        let mut rig = at_beat(beat, settings());
        rig.refuse(25);
        assert_eq!(rig.news().len(), beat - 1, "what it had is lost");
        rig.pass(seconds(1));
        assert_eq!((rig.request().member_epoch, rig.request().member_id.as_str()), (0, "m.1"));
    }
}

/// Case 7.
#[test]
fn errors_for_good_are_told_once_and_nothing_is_sent_after_them() {
    let table = [
        (42, Cause::Refused),
        (112, Cause::Refused),
        (128, Cause::Refused),
        (24, Cause::Refused),
        (30, Cause::Denied),
        (31, Cause::Denied),
        (82, Cause::InstanceTaken),
    ];
    for beat in [1, 2] {
        for (error, cause) in table {
            let mut rig = at_beat(beat, settings());
            rig.refuse(error);
            assert_eq!((rig.fatal().cause, rig.fatal().error), (cause, Some(error)));
            rig.pass(seconds(100));
            rig.find();
            assert!(rig.flying.is_empty(), "{error} at {beat}");
            rig.take(Event::CoordinatorLost { error: Some(30) });
            assert_eq!(rig.fatal().cause, cause);
        }
    }
}

/// Case 8.
#[test]
fn passing_errors_keep_the_membership_and_the_next_heartbeat_says_everything() {
    for beat in [1, 2] {
        for error in [14, 15, 16, -1, 29, 999] {
            let mut rig = at_beat(beat, settings());
            let before = rig.now;
            rig.refuse(error);
            assert!(rig.flying.is_empty(), "{error}: without a wait");
            while rig.flying.is_empty() {
                rig.pass(std::time::Duration::from_millis(20));
                if rig.took(|effect| matches!(effect, Effect::FindCoordinator)) > 1 {
                    rig.log.clear();
                    rig.take(Event::CoordinatorFound);
                }
                rig.log.retain(|effect| !matches!(effect, Effect::Warn(_)));
                if (15..=16).contains(&error) {
                    rig.take(Event::CoordinatorFound);
                }
            }
            assert!(rig.now - before >= std::time::Duration::from_millis(100), "{error}");
            let epoch = if beat == 1 { 0 } else { 1 };
            assert_eq!((rig.request().member_epoch, rig.request().member_id.as_str()), (epoch, "m"), "{error}");
            assert_eq!(rig.owned().map(|owned| owned.len()), Some(2 * (beat - 1)), "{error}");
        }
    }
}

#[test]
fn errors_that_stay_are_told_once_until_a_heartbeat_succeeds() {
    let mut rig = at_beat(2, settings());
    for _ in 0..4 {
        rig.refuse(29);
        rig.pass(seconds(5));
    }
    let denied = |effect: &Effect| matches!(effect, Effect::Warn(Complaint { cause: Cause::Denied, .. }));
    assert_eq!(rig.took(denied), 1);
    rig.grant(1, 0..2);
    rig.pass(seconds(5));
    rig.refuse(29);
    assert_eq!(rig.took(denied), 2);
}

/// Case 9, the part of the machine.
#[test]
fn only_the_first_join_falls_back_to_the_classic_protocol() {
    for error in [35, 69] {
        let mut rig = at_beat(1, settings());
        rig.refuse(error);
        assert_eq!(rig.news(), [Effect::FallBack]);
        rig.pass(seconds(100));
        assert!(rig.flying.is_empty());
        let mut rig = at_beat(1, Settings { fallback: Fallback::Refused, ..settings() });
        rig.refuse(error);
        assert_eq!(rig.fatal().cause, Cause::NotOffered);
    }
    let mut rig = at_beat(2, settings());
    rig.refuse(35);
    assert_eq!(rig.fatal().cause, Cause::NotOffered);
    let mut rig = at_beat(2, settings());
    rig.refuse(69);
    assert_eq!(rig.news(), [lost(1, [0, 1])]);
    rig.pass(seconds(1));
    rig.refuse(69);
    rig.pass(seconds(2));
    assert_eq!(rig.request().member_epoch, 0, "a member that was in goes on trying");
}

#[test]
fn a_full_group_is_asked_again_some_times() {
    let mut rig = at_beat(1, settings());
    let mut tries = 1;
    while rig.took(|effect| matches!(effect, Effect::Fatal(_))) == 0 {
        rig.refuse(81);
        rig.pass(seconds(2));
        tries += 1;
        assert!(tries < 50);
    }
    assert_eq!((rig.fatal().cause, tries), (Cause::Full, 12));
}

/// Self-fencing counts from when the last heartbeat that succeeded was sent, not from when it was answered.
#[test]
fn a_silent_coordinator_costs_the_membership_one_session_after_the_last_heartbeat_was_sent() {
    let mut rig = at_beat(2, settings());
    let sent = rig.now;
    rig.pass(seconds(4));
    rig.keep_alive(1);
    rig.pass(seconds(5));
    let last = rig.landed(Lane::Heartbeat);
    rig.pass(sent + seconds(45) - rig.now - std::time::Duration::from_millis(1));
    assert_eq!(rig.news(), []);
    rig.pass(std::time::Duration::from_millis(1));
    let news = rig.news();
    assert!(matches!(&news[0], Effect::Warn(warning) if warning.cause == Cause::Silent));
    assert_eq!(news[1..], [lost(1, [0, 1])]);
    // The answer of the earlier life comes late.
    rig.take(Event::Answered { tag: last, answer: Answer::ConsumerHeartbeat(response(7, Some(assignment(0..4)))) });
    assert_eq!(rig.news(), []);
    rig.pass(seconds(1));
    assert_eq!(rig.request().member_epoch, 0);
}

/// Case 15: a static member leaves for a while.
#[test]
fn a_static_member_leaves_with_its_partitions_reserved() {
    let mut rig = at_beat(2, a_static());
    assert_eq!(rig.request().instance_id.as_deref(), Some("till-3"));
    rig.keep_alive(1);
    rig.take(Event::Leave { within: seconds(30) });
    rig.release([0, 1]);
    assert_eq!((rig.request().member_epoch, rig.request().instance_id.as_deref()), (-2, Some("till-3")));
}

/// Case 15: the answer to our own join was lost, so our own name is in our way.
#[test]
fn a_name_that_our_lost_join_registered_is_freed_and_taken_again() {
    let mut rig = at_beat(1, a_static());
    rig.cut(Lane::Heartbeat);
    rig.find();
    rig.refuse(111);
    assert_eq!(rig.request().member_epoch, -2);
    rig.keep_alive(-2);
    rig.pass(seconds(1));
    assert_eq!((rig.request().member_epoch, rig.request().member_id.as_str()), (0, "m"));
    rig.news();
    rig.grant(2, 0..2);
    assert_eq!(rig.news(), [assigned(1, [0, 1], 2)]);
}

/// Case 15: the name belongs to another id: a crashed process until its session ends, else a live one.
#[test]
fn a_name_that_somebody_else_holds_is_waited_for_one_session_and_then_refused() {
    for probed in [82, 25] {
        let mut rig = at_beat(1, a_static());
        let began = rig.now;
        let mut sent = 0;
        while rig.took(|effect| matches!(effect, Effect::Fatal(_))) == 0 {
            let epoch = rig.request().member_epoch;
            rig.refuse(if epoch == 0 { 111 } else { probed });
            rig.pass(seconds(2));
            sent += 1;
            assert!(sent < 200, "it does not end");
        }
        assert_eq!(rig.fatal().cause, Cause::InstanceTaken);
        assert!((45..60).contains(&(rig.now - began).as_secs()));
        let held = |effect: &Effect| matches!(effect, Effect::Warn(Complaint { cause: Cause::InstanceHeld, .. }));
        assert_eq!(rig.took(held), 1);
    }
}

/// Each join whose answer is lost may be what holds the name.
#[test]
fn a_name_is_not_given_up_while_joins_of_our_own_have_unknown_ends() {
    let mut rig = at_beat(1, a_static());
    let began = rig.now;
    while rig.now - began < seconds(200) {
        while rig.request().member_epoch != 0 {
            rig.refuse(25);
            rig.pass(seconds(10));
        }
        rig.refuse(111);
        rig.refuse(25);
        rig.pass(seconds(20));
        rig.cut(Lane::Heartbeat);
        rig.find();
        assert_eq!(rig.took(|effect| matches!(effect, Effect::Fatal(_))), 0);
    }
}

#[test]
fn a_crashed_process_name_is_taken_when_its_session_has_ended() {
    let mut rig = at_beat(1, a_static());
    for _ in 0..20 {
        let epoch = rig.request().member_epoch;
        rig.refuse(if epoch == 0 { 111 } else { 82 });
        rig.pass(seconds(2));
    }
    while rig.request().member_epoch != 0 {
        rig.refuse(25);
        rig.pass(seconds(2));
    }
    rig.news();
    rig.grant(4, 0..2);
    assert_eq!(rig.news(), [assigned(1, [0, 1], 4)]);
}

#[test]
fn a_lookup_that_is_denied_ends_the_membership_and_one_that_fails_is_repeated_with_growing_waits() {
    let mut rig = Rig::idle(NextGeneration::new(settings()));
    rig.take(Event::Start);
    for _ in 0..10 {
        rig.take(Event::CoordinatorLost { error: Some(15) });
        rig.pass(seconds(1));
    }
    assert_eq!(rig.took(|effect| matches!(effect, Effect::FindCoordinator)), 11);
    rig.take(Event::CoordinatorLost { error: Some(30) });
    assert_eq!(rig.fatal().cause, Cause::Denied);
}

/// A search that was not made would never end.
#[test]
fn a_member_that_comes_back_looks_for_the_coordinator_that_it_had_lost_before() {
    let mut rig = Rig::idle(NextGeneration::new(settings()));
    rig.take(Event::Start);
    rig.take(Event::CoordinatorLost { error: None });
    rig.take(Event::TooSlow);
    rig.pass(seconds(5));
    let sought = |rig: &mut Rig<_>| rig.took(|effect| matches!(effect, Effect::FindCoordinator));
    assert_eq!(sought(&mut rig), 1, "nothing is wanted of it");
    rig.take(Event::Back);
    rig.pass(seconds(5));
    assert_eq!(sought(&mut rig), 2);
}
