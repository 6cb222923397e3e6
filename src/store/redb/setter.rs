//! Setting positions by command, in a store that no process holds.
//!
//! ```text
//!  open: refused while a process holds the store --> plan: what is left out, what comes again --> set, with the reason
//! ```

use std::path::{Path, PathBuf};

use super::handle::{RedbDeliveries, RedbInventory};
use super::reader::{StoreReader, database};
use super::settings::RedbSettings;
use crate::order::{InventoryOrder, Order};
use crate::store::{AppliedSince, DeliveryPolicy, IdentityRow, Position, PositionRow, Query, Row, Start, Store, Topic};
#[cfg(feature = "postgres")]
use crate::store::{PostgresDeliveries, PostgresInventory};
use crate::{Error, ErrorCode, Result};

/// Sets positions of a store, whichever orders it keeps, while this holds it.
///
/// ```no_run
/// # async fn example(topic: orderflow::store::Topic) -> orderflow::Result<()> {
/// use orderflow::store::PositionSetter;
/// let setter = PositionSetter::open("inventory.redb").await?;
/// let plan = setter.plan(&topic, 3, 57).await?;
/// assert_eq!(plan.again.without_identity, 0, "these would be applied again");
/// setter.set(&plan, "the log was damaged before 57").await?;
/// setter.close().await
/// # }
/// ```
#[derive(Debug)]
pub struct PositionSetter(Held);

/// A store that this process holds.
#[derive(Debug)]
pub(super) enum Held {
    Inventory(RedbInventory),
    Deliveries(RedbDeliveries),
    #[cfg(feature = "postgres")]
    SharedInventory(PostgresInventory),
    #[cfg(feature = "postgres")]
    SharedDeliveries(PostgresDeliveries),
}

/// What a move of a position means, before it is made.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PositionPlan {
    /// The topic.
    pub topic: Topic,
    /// The partition.
    pub partition: i32,
    /// Where the store stands; `None` if it never had a position there.
    pub before: Option<Position>,
    /// The offset to go on from.
    pub next: i64,
    /// What was applied at `next` and behind it, and comes again.
    pub again: AppliedSince,
}

impl PositionPlan {
    /// How many offsets would never be read.
    #[must_use]
    pub fn left_out(&self) -> u64 {
        let from = self.before.as_ref().map_or(self.next, |position| position.next);
        u64::try_from(self.next.saturating_sub(from)).unwrap_or(0)
    }
}

impl PositionSetter {
    /// Takes hold of a store. A store that does not exist is not made.
    ///
    /// # Errors
    /// [`ErrorCode::StoreLocked`] naming the process that holds the store, as its partitions may be running;
    /// [`ErrorCode::StoreMissing`], [`ErrorCode::StoreFormat`], [`ErrorCode::StoreIo`], [`ErrorCode::StoreCorrupt`].
    ///
    /// # Cancel safety
    /// Nothing changes.
    pub async fn open(path: impl AsRef<Path>) -> Result<Self> {
        let path = path.as_ref();
        if let Some(url) = database(path) {
            return hold_database(url).await.map(Self);
        }
        let owner = free_store(path).await?;
        let path = path.to_owned();
        let opened = tokio::task::spawn_blocking(move || hold(path, &owner)).await;
        opened.map_err(|error| Error::new(ErrorCode::Internal, "a task ended").caused_by(error))?.map(Self)
    }

    /// Where the store stands in a partition, and what going on from `next` would mean.
    ///
    /// # Errors
    /// [`ErrorCode::StoreIo`], [`ErrorCode::StoreCorrupt`].
    ///
    /// # Cancel safety
    /// Nothing changes.
    pub async fn plan(&self, topic: &Topic, partition: i32, next: i64) -> Result<PositionPlan> {
        let mut positions = match &self.0 {
            Held::Inventory(store) => store.positions(topic).await?,
            Held::Deliveries(store) => store.positions(topic).await?,
            #[cfg(feature = "postgres")]
            Held::SharedInventory(store) => store.positions(topic).await?,
            #[cfg(feature = "postgres")]
            Held::SharedDeliveries(store) => store.positions(topic).await?,
        };
        let query = Query::AppliedSince { topic: topic.clone(), partition, from: next };
        let rows = self.reader().ask(query).rows().await?;
        let again = rows.into_iter().find_map(|row| if let Row::AppliedSince(row) = row { Some(row) } else { None });
        Ok(PositionPlan {
            topic: topic.clone(),
            partition,
            before: positions.remove(&partition),
            next,
            again: again.unwrap_or_default(),
        })
    }

    /// Makes the move. It is kept with its reason, and the audit goes on from there.
    ///
    /// # Errors
    /// [`ErrorCode::StoreConflict`] if the position has moved since the plan was made; [`ErrorCode::StoreIo`],
    /// [`ErrorCode::StoreCorrupt`].
    ///
    /// # Cancel safety
    /// The position may be set all the same.
    pub async fn set(&self, plan: &PositionPlan, reason: &str) -> Result<PositionRow> {
        let start = Start {
            partition: plan.partition,
            expected: plan.before.as_ref().map_or(0, |position| position.version),
            token: fastrand::u128(..),
            next: plan.next,
            leader_epoch: -1,
            reason: reason.to_owned(),
        };
        match &self.0 {
            Held::Inventory(store) => store.set_position(&plan.topic, start).await?,
            Held::Deliveries(store) => store.set_position(&plan.topic, start).await?,
            #[cfg(feature = "postgres")]
            Held::SharedInventory(store) => store.set_position(&plan.topic, start).await?,
            #[cfg(feature = "postgres")]
            Held::SharedDeliveries(store) => store.set_position(&plan.topic, start).await?,
        };
        let id = plan.topic.id.to_string();
        let rows = self.reader().ask(Query::Positions).rows().await?.into_iter().filter_map(|row| match row {
            Row::Position(row) => Some(row),
            _ => None,
        });
        let mut of_topic = rows.filter(|row| row.topic_id == id && row.topic == *plan.topic.name);
        let gone = || Error::new(ErrorCode::Internal, "a position that was set is not there");
        of_topic.find(|row| row.partition == Some(plan.partition)).ok_or_else(gone)
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
            Held::Inventory(store) => store.close().await,
            Held::Deliveries(store) => store.close().await,
            #[cfg(feature = "postgres")]
            Held::SharedInventory(store) => store.close().await,
            #[cfg(feature = "postgres")]
            Held::SharedDeliveries(store) => store.close().await,
        }
    }

    fn reader(&self) -> StoreReader {
        match &self.0 {
            Held::Inventory(store) => store.reader(),
            Held::Deliveries(store) => store.reader(),
            #[cfg(feature = "postgres")]
            Held::SharedInventory(store) => store.reader(),
            #[cfg(feature = "postgres")]
            Held::SharedDeliveries(store) => store.reader(),
        }
    }
}

/// Whose store it is, unless a process holds it.
async fn free_store(path: &Path) -> Result<IdentityRow> {
    let reader = StoreReader::open(path).await?;
    let owner = owner_of(&reader).await?;
    if reader.is_remote() {
        let message = format!("process {} holds the store {}", owner.process, path.display());
        let remedy = "its partitions run: stop it, set the position, start it again";
        return Err(Error::new(ErrorCode::StoreLocked, message).remedy(remedy));
    }
    Ok(owner)
}

/// Whose store it is.
pub(super) async fn owner_of(reader: &StoreReader) -> Result<IdentityRow> {
    let rows = reader.ask(Query::Identity).rows().await?;
    let owner = rows.into_iter().find_map(|row| if let Row::Identity(row) = row { Some(row) } else { None });
    owner.ok_or_else(|| Error::new(ErrorCode::StoreCorrupt, "the store does not say whose it is"))
}

/// Connects to a store that any process may write: versions guard its positions.
#[cfg(feature = "postgres")]
pub(super) async fn hold_database(url: &str) -> Result<Held> {
    let owner = owner_of(&StoreReader::open(url).await?).await?;
    if owner.order_type == InventoryOrder::TYPE {
        return PostgresInventory::connect(url, &owner.group).await.map(Held::SharedInventory);
    }
    PostgresDeliveries::connect(url, &owner.group).await.map(Held::SharedDeliveries)
}

#[cfg(not(feature = "postgres"))]
pub(super) async fn hold_database(_url: &str) -> Result<Held> {
    Err(super::reader::without_postgres())
}

/// Takes hold of a store.
pub(super) fn hold(path: PathBuf, owner: &IdentityRow) -> Result<Held> {
    let settings = RedbSettings::default();
    if owner.order_type == InventoryOrder::TYPE {
        return RedbInventory::open_with(path, &owner.group, settings).map(Held::Inventory);
    }
    // What is scheduled already does not depend on the policy.
    RedbDeliveries::open_with(path, &owner.group, settings, DeliveryPolicy::default()).map(Held::Deliveries)
}
