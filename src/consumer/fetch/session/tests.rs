//! What must hold of `session`.

use proptest::prelude::*;

use super::*;

fn want(offset: i64) -> Wanted {
    Wanted { offset, leader_epoch: 4, max_bytes: 1000 }
}

fn wanted(pairs: &[(u8, i64)]) -> LiteMap<u8, Wanted> {
    pairs.iter().map(|(key, offset)| (*key, want(*offset))).collect()
}

#[test]
fn a_session_begins_in_full_and_then_sends_only_what_changed() {
    let mut session = FetchSession::new();
    let first = session.ask(&wanted(&[(1, 0), (2, 0)]));
    assert_eq!((first.session_id, first.session_epoch, first.wanted.len()), (0, 0, 2));
    assert_eq!(session.answered(77, 0), Reply::Read);

    let second = session.ask(&wanted(&[(1, 10), (2, 0), (3, 0)]));
    assert_eq!((second.session_id, second.session_epoch), (77, 1));
    assert_eq!(second.wanted, [(1, want(10)), (3, want(0))]);
    assert!(second.forgotten.is_empty());
    session.answered(77, 0);

    let third = session.ask(&wanted(&[(3, 0)]));
    assert_eq!((third.session_epoch, third.wanted.len()), (2, 0));
    assert_eq!(third.forgotten, [1, 2]);
}

#[test]
fn a_broker_that_forgot_the_session_is_asked_in_full_without_it() {
    let mut session = FetchSession::new();
    session.ask(&wanted(&[(1, 0)]));
    session.answered(77, 0);
    session.ask(&wanted(&[(1, 5)]));
    assert_eq!(session.answered(0, 70), Reply::AskAgain);
    let again = session.ask(&wanted(&[(1, 5)]));
    assert_eq!((again.session_id, again.session_epoch, again.wanted.len()), (0, 0, 1));
}

#[test]
fn a_wrong_epoch_or_a_lost_answer_replaces_the_session() {
    for broken in [71, 0] {
        let mut session = FetchSession::new();
        session.ask(&wanted(&[(1, 0)]));
        session.answered(77, 0);
        session.ask(&wanted(&[(1, 5)]));
        if broken == 0 {
            session.lost()
        } else {
            assert_eq!(session.answered(0, broken), Reply::AskAgain)
        }
        let again = session.ask(&wanted(&[(1, 5)]));
        assert_eq!((again.session_id, again.session_epoch, again.wanted.len()), (77, 0, 1));
    }
}

#[test]
fn a_broker_without_sessions_is_asked_in_full_each_time_and_for_another_partition_first() {
    let mut session = FetchSession::new();
    let mut firsts = Vec::new();
    for _ in 0..3 {
        let ask = session.ask(&wanted(&[(1, 0), (2, 0), (3, 0)]));
        assert_eq!((ask.session_id, ask.session_epoch, ask.wanted.len()), (0, 0, 3));
        firsts.push(ask.wanted[0].0);
        assert_eq!(session.answered(0, 0), Reply::Read);
    }
    assert_eq!(firsts, [1, 2, 3]);
}

#[test]
fn epochs_go_round_without_meeting_the_reserved_ones() {
    let mut session: FetchSession<u8> = FetchSession::new();
    session.answered(77, 0);
    session.epoch = i32::MAX;
    session.answered(77, 0);
    assert_eq!(session.epoch, 1);
}

proptest! {
    /// A broker that applies each request it gets knows exactly what we want, whatever is lost on the way.
    #[test]
    fn the_broker_always_knows_what_is_wanted(
        steps in prop::collection::vec((prop::collection::btree_map(0_u8..6, 0_i64..4, 0..5), 0_u8..4), 1..40)
    ) {
        let mut session = FetchSession::new();
        let mut broker: Option<(i32, i32, LiteMap<u8, Wanted>)> = None;
        let mut next_id = 1;
        for (offsets, fate) in steps {
            let now = wanted(&offsets.into_iter().collect::<Vec<_>>());
            let ask = session.ask(&now);
            if fate == 3 {
                session.lost();
                continue;
            }
            if ask.session_epoch == 0 {
                next_id += 1;
                broker = Some((next_id, 1, ask.wanted.iter().copied().collect()));
                session.answered(next_id, 0);
            } else if let Some((id, epoch, known)) = broker.as_mut().filter(|(id, ..)| *id == ask.session_id) {
                if *epoch != ask.session_epoch {
                    session.answered(0, 71);
                    continue;
                }
                *epoch += 1;
                known.extend(ask.wanted.iter().copied());
                for gone in &ask.forgotten {
                    known.remove(gone);
                }
                if fate == 2 { session.lost() } else { session.answered(*id, 0); }
            } else {
                prop_assert_eq!(session.answered(0, 70), Reply::AskAgain);
                continue;
            }
            prop_assert_eq!(&broker.as_ref().unwrap().2, &now);
            if fate == 1 {
                broker = None;
            }
        }
    }
}
