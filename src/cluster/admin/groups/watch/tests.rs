//! Each verdict, from looks that are written down.

use super::*;

/// Looks at (second, position, end); a position below 0 is none, and the log begins at 0.
fn watch(looks: &[(u64, i64, i64)]) -> Watch {
    let sight = |&(second, position, end): &(u64, i64, i64)| Sight {
        at: Duration::from_secs(second),
        position: (position >= 0).then_some(position),
        start: Some(0),
        end: Some(end),
    };
    let mut watch = Watch::begin(sight(&looks[0]));
    looks[1..].iter().for_each(|look| watch.look(sight(look)));
    watch
}

#[track_caller]
fn assert_verdict(looks: &[(u64, i64, i64)], verdict: Verdict, drain: Option<f64>, decided: bool) {
    let watch = watch(looks);
    assert_eq!(watch.judge(true), (verdict, drain), "{watch:?}");
    assert_eq!(watch.is_decided(), decided, "{watch:?}");
}

#[test]
fn a_partition_that_is_read_to_its_end_is_decided_at_the_first_look() {
    assert_verdict(&[(0, 40, 40)], Verdict::Ok, Some(0.0), true);
    assert_verdict(&[(0, 41, 40)], Verdict::Ok, Some(0.0), true);
}

#[test]
fn one_that_lags_and_never_moves_is_stalled_and_never_drains() {
    assert_verdict(&[(0, 40, 90)], Verdict::Stalled, None, false);
    assert_verdict(&[(0, 40, 90), (5, 40, 95), (11, 40, 99)], Verdict::Stalled, None, false);
}

#[test]
fn the_speed_is_that_between_two_commits_and_not_that_of_the_looks() {
    // 500 offsets from second 1 to second 6, after a step of any size before; 100 arrive in 6 s.
    let looks = [(0, 0, 10_000), (1, 3000, 10_000), (2, 3000, 10_050), (6, 3500, 10_120)];
    let watch = watch(&looks);
    let (verdict, drain) = watch.judge(true);
    assert_eq!(verdict, Verdict::Ok);
    let expected = (10_120.0 - 3500.0) / (100.0 - 20.0);
    assert!((drain.unwrap() - expected).abs() < 1e-6, "{drain:?} is not {expected}");
    assert!(watch.is_decided());
}

#[test]
fn one_commit_seen_counts_over_the_whole_watch() {
    assert_verdict(&[(0, 0, 1000), (4, 200, 1000), (10, 200, 1000)], Verdict::Ok, Some(40.0), false);
}

#[test]
fn one_that_moves_while_more_arrives_than_is_read_is_slow() {
    let looks = [(0, 0, 1000), (2, 10, 1100), (4, 20, 1200), (7, 35, 1350)];
    assert_verdict(&looks, Verdict::Slow, None, true);
}

#[test]
fn one_that_has_read_what_was_there_keeps_up_however_much_arrives_meanwhile() {
    let looks = [(0, 0, 100), (5, 100, 600)];
    assert_verdict(&looks, Verdict::Ok, Some(25.0), true);
    // Nothing was left at first; what arrived is not committed yet.
    assert_verdict(&[(0, 40, 40), (1, 40, 45)], Verdict::Ok, None, true);
}

#[test]
fn a_position_that_falls_is_told_whoever_owns_it() {
    let watch = watch(&[(0, 40, 90), (1, 30, 90), (2, 50, 90)]);
    assert_eq!((watch.judge(true).0, watch.judge(false).0), (Verdict::Rewound, Verdict::Rewound));
    assert!(watch.is_decided());
}

#[test]
fn what_nobody_owns_is_stopped_and_drains_only_if_nothing_is_left() {
    assert_eq!(watch(&[(0, 40, 90)]).judge(false), (Verdict::Stopped, None));
    assert_eq!(watch(&[(0, 90, 90)]).judge(false), (Verdict::Stopped, Some(0.0)));
}

#[test]
fn a_member_that_never_committed_is_stalled_only_where_there_is_something_to_read() {
    assert_verdict(&[(0, -1, 40), (11, -1, 40)], Verdict::Stalled, None, false);
    assert_verdict(&[(0, -1, 0)], Verdict::Ok, None, true);
    assert_verdict(&[(0, -1, 40), (5, 40, 40)], Verdict::Ok, Some(0.0), true);
}

#[test]
fn a_look_that_a_leader_did_not_answer_changes_nothing() {
    let mut watch = watch(&[(0, 40, 90)]);
    watch.look(Sight { at: Duration::from_secs(1), position: Some(40), start: None, end: None });
    assert_eq!((watch.lag(), watch.judge(true).0), (Some(50), Verdict::Stalled));
    let mut blind = Watch::begin(Sight { position: Some(40), ..Sight::default() });
    assert!(!blind.is_decided() && blind.lag().is_none());
    blind.look(Sight { at: Duration::from_secs(1), position: Some(40), start: None, end: Some(40) });
    assert_eq!(blind.judge(true), (Verdict::Ok, Some(0.0)));
}

#[test]
fn what_was_seen_once_is_not_forgotten_by_a_look_that_sees_less() {
    let mut blind = Watch::begin(Sight::default());
    assert!(!blind.is_decided(), "nothing is known: {blind:?}");
    let at = Duration::from_secs;
    blind.look(Sight { at: at(1), position: Some(40), start: None, end: Some(90) });
    blind.look(Sight { at: at(2), position: Some(90), start: None, end: Some(110) });
    // 50 a second are read and 10 arrive, counted from where the end was first seen.
    assert_eq!(blind.judge(true), (Verdict::Ok, Some(0.5)));
    let mut expired = watch(&[(0, 40, 90)]);
    expired.look(Sight { at: at(1), position: None, start: Some(0), end: Some(90) });
    assert_eq!((expired.lag(), expired.judge(true).0), (Some(50), Verdict::Stalled));
}

#[test]
fn looks_after_the_last_commit_do_not_make_it_look_slower() {
    assert_verdict(&[(0, 0, 1000), (1, 100, 1000), (3, 300, 1000), (4, 300, 1000)], Verdict::Ok, Some(7.0), true);
}

#[test]
fn what_moves_and_belongs_to_nobody_any_more_has_no_time_to_drain() {
    assert_eq!(watch(&[(0, 40, 90), (1, 50, 90)]).judge(false), (Verdict::Stopped, None));
}
