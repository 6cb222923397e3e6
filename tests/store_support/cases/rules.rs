//! The rules that make an order take effect once (R1 to R5), on any store.

use orderflow::ErrorCode;
use orderflow::store::{Doubt, Outcome, Position, Settled, Start, Store};

use super::super::{Home, batch, dead_letter, entry, movement, numbered, outcomes, part, topic};

pub async fn r1_effect_and_position_are_committed_together<H: Home>() {
    let home = H::new().await;
    let store = home.open().await;
    let entries = vec![entry(0, numbered(1, 0), movement("02758", 35)), entry(2, None, movement("02758", -5))];
    let applied = store.apply(batch(part(4, &Position::default(), entries))).await.unwrap();
    assert_eq!(outcomes(&applied), [Outcome::Applied, Outcome::Applied]);
    store.close().await.unwrap();

    let store = home.open().await;
    let positions = store.positions(&topic()).await.unwrap();
    assert_eq!(positions.get(&4), Some(&applied.parts[0].position));
    assert_eq!((positions[&4].next, positions[&4].version, positions[&4].leader_epoch), (3, 1, 3));
    let issue = vec![entry(3, None, movement("02758", -30)), entry(4, None, movement("02758", -1))];
    let outcomes = outcomes(&store.apply(batch(part(4, &positions[&4], issue))).await.unwrap());
    assert_eq!(outcomes[0], Outcome::Applied);
    assert!(matches!(&outcomes[1], Outcome::Refused { code, .. } if code == "STK-INSUFFICIENT"), "{outcomes:?}");
}

pub async fn r2_an_old_version_changes_nothing_in_any_part<H: Home>() {
    let home = H::new().await;
    let store = home.open().await;
    let first = vec![entry(0, numbered(1, 0), movement("1", 5))];
    let at = store.apply(batch(part(0, &Position::default(), first))).await.unwrap().parts[0].position.clone();

    let mut zombie = batch(part(1, &Position::default(), vec![entry(0, numbered(1, 1), movement("1", 5))]));
    let stale = Position { version: 0, ..at.clone() };
    zombie.parts.push(part(0, &stale, vec![entry(1, numbered(1, 2), movement("1", 5))]));
    let error = store.apply(zombie.clone()).await.unwrap_err();
    assert_eq!(error.code(), ErrorCode::StoreConflict);
    assert_eq!((error.place().topic.as_deref(), error.place().partition), (Some("inventory_orders"), Some(0)));
    assert_eq!(store.positions(&topic()).await.unwrap().into_iter().collect::<Vec<_>>(), [(0, at.clone())]);

    zombie.parts[1].expected = at.version;
    let applied = store.apply(zombie).await.unwrap();
    assert!(applied.parts.iter().all(|part| part.outcomes == [Outcome::Applied]), "{applied:?}");
}

pub async fn r3_the_start_is_read_from_the_store_and_set_before_the_first_fetch<H: Home>() {
    let home = H::new().await;
    let store = home.open().await;
    assert!(store.positions(&topic()).await.unwrap().is_empty());
    let start = Start {
        partition: 2,
        expected: 0,
        token: 5,
        next: 40,
        leader_epoch: -1,
        reason: "auto.offset.reset=earliest".into(),
    };
    let position = store.set_position(&topic(), start.clone()).await.unwrap();
    assert_eq!((position.next, position.version), (40, 1));
    assert_eq!(store.positions(&topic()).await.unwrap()[&2], position);
    assert_eq!(store.set_position(&topic(), start.clone()).await.unwrap(), position, "a repeat is the same write");
    let other = Start { token: 6, next: 0, ..start };
    assert_eq!(store.set_position(&topic(), other).await.unwrap_err().code(), ErrorCode::StoreConflict);
}

pub async fn r4_the_position_moves_over_settled_offsets_only<H: Home>() {
    let home = H::new().await;
    let store = home.open().await;
    let mut ahead =
        part(0, &Position::default(), vec![entry(0, None, movement("1", 1)), entry(2, None, movement("1", 1))]);
    (ahead.next, ahead.settled) = (1, [2].into_iter().collect());
    let at = store.apply(batch(ahead)).await.unwrap().parts[0].position.clone();
    assert_eq!((at.next, at.settled.len()), (1, 1));

    let twice = part(0, &at, vec![entry(1, None, movement("1", 1)), entry(2, None, movement("1", 1))]);
    assert_eq!(store.apply(batch(twice)).await.unwrap_err().code(), ErrorCode::Internal);
    let mut forgets = part(0, &at, vec![entry(1, None, movement("1", 1))]);
    (forgets.next, forgets.settled) = (2, Settled::new());
    assert_eq!(store.apply(batch(forgets)).await.unwrap_err().code(), ErrorCode::Internal);

    let mut closes = part(0, &at, vec![entry(1, None, movement("1", 1))]);
    closes.next = 3;
    let at = store.apply(batch(closes)).await.unwrap().parts[0].position.clone();
    assert_eq!((at.next, at.settled.len(), at.version), (3, 0, 2));
}

pub async fn r5_a_repeat_after_a_lost_answer_has_the_same_answer_and_no_second_effect<H: Home>() {
    let home = H::new().await;
    let store = home.open().await;
    let entries = vec![
        entry(0, numbered(1, 0), movement("1", 5)),
        entry(1, numbered(1, 0), movement("1", 5)),
        entry(2, None, movement("1", -6)),
        entry(3, None, dead_letter()),
    ];
    let lost = batch(part(0, &Position::default(), entries));
    let answer = store.apply(lost.clone()).await.unwrap();
    let kinds = outcomes(&answer);
    assert!(matches!(
        kinds.as_slice(),
        [Outcome::Applied, Outcome::Duplicate, Outcome::Refused { .. }, Outcome::DeadLetter { .. }]
    ));
    assert_eq!(answer.parts[0].position.judge(0, lost.parts[0].token), Doubt::Done);
    assert_eq!(store.apply(lost.clone()).await.unwrap(), answer);
    store.close().await.unwrap();

    let store = home.open().await;
    assert_eq!(store.apply(lost.clone()).await.unwrap(), answer, "also after a restart");
    let mut others = lost;
    others.parts[0].entries.push(entry(4, None, movement("1", 1)));
    others.parts[0].next = 5;
    let error = store.apply(others.clone()).await.unwrap_err();
    assert_eq!(error.code(), ErrorCode::StoreConflict, "the same token with more to settle is no repeat");
    others.parts[0].token += 1;
    assert_eq!(store.apply(others).await.unwrap_err().code(), ErrorCode::StoreConflict);
    let rest = vec![entry(4, None, movement("1", -5))];
    let drained = store.apply(batch(part(0, &answer.parts[0].position, rest))).await.unwrap();
    assert_eq!(outcomes(&drained), [Outcome::Applied], "the stock is 5, not 10");
}

pub async fn a_dropped_call_leaves_the_store_whole_and_its_repeat_gives_the_answer<H: Home>() {
    let home = H::new().await;
    let store = home.open().await;
    let wanted = batch(part(0, &Position::default(), vec![entry(0, numbered(1, 0), movement("1", 5))]));
    for polls in 0..3 {
        let mut call = Box::pin(store.apply(wanted.clone()));
        for _ in 0..polls {
            let _ = futures::poll!(&mut call);
        }
        drop(call);
    }
    assert_eq!(outcomes(&store.apply(wanted).await.unwrap()), [Outcome::Applied]);
    assert_eq!(store.positions(&topic()).await.unwrap()[&0].version, 1);
}

pub async fn r5_two_copies_that_fail_in_one_batch_have_their_own_answers_again<H: Home>() {
    let home = H::new().await;
    let store = home.open().await;
    let copies = vec![entry(0, numbered(1, 45), dead_letter()), entry(1, numbered(1, 45), dead_letter())];
    let lost = batch(part(0, &Position::default(), copies));
    let answer = store.apply(lost.clone()).await.unwrap();
    assert_eq!(store.apply(lost).await.unwrap(), answer);
    let later = batch(part(0, &answer.parts[0].position, vec![entry(2, numbered(1, 1), movement("1", 1))]));
    let answer = store.apply(later.clone()).await.unwrap();
    assert_eq!(outcomes(&answer), [Outcome::Applied]);
    assert_eq!(store.apply(later).await.unwrap(), answer, "what failed before does not fail again");
}
