//! Two processes, of which one schedules a delivery while the other sets its update aside: whoever commits second sees it.

use std::sync::mpsc;
use std::time::Duration;

use futures::FutureExt;
use futures::future::BoxFuture;
use orderflow::ErrorCode;
use orderflow::order::{DeliveryOrder, DeliveryUpdate, Status};
use orderflow::place::TopicId;
use orderflow::store::{
    Batch, DeliveryMoves, DeliveryPolicy, Entry, EventId, Outcome, Part, Position, PostgresDeliveries, Query, Row,
    Settled, Store, StoreReader, Topic, Work,
};

use crate::home::{Postgres, Reached};
use crate::pooler;
use crate::store_support::{Home, numbered, topic};
use crate::support::wait::until;
use crate::{Case, block_on, server};

pub(crate) fn cases() -> Vec<Case> {
    let mut cases: Vec<Case> = vec![
        ("early::an_update_that_is_set_aside_while_its_delivery_commits_is_made".to_owned(), || {
            block_on(one_in_its_commit(First::Schedules))
        }),
        ("early::a_delivery_that_is_scheduled_while_its_update_is_committed_as_unknown_is_moved".to_owned(), || {
            block_on(one_in_its_commit(First::SetsAside))
        }),
        ("early::processes_that_schedule_and_update_at_once_leave_no_update_behind".to_owned(), || {
            block_on(at_once::<false>())
        }),
    ];
    if pooler::program().is_ok() {
        let name = "early::the_same_through_a_pooler";
        cases.push((name.to_owned(), || block_on(at_once::<true>())));
    }
    cases
}

const LONG: Duration = Duration::from_secs(60);

fn updates() -> Topic {
    Topic::new(TopicId::new([8; 16]), "delivery_updates")
}

fn delivery(index: u64) -> EventId {
    EventId::of(numbered(3, index).as_ref(), &topic(), 0, 0)
}

fn batch<O>(topic: Topic, (partition, at): (i32, &Position), works: Vec<(Option<u64>, O)>) -> Batch<O> {
    let entries = works.into_iter().zip(at.next..).map(|((index, order), offset)| Entry {
        offset,
        timestamp: 1_795_132_800_000 + offset,
        identity: index.and_then(|index| numbered(3, index)),
        work: Work::Apply(order),
    });
    let entries: Vec<_> = entries.collect();
    let next = at.next + entries.len() as i64;
    let token = u128::from(at.version) + 77;
    let (expected, settled) = (at.version, Settled::new());
    Batch { topic, parts: vec![Part { partition, expected, token, next, settled, leader_epoch: 0, entries }] }
}

/// Schedules deliveries as the reader of a partition.
async fn schedule(
    store: &PostgresDeliveries,
    (partition, at): (i32, &Position),
    indexes: impl Iterator<Item = u64>,
) -> Position {
    let order = |index: u64| DeliveryOrder::new(&index.to_string(), "49466", 4, "10/14/2023").unwrap();
    let works = indexes.map(|index| (Some(index), order(index))).collect();
    loop {
        match store.apply(batch(topic(), (partition, at), Vec::clone(&works))).await {
            Ok(applied) => {
                assert!(applied.parts[0].outcomes.iter().all(|outcome| *outcome == Outcome::Applied), "{applied:?}");
                return applied.parts[0].position.clone();
            }
            Err(error) => assert!(error.is_retriable() && error.code() == ErrorCode::StoreIo, "{error}"),
        }
    }
}

/// Tells of deliveries that they have left, as the reader of a partition.
async fn tell(
    store: &PostgresDeliveries,
    (partition, at): (i32, &Position),
    indexes: impl Iterator<Item = u64>,
) -> Position {
    let moves = DeliveryMoves::new(store.back_office().unwrap().moves().unwrap());
    let left = |index: u64| {
        let id = delivery(index).to_string();
        DeliveryUpdate::new(&id, Status::OutForDelivery, "2026-11-24T08:00:00Z").unwrap()
    };
    let works: Vec<_> = indexes.map(|index| (None, left(index))).collect();
    loop {
        match moves.apply(batch(updates(), (partition, at), works.clone())).await {
            Ok(applied) => return applied.parts[0].position.clone(),
            Err(error) => assert!(error.is_retriable() && error.code() == ErrorCode::StoreIo, "{error}"),
        }
    }
}

/// Every delivery has left, and nothing is open.
async fn reckon(reader: &StoreReader, deliveries: usize) {
    let open = reader.ask(Query::DeadLetters { all: false }).rows().await.unwrap();
    assert!(open.is_empty(), "{} updates are left behind: {:?}", open.len(), open.first());
    let rows = reader.ask(Query::Deliveries { orders: Vec::new() }).rows().await.unwrap();
    let left = |row: &&Row| matches!(row, Row::Delivery(row) if row.status == Status::OutForDelivery);
    assert_eq!((rows.len(), rows.iter().filter(left).count()), (deliveries, deliveries));
    let audit = reader.ask(Query::Verify).rows().await.unwrap();
    assert!(matches!(&audit[..], [Row::Audit(audit)] if audit.holds), "{audit:?}");
}

#[derive(Clone, Copy)]
enum First {
    Schedules,
    SetsAside,
}

/// A trigger holds the first process up in the midst of its commit: it has looked for the last time, and nobody sees yet what
/// it did.
async fn one_in_its_commit(first: First) {
    let home = Postgres::new().await;
    let [one, other] = [(); 2].map(|()| home.open_deliveries(DeliveryPolicy::default()));
    let (scheduler, teller) = (one.await, other.await);
    // What is not of this test is made before: topics, and a delivery that is known.
    let at = schedule(&scheduler, (0, &Position::default()), [100].into_iter()).await;
    let told = tell(&teller, (0, &Position::default()), [100].into_iter()).await;
    let schema = home.schema("delivery");
    let (table, key) = match first {
        First::Schedules => ("ledger", "1"),
        First::SetsAside => ("dead_letters", "2"),
    };
    let key = format!("hashtext('{schema}'), {key}");
    server().sql(&format!(
        "CREATE FUNCTION {schema}.hold_up() RETURNS trigger LANGUAGE plpgsql AS
           $$ BEGIN PERFORM pg_advisory_xact_lock({key}); RETURN NULL; END $$;
         CREATE CONSTRAINT TRIGGER hold_up AFTER INSERT ON {schema}.{table} DEFERRABLE INITIALLY DEFERRED
           FOR EACH ROW EXECUTE FUNCTION {schema}.hold_up()"
    ));
    let (release, released) = mpsc::channel();
    let statement = format!("BEGIN; SELECT pg_advisory_xact_lock({key})");
    let holder = std::thread::spawn(move || server().held(&statement, &released));
    until("the trigger's lock is held", LONG, || {
        locks(&schema, true, "classid::bigint = hashtext(:s)::bigint & 4294967295")
    });
    let in_commit = || locks(&schema, false, "classid::bigint = hashtext(:s)::bigint & 4294967295");
    let schedules = async move {
        schedule(&scheduler, (0, &at), [0].into_iter()).await;
        scheduler.close().await.unwrap();
    };
    let tells = async move {
        tell(&teller, (0, &told), [0].into_iter()).await;
        teller.close().await.unwrap();
    };
    let [first, second]: [BoxFuture<'static, ()>; 2] = match first {
        First::Schedules => [schedules.boxed(), tells.boxed()],
        First::SetsAside => [tells.boxed(), schedules.boxed()],
    };
    let first = tokio::spawn(first);
    until("the first is in its commit", LONG, in_commit);
    let second = tokio::spawn(second);
    let key = "classid::bigint << 32 | objid::bigint = hashtextextended('orderflow early ' || :s, 0)";
    until("the second waits for it, or does not", LONG, || {
        if second.is_finished() { Some(()) } else { locks(&schema, false, key) }
    });
    release.send(()).unwrap();
    holder.join().unwrap();
    first.await.unwrap();
    second.await.unwrap();
    let store = home.open_deliveries(DeliveryPolicy::default()).await;
    reckon(&store.reader(), 2).await;
    store.close().await.unwrap();
}

/// Whether somebody has an advisory lock, or waits for it.
fn locks(schema: &str, is_granted: bool, which: &str) -> Option<()> {
    let which = which.replace(":s", &format!("'{schema}'"));
    let count =
        format!("SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND granted = {is_granted} AND {which}");
    (server().sql(&count).trim() != "0").then_some(())
}

/// Four processes: two that schedule, two that tell of the same deliveries, in any order and some at a time.
async fn at_once<const POOLED: bool>() {
    let seed = std::env::var("EARLY_SEED").ok().and_then(|seed| seed.parse().ok());
    let seed: u64 = seed.unwrap_or_else(|| fastrand::u64(..1 << 32));
    let many: u64 = std::env::var("EARLY_DELIVERIES").ok().and_then(|many| many.parse().ok()).unwrap_or(400);
    println!("EARLY_SEED={seed} EARLY_DELIVERIES={many} runs it again");
    let home = Reached::<POOLED>::next();
    // Made by one, so that all find it.
    home.open_deliveries(DeliveryPolicy::default()).await.close().await.unwrap();
    let deadlocks = || server().sql("SELECT deadlocks FROM pg_stat_database WHERE datname = current_database()");
    let before = deadlocks();
    let mut processes = Vec::new();
    for process in 0..4_u64 {
        let store = home.open_deliveries(DeliveryPolicy::default()).await;
        processes.push(tokio::spawn(async move {
            let (partition, mut chance) = (process as i32 % 2, fastrand::Rng::with_seed(seed + process));
            let mut at = Position::default();
            let mut left: Vec<u64> = (0..many).filter(|index| index % 2 == process % 2).collect();
            // What is told of comes nearly when it is told.
            left.chunks_mut(16).for_each(|near| chance.shuffle(near));
            while !left.is_empty() {
                // Who tells takes more at once, so as not to fall behind.
                let most = if process < 2 { 3 } else { 16 };
                let some = left.drain(..left.len().min(chance.usize(1..most))).collect::<Vec<_>>().into_iter();
                at = match process {
                    0 | 1 => schedule(&store, (partition, &at), some).await,
                    _ => tell(&store, (partition, &at), some).await,
                };
            }
            store.close().await.unwrap();
        }));
    }
    for process in processes {
        process.await.unwrap();
    }
    let store = home.open_deliveries(DeliveryPolicy::default()).await;
    let early = store.reader().ask(Query::DeadLetters { all: true }).rows().await.unwrap().len();
    println!("{early} of {many} updates came early; deadlocks of all tests: {} {}", before.trim(), deadlocks().trim());
    reckon(&store.reader(), many as usize).await;
    store.close().await.unwrap();
}
