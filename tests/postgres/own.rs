//! What only a database can do: several processes at once, that are killed, stopped and cut off.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use orderflow::ErrorCode;
use orderflow::order::InventoryOrder;
use orderflow::store::{
    Batch, DeadLetterRow, Entry, Operation, Part, Position, PositionSetter, PostgresInventory, PostgresSettings, Query,
    Rehearsal, Replayed, Row, Store, StoreOperator, StoreReader, Text,
};

use crate::home::Postgres;
use crate::server::{Server, programs};
use crate::store_support::{Home, batch, dead_letter, entry, movement, numbered, outcomes, part, topic};
use crate::{Case, block_on, server, wait};

macro_rules! own {
    ($($case:ident),* $(,)?) => {
        vec![$({
            let body: fn() = || block_on($case());
            (concat!("own::", stringify!($case)).to_owned(), body)
        }),*]
    };
}

pub(crate) fn cases() -> Vec<Case> {
    own![
        another_group_is_refused_and_a_second_process_is_not,
        a_store_that_is_not_there_is_missing_and_is_not_made_by_asking,
        processes_that_are_killed_cut_off_and_late_apply_each_order_once,
        a_server_that_crashes_loses_nothing_that_it_answered_and_doubles_nothing,
        a_stopped_process_holds_up_nobody_for_longer_than_its_transaction_may_be_idle,
        operators_replay_fix_discard_and_move_positions,
        a_consumers_role_works_with_no_more_than_the_documented_grants,
        two_processes_make_the_schema_at_once,
        orders_are_applied_as_fast_as_the_figures_say,
    ]
}

async fn audit(reader: &StoreReader) {
    match reader.ask(Query::Verify).rows().await.unwrap().as_slice() {
        [Row::Audit(audit)] => assert!(audit.holds, "{audit:?}"),
        other => panic!("{other:?}"),
    }
}

async fn stock(reader: &StoreReader) -> BTreeMap<String, i64> {
    let mut answer = reader.ask(Query::Stock { products: Vec::new() });
    let mut stock = BTreeMap::new();
    while let Some(page) = answer.page().await.unwrap() {
        stock.extend(page.into_iter().map(|row| match row {
            Row::Stock(row) => (row.product_id, row.stock),
            other => panic!("{other:?}"),
        }));
    }
    stock
}

async fn another_group_is_refused_and_a_second_process_is_not() {
    let home = Postgres::new().await;
    let (first, second) = (home.open().await, home.open().await);
    let foreign = PostgresInventory::connect(&home.url(), "shipping").await.unwrap_err();
    assert_eq!(foreign.code(), ErrorCode::StoreForeign);
    assert_eq!(first.identity(), second.identity());
    let entries = vec![entry(0, numbered(1, 0), movement("1", 5))];
    let at = first.apply(batch(part(0, &Position::default(), entries))).await.unwrap().parts[0].position.clone();
    assert_eq!(second.positions(&topic()).await.unwrap()[&0], at);
    first.close().await.unwrap();
    assert_eq!(first.positions(&topic()).await.unwrap_err().code(), ErrorCode::Closed);
    second.close().await.unwrap();
}

async fn a_store_that_is_not_there_is_missing_and_is_not_made_by_asking() {
    for _ in 0..2 {
        let missing = StoreReader::open(server().url("nowhere")).await.unwrap_err();
        assert_eq!(missing.code(), ErrorCode::StoreMissing);
    }
}

/// The log of the storms: each partition has as many records, of which every seventh is a copy of another partition's.
#[derive(Clone, Copy)]
struct Log {
    partitions: i32,
    records: i64,
}

impl Log {
    fn entry(self, partition: i32, offset: i64) -> Entry<InventoryOrder> {
        let of = if offset % 7 == 3 { (partition + 1) % self.partitions } else { partition };
        let index = u64::try_from(offset * i64::from(self.partitions) + i64::from(of)).unwrap();
        entry(offset, numbered(1, index), movement(&format!("{:03}", index % 97), 1))
    }

    /// What the stock is in the end.
    fn stock(self) -> BTreeMap<String, i64> {
        let mut orders = std::collections::HashSet::new();
        let mut stock = BTreeMap::new();
        for partition in 0..self.partitions {
            for offset in 0..self.records {
                let identity = self.entry(partition, offset).identity.unwrap().to_string();
                let index: u64 = identity.rsplit(':').next().unwrap().parse().unwrap();
                if orders.insert(index) {
                    *stock.entry(format!("{:03}", index % 97)).or_default() += 1;
                }
            }
        }
        stock
    }

    fn part(self, partition: i32, at: &Position, most: i64, token: u128) -> Part<InventoryOrder> {
        let until = (at.next + most).min(self.records);
        let entries = (at.next..until).map(|offset| self.entry(partition, offset)).collect();
        Part { token, next: until, ..part(partition, at, entries) }
    }
}

/// A process: it takes any partitions, also those of others, and is killed in the middle of transactions.
async fn process(url: String, log: Log, seed: u64, is_over: Arc<AtomicBool>) {
    let mut random = fastrand::Rng::with_seed(seed);
    let mut settings = PostgresSettings::default();
    settings.connections = 2;
    let mut store = None;
    while !is_over.load(Ordering::Relaxed) {
        let Some(open) = &store else {
            store = PostgresInventory::connect_with(&url, "inventory", settings).await.ok();
            continue;
        };
        let Ok(positions) = PostgresInventory::positions(open, &topic()).await else { continue };
        let first = random.i32(0..log.partitions);
        let mut wanted = vec![first, (first + random.i32(1..log.partitions)) % log.partitions];
        wanted.truncate(random.usize(1..3));
        let parts: Vec<_> = wanted
            .into_iter()
            .map(|partition| {
                let at = positions.get(&partition).cloned().unwrap_or_default();
                log.part(partition, &at, random.i64(1..400), random.u128(..))
            })
            .filter(|part| !part.entries.is_empty())
            .collect();
        if parts.is_empty() {
            is_over.store(
                positions.len() as i32 == log.partitions && positions.values().all(|at| at.next == log.records),
                Ordering::Relaxed,
            );
            continue;
        }
        let work = open.apply(Batch { topic: topic(), parts });
        let patience = if random.u8(0..4) == 0 { random.u64(0..30) } else { 60_000 };
        match tokio::time::timeout(Duration::from_millis(patience), work).await {
            Ok(Err(error)) => assert!(
                error.is_retriable() || matches!(error.code(), ErrorCode::StoreConflict | ErrorCode::StoreIo),
                "{error:?}"
            ),
            Ok(Ok(_)) => {}
            // Killed: what it held is gone with it.
            Err(_) => store = None,
        }
    }
}

async fn storm(server: &'static Server, schema: &str, log: Log, seed: u64, mut blow: impl FnMut(&mut fastrand::Rng)) {
    eprintln!("seed {seed}");
    let url = format!("{}&application_name=storm", server.url(schema));
    PostgresInventory::connect(&url, "inventory").await.unwrap().close().await.unwrap();
    let is_over = Arc::new(AtomicBool::new(false));
    let processes: Vec<_> =
        (0..3).map(|number| tokio::spawn(process(url.clone(), log, seed + number, Arc::clone(&is_over)))).collect();
    let mut random = fastrand::Rng::with_seed(seed);
    wait::until_async(&format!("all is applied, with seed {seed}"), Duration::from_secs(120), || {
        blow(&mut random);
        let is_over = is_over.load(Ordering::Relaxed);
        async move { is_over.then_some(()) }
    })
    .await;
    for process in processes {
        process.await.unwrap();
    }
    let reader = StoreReader::open(&url).await.unwrap();
    audit(&reader).await;
    assert_eq!(stock(&reader).await, log.stock(), "seed {seed}");
}

fn seed() -> u64 {
    std::env::var("POSTGRES_SEED").ok().and_then(|seed| seed.parse().ok()).unwrap_or_else(|| fastrand::u64(..1 << 40))
}

fn records(short: i64) -> i64 {
    std::env::var("POSTGRES_ORDERS").ok().and_then(|orders| orders.parse::<i64>().ok()).map_or(short, |all| all / 6)
}

async fn processes_that_are_killed_cut_off_and_late_apply_each_order_once() {
    let log = Log { partitions: 6, records: records(4_000) };
    storm(server(), "storm", log, seed(), |random| {
        if random.u8(0..8) == 0 {
            server().sql(
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity
                 WHERE application_name = 'storm' ORDER BY random() LIMIT 2",
            );
        }
    })
    .await;
}

async fn a_server_that_crashes_loses_nothing_that_it_answered_and_doubles_nothing() {
    let own: &'static Server = Box::leak(Box::new(Server::start(&programs().unwrap(), &["max_connections=40"])));
    let log = Log { partitions: 4, records: records(2_000) };
    let mut crashes = 0;
    storm(own, "storm", log, seed(), |random| {
        if crashes < 3 && random.u8(0..25) == 0 {
            crashes += 1;
            own.crash();
        }
    })
    .await;
    own.stop();
}

async fn a_stopped_process_holds_up_nobody_for_longer_than_its_transaction_may_be_idle() {
    let home = Postgres::new().await;
    let store = home.open().await;
    let first = vec![entry(0, numbered(1, 0), movement("1", 5))];
    let at = store.apply(batch(part(0, &Position::default(), first))).await.unwrap().parts[0].position.clone();
    // Stopped with the position locked: what a session does that nobody feeds any more.
    let schema = home.schema("inventory");
    let stopped = format!(
        "BEGIN; SET LOCAL idle_in_transaction_session_timeout TO 1500;
         SELECT FROM {schema}.positions FOR UPDATE; SELECT pg_sleep(0)"
    );
    let (end, told) = std::sync::mpsc::channel();
    let held = std::thread::spawn(move || server().held(&stopped, &told));
    let locked = "SELECT count(*) FROM pg_stat_activity
                  WHERE state = 'idle in transaction' AND application_name = 'psql'";
    let look = || (server().sql(locked).trim() == "1").then_some(());
    wait::until("the position is locked", Duration::from_secs(10), look);
    let begin = Instant::now();
    let next = vec![entry(1, numbered(1, 1), movement("1", 5))];
    let applied = store.apply(batch(part(0, &at, next))).await.unwrap();
    assert!(begin.elapsed() < Duration::from_secs(5), "{:?}", begin.elapsed());
    assert_eq!(applied.parts[0].position.version, 2);
    end.send(()).unwrap();
    held.join().unwrap();
    store.close().await.unwrap();
}

async fn open_letters(url: &str) -> Vec<DeadLetterRow> {
    let rows = StoreReader::open(url).await.unwrap().ask(Query::DeadLetters { all: false }).rows().await.unwrap();
    rows.into_iter()
        .map(|row| match row {
            Row::DeadLetter(row) => row,
            other => panic!("{other:?}"),
        })
        .collect()
}

fn did(rows: &[Row]) -> Vec<Replayed> {
    rows.iter()
        .map(|row| match row {
            Row::Replayed(row) => row.did,
            other => panic!("{other:?}"),
        })
        .collect()
}

async fn operators_replay_fix_discard_and_move_positions() {
    let home = Postgres::new().await;
    let (store, url) = (home.open().await, home.url());
    let entries = vec![
        entry(0, numbered(1, 0), movement("1", -5)),
        entry(1, numbered(1, 1), dead_letter()),
        entry(2, None, dead_letter()),
        entry(3, numbered(1, 3), movement("1", 7)),
    ];
    store.apply(batch(part(0, &Position::default(), entries))).await.unwrap();
    let letters = open_letters(&url).await;
    let at = |offset: i64| letters.iter().find(|letter| letter.offset == Some(offset)).unwrap().id;
    let operator = StoreOperator::open(&url).await.unwrap();
    let replay = |offset, rehearsal| Operation::Replay { ids: vec![at(offset)], rehearsal };
    assert_eq!(did(&operator.operate(replay(0, Rehearsal::Plan)).await.unwrap()), [Replayed::Apply]);
    assert_eq!(open_letters(&url).await.len(), 3, "a plan changes nothing");
    assert_eq!(did(&operator.operate(replay(0, Rehearsal::Real)).await.unwrap()), [Replayed::Apply]);
    assert_eq!(did(&operator.operate(replay(0, Rehearsal::Real)).await.unwrap()), [Replayed::Duplicate]);
    assert_eq!(did(&operator.operate(replay(1, Rehearsal::Real)).await.unwrap()), [Replayed::Fail]);
    let value = r#"{"order_id":"9","product_id":"1","quantity":3,"type":"inventory","timestamp":"5/30/2023"}"#;
    let fix = Operation::Fix { id: at(1), value: Text::Plain(value.to_owned()) };
    assert_eq!(did(&operator.operate(fix).await.unwrap()), [Replayed::Apply]);
    let discard = Operation::Discard { id: at(2), reason: "nobody wants it".to_owned() };
    assert_eq!(did(&operator.operate(discard).await.unwrap()), [Replayed::Discard]);
    operator.close().await.unwrap();
    assert!(open_letters(&url).await.is_empty());

    let setter = PositionSetter::open(&url).await.unwrap();
    let plan = setter.plan(&topic(), 0, 0).await.unwrap();
    assert_eq!((plan.again.with_identity, plan.again.without_identity), (1, 0));
    assert_eq!(setter.set(&plan, "to see it again").await.unwrap().position, 0);
    let late = setter.set(&plan, "with an old plan").await.unwrap_err();
    assert_eq!(late.code(), ErrorCode::StoreConflict);
    setter.close().await.unwrap();

    let position = store.positions(&topic()).await.unwrap()[&0].clone();
    let again = vec![
        entry(0, numbered(1, 0), movement("1", -5)),
        entry(1, numbered(1, 1), movement("1", 3)),
        entry(2, None, dead_letter()),
        entry(3, numbered(1, 3), movement("1", 7)),
    ];
    let again = outcomes(&store.apply(batch(part(0, &position, again))).await.unwrap());
    let kinds: Vec<_> = again.iter().map(|outcome| matches!(outcome, orderflow::store::Outcome::Duplicate)).collect();
    assert_eq!(kinds, [true, true, false, true]);
    let reader = home.reader(&store).await;
    assert_eq!(stock(&reader).await, BTreeMap::from([("1".to_owned(), 5)]));
    audit(&reader).await;
    store.close().await.unwrap();
}

/// The statements of docs/postgres.md.
fn documented_grants(schema: &str) -> String {
    let page = std::fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/docs/postgres.md")).unwrap();
    let block = page.split("```sql").nth(1).unwrap().split("```").next().unwrap();
    block.replace("orderflow_inventory", schema).replace("DATABASE shop", "DATABASE postgres")
}

async fn a_consumers_role_works_with_no_more_than_the_documented_grants() {
    let schema = "least";
    let grants = documented_grants(schema);
    let (roles, rest) = grants.split_once("-- after").unwrap();
    server().sql(roles);
    let owner = server().url_of("orderflow_owner", schema);
    assert_eq!(orderflow::store::migrate(&owner, "inventory", "inventory").await.unwrap(), (0, 1));
    assert_eq!(orderflow::store::migrate(&owner, "inventory", "inventory").await.unwrap(), (1, 1));
    let foreign = orderflow::store::migrate(&owner, "shipping", "inventory").await.unwrap_err();
    assert_eq!(foreign.code(), ErrorCode::StoreForeign);
    server().sql(&format!("SET ROLE orderflow_owner; -- after{rest}"));

    let url = server().url_of("orderflow_app", schema);
    let store = PostgresInventory::connect(&url, "inventory").await.unwrap();
    let entries = vec![
        entry(0, numbered(1, 0), movement("1", 5)),
        entry(1, None, dead_letter()),
        entry(2, Some(orderflow::order::Identity::opaque("x").unwrap()), movement("1", 5)),
    ];
    let mut at = store.apply(batch(part(0, &Position::default(), entries))).await.unwrap().parts[0].position.clone();
    // Long enough for a step of forgetting.
    for _ in 0..20 {
        let more = vec![entry(at.next, None, movement("1", 1))];
        at = store.apply(batch(part(0, &at, more))).await.unwrap().parts[0].position.clone();
    }
    let operator = StoreOperator::open(&url).await.unwrap();
    let id = open_letters(&url).await[0].id;
    operator.operate(Operation::Discard { id, reason: "no".to_owned() }).await.unwrap();
    operator.close().await.unwrap();
    store.close().await.unwrap();
    let reader = StoreReader::open(server().url_of("orderflow_read", schema)).await.unwrap();
    audit(&reader).await;
    assert_eq!(stock(&reader).await, BTreeMap::from([("1".to_owned(), 30)]));
}

async fn two_processes_make_the_schema_at_once() {
    let home = Postgres::new().await;
    let (one, two, three) = tokio::join!(home.open(), home.open(), home.open());
    assert_eq!((one.identity(), two.identity()), (two.identity(), three.identity()));
}

async fn orders_are_applied_as_fast_as_the_figures_say() {
    const ORDERS: i64 = 100_000;
    const GROUP: i64 = 20_000;
    let home = Postgres::new().await;
    let store = home.open().await;
    let mut at = Position::default();
    let batches: Vec<_> = (0..ORDERS / GROUP)
        .map(|number| {
            let offsets = number * GROUP..(number + 1) * GROUP;
            let order = |offset: i64| {
                entry(offset, numbered(1, offset as u64), movement(&format!("{:05}", offset * 7919 % 1_000), 1))
            };
            offsets.map(order).collect::<Vec<_>>()
        })
        .collect();
    let begin = Instant::now();
    for entries in batches {
        at = store.apply(batch(part(0, &at, entries))).await.unwrap().parts[0].position.clone();
    }
    let took = begin.elapsed();
    eprintln!("{ORDERS} orders in {took:?}: {:.0} a second", ORDERS as f64 / took.as_secs_f64());
    audit(&home.reader(&store).await).await;
    store.close().await.unwrap();
}
