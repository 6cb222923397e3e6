//! What any store has to tell, and lets go once it is told.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use orderflow::order::{Customer, DeliveryOrder};
use orderflow::store::{
    ALL_SHARDS, BackOffice, Backlog, Batch, DeliveryPolicy, Done, Leases, LowStock, Mark, Operation, Part, Position,
    Query, ReorderLevels, Row, Status, Store, Tidings, WaitingEvent, Work,
};

use super::super::{Home, Terms, batch, dead_letter, entry, movement, numbered, part, topic};

/// Everything that waits, and which of it tells of nothing any more.
pub async fn everything(office: &dyn BackOffice, shards: u64) -> Vec<WaitingEvent> {
    let (mut events, mut mark) = (Vec::new(), Mark::default());
    loop {
        let page = office.waiting(mark, shards).await.unwrap();
        events.extend(page.events);
        mark = page.until;
        if page.is_last {
            return events;
        }
    }
}

/// What is done of an event when all of it is told.
pub fn all_of(event: &WaitingEvent) -> Vec<Done> {
    let part = |part: u8| Done { number: event.number, part, shards: event.left[usize::from(part)] };
    [0, 1].map(part).into_iter().filter(|done| done.shards != 0).collect()
}

async fn lease(office: &dyn BackOffice) -> Leases {
    office.lease(1, Duration::from_secs(60), true).await.unwrap()
}

async fn low<H: Home>(store: &H::Inventory) -> Vec<LowStock> {
    let office = store.back_office().unwrap();
    let events = everything(&*office, ALL_SHARDS).await.into_iter();
    let low = events.filter_map(|event| if let Tidings::LowStock(low) = event.tidings { Some(low) } else { None });
    low.collect()
}

pub async fn a_stock_alert_is_left_once_for_each_crossing_of_the_reorder_level_downwards<H: Home>() {
    let home = H::new().await;
    let levels: ReorderLevels = "low=2,never=0".parse().unwrap();
    let store = home.open_with_levels(levels.clone().or_else(5)).await;
    let moves = |from: i64, steps: &[(&str, i32)]| -> Vec<_> {
        let entry = |(n, (product, quantity)): (i64, &(&str, i32))| {
            entry(n, numbered(1, u64::try_from(n).unwrap()), movement(product, *quantity))
        };
        (from..).zip(steps).map(entry).collect()
    };
    // 10, 5: at the level; 4: below it; 3: still; a refused issue; 8: above; 4: below again. A receipt crosses nothing.
    let steps = [
        ("a", 10),
        ("a", -5),
        ("a", -1),
        ("a", -1),
        ("a", -9),
        ("a", 5),
        ("a", -4),
        ("low", 3),
        ("low", -1),
        ("never", 9),
        ("never", -9),
        ("b", 3),
    ];
    let at =
        store.apply(batch(part(0, &Position::default(), moves(0, &steps)))).await.unwrap().parts[0].position.clone();
    let told: Vec<_> =
        low::<H>(&store).await.into_iter().map(|low| (low.product_id, low.stock, low.movements)).collect();
    assert_eq!(told, [("a".to_owned(), 4, 3), ("a".to_owned(), 4, 6)]);
    store.close().await.unwrap();

    // What is below stays below, also for a store that is opened anew; a copy changes nothing.
    let store = home.open_with_levels(levels.or_else(5)).await;
    let mut more = moves(12, &[("low", -1), ("a", -1), ("low", 9), ("low", -8)]);
    more.push(entry(16, numbered(1, 2), movement("a", -1)));
    store.apply(batch(part(0, &at, more))).await.unwrap();
    let all = low::<H>(&store).await;
    let told: Vec<_> = all.iter().skip(2).map(|low| (&*low.product_id, low.stock, low.reorder_level)).collect();
    assert_eq!(told, [("low", 1, 2)], "{all:?}");
    assert_eq!(all[2].at, 1_700_000_012_000, "the order's own time");
    store.close().await.unwrap();
}

/// Delivery orders at the offsets from `next` on, every second with a customer.
pub fn deliveries(at: &Position, count: i64) -> Batch<DeliveryOrder> {
    let entries = (at.next..at.next + count).map(|offset| {
        let order = DeliveryOrder::new(&offset.to_string(), "02758", 2, "5/30/2023").unwrap();
        let customer = Customer::default().with_name("Ada Example").unwrap().with_email("ada@example.com").unwrap();
        let order = if offset % 2 == 0 { order.with_customer(customer) } else { order };
        let identity = numbered(2, u64::try_from(offset).unwrap());
        orderflow::store::Entry { offset, timestamp: 1_700_000_000_000, identity, work: Work::Apply(order) }
    });
    let part = Part {
        partition: 0,
        expected: at.version,
        token: u128::from(at.version) + 1,
        next: at.next + count,
        settled: orderflow::store::Settled::new(),
        leader_epoch: 0,
        entries: entries.collect(),
    };
    Batch { topic: topic(), parts: vec![part] }
}

pub async fn deliveries_that_are_scheduled_are_told_each_once_and_let_go_for_each_topic<H: Home>() {
    let home = H::new().await;
    let store = home.open_deliveries(DeliveryPolicy::default()).await;
    let office: Arc<dyn BackOffice> = store.back_office().unwrap();
    let mut news = office.news();
    news.mark_unchanged();
    let mut at = Position::default();
    for _ in 0..3 {
        at = store.apply(deliveries(&at, 250)).await.unwrap().parts[0].position.clone();
    }
    assert!(news.has_changed().unwrap(), "whoever relays is told");
    assert_eq!(office.backlog().await.unwrap().rows, 3);
    let leases = lease(&*office).await;
    let events = everything(&*office, leases.mask()).await;
    let (mut told, mut names) = (Vec::new(), BTreeSet::new());
    for event in &events {
        let Tidings::Scheduled(scheduled) = &event.tidings else { panic!("{event:?}") };
        assert!(!format!("{event:?}").contains("Ada"), "who the customer is is masked");
        told.extend(scheduled.iter().cloned());
    }
    told.sort_by_key(|told| told.order_id.parse::<u64>().unwrap());
    assert_eq!(told.len(), 750);
    let listed = home.delivery_reader(&store).await.ask(Query::Deliveries { orders: Vec::new() }).rows().await.unwrap();
    for row in listed {
        let Row::Delivery(row) = row else { panic!("{row:?}") };
        names.insert(row.delivery_id);
    }
    for (n, told) in told.iter().enumerate() {
        assert_eq!((told.order_id.as_str(), told.version, told.status), (&*n.to_string(), 1, Status::Scheduled));
        assert_eq!((told.quantity, told.order.is_some()), (2, n % 2 == 0));
        assert!(names.remove(&told.id), "{} is told twice, or is none", told.id);
    }
    // The first row is told to one of its topics, the second to both, the third to one and then to the other.
    let [first, second, third] = &*events else { panic!("{events:?}") };
    let (of_third, both) = (all_of(third), all_of(second));
    let done = [all_of(first)[..1].to_vec(), both, of_third[1..].to_vec()].concat();
    assert_eq!(office.published(done, leases.clone()).await.unwrap(), 0);
    let left: Vec<_> =
        everything(&*office, leases.mask()).await.into_iter().map(|event| event.left.map(|left| left != 0)).collect();
    assert_eq!(left, [[false, true], [true, false]]);
    let rest = [all_of(first)[1..].to_vec(), of_third[..1].to_vec()].concat();
    office.published(rest, leases).await.unwrap();
    assert_eq!(office.backlog().await.unwrap(), Backlog::default());
    store.close().await.unwrap();
}

pub async fn a_delivery_that_moves_is_told_at_each_version_and_its_goods_come_back_once<H: Home>() {
    let home = H::new().await;
    let store = home.open_deliveries(DeliveryPolicy::default()).await;
    let office: Arc<dyn BackOffice> = store.back_office().unwrap();
    store.apply(deliveries(&Position::default(), 4)).await.unwrap();
    let leases = lease(&*office).await;
    let events = everything(&*office, leases.mask()).await;
    let [WaitingEvent { tidings: Tidings::Scheduled(told), .. }] = &*events else { panic!("{events:?}") };
    let move_to = async |n: usize, to, reason: Option<&str>| {
        let reason = reason.map(str::to_owned);
        office.operate(Operation::Move { delivery: told[n].id, to, reason }).await.unwrap();
    };
    move_to(0, Status::OutForDelivery, None).await;
    move_to(0, Status::Failed, Some("nobody was there")).await;
    move_to(1, Status::Cancelled, Some("changed her mind")).await;
    // What was scheduled comes before what moved.
    let events = everything(&*office, leases.mask()).await;
    assert!(matches!(&events[0].tidings, Tidings::Scheduled(told) if told.iter().all(|told| told.version == 1)));
    let moved: Vec<_> = events[1..]
        .iter()
        .map(|event| match &event.tidings {
            Tidings::Moved(told) => {
                ("moved", told.order_id.as_str(), told.version, told.status, told.reason.as_deref())
            }
            Tidings::Returned(told) => ("returned", &*told.order_id, told.version, told.status, told.reason.as_deref()),
            other => panic!("{other:?}"),
        })
        .collect();
    let (failed, cancelled) = (Some("nobody was there"), Some("changed her mind"));
    let expected = [
        ("moved", "0", 2, Status::OutForDelivery, None),
        ("moved", "0", 3, Status::Failed, failed),
        ("moved", "1", 2, Status::Cancelled, cancelled),
        ("returned", "1", 2, Status::Cancelled, cancelled),
    ];
    assert_eq!(moved, expected);
    let both: Vec<_> = events.iter().map(|event| event.left.map(|left| left != 0)).collect();
    assert_eq!(both, [[true, true], [true, true], [true, true], [true, true], [true, false]]);
    let Tidings::Moved(first) = &events[1].tidings else { panic!("{events:?}") };
    assert!(first.order.is_some(), "the customer of the first is known");
    let done = events.iter().flat_map(all_of).collect();
    office.published(done, leases).await.unwrap();
    assert_eq!(office.backlog().await.unwrap(), Backlog::default());
    store.close().await.unwrap();
}

pub async fn the_outbox_says_how_much_waits_and_since_when<H: Home>() {
    let home = H::new().await;
    let store = home.open_with(Terms::default()).await;
    let office = store.back_office().unwrap();
    assert_eq!(office.backlog().await.unwrap(), Backlog::default());
    let failing = vec![entry(0, numbered(1, 0), dead_letter()), entry(1, numbered(1, 1), dead_letter())];
    let before = std::time::SystemTime::UNIX_EPOCH.elapsed().unwrap().as_millis() as i64;
    store.apply(batch(part(0, &Position::default(), failing))).await.unwrap();
    let Backlog { rows, oldest } = office.backlog().await.unwrap();
    assert_eq!(rows, 2);
    assert!((before - 60_000..before + 60_000).contains(&oldest.unwrap()), "{oldest:?}");
    let leases = lease(&*office).await;
    let done = everything(&*office, ALL_SHARDS).await.iter().flat_map(all_of).collect();
    office.published(done, leases).await.unwrap();
    assert_eq!(office.backlog().await.unwrap(), Backlog::default());
    store.close().await.unwrap();
}
