//! One transaction on one connection: statements without names, parameters with their types.
//!
//! Statements that are polled together travel together: the driver sends each when it is first polled, in order.

use tokio_postgres::types::{FromSql, ToSql, Type};
use tokio_postgres::{Client, Row};

use super::fault::fault;
use crate::{Error, ErrorCode, Result};

/// A parameter with its type, so that the server is not asked for it.
pub(super) type Param<'a> = (&'a (dyn ToSql + Sync), Type);

/// A transaction.
#[derive(Clone, Copy)]
pub(super) struct Link<'a> {
    pub(super) client: &'a Client,
}

impl Link<'_> {
    /// Statements without parameters or rows.
    pub(super) async fn plain(&self, statements: &str) -> Result<()> {
        self.client.batch_execute(statements).await.map_err(fault)
    }

    pub(super) async fn rows(&self, statement: &str, parameters: &[Param<'_>]) -> Result<Vec<Row>> {
        self.client.query_typed(statement, parameters).await.map_err(fault)
    }

    pub(super) async fn run(&self, statement: &str, parameters: &[Param<'_>]) -> Result<()> {
        self.rows(statement, parameters).await.map(drop)
    }
}

/// A column of a row.
pub(super) fn get<'a, T: FromSql<'a>>(row: &'a Row, column: usize) -> Result<T> {
    let unreadable = |error| Error::new(ErrorCode::StoreCorrupt, "a row of the store cannot be read").caused_by(error);
    row.try_get(column).map_err(unreadable)
}

/// A number that is never negative.
pub(super) fn count_of(row: &Row, column: usize) -> Result<u64> {
    let broken = |_| Error::new(ErrorCode::StoreCorrupt, "a count of the store is negative");
    u64::try_from(get::<i64>(row, column)?).map_err(broken)
}

/// A count as the database keeps it.
pub(super) fn stored(count: u64) -> i64 {
    i64::try_from(count).unwrap_or(i64::MAX)
}
