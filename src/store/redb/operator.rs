//! Operating a store, wherever it is held.
//!
//! ```text
//!  StoreOperator::open(path) --> a process holds it:  its socket; the consumer there does it
//!                            \-> nobody does:         the store is held for as long, and does it itself
//! ```

use std::path::Path;
use std::sync::Arc;

use super::reader::{StoreReader, database};
use super::setter::{Held, hold, hold_database, owner_of};
use super::socket::Caller;
use crate::store::{BackOffice, Operation, Row, Store};
use crate::{Error, ErrorCode, Result};

/// Operates a store: replays, fixes, discards dead letters; pauses its consumer; copies it.
#[derive(Debug)]
pub struct StoreOperator(Way);

#[derive(Debug)]
enum Way {
    Here(Held),
    There(Arc<Path>),
}

impl StoreOperator {
    /// Finds the process that holds the store, or takes hold of it. A store that does not exist is not made.
    ///
    /// # Errors
    /// As [`StoreReader::open`].
    ///
    /// # Cancel safety
    /// Nothing changes.
    pub async fn open(path: impl AsRef<Path>) -> Result<Self> {
        let path = path.as_ref();
        if let Some(url) = database(path) {
            return hold_database(url).await.map(|held| Self(Way::Here(held)));
        }
        let reader = StoreReader::open(path).await?;
        if let Some(socket) = reader.socket() {
            return Ok(Self(Way::There(socket)));
        }
        let owner = owner_of(&reader).await?;
        drop(reader);
        let path = path.to_owned();
        let held = tokio::task::spawn_blocking(move || hold(path, &owner)).await;
        let held = held.map_err(|error| Error::new(ErrorCode::Internal, "a task ended").caused_by(error))??;
        Ok(Self(Way::Here(held)))
    }

    /// Does it. The rows say what was done.
    ///
    /// # Errors
    /// [`ErrorCode::Closed`]: no consumer holds the store that could be paused. Otherwise what the operation says, and
    /// [`ErrorCode::StoreIo`], [`ErrorCode::StoreCorrupt`].
    ///
    /// # Cancel safety
    /// It may be done all the same.
    pub async fn operate(&self, operation: Operation) -> Result<Vec<Row>> {
        let held = match &self.0 {
            Way::Here(held) => held,
            Way::There(socket) => {
                let mut caller = Caller::connect(socket).await?;
                caller.ask(&operation).await?;
                let mut rows = Vec::new();
                while let Some(page) = caller.page().await? {
                    rows.extend(page);
                }
                return Ok(rows);
            }
        };
        let office: Option<Arc<dyn BackOffice>> = match held {
            Held::Inventory(store) => store.back_office(),
            Held::Deliveries(store) => store.back_office(),
            #[cfg(feature = "postgres")]
            Held::SharedInventory(store) => store.back_office(),
            #[cfg(feature = "postgres")]
            Held::SharedDeliveries(store) => store.back_office(),
        };
        let office = office.ok_or_else(|| Error::new(ErrorCode::Internal, "the store has no back office"))?;
        office.operate(operation).await
    }

    /// Lets the store go.
    ///
    /// # Errors
    /// As [`Store::close`].
    ///
    /// # Cancel safety
    /// The store is let go all the same.
    pub async fn close(self) -> Result<()> {
        match self.0 {
            Way::Here(Held::Inventory(store)) => store.close().await,
            Way::Here(Held::Deliveries(store)) => store.close().await,
            #[cfg(feature = "postgres")]
            Way::Here(Held::SharedInventory(store)) => store.close().await,
            #[cfg(feature = "postgres")]
            Way::Here(Held::SharedDeliveries(store)) => store.close().await,
            Way::There(_) => Ok(()),
        }
    }
}
