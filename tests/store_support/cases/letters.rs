//! What any store sets aside.

use orderflow::ErrorCode;
use orderflow::order::InventoryOrder;
use orderflow::store::{
    DeadLetter, DeadLetterKind, DeadLetterRow, DeadLetterState, Outcome, Position, Query, Row, Store, Work,
};

use super::super::{Home, Terms, batch, dead_letter, entry, movement, numbered, outcomes, part, topic};

async fn letters<H: Home>(home: &H, store: &H::Inventory, all: bool) -> Vec<DeadLetterRow> {
    let rows = home.reader(store).await.ask(Query::DeadLetters { all }).rows().await.unwrap();
    let letters = rows.into_iter().map(|row| match row {
        Row::DeadLetter(row) => row,
        other => panic!("{other:?}"),
    });
    letters.collect()
}

async fn holds<H: Home>(home: &H, store: &H::Inventory) {
    match home.reader(store).await.ask(Query::Verify).rows().await.unwrap().as_slice() {
        [Row::Audit(audit)] => assert!(audit.holds, "{audit:?}"),
        other => panic!("{other:?}"),
    }
}

fn refusal() -> Work<InventoryOrder> {
    let reason = "the shop is closed".to_owned();
    Work::Refuse(DeadLetter { code: "SHOP-CLOSED".into(), reason, attempts: 3, ..lost_cause() })
}

fn lost_cause() -> DeadLetter {
    match dead_letter() {
        Work::DeadLetter(cause) => cause,
        other => panic!("{other:?}"),
    }
}

pub async fn another_failing_copy_raises_the_attempts_and_a_copy_that_applies_closes_the_letter<H: Home>() {
    let home = H::new().await;
    let store = home.open().await;
    let key = || numbered(1, 5);
    let failing = vec![entry(0, key(), dead_letter()), entry(7, key(), dead_letter())];
    let at = store.apply(batch(part(0, &Position::default(), failing))).await.unwrap().parts[0].position.clone();
    let open = letters(&home, &store, false).await;
    assert_eq!(open.len(), 1);
    assert_eq!((open[0].attempts, open[0].offset, open[0].kind), (2, Some(0), DeadLetterKind::DeadLetter));
    store.close().await.unwrap();

    // What is open is known again after a restart.
    let store = home.open().await;
    let mended = vec![entry(8, key(), movement("1", 5)), entry(9, key(), dead_letter())];
    let applied = store.apply(batch(part(0, &at, mended))).await.unwrap();
    assert_eq!(outcomes(&applied), [Outcome::Applied, Outcome::Duplicate], "what is applied cannot fail any more");
    assert!(letters(&home, &store, false).await.is_empty());
    let all = letters(&home, &store, true).await;
    assert_eq!((all[0].state, all[0].attempts), (DeadLetterState::Resolved, 2));
    holds(&home, &store).await;
    store.close().await.unwrap();
}

pub async fn a_record_without_identity_is_known_by_its_place<H: Home>() {
    let home = H::new().await;
    let store = home.open().await;
    let failing = vec![entry(0, None, dead_letter()), entry(1, None, dead_letter())];
    let at = store.apply(batch(part(0, &Position::default(), failing))).await.unwrap().parts[0].position.clone();
    assert_eq!(letters(&home, &store, false).await.len(), 2);
    let start = orderflow::store::Start {
        partition: 0,
        expected: at.version,
        token: 9,
        next: 0,
        leader_epoch: -1,
        reason: "the parser was mended".into(),
    };
    let at = store.set_position(&topic(), start).await.unwrap();
    assert_eq!((at.next, at.version), (0, 2));
    let again = vec![entry(0, None, movement("1", 5)), entry(1, None, dead_letter())];
    store.apply(batch(part(0, &at, again))).await.unwrap();
    let open = letters(&home, &store, false).await;
    assert_eq!(open.iter().map(|letter| (letter.offset, letter.attempts)).collect::<Vec<_>>(), [(Some(1), 2)]);
    holds(&home, &store).await;
    store.close().await.unwrap();
}

pub async fn a_refusal_is_an_effect_and_its_copies_are_duplicates<H: Home>() {
    let home = H::new().await;
    let store = home.open().await;
    let entries = vec![
        entry(0, numbered(1, 0), refusal()),
        entry(1, numbered(1, 0), movement("1", 5)),
        entry(2, numbered(1, 1), movement("1", -5)),
        entry(3, numbered(1, 1), movement("1", -5)),
    ];
    let applied = store.apply(batch(part(0, &Position::default(), entries))).await.unwrap();
    let kinds: Vec<_> = outcomes(&applied)
        .into_iter()
        .map(|outcome| match outcome {
            Outcome::Refused { code, .. } => code.into_owned(),
            other => format!("{other:?}"),
        })
        .collect();
    assert_eq!(kinds, ["SHOP-CLOSED", "Duplicate", "STK-INSUFFICIENT", "Duplicate"]);
    let mut open = letters(&home, &store, false).await;
    open.sort_by_key(|letter| letter.offset);
    assert_eq!(open.iter().map(|letter| letter.attempts).collect::<Vec<_>>(), [3, 1]);
    assert!(open.iter().all(|letter| letter.kind == DeadLetterKind::Refused));
    holds(&home, &store).await;
    store.close().await.unwrap();
}

pub async fn when_dead_letters_have_no_room_left_nothing_of_the_batch_is_applied<H: Home>() {
    let home = H::new().await;
    let terms = Terms { dead_letters_max_bytes: 30, ..Terms::default() };
    let store = home.open_with(terms).await;
    let first = vec![entry(0, numbered(1, 0), dead_letter())];
    let at = store.apply(batch(part(0, &Position::default(), first))).await.unwrap().parts[0].position.clone();
    let entries = vec![
        entry(1, numbered(1, 1), movement("1", 5)),
        entry(2, numbered(1, 2), dead_letter()),
        entry(3, None, dead_letter()),
    ];
    let full = store.apply(batch(part(0, &at, entries))).await.unwrap_err();
    assert_eq!(full.code(), ErrorCode::StoreFull);
    assert_eq!(store.positions(&topic()).await.unwrap()[&0], at, "the partition stops, it does not skip");

    // Orders go on, also the one that was given up with the batch.
    let orders = vec![entry(1, numbered(1, 1), movement("1", 5)), entry(2, numbered(1, 0), movement("1", 5))];
    let applied = store.apply(batch(part(0, &at, orders))).await.unwrap();
    assert_eq!(outcomes(&applied), [Outcome::Applied, Outcome::Applied]);
    // The second one resolved the letter, which has given its room back.
    let late = vec![entry(3, None, dead_letter())];
    let applied = store.apply(batch(part(0, &applied.parts[0].position, late))).await.unwrap();
    assert!(matches!(outcomes(&applied)[0], Outcome::DeadLetter { .. }));
    holds(&home, &store).await;
    store.close().await.unwrap();
}
