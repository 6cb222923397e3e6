//! Several relays on one database: leases, fencing, and processes that die or stand still.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use orderflow::broker::DevBroker;
use orderflow::config::ClientConfig;
use orderflow::consumer::DeliveryConsumer;
use orderflow::order::{DeliveryOrder, Identity, Source};
use orderflow::outbox::{CUSTOMER_NOTIFICATIONS, DELIVERY_STATUS};
use orderflow::producer::DeliveryProducer;
use orderflow::store::{
    BackOffice, Backlog, DeliveryPolicy, Done, Position, PostgresDeliveries, PostgresSettings, Store, Tidings,
};
use orderflow::wire::compression::Decompressor;
use orderflow::wire::record_batch::BatchReader;

use crate::home::Postgres;
use crate::store_support::Home;
use crate::store_support::cases::events::{all_of, deliveries, everything};
use crate::wait::until_async;
use crate::{Case, block_on, server};

pub(crate) fn cases() -> Vec<Case> {
    macro_rules! relays {
        ($($case:ident),* $(,)?) => {
            vec![$({
                let body: fn() = || block_on($case());
                (concat!("relays::", stringify!($case)).to_owned(), body)
            }),*]
        };
    }
    relays![
        shards_are_shared_by_the_relays_that_are_alive_and_taken_over_from_those_that_are_not,
        what_a_zombie_says_was_published_changes_nothing,
        relays_that_let_parts_of_a_row_go_side_by_side_let_go_of_all_of_it,
        a_process_that_dies_between_publishing_and_letting_go_leaves_nothing_untold,
    ]
}

const LONG: Duration = Duration::from_secs(60);

async fn office(home: &Postgres) -> (PostgresDeliveries, Arc<dyn BackOffice>) {
    let store = home.open_deliveries(DeliveryPolicy::default()).await;
    let office = store.back_office().unwrap();
    (store, office)
}

async fn shards_are_shared_by_the_relays_that_are_alive_and_taken_over_from_those_that_are_not() {
    let home = Postgres::new().await;
    let ((first, a), (second, b)) = (office(&home).await, office(&home).await);
    let all = a.lease(1, Duration::from_millis(300), true).await.unwrap();
    assert_eq!(all.mask(), u64::MAX);
    assert_eq!(b.lease(2, LONG, true).await.unwrap().mask(), 0, "all are another's");
    // Without balance nothing changes hands; with it the first gives back what is more than its share.
    assert_eq!(a.lease(1, LONG, false).await.unwrap(), orderflow::store::Leases { within: Some(LONG), ..all.clone() });
    let half = a.lease(1, Duration::from_millis(50), true).await.unwrap();
    let other = b.lease(2, LONG, true).await.unwrap();
    assert_eq!((half.mask().count_ones(), other.mask(), half.kept(&all)), (32, !half.mask(), half.mask()));
    // The first goes silent: its shards are free once its lease is over, under new tokens.
    let taken = async || {
        let leases = b.lease(2, LONG, true).await.unwrap();
        (leases.mask() == u64::MAX).then_some(leases)
    };
    let taken = until_async("the shards are taken over", LONG, taken).await;
    assert_eq!(taken.kept(&half), 0);
    assert_eq!(a.lease(1, LONG, false).await.unwrap().mask(), 0, "it learns of it when it asks");
    b.leave(2).await.unwrap();
    assert_eq!(a.lease(1, LONG, true).await.unwrap().mask(), u64::MAX);
    first.close().await.unwrap();
    second.close().await.unwrap();
}

async fn what_a_zombie_says_was_published_changes_nothing() {
    let home = Postgres::new().await;
    let ((store, zombie), (second, heir)) = (office(&home).await, office(&home).await);
    store.apply(deliveries(&Position::default(), 100)).await.unwrap();
    let stale = zombie.lease(1, Duration::from_millis(1), true).await.unwrap();
    let events = everything(&*zombie, stale.mask()).await;
    let taken = async || {
        let leases = heir.lease(2, LONG, true).await.unwrap();
        (leases.mask() == u64::MAX).then_some(leases)
    };
    let leases = until_async("the shards are taken over", LONG, taken).await;
    let done: Vec<Done> = events.iter().flat_map(all_of).collect();
    assert_eq!(zombie.published(done.clone(), stale).await.unwrap(), u64::MAX, "every shard is another's");
    assert_eq!(everything(&*heir, leases.mask()).await, events, "nothing has changed");
    assert_eq!(heir.published(done, leases).await.unwrap(), 0);
    assert_eq!(heir.backlog().await.unwrap(), Backlog::default());
    store.close().await.unwrap();
    second.close().await.unwrap();
}

async fn relays_that_let_parts_of_a_row_go_side_by_side_let_go_of_all_of_it() {
    let home = Postgres::new().await;
    let ((store, a), (second, b)) = (office(&home).await, office(&home).await);
    a.lease(1, LONG, true).await.unwrap();
    b.lease(2, LONG, true).await.unwrap();
    let (of_a, of_b) = (a.lease(1, LONG, true).await.unwrap(), b.lease(2, LONG, true).await.unwrap());
    assert_eq!(of_a.mask(), !of_b.mask());
    let mut at = Position::default();
    for _ in 0..20 {
        at = store.apply(deliveries(&at, 5)).await.unwrap().parts[0].position.clone();
        let (first, second) = (everything(&*a, of_a.mask()).await, everything(&*b, of_b.mask()).await);
        let Tidings::Scheduled(told) = &first[0].tidings else { panic!("{first:?}") };
        assert_eq!((told.len(), first[0].left, second[0].left), (5, [of_a.mask(); 2], [of_b.mask(); 2]));
        let going = |events: Vec<_>| events.iter().flat_map(all_of).collect::<Vec<Done>>();
        let (first, second) =
            tokio::join!(a.published(going(first), of_a.clone()), b.published(going(second), of_b.clone()));
        assert_eq!((first.unwrap(), second.unwrap()), (0, 0));
        assert_eq!(a.backlog().await.unwrap(), Backlog::default());
    }
    store.close().await.unwrap();
    second.close().await.unwrap();
}

/// What a topic tells of each key, as idempotency keys in their order.
pub(crate) fn told(broker: &DevBroker, topic: &str) -> BTreeMap<String, Vec<String>> {
    let (mut decompressor, mut told) = (Decompressor::new(), BTreeMap::<String, Vec<String>>::new());
    for partition in 0..6 {
        for batch in broker.batches(topic, partition).unwrap_or_default() {
            let view = BatchReader::new(batch).next().unwrap().unwrap();
            for record in view.records(&mut decompressor).unwrap() {
                let record = record.unwrap();
                let text = |bytes: Option<&[u8]>| String::from_utf8(bytes.unwrap().to_vec()).unwrap();
                let mut headers = record.headers;
                let identity = headers.find(|header| header.key == b"idempotency-key").unwrap();
                told.entry(text(record.key)).or_default().push(text(identity.value));
            }
        }
    }
    told
}

fn settings(broker: &DevBroker) -> ClientConfig {
    [("outbox.lease.ms", "600"), ("outbox.poll.ms", "50"), ("heartbeat.interval.ms", "200")]
        .into_iter()
        .fold(broker.config(), |config, (key, value)| config.set(key, value).unwrap())
}

/// A process whose relay publishes all, and dies before it lets go of anything; another one does all of it again.
async fn a_process_that_dies_between_publishing_and_letting_go_leaves_nothing_untold() {
    const ORDERS: u64 = 3_000;
    let home = Postgres::new().await;
    let url = server().url(&home.schema("delivery"));
    let broker = DevBroker::builder().topic("delivery_orders", 2).start().await.unwrap();
    let config = settings(&broker);
    let producer = DeliveryProducer::connect(&config).await.unwrap();
    for index in 0..ORDERS {
        let mut order = DeliveryOrder::new(&index.to_string(), "02758", 1, "5/30/2023").unwrap();
        orderflow::order::Order::set_identity(
            &mut order,
            Identity::numbered(Source::of_digest([5; 32]), index).unwrap(),
        );
        drop(producer.enqueue(&order).await.unwrap());
    }
    producer.close().await.unwrap();
    let settings = PostgresSettings::default();
    let store = PostgresDeliveries::connect_with(&url, "delivery", settings, DeliveryPolicy::default()).await.unwrap();
    let first = DeliveryConsumer::builder(&config).store(store).build().await.unwrap();
    let run = tokio::spawn(first.run(std::future::pending()));
    let some = async || (!told(&broker, DELIVERY_STATUS).is_empty()).then_some(());
    until_async("something is told", LONG, some).await;
    run.abort();
    drop(run.await);
    let store = PostgresDeliveries::connect_with(&url, "delivery", settings, DeliveryPolicy::default()).await.unwrap();
    let office = store.back_office().unwrap();
    let second = DeliveryConsumer::builder(&config).store(store).build().await.unwrap();
    let control = second.control();
    let (stop, stopped) = tokio::sync::oneshot::channel::<()>();
    let run = tokio::spawn(second.run(async { drop(stopped.await) }));
    let all = async || (told(&broker, CUSTOMER_NOTIFICATIONS).len() as u64 == ORDERS).then_some(());
    until_async("everything is told", LONG, all).await;
    let gone = async || (office.backlog().await.ok() == Some(Backlog::default())).then_some(());
    until_async("the outbox is empty", LONG, gone).await;
    stop.send(()).unwrap();
    run.await.unwrap().unwrap();
    assert_eq!(control.outbox(), Backlog::default());
    for (topic, kind) in [(DELIVERY_STATUS, "status"), (CUSTOMER_NOTIFICATIONS, "notification")] {
        let told = told(&broker, topic);
        assert_eq!(told.len() as u64, ORDERS, "{topic}");
        for (delivery, identities) in told {
            let names: BTreeSet<_> = identities.into_iter().collect();
            assert_eq!(names, BTreeSet::from([format!("{kind}:{delivery}:1")]), "{topic}");
        }
    }
    broker.shutdown().await;
}
