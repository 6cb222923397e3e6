//! The service's database as a store of the consumer: positions and effects in one transaction.

use std::collections::BTreeMap;

use orderflow::order::DeliveryOrder;
use orderflow::store::{
    Applied, Batch, Position, PositionGuard, Start, Statement, Store, StoreIdentity, StoredPosition, Topic, Value,
};
use orderflow::{Error, ErrorCode};
use sqlx::postgres::{PgArguments, PgPoolOptions, PgRow};
use sqlx::query::{Query, QueryAs};
use sqlx::{Arguments, PgConnection, PgPool, Postgres};

use crate::effects::{self, SOLD_OUT};

/// A row of a position, column by column.
type Row = (i32, i64, Vec<u8>, i32, i64, Vec<u8>, Vec<u8>);

/// The database.
pub struct Shop {
    guard: PositionGuard,
    pool: PgPool,
}

impl Shop {
    /// Opens the database and makes the tables that are missing.
    pub async fn open(url: &str, group: &str) -> sqlx::Result<Self> {
        let pool = PgPoolOptions::new().max_connections(4).connect(url).await?;
        let mut tx = pool.begin().await?;
        sqlx::query("SET LOCAL client_min_messages = warning").execute(&mut *tx).await?;
        // Two processes that begin at once make them one after the other.
        sqlx::query("SELECT pg_advisory_xact_lock(hashtext('schema'))").execute(&mut *tx).await?;
        sqlx::raw_sql(PositionGuard::TABLES).execute(&mut *tx).await?;
        sqlx::raw_sql(include_str!("schema.sql")).execute(&mut *tx).await?;
        let enrol = PositionGuard::enrol::<DeliveryOrder>(group);
        let (name, order_type): (String, String) = select(&enrol)?.fetch_one(&mut *tx).await?;
        tx.commit().await?;
        Ok(Self { guard: PositionGuard::new(group, name, order_type), pool })
    }

    /// All of a batch, or nothing of it.
    async fn settle(&self, batch: &Batch<DeliveryOrder>) -> Result<Applied, Failure> {
        let settlement = self.guard.settle(batch);
        let mut tx = self.pool.begin().await?;
        let changed = run(&settlement.claim())?.execute(&mut *tx).await?.rows_affected();
        if !settlement.is_claimed(changed) {
            tx.rollback().await?;
            return Ok(settlement.recall(stored(&self.pool, &settlement.standing()).await?)?);
        }
        let identities: Vec<(Vec<u8>, bool)> = select(&settlement.identities())?.fetch_all(&mut *tx).await?;
        let mut decided = settlement.decide(identities);
        let due = decided.due();
        effects::lock(&mut tx, &due).await?;
        for due in &due {
            if !effects::ship(&mut tx, due).await? {
                decided.refuse(due, SOLD_OUT, format!("not enough is left of {}", due.order.product_id()));
            }
        }
        finish(&mut tx, decided.statements()).await?;
        tx.commit().await?;
        Ok(decided.applied())
    }
}

impl Store<DeliveryOrder> for Shop {
    fn identity(&self) -> &StoreIdentity {
        self.guard.identity()
    }

    async fn positions(&self, topic: &Topic) -> orderflow::Result<BTreeMap<i32, Position>> {
        PositionGuard::read(stored(&self.pool, &self.guard.positions(topic)).await.map_err(failed)?)
    }

    async fn apply(&self, batch: Batch<DeliveryOrder>) -> orderflow::Result<Applied> {
        self.settle(&batch).await.map_err(|failure| match failure {
            Failure::Database(error) => failed(error),
            Failure::Order(error) => error,
        })
    }

    async fn set_position(&self, topic: &Topic, start: Start) -> orderflow::Result<Position> {
        let set = self.guard.set(topic, &start);
        let changed = run(&set).map_err(failed)?.execute(&self.pool).await.map_err(failed)?.rows_affected();
        PositionGuard::was_set(topic, &start, changed)
    }

    async fn close(&self) -> orderflow::Result<()> {
        self.pool.close().await;
        Ok(())
    }
}

/// Why a transaction was given up.
enum Failure {
    Database(sqlx::Error),
    Order(Error),
}

impl From<sqlx::Error> for Failure {
    fn from(error: sqlx::Error) -> Self {
        Self::Database(error)
    }
}

impl From<Error> for Failure {
    fn from(error: Error) -> Self {
        Self::Order(error)
    }
}

/// A database that fails is waited for: the consumer gives the same batch again.
fn failed(error: sqlx::Error) -> Error {
    Error::new(ErrorCode::StoreIo, "the database failed").caused_by(error).retriable()
}

async fn finish(tx: &mut PgConnection, statements: Vec<Statement>) -> sqlx::Result<()> {
    for statement in &statements {
        run(statement)?.execute(&mut *tx).await?;
    }
    Ok(())
}

async fn stored(pool: &PgPool, statement: &Statement) -> sqlx::Result<Vec<StoredPosition>> {
    let rows: Vec<Row> = select(statement)?.fetch_all(pool).await?;
    Ok(rows.into_iter().map(StoredPosition::from).collect())
}

fn run(statement: &Statement) -> sqlx::Result<Query<'_, Postgres, PgArguments>> {
    Ok(sqlx::query_with(statement.sql, bound(statement)?))
}

fn select<T>(statement: &Statement) -> sqlx::Result<QueryAs<'_, Postgres, T, PgArguments>>
where
    T: for<'r> sqlx::FromRow<'r, PgRow>,
{
    Ok(sqlx::query_as_with(statement.sql, bound(statement)?))
}

fn bound(statement: &Statement) -> sqlx::Result<PgArguments> {
    let mut arguments = PgArguments::default();
    for value in &statement.values {
        let added = match value {
            Value::Text(text) => arguments.add(text),
            Value::Int(number) => arguments.add(number),
            Value::Long(number) => arguments.add(number),
            Value::Bytes(bytes) => arguments.add(bytes),
            Value::Ints(numbers) => arguments.add(numbers),
            Value::Longs(numbers) => arguments.add(numbers),
            Value::ManyBytes(many) => arguments.add(many),
        };
        added.map_err(sqlx::Error::Encode)?;
    }
    Ok(arguments)
}
