//! What a handler adds to an effect, in any store.

use std::sync::Arc;

use orderflow::order::InventoryOrder;
use orderflow::store::{ALL_SHARDS, Outcome, Overlay, Position, Query, Row, Store, StoreReader, Text, Tidings, Work};

use super::super::{Home, batch, entry, movement, numbered, outcomes, part};
use super::events::everything;

fn with(work: Work<InventoryOrder>, overlay: &Overlay) -> Work<InventoryOrder> {
    match work {
        Work::Apply(order) => Work::ApplyWith(order, Box::new(overlay.clone())),
        other => other,
    }
}

async fn rows(reader: StoreReader, table: &str) -> Vec<(Text, Text)> {
    let rows = reader.ask(Query::Own { table: table.into() }).rows().await.unwrap();
    rows.into_iter().filter_map(|row| if let Row::Own(row) = row { Some((row.key, row.value)) } else { None }).collect()
}

fn text(bytes: &str) -> Text {
    Text::Plain(bytes.to_owned())
}

pub async fn what_a_handler_adds_enters_with_an_effect_that_is_applied_and_with_no_other<H: Home>() {
    let home = H::new().await;
    let store = home.open().await;
    let mut first = Overlay::default();
    first.put("bookings", "a", "1").put("bookings", "b", b"\xff".as_slice()).put("other", "a", "3");
    first.emit("booked", "a", "one").emit("booked", "a", "two");
    let mut second = Overlay::default();
    second.put("bookings", "a", "2").remove("bookings", "b").remove("bookings", "none").emit("booked", "c", "three");
    let mut never = Overlay::default();
    never.put("bookings", "never", "0").emit("booked", "never", "never");
    let entries = vec![
        entry(0, numbered(1, 0), with(movement("p", 5), &first)),
        entry(1, numbered(1, 0), with(movement("p", 5), &never)),
        entry(2, numbered(1, 1), with(movement("p", -9), &never)),
        entry(3, numbered(1, 2), with(movement("p", -1), &second)),
    ];
    let applied = store.apply(batch(part(0, &Position::default(), entries))).await.unwrap();
    let outcomes = outcomes(&applied);
    assert!(
        matches!(outcomes[..], [Outcome::Applied, Outcome::Duplicate, Outcome::Refused { .. }, Outcome::Applied]),
        "{outcomes:?}"
    );
    assert_eq!(rows(home.reader(&store).await, "bookings").await, [(text("a"), text("2"))]);
    assert_eq!(rows(home.reader(&store).await, "other").await, [(text("a"), text("3"))]);
    assert_eq!(rows(home.reader(&store).await, "book").await, []);
    let office: Arc<_> = store.back_office().unwrap();
    let events = everything(&*office, ALL_SHARDS).await.into_iter();
    let own = events.filter_map(|event| if let Tidings::Own(own) = event.tidings { Some(own) } else { None });
    let own: Vec<_> =
        own.map(|own| (own.id, own.number, own.topic.clone(), own.key.clone(), own.value.clone())).collect();
    let said: Vec<_> =
        own.iter().map(|(_, number, topic, key, value)| (*number, &topic[..], &key[..], &value[..])).collect();
    assert_eq!(
        said,
        [(0, "booked", &b"a"[..], &b"one"[..]), (1, "booked", b"a", b"two"), (0, "booked", b"c", b"three")]
    );
    assert!(own[0].0 == own[1].0 && own[1].0 != own[2].0);
    store.close().await.unwrap();
}

pub async fn rows_that_handlers_add_are_listed_in_pages_and_stay_over_a_restart<H: Home>() {
    let home = H::new().await;
    let store = home.open().await;
    let mut many = Overlay::default();
    for n in 0..4_100 {
        many.put("many", format!("{n:05}"), n.to_string());
    }
    many.put("more", "", "");
    let one = vec![entry(0, numbered(1, 0), with(movement("p", 5), &many))];
    store.apply(batch(part(0, &Position::default(), one))).await.unwrap();
    store.close().await.unwrap();
    let store = home.open().await;
    let kept = rows(home.reader(&store).await, "many").await;
    let wanted: Vec<_> = (0..4_100).map(|n| (text(&format!("{n:05}")), text(&n.to_string()))).collect();
    assert!(kept == wanted, "{} rows", kept.len());
    assert_eq!(rows(home.reader(&store).await, "more").await, [(text(""), text(""))]);
    store.close().await.unwrap();
}
