//! What a classic member does when answers are errors or do not come.

use super::*;
use crate::consumer::group::member::Credentials;

/// Case 23, on heartbeats.
#[test]
fn a_member_that_is_out_loses_all_once_and_joins_again() {
    for (error, member_id) in [(22, "c-1"), (25, "")] {
        for settings in [eager(), cooperative()] {
            let mut rig = stable(settings, 0..2);
            rig.pass(seconds(3));
            rig.beat(error);
            assert_eq!(rig.news(), [lost(1, 0..2)]);
            assert_eq!(rig.member.commits, Commits::Barred);
            rig.pass(seconds(1));
            assert_eq!((rig.joining().member_id.as_str(), rig.claims()), (member_id, (vec![], None)));
        }
    }
}

/// Case 23: a late answer about an older identity.
#[test]
fn a_late_refusal_does_not_wipe_a_newer_identity() {
    for error in [22, 25, 82, 27] {
        let mut rig = stable(cooperative(), 0..2);
        rig.rebalance();
        rig.pass(seconds(3));
        assert!(rig.call(Lane::Heartbeat).is_some(), "what is kept needs the proof");
        rig.join("cooperative-sticky", 2, "other");
        rig.sync(0..2);
        rig.beat(error);
        assert_eq!((rig.news(), rig.member.generation, rig.member.member_id.as_str()), (vec![], 2, "c-1"), "{error}");
        assert!(rig.call(Lane::Join).is_none());
    }
}

/// The broker may have gone to the next generation already: the join's own answer tells.
#[test]
fn a_refused_heartbeat_during_a_join_is_left_to_the_answer_of_the_join() {
    for error in [22, 25, 27] {
        let mut rig = stable(cooperative(), 0..2);
        rig.rebalance();
        rig.pass(seconds(3));
        rig.beat(error);
        assert_eq!(rig.news(), []);
        rig.join("cooperative-sticky", 2, "other");
        rig.sync(0..2);
        assert_eq!(rig.news(), []);
    }
}

/// Case 23, on join, sync and commit.
#[test]
fn join_sync_and_commit_tell_as_well_that_the_member_is_out() {
    let mut rig = stable(cooperative(), 0..2);
    rig.rebalance();
    rig.refuse_join(25);
    assert_eq!(rig.news(), [lost(1, 0..2)]);
    rig.pass(seconds(1));
    assert_eq!(rig.joining().member_id, "");

    for (error, member_id) in [(22, "c-1"), (25, "")] {
        let mut rig = stable(cooperative(), 0..2);
        rig.rebalance();
        rig.join("cooperative-sticky", 2, "other");
        rig.refuse_sync(error);
        assert_eq!(rig.news(), [lost(1, 0..2)]);
        rig.pass(seconds(1));
        assert_eq!(rig.joining().member_id, member_id);

        let mut rig = stable(eager(), 0..2);
        let carried = |epoch| Credentials { member_id: "c-1".into(), epoch, instance_id: None };
        rig.take(Event::CommitRefused { credentials: carried(0), error });
        assert_eq!(rig.news(), [], "of an older generation");
        rig.take(Event::CommitRefused { credentials: carried(1), error });
        assert_eq!(rig.news(), [lost(1, 0..2)]);
    }
}

/// Case 19.
#[test]
fn a_sync_that_another_rebalance_overtakes_joins_again_under_the_same_id() {
    let mut rig = Rig::started(Classic::new(eager()));
    rig.join("range", 1, "other");
    rig.pass(seconds(3));
    rig.beat(27);
    assert!(matches!(rig.call(Lane::Join), Some(Call::Sync(_))), "the sync's own answer decides");
    rig.refuse_sync(27);
    assert_eq!(rig.joining().member_id, "c-1");
    assert_eq!(rig.news(), []);
}

#[test]
fn errors_for_good_are_told_once_and_nothing_is_sent_after_them() {
    let table = [
        (82, Cause::InstanceTaken),
        (23, Cause::NoSharedAssignor),
        (26, Cause::Refused),
        (24, Cause::Refused),
        (30, Cause::Denied),
        (35, Cause::NotOffered),
    ];
    for (error, cause) in table {
        let mut rig = Rig::started(Classic::new(eager()));
        rig.refuse_join(error);
        assert_eq!((rig.fatal().cause, rig.fatal().error), (cause, Some(error)));
        rig.pass(seconds(100));
        assert!(rig.flying.is_empty());

        let mut rig = Rig::started(Classic::new(eager()));
        rig.join("range", 1, "other");
        rig.refuse_sync(error);
        assert_eq!(rig.fatal().cause, cause);
        rig.pass(seconds(100));
        assert!(rig.flying.is_empty());
    }
    let mut rig = stable(eager(), 0..2);
    rig.pass(seconds(3));
    rig.beat(82);
    assert_eq!(rig.fatal().cause, Cause::InstanceTaken);
    assert_eq!(rig.news()[0], lost(1, 0..2));
}

#[test]
fn passing_errors_of_a_join_keep_the_id_and_wait() {
    for error in [14, 15, 16, 27, -1, 999] {
        let mut rig = Rig::started(Classic::new(eager()));
        rig.refuse_join(79);
        rig.refuse_join(error);
        assert!(rig.flying.is_empty(), "{error}: without a wait");
        rig.pass(seconds(2));
        rig.take(Event::CoordinatorFound);
        assert_eq!(rig.joining().member_id, "c-1", "{error}");
    }
}

#[test]
fn a_full_group_is_asked_again_some_times() {
    let mut rig = Rig::started(Classic::new(eager()));
    let mut tries = 0;
    while rig.took(|effect| matches!(effect, Effect::Fatal(_))) == 0 {
        rig.refuse_join(81);
        rig.pass(seconds(2));
        tries += 1;
        assert!(tries < 50);
    }
    assert_eq!((rig.fatal().cause, tries), (Cause::Full, 11));
}

#[test]
fn a_coordinator_that_moves_keeps_the_membership() {
    let mut rig = stable(eager(), 0..2);
    rig.pass(seconds(3));
    rig.beat(16);
    rig.find();
    rig.beat(0);
    assert_eq!((rig.news(), rig.member.generation), (vec![], 1));
}

/// Self-fencing counts from when the last heartbeat that succeeded was sent.
#[test]
fn a_silent_coordinator_costs_the_membership_after_one_session() {
    // A cooperative member's first heartbeat is an early one.
    for (settings, first) in [(eager(), 3_000), (cooperative(), 500)] {
        let mut rig = stable(settings, 0..2);
        rig.pass(std::time::Duration::from_millis(first));
        let sent = rig.now;
        rig.pass(seconds(2));
        rig.beat(0);
        rig.pass(sent + seconds(45) - rig.now - std::time::Duration::from_millis(1));
        assert_eq!(rig.news(), []);
        rig.pass(std::time::Duration::from_millis(1));
        let news = rig.news();
        assert!(matches!(&news[0], Effect::Warn(warning) if warning.cause == Cause::Silent));
        assert_eq!(news[1..], [lost(1, 0..2)]);
    }
}

/// A search that was not made would never end.
#[test]
fn a_member_that_comes_back_looks_for_the_coordinator_that_it_had_lost_before() {
    let mut rig = Rig::idle(Classic::new(eager()));
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

/// Topics that change between the plan and the group's stability were seen by nobody's plan.
#[test]
fn a_leader_whose_topics_grew_while_its_plan_was_on_its_way_plans_again() {
    let mut rig = led(eager(), &[("c-1", &["orders"])]);
    rig.take(Event::Planned { generation: 1, plan: vec![("c-1".into(), entry(0..4))] });
    rig.see(5);
    rig.sync(0..4);
    rig.release(0..4);
    assert_eq!(rig.joining().member_id, "c-1");
    rig.answer(Lane::Join, Answer::Join(JoinGroupResponse { generation_id: 2, ..leading(&[("c-1", &["orders"])]) }));
    rig.take(Event::Planned { generation: 2, plan: vec![("c-1".into(), entry(0..5))] });
    rig.sync(0..5);
    assert!(rig.call(Lane::Join).is_none(), "once");
}
