//! How a PostgreSQL store is reached.

use std::time::Duration;

use crate::store::Retention;

/// The settings of a PostgreSQL store, with their defaults.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct PostgresSettings {
    /// `store.pool.size`: how many connections are open at most. Default 4.
    pub connections: usize,
    /// `store.connect.timeout.ms`: how long one connection may take to be made. Default 10 s.
    pub connect_timeout: Duration,
    /// `store.transaction.timeout.ms`: how long one transaction may take, from the wait for a connection to the answer
    /// to its commit. Default 30 s.
    pub transaction_timeout: Duration,
    /// `store.lock.timeout.ms`: how long the server lets one statement wait for a row that another process has locked.
    /// Default 10 s.
    pub lock_timeout: Duration,
    /// `store.idle.timeout.ms`: after how long the server ends a transaction whose process has gone silent, so that a
    /// stopped process holds up nobody. Default 10 s.
    pub idle_timeout: Duration,
    /// `store.retries`: how often a transaction is tried again after a deadlock, a serialisation failure or a lost
    /// connection, before its caller is told. Default 5.
    pub retries: u32,
    /// How long identities are remembered.
    pub retention: Retention,
    /// `dead_letters.max.bytes`: what the records of dead letters may take; when it is used up, batches with a
    /// dead letter are refused and their partition stops. Default 1 GB.
    pub dead_letters_max_bytes: u64,
}

impl Default for PostgresSettings {
    fn default() -> Self {
        Self {
            connections: 4,
            connect_timeout: Duration::from_secs(10),
            transaction_timeout: Duration::from_secs(30),
            lock_timeout: Duration::from_secs(10),
            idle_timeout: Duration::from_secs(10),
            retries: 5,
            retention: Retention::default(),
            dead_letters_max_bytes: 1 << 30,
        }
    }
}
