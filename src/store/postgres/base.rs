//! What all transactions of one store share.

use std::collections::HashMap;
use std::ops::ControlFlow;
use std::sync::atomic::AtomicU64;
use std::sync::{Mutex, PoisonError, Weak};
use std::time::Duration;

use tokio::sync::watch;
use tokio_postgres::types::Type;

use super::link::{Link, get};
use super::pool::{Lease, Pool};
use super::settings::PostgresSettings;
use super::{fault, schema};
use crate::backoff::Backoff;
use crate::store::{Steering, StoreIdentity, Topic};
use crate::{Error, ErrorCode, Result};

/// Every statement of a transaction that writes finds its rows by key. The server, which knows little of tables that grow
/// as fast, would read stock or ledger whole for a few thousand rows of theirs.
const BY_KEY: &str =
    "; SET LOCAL enable_seqscan TO off; SET LOCAL enable_hashjoin TO off; SET LOCAL enable_mergejoin TO off";

/// A store that is open.
pub(in crate::store) struct Base {
    pub(super) pool: Pool,
    pub(super) identity: StoreIdentity,
    /// Names this process where it takes partitions over.
    pub(super) owner: u128,
    pub(super) format: u32,
    pub(super) settings: PostgresSettings,
    /// What begins a transaction that writes.
    begin: String,
    /// What begins one that reads what is committed now.
    look: String,
    /// Numbers that were committed, and so never change.
    topics: Mutex<HashMap<Topic, u32>>,
    pub(super) news: watch::Sender<u64>,
    /// Counts the transactions of this process.
    pub(super) turns: AtomicU64,
    /// The consumer that operators steer.
    pub(super) steering: Mutex<Option<Weak<dyn Steering>>>,
}

impl std::fmt::Debug for Base {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let name = &self.pool.address;
        f.debug_struct("Base").field("address", name).field("identity", &self.identity).finish_non_exhaustive()
    }
}

impl Base {
    pub(super) fn new(
        pool: Pool,
        settings: PostgresSettings,
        schema: &str,
        (format, identity): (u32, StoreIdentity),
    ) -> Self {
        Self {
            begin: schema::begin(schema, &settings, "READ COMMITTED") + BY_KEY,
            look: schema::begin(schema, &settings, "REPEATABLE READ READ ONLY"),
            pool,
            identity,
            owner: fastrand::u128(..),
            format,
            settings,
            topics: Mutex::default(),
            news: watch::channel(0).0,
            turns: AtomicU64::new(0),
            steering: Mutex::new(None),
        }
    }

    /// What begins a transaction that writes: sent with its first statements.
    pub(super) fn begin(&self) -> &str {
        &self.begin
    }

    /// What begins a transaction that reads one state of everything.
    pub(super) fn look(&self) -> &str {
        &self.look
    }

    /// A connection within the time that a transaction may take.
    pub(super) async fn lease(&self) -> Result<Lease<'_>> {
        let leased = tokio::time::timeout(self.settings.transaction_timeout, self.pool.lease()).await;
        leased.map_err(|_| fault::late("no connection to the database was free in time"))?
    }

    /// Ends a transaction: what succeeded has committed itself, what failed is rolled back.
    pub(super) async fn end<T>(&self, lease: Lease<'_>, done: Result<T>) -> Result<T> {
        let within = self.settings.connect_timeout;
        match &done {
            Ok(_) => lease.give_back(),
            // Whoever does not answer loses its connection instead.
            Err(_) => {
                let rolled_back = {
                    let link = Link { client: lease.client()? };
                    tokio::time::timeout(within, link.plain("ROLLBACK")).await
                };
                if matches!(rolled_back, Ok(Ok(()))) {
                    lease.give_back();
                }
            }
        }
        done
    }

    /// The store's number of a topic, which is given now if the topic is new.
    ///
    /// A topic that was known by its name alone is the same topic once its brokers tell its identity (rule R11).
    pub(super) async fn topic(&self, topic: &Topic) -> Result<u32> {
        if let Some(number) = self.numbers().get(topic) {
            return Ok(*number);
        }
        let lease = self.lease().await?;
        let found = self.number(Link { client: lease.client()? }, topic).await;
        let number = self.end(lease, found).await?;
        self.numbers().insert(topic.clone(), number);
        Ok(number)
    }

    async fn number(&self, link: Link<'_>, topic: &Topic) -> Result<u32> {
        let (id, name) = (topic.id.as_bytes().as_slice(), topic.name.as_ref());
        let by_id = [(&id as _, Type::BYTEA), (&name as _, Type::TEXT)];
        let is_known =
            "SELECT number FROM topics WHERE id = $1 AND (id <> decode(repeat('00', 16), 'hex') OR name = $2)";
        let ((), known) = futures::try_join!(link.plain(&self.begin), link.rows(is_known, &by_id))?;
        let mut found = known;
        if found.is_empty() && !topic.id.is_none() {
            let named =
                "UPDATE topics SET id = $1 WHERE name = $2 AND id = decode(repeat('00', 16), 'hex') RETURNING number";
            found = link.rows(named, &by_id).await?;
        }
        if found.is_empty() {
            let new = "INSERT INTO topics (id, name) VALUES ($1, $2) ON CONFLICT DO NOTHING RETURNING number";
            found = link.rows(new, &by_id).await?;
        }
        if found.is_empty() {
            found = link.rows(is_known, &by_id).await?;
        }
        let lost = || Error::new(ErrorCode::StoreIo, "a topic was taken up by another process").retriable();
        let number: i32 = get(found.first().ok_or_else(lost)?, 0)?;
        link.plain("COMMIT").await?;
        u32::try_from(number).map_err(|_| Error::new(ErrorCode::StoreCorrupt, "a topic has a negative number"))
    }

    fn numbers(&self) -> std::sync::MutexGuard<'_, HashMap<Topic, u32>> {
        self.topics.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn tries(&self) -> Tries {
        Tries::of(&self.settings)
    }
}

/// How often a transaction is tried.
pub(super) struct Tries {
    left: u32,
    taken: u32,
    backoff: Backoff,
}

impl Tries {
    pub(super) fn of(settings: &PostgresSettings) -> Self {
        let backoff = Backoff::new(Duration::from_millis(10), Duration::from_secs(1));
        Self { left: settings.retries, taken: 0, backoff }
    }

    /// Goes on with another try after a failure that passes, once a little time has passed.
    ///
    /// A commit whose answer was lost is among them: the next try reads the position first, and finds it moved by its own
    /// token (rule R5).
    pub(super) async fn judge<T>(&mut self, tried: Result<T>) -> ControlFlow<Result<T>> {
        match tried {
            Err(error) if error.is_retriable() && self.left > 0 => {
                tracing::debug!(%error, "a transaction is tried again");
                self.left -= 1;
                tokio::time::sleep(self.backoff.delay(self.taken, fastrand::f64())).await;
                self.taken += 1;
                ControlFlow::Continue(())
            }
            other => ControlFlow::Break(other),
        }
    }
}
