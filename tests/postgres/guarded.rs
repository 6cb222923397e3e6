//! Orders in transactions of a service's own, guarded by statements that any driver can run: here tokio-postgres.

use std::collections::BTreeMap;

use orderflow::order::InventoryOrder;
use orderflow::store::{
    Applied, Batch, Outcome, Position, PositionGuard, Start, Statement, Store, StoreIdentity, StoredPosition, Topic,
    Value,
};
use orderflow::testing::{self, CRASH_GROUP, Point};
use orderflow::{Error, ErrorCode, Result};
use tokio::sync::Mutex;
use tokio_postgres::types::ToSql;
use tokio_postgres::{Client, GenericClient, NoTls, Row};

use crate::home::Postgres;
use crate::store_support::{Home, batch, dead_letter, entry, movement, numbered, outcomes, part, topic};
use crate::{Case, block_on, server};

macro_rules! guarded {
    ($($case:ident),* $(,)?) => {
        vec![$({
            let body: fn() = || block_on($case());
            (concat!("guarded::", stringify!($case)).to_owned(), body)
        }),*]
    };
}

pub(crate) fn cases() -> Vec<Case> {
    guarded![
        a_batch_has_its_effects_once_however_often_it_is_given,
        of_two_processes_that_expect_the_same_version_one_has_its_effects,
        a_position_is_made_only_where_none_was_expected,
        a_refusal_and_a_dead_letter_are_kept_with_their_records,
        a_start_is_set_once_and_its_repeat_gives_the_same_answer,
        forgotten_identities_are_new_again,
        processes_killed_at_any_point_leave_each_order_with_one_effect,
    ]
}

/// A shop whose only table is its stock.
struct Shop {
    guard: PositionGuard,
    client: Mutex<Client>,
}

fn values(statement: &Statement) -> Vec<&(dyn ToSql + Sync)> {
    statement.values.iter().map(bound).collect()
}

fn bound(value: &Value) -> &(dyn ToSql + Sync) {
    match value {
        Value::Text(text) => text,
        Value::Int(number) => number,
        Value::Long(number) => number,
        Value::Bytes(bytes) => bytes,
        Value::Ints(numbers) => numbers,
        Value::Longs(numbers) => numbers,
        Value::ManyBytes(many) => many,
    }
}

async fn execute(client: &impl GenericClient, statement: Statement) -> Result<u64> {
    client.execute(statement.sql, &values(&statement)).await.map_err(failed)
}

async fn query(client: &impl GenericClient, statement: Statement) -> Result<Vec<Row>> {
    client.query(statement.sql, &values(&statement)).await.map_err(failed)
}

fn failed(error: tokio_postgres::Error) -> Error {
    Error::new(ErrorCode::StoreIo, "the database failed").caused_by(error).retriable()
}

fn stored(rows: &[Row]) -> Vec<StoredPosition> {
    let stored =
        |row: &Row| (row.get(0), row.get(1), row.get(2), row.get(3), row.get(4), row.get(5), row.get(6)).into();
    rows.iter().map(stored).collect()
}

async fn connect(url: &str) -> Client {
    let (url, schema) = url.split_once("?schema=").unwrap();
    let (client, connection) = tokio_postgres::connect(url, NoTls).await.unwrap();
    tokio::spawn(connection);
    let begin = format!("CREATE SCHEMA IF NOT EXISTS {schema}; SET search_path TO {schema}");
    client.batch_execute(&begin).await.unwrap();
    client
}

impl Shop {
    /// As a process of the service begins.
    async fn open(url: &str, group: &str) -> Self {
        let client = connect(url).await;
        let mut made = client.batch_execute(PositionGuard::TABLES).await;
        made = made.and(
            client.batch_execute("CREATE TABLE IF NOT EXISTS shelf (product text, pieces bigint, made_by text)").await,
        );
        made.unwrap();
        let enrolled = query(&client, PositionGuard::enrol::<InventoryOrder>(group)).await.unwrap();
        let guard = PositionGuard::new(group, enrolled[0].get::<_, String>(0), enrolled[0].get::<_, String>(1));
        Self { guard, client: Mutex::new(client) }
    }

    async fn shelf(&self) -> i64 {
        let rows =
            self.client.lock().await.query("SELECT coalesce(sum(pieces), 0)::bigint FROM shelf", &[]).await.unwrap();
        rows[0].get(0)
    }
}

impl Store<InventoryOrder> for Shop {
    fn identity(&self) -> &StoreIdentity {
        self.guard.identity()
    }

    async fn positions(&self, topic: &Topic) -> Result<BTreeMap<i32, Position>> {
        let rows = query(&*self.client.lock().await, self.guard.positions(topic)).await?;
        PositionGuard::read(stored(&rows))
    }

    async fn apply(&self, batch: Batch<InventoryOrder>) -> Result<Applied> {
        let mut client = self.client.lock().await;
        let settlement = self.guard.settle(&batch);
        let transaction = client.transaction().await.map_err(failed)?;
        let changed = execute(&transaction, settlement.claim()).await?;
        if !settlement.is_claimed(changed) {
            transaction.rollback().await.map_err(failed)?;
            let rows = query(&*client, settlement.standing()).await?;
            return settlement.recall(stored(&rows));
        }
        let identities = query(&transaction, settlement.identities()).await?;
        let mut decided = settlement.decide(identities.iter().map(|row| (row.get(0), row.get(1))));
        for due in decided.due() {
            if due.order.quantity() > 1_000 {
                decided.refuse(&due, "SHOP-NO-ROOM", "the shelf is too short");
                continue;
            }
            let made_by = due.identity.map_or_else(|| due.id.to_string(), ToString::to_string);
            let pieces = i64::from(due.order.quantity());
            let values: [&(dyn ToSql + Sync); 3] = [&due.order.product_id(), &pieces, &made_by];
            transaction.execute("INSERT INTO shelf VALUES ($1, $2, $3)", &values).await.map_err(failed)?;
        }
        for statement in decided.statements() {
            execute(&transaction, statement).await?;
        }
        transaction.commit().await.map_err(failed)?;
        Ok(decided.applied())
    }

    async fn set_position(&self, topic: &Topic, start: Start) -> Result<Position> {
        let changed = execute(&*self.client.lock().await, self.guard.set(topic, &start)).await?;
        PositionGuard::was_set(topic, &start, changed)
    }

    async fn close(&self) -> Result<()> {
        Ok(())
    }
}

async fn a_batch_has_its_effects_once_however_often_it_is_given() {
    let home = Postgres::new().await;
    let shop = Shop::open(&home.url(), "shop").await;
    let first = batch(part(
        0,
        &Position::default(),
        vec![
            entry(0, numbered(1, 0), movement("1", 5)),
            entry(1, numbered(1, 0), movement("1", 5)),
            entry(2, numbered(1, 1), movement("1", 2_000)),
            entry(3, None, movement("1", 7)),
        ],
    ));
    let answer = shop.apply(first.clone()).await.unwrap();
    let [Outcome::Applied, Outcome::Duplicate, Outcome::Refused { .. }, Outcome::Applied] = &*outcomes(&answer) else {
        panic!("{answer:?}");
    };
    assert_eq!(shop.apply(first.clone()).await.unwrap(), answer, "the answer that was lost");
    let restarted = Shop::open(&home.url(), "shop").await;
    assert_eq!(restarted.identity(), shop.identity());
    assert_eq!(restarted.apply(first).await.unwrap(), answer);
    let at = restarted.positions(&topic()).await.unwrap()[&0].clone();
    assert_eq!(at, answer.parts[0].position);
    let again = batch(part(
        0,
        &at,
        vec![entry(4, numbered(1, 0), movement("1", 5)), entry(5, numbered(1, 1), movement("1", 2_000))],
    ));
    let answer = restarted.apply(again).await.unwrap();
    assert_eq!(outcomes(&answer), [Outcome::Duplicate, Outcome::Duplicate]);
    assert_eq!(restarted.shelf().await, 12);
}

async fn of_two_processes_that_expect_the_same_version_one_has_its_effects() {
    let home = Postgres::new().await;
    let shops = [Shop::open(&home.url(), "shop").await, Shop::open(&home.url(), "shop").await];
    let mut at = Position::default();
    for round in 0..20_i64 {
        let work = |token: u128| {
            let mut part = part(0, &at, vec![entry(round, None, movement("1", 1))]);
            part.token = token;
            batch(part)
        };
        let (one, other) = tokio::join!(shops[0].apply(work(1)), shops[1].apply(work(2)));
        let (won, lost) = if one.is_ok() { (one, other) } else { (other, one) };
        assert_eq!(lost.unwrap_err().code(), ErrorCode::StoreConflict);
        at = won.unwrap().parts[0].position.clone();
    }
    assert_eq!(shops[0].shelf().await, 20);
}

async fn a_position_is_made_only_where_none_was_expected() {
    let home = Postgres::new().await;
    let shop = Shop::open(&home.url(), "shop").await;
    let after = Position { version: 4, ..Position::default() };
    let orphan = shop.apply(batch(part(0, &after, vec![entry(0, None, movement("1", 1))]))).await.unwrap_err();
    assert_eq!(orphan.code(), ErrorCode::StoreConflict);
    let both = Batch {
        topic: topic(),
        parts: vec![
            part(1, &Position::default(), vec![entry(0, None, movement("1", 1))]),
            part(0, &after, vec![entry(0, None, movement("1", 1))]),
        ],
    };
    assert_eq!(shop.apply(both).await.unwrap_err().code(), ErrorCode::StoreConflict);
    assert!(shop.positions(&topic()).await.unwrap().is_empty(), "all parts, or none");
    assert_eq!(shop.shelf().await, 0);
}

async fn a_refusal_and_a_dead_letter_are_kept_with_their_records() {
    let home = Postgres::new().await;
    let shop = Shop::open(&home.url(), "shop").await;
    let failing = vec![entry(0, numbered(1, 0), dead_letter()), entry(1, numbered(1, 1), movement("1", 2_000))];
    let answer = shop.apply(batch(part(0, &Position::default(), failing))).await.unwrap();
    let letters = "SELECT state, kind, code, attempts, record FROM orderflow_dead_letters ORDER BY kind";
    let rows = shop.client.lock().await.query(letters, &[]).await.unwrap();
    let told = |rows: &[Row]| -> Vec<String> {
        rows.iter()
            .map(|row| {
                format!(
                    "{} {} {} {}",
                    row.get::<_, &str>(0),
                    row.get::<_, &str>(1),
                    row.get::<_, &str>(2),
                    row.get::<_, i32>(3)
                )
            })
            .collect()
    };
    assert_eq!(told(&rows), ["open dead_letter ORD-JSON 1", "open refused SHOP-NO-ROOM 1"]);
    let original = PositionGuard::original(rows[0].get(4)).unwrap();
    assert_eq!(original.value.as_deref(), Some(b"{not json".as_slice()));
    let failing_again = vec![entry(2, numbered(1, 0), dead_letter())];
    let answer = shop.apply(batch(part(0, &answer.parts[0].position, failing_again))).await.unwrap();
    let rows = shop.client.lock().await.query(letters, &[]).await.unwrap();
    assert_eq!(told(&rows), ["open dead_letter ORD-JSON 2", "open refused SHOP-NO-ROOM 1"]);
    let mended = vec![entry(3, numbered(1, 0), movement("1", 3))];
    shop.apply(batch(part(0, &answer.parts[0].position, mended))).await.unwrap();
    let rows = shop.client.lock().await.query(letters, &[]).await.unwrap();
    assert_eq!(told(&rows), ["resolved dead_letter ORD-JSON 2", "open refused SHOP-NO-ROOM 1"]);
    assert_eq!(shop.shelf().await, 3);
}

async fn a_start_is_set_once_and_its_repeat_gives_the_same_answer() {
    let home = Postgres::new().await;
    let shop = Shop::open(&home.url(), "shop").await;
    let reason = "auto.offset.reset=earliest".to_owned();
    let start = Start { partition: 0, expected: 0, token: 9, next: 40, leader_epoch: 1, reason };
    let set = shop.set_position(&topic(), start.clone()).await.unwrap();
    assert_eq!(shop.set_position(&topic(), start.clone()).await.unwrap(), set);
    let foreign = Start { token: 10, ..start };
    assert_eq!(shop.set_position(&topic(), foreign).await.unwrap_err().code(), ErrorCode::StoreConflict);
    let at = shop.positions(&topic()).await.unwrap()[&0].clone();
    assert_eq!((at.next, at.version), (40, 1));
    let back = Start { partition: 0, expected: 1, token: 11, next: 0, leader_epoch: -1, reason: "again".to_owned() };
    assert_eq!(shop.set_position(&topic(), back).await.unwrap().next, 0);
}

async fn forgotten_identities_are_new_again() {
    let home = Postgres::new().await;
    let shop = Shop::open(&home.url(), "shop").await;
    let order = |offset| vec![entry(offset, numbered(1, 0), movement("1", 5))];
    let answer = shop.apply(batch(part(0, &Position::default(), order(0)))).await.unwrap();
    let written = entry(0, None, dead_letter()).timestamp;
    let client = shop.client.lock().await;
    assert_eq!(execute(&*client, shop.guard.forget(written)).await.unwrap(), 0, "it is not older");
    assert_eq!(execute(&*client, shop.guard.forget(written + 1)).await.unwrap(), 1);
    drop(client);
    let answer = shop.apply(batch(part(0, &answer.parts[0].position, order(1)))).await.unwrap();
    assert_eq!(outcomes(&answer), [Outcome::Applied]);
}

/// Counts in the world of a crash test with psql, which waits for no runtime.
async fn processes_killed_at_any_point_leave_each_order_with_one_effect() {
    let order = |n: u32| InventoryOrder::new(&n.to_string(), "02758", 35, "5/30/2023").unwrap();
    let here = tokio::runtime::Handle::current();
    let survived = testing::crash((0..6).map(order))
        .seeds(0..1)
        .points([Point::WithinEffect, Point::AfterEffect])
        .store(
            Postgres::next,
            |home| Ok(tokio::task::block_in_place(|| here.block_on(Shop::open(&home.url(), CRASH_GROUP)))),
            |home, identity| {
                let schema = home.schema("inventory");
                let made = server().sql(&format!("SELECT count(*) FROM {schema}.shelf WHERE made_by = '{identity}'"));
                made.trim().parse().unwrap()
            },
        )
        .await
        .unwrap_or_else(|flaw| panic!("{flaw}"));
    assert!(survived.crashes() > 0, "{survived:?}");
}
