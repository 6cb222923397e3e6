//! Asking a store, wherever it is held.
//!
//! ```text
//!  StoreReader::open(path) --> a process holds it:  its socket, page by page
//!                          \-> nobody does:         the file, opened for reading
//! ```

use futures::FutureExt;
use futures::future::BoxFuture;
use std::path::Path;
use std::sync::Arc;

use redb::ReadableDatabase;

use super::fault::fault;
use super::format;
use super::handle::builder;
use super::lock::holder;
use super::page::{Cursor, page};
use super::presence::look;
use super::settings::RedbSettings;
use super::shared::{Open, Shared};
use super::socket::{Caller, socket_path};
#[cfg(feature = "postgres")]
use crate::store::postgres;
use crate::store::{Query, Row};
use crate::{Error, ErrorCode, Result};

/// Asks a store without holding it.
#[derive(Clone, Debug)]
pub struct StoreReader(Way);

#[derive(Clone, Debug)]
enum Way {
    Here(Arc<Shared>),
    There(Arc<Path>),
    #[cfg(feature = "postgres")]
    Database(Arc<postgres::Base>),
}

impl StoreReader {
    /// Finds the process that holds the store, or opens the file for reading. A store that does not exist is not made.
    ///
    /// While a file is open for reading no process can hold it, so ask and let the reader go.
    ///
    /// # Errors
    /// [`ErrorCode::StoreMissing`]; [`ErrorCode::StoreLocked`] when the process that holds the store does not answer on
    /// its socket; [`ErrorCode::StoreForeign`], [`ErrorCode::StoreFormat`], [`ErrorCode::StoreIo`],
    /// [`ErrorCode::StoreCorrupt`].
    ///
    /// # Cancel safety
    /// Nothing changes.
    pub async fn open(path: impl AsRef<Path>) -> Result<Self> {
        Self::at(path.as_ref()).await
    }

    /// Boxed, so that it is compiled here and not with whoever awaits it.
    fn at(path: &Path) -> BoxFuture<'_, Result<Self>> {
        let opened = async move {
            if let Some(url) = database(path) {
                return Self::open_database(url).await;
            }
            if !path.try_exists().unwrap_or(true) {
                let message = format!("there is no store {}", path.display());
                return Err(
                    Error::new(ErrorCode::StoreMissing, message).remedy("a consumer makes it when it first runs")
                );
            }
            look(path)?;
            let socket = socket_path(path);
            if Caller::connect(&socket).await.is_ok() {
                return Ok(Self(Way::There(socket.into())));
            }
            let owned = path.to_owned();
            let opened = tokio::task::spawn_blocking(move || open_for_reading(&owned)).await;
            let shared = opened.map_err(|error| Error::new(ErrorCode::Internal, "a task ended").caused_by(error))??;
            Ok(Self(Way::Here(Arc::new(shared))))
        };
        opened.boxed()
    }

    #[cfg(feature = "postgres")]
    async fn open_database(url: &str) -> Result<Self> {
        postgres::open_to_ask(url).await.map(|base| Self(Way::Database(Arc::new(base))))
    }

    #[cfg(not(feature = "postgres"))]
    async fn open_database(_url: &str) -> Result<Self> {
        Err(without_postgres())
    }

    /// Asks a store in a database.
    #[cfg(feature = "postgres")]
    pub(in crate::store) fn of_database(base: &Arc<postgres::Base>) -> Self {
        Self(Way::Database(Arc::clone(base)))
    }

    pub(super) fn of(shared: &Arc<Shared>) -> Self {
        Self(Way::Here(Arc::clone(shared)))
    }

    /// Whether another handle, mostly of another process, holds the store and answers on its socket.
    pub(super) fn is_remote(&self) -> bool {
        self.socket().is_some()
    }

    /// The socket of the process that holds the store.
    pub(super) fn socket(&self) -> Option<Arc<Path>> {
        match &self.0 {
            #[cfg(feature = "postgres")]
            Way::Database(_) => None,
            Way::Here(_) => None,
            Way::There(socket) => Some(Arc::clone(socket)),
        }
    }

    /// Puts a question. Its answer is read page by page.
    #[must_use]
    pub fn ask(&self, query: Query) -> Answer {
        Answer(match &self.0 {
            Way::Here(shared) => State::Here { shared: Arc::clone(shared), query: Arc::new(query), cursor: None },
            Way::There(socket) => State::Asking { socket: Arc::clone(socket), query },
            #[cfg(feature = "postgres")]
            Way::Database(base) => State::Database { base: Arc::clone(base), query, cursor: None },
        })
    }
}

/// The answer to a question, a page at a time.
#[derive(Debug)]
pub struct Answer(State);

#[derive(Debug)]
enum State {
    Here {
        shared: Arc<Shared>,
        query: Arc<Query>,
        cursor: Option<Cursor>,
    },
    Asking {
        socket: Arc<Path>,
        query: Query,
    },
    There(Caller),
    #[cfg(feature = "postgres")]
    Database {
        base: Arc<postgres::Base>,
        query: Query,
        cursor: Option<postgres::Cursor>,
    },
    Ended,
}

impl Answer {
    /// The next rows; a page may be empty. `None`: the answer has ended.
    ///
    /// # Errors
    /// The question does not fit the store ([`ErrorCode::StoreForeign`]), or the store cannot be read. The answer has
    /// ended then.
    ///
    /// # Cancel safety
    /// The answer has ended if the future is dropped.
    pub async fn page(&mut self) -> Result<Option<Vec<Row>>> {
        self.next().await
    }

    /// Boxed, so that it is compiled here and not with whoever awaits it.
    fn next(&mut self) -> BoxFuture<'_, Result<Option<Vec<Row>>>> {
        let page = async move {
            match std::mem::replace(&mut self.0, State::Ended) {
                State::Ended => Ok(None),
                State::Here { shared, query, cursor } => self.page_here(shared, query, cursor).await.map(Some),
                State::Asking { socket, query } => {
                    let mut caller = Caller::connect(&socket).await?;
                    caller.ask(&query).await?;
                    self.page_there(caller).await
                }
                State::There(caller) => self.page_there(caller).await,
                #[cfg(feature = "postgres")]
                State::Database { base, query, cursor } => {
                    let (rows, next) = postgres::page(&base, &query, cursor.as_ref()).await?;
                    if next.is_some() {
                        self.0 = State::Database { base, query, cursor: next };
                    }
                    Ok(Some(rows))
                }
            }
        };
        page.boxed()
    }

    /// All rows at once, for answers that are known to be short.
    ///
    /// # Errors
    /// As [`Answer::page`].
    ///
    /// # Cancel safety
    /// The answer is lost if the future is dropped.
    pub async fn rows(mut self) -> Result<Vec<Row>> {
        let mut rows = Vec::new();
        while let Some(page) = self.page().await? {
            rows.extend(page);
        }
        Ok(rows)
    }

    async fn page_here(&mut self, shared: Arc<Shared>, query: Arc<Query>, cursor: Option<Cursor>) -> Result<Vec<Row>> {
        let (asked, of) = (Arc::clone(&query), Arc::clone(&shared));
        let read = tokio::task::spawn_blocking(move || page(&of, &asked, cursor.as_ref())).await;
        let page = read.map_err(|error| Error::new(ErrorCode::Internal, "a page was not read").caused_by(error))??;
        if let Some(cursor) = page.next {
            self.0 = State::Here { shared, query, cursor: Some(cursor) };
        }
        Ok(page.rows)
    }

    async fn page_there(&mut self, mut caller: Caller) -> Result<Option<Vec<Row>>> {
        let page = caller.page().await?;
        if page.is_some() {
            self.0 = State::There(caller);
        }
        Ok(page)
    }
}

/// The URL, if a store's name is one.
pub(super) fn database(path: &Path) -> Option<&str> {
    path.to_str().filter(|text| text.starts_with("postgres://") || text.starts_with("postgresql://"))
}

/// A store in a database was named, and this build has no client.
#[cfg(not(feature = "postgres"))]
pub(super) fn without_postgres() -> Error {
    Error::new(ErrorCode::ConfigUnsupported, "a store in PostgreSQL needs the feature `postgres`")
        .remedy("build with --features postgres, or name a file")
}

fn open_for_reading(path: &Path) -> Result<Shared> {
    let builder = builder(&RedbSettings::default());
    let refused = |error| match error {
        redb::DatabaseError::DatabaseAlreadyOpen => holder(path).caused_by(error),
        error => fault(error),
    };
    let database = match builder.open_read_only(path) {
        Err(redb::DatabaseError::RepairAborted) => {
            // The process that held the store was killed: opening the file for writing once mends it.
            builder.open(path).map_err(refused)?.close().map_err(fault)?;
            builder.open_read_only(path)
        }
        opened => opened,
    };
    let database = database.map_err(refused)?;
    let found = format::read(&database.begin_read().map_err(fault)?)?;
    let (_, identity) =
        found.ok_or_else(|| Error::new(ErrorCode::StoreMissing, format!("the file {} is empty", path.display())))?;
    Ok(Shared::new(Open::Reader(database), path, identity))
}
