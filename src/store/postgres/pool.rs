//! A few connections that are shared.
//!
//! A connection comes back only from a transaction whose end was answered; any other is closed, and the server gives its
//! transaction up. Nothing is prepared and nothing is set beyond a transaction, so a pooler may stand in between.

use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use tokio::sync::{Semaphore, SemaphorePermit};
use tokio_postgres::tls::MakeTlsConnect;
use tokio_postgres::{Client, NoTls, Socket};

use super::address::Address;
use super::fault::{closed, fault, late};
use super::protection::Protection;
use crate::Result;
use crate::shutdown::Tasks;

/// How long closing waits for connections to end.
const CONNECTIONS_END: Duration = Duration::from_secs(2);

/// The connections of one store.
#[derive(Debug)]
pub(super) struct Pool {
    pub(super) address: Address,
    idle: Mutex<Vec<Client>>,
    room: Semaphore,
    tasks: Tasks,
    connect_timeout: Duration,
}

/// A connection for one transaction.
pub(super) struct Lease<'a> {
    pool: &'a Pool,
    client: Option<Client>,
    _room: SemaphorePermit<'a>,
}

impl Pool {
    pub(super) fn new(address: Address, connections: usize, connect_timeout: Duration) -> Self {
        Self {
            address: address.with_timeout(connect_timeout),
            idle: Mutex::default(),
            room: Semaphore::new(connections.clamp(1, Semaphore::MAX_PERMITS)),
            tasks: Tasks::new(),
            connect_timeout,
        }
    }

    /// Runs `work` on a connection, which comes back if the work says that its transaction has ended.
    pub(super) async fn lease(&self) -> Result<Lease<'_>> {
        let room = self.room.acquire().await.map_err(|_| closed())?;
        let idle = self.idle().pop();
        let client = match idle.filter(|client| !client.is_closed()) {
            Some(client) => client,
            None => self.connect().await?,
        };
        Ok(Lease { pool: self, client: Some(client), _room: room })
    }

    /// Closes every connection that is not in use; the others are closed when their transaction ends.
    pub(super) async fn close(&self) {
        self.room.close();
        self.idle().clear();
        if !self.tasks.finish(CONNECTIONS_END).await {
            tracing::warn!("connections to the database did not end in time");
        }
    }

    async fn connect(&self) -> Result<Client> {
        match &self.address.protection {
            Protection::Plain => self.connect_by(NoTls).await,
            #[cfg(feature = "postgres-tls")]
            Protection::Verified(tls) => self.connect_by(tls.clone()).await,
        }
    }

    async fn connect_by<T>(&self, tls: T) -> Result<Client>
    where
        T: MakeTlsConnect<Socket, Stream: Send + 'static>,
    {
        let connecting = self.address.config.connect(tls);
        let connected = tokio::time::timeout(self.connect_timeout, connecting).await;
        let (client, connection) =
            connected.map_err(|_| late("the database did not answer in time"))?.map_err(fault)?;
        let stop = self.tasks.stop_signal();
        self.tasks.spawn(async move {
            tokio::select! {
                ended = connection => if let Err(error) = ended {
                    tracing::debug!(%error, "a connection to the database ended");
                },
                () = stop.cancelled() => {}
            }
        });
        Ok(client)
    }

    fn idle(&self) -> std::sync::MutexGuard<'_, Vec<Client>> {
        self.idle.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Lease<'_> {
    pub(super) fn client(&self) -> Result<&Client> {
        self.client.as_ref().ok_or_else(closed)
    }

    /// The transaction has ended, and the server has said so.
    pub(super) fn give_back(mut self) {
        if let Some(client) = self.client.take().filter(|client| !client.is_closed())
            && !self.pool.room.is_closed()
        {
            self.pool.idle().push(client);
        }
    }
}
