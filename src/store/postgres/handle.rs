//! The handle of a PostgreSQL store.

use std::collections::BTreeMap;
use std::fmt;
use std::ops::ControlFlow;
use std::sync::Arc;

use futures::future::BoxFuture;

use super::address::Address;
use super::base::{Base, Tries};
use super::days::Deliveries;
use super::effect::Effect;
use super::keeper::{Claim, Keeper};
use super::link::Link;
use super::pool::Pool;
use super::settings::PostgresSettings;
use super::stock::Inventory;
use super::{fault, schema};
use crate::order::{DeliveryOrder, InventoryOrder, Order};
use crate::store::moves::ask;
use crate::store::{
    Applied, BackOffice, Batch, DeliveryPolicy, EventId, MoveRow, Position, ReorderLevels, Start, Status, Store,
    StoreIdentity, StoreReader, Topic,
};
use crate::{ErrorCode, Result};

/// Stock in PostgreSQL.
pub type PostgresInventory = PostgresStore<InventoryOrder>;

/// Deliveries in PostgreSQL.
pub type PostgresDeliveries = PostgresStore<DeliveryOrder>;

/// A store in a schema of a PostgreSQL database, which serves any number of processes of one group.
///
/// ```no_run
/// # async fn example() -> orderflow::Result<()> {
/// use orderflow::store::{PostgresInventory, Store};
/// let store = PostgresInventory::connect("postgres://shop@localhost/shop", "inventory").await?;
/// assert_eq!(store.identity().group, "inventory");
/// store.close().await
/// # }
/// ```
#[derive(Clone)]
pub struct PostgresStore<O: Order> {
    base: Arc<Base>,
    engine: Arc<dyn Engine<O>>,
}

impl<O: Order> fmt::Debug for PostgresStore<O> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PostgresStore").field("base", &self.base).finish_non_exhaustive()
    }
}

/// A store with its effect.
pub(super) trait Engine<O: Order>: Send + Sync {
    fn positions<'a>(&'a self, topic: &'a Topic) -> BoxFuture<'a, Result<BTreeMap<i32, Position>>>;
    fn apply<'a>(&'a self, batch: &'a Batch<O>) -> BoxFuture<'a, Result<Applied>>;
    fn start<'a>(&'a self, topic: &'a Topic, start: &'a Start) -> BoxFuture<'a, Result<Position>>;
    fn claim<'a>(&'a self, topic: &'a Topic, claim: Claim<'a>) -> BoxFuture<'a, Result<Vec<i32>>>;
    fn office(self: Arc<Self>) -> Arc<dyn BackOffice>;
}

impl PostgresInventory {
    /// Connects to the group's store of stock, or makes it.
    ///
    /// The URL is `postgres://user:password@host:port/database`; `?schema=` names the schema, which is
    /// `orderflow_inventory` otherwise.
    ///
    /// # Errors
    /// [`ErrorCode::ConfigValue`] for a URL that cannot be read; [`ErrorCode::ConfigUnsupported`] for protection that this
    /// build has not; [`ErrorCode::StoreForeign`] for the store of another group or order type;
    /// [`ErrorCode::StoreFormat`] for a schema that is to be migrated, or newer; [`ErrorCode::StoreIo`].
    ///
    /// # Cancel safety
    /// The store may be made all the same.
    pub async fn connect(url: &str, group: &str) -> Result<Self> {
        Self::connect_with(url, group, PostgresSettings::default()).await
    }

    /// Connects with settings of your own.
    ///
    /// # Errors
    /// As [`PostgresInventory::connect`].
    ///
    /// # Cancel safety
    /// As [`PostgresInventory::connect`].
    pub async fn connect_with(url: &str, group: &str, settings: PostgresSettings) -> Result<Self> {
        Self::connect_with_levels(url, group, settings, ReorderLevels::default()).await
    }

    /// Connects with settings and reorder levels of your own.
    ///
    /// # Errors
    /// As [`PostgresInventory::connect`].
    ///
    /// # Cancel safety
    /// As [`PostgresInventory::connect`].
    pub async fn connect_with_levels(
        url: &str,
        group: &str,
        settings: PostgresSettings,
        levels: ReorderLevels,
    ) -> Result<Self> {
        Ok(store::<Inventory>(open(url, group, InventoryOrder::TYPE, settings).await?, levels))
    }
}

impl PostgresDeliveries {
    /// Connects to the group's store of deliveries, or makes it, with the default [`DeliveryPolicy`].
    ///
    /// The schema is `orderflow_delivery` unless the URL names one.
    ///
    /// # Errors
    /// As [`PostgresInventory::connect`].
    ///
    /// # Cancel safety
    /// As [`PostgresInventory::connect`].
    pub async fn connect(url: &str, group: &str) -> Result<Self> {
        Self::connect_with(url, group, PostgresSettings::default(), DeliveryPolicy::default()).await
    }

    /// Connects with settings and a policy of your own. A changed policy counts for what is scheduled from now on; all
    /// processes of a group should have the same one.
    ///
    /// # Errors
    /// As [`PostgresInventory::connect`].
    ///
    /// # Cancel safety
    /// As [`PostgresInventory::connect`].
    pub async fn connect_with(
        url: &str,
        group: &str,
        settings: PostgresSettings,
        policy: DeliveryPolicy,
    ) -> Result<Self> {
        Ok(store::<Deliveries>(open(url, group, DeliveryOrder::TYPE, settings).await?, policy))
    }
}

impl PostgresDeliveries {
    /// Moves a delivery now, as `orders deliveries set` does. What a partner's updates say is read by a consumer.
    ///
    /// A delivery makes each move once, so a repeated call is refused and changes nothing; the row says why.
    ///
    /// # Errors
    /// [`ErrorCode::ConfigValue`]: the reason is longer than 1,000 bytes. Otherwise as [`Store::apply`].
    ///
    /// # Cancel safety
    /// It may be moved all the same; call again.
    pub async fn move_delivery(&self, delivery: EventId, to: Status, reason: Option<&str>) -> Result<MoveRow> {
        ask(self.back_office(), delivery, (to, reason)).await
    }
}

impl<O: Order> PostgresStore<O> {
    /// Asks the store.
    #[must_use]
    pub fn reader(&self) -> StoreReader {
        StoreReader::of_database(&self.base)
    }
}

impl<O: Order> Store<O> for PostgresStore<O> {
    fn identity(&self) -> &StoreIdentity {
        &self.base.identity
    }

    async fn positions(&self, topic: &Topic) -> Result<BTreeMap<i32, Position>> {
        self.engine.positions(topic).await
    }

    async fn apply(&self, batch: Batch<O>) -> Result<Applied> {
        self.engine.apply(&batch).await
    }

    async fn set_position(&self, topic: &Topic, start: Start) -> Result<Position> {
        self.engine.start(topic, &start).await
    }

    async fn claim(&self, topic: &Topic, partitions: &[i32], epoch: i32, is_confirmed: bool) -> Result<Vec<i32>> {
        self.engine.claim(topic, (partitions, epoch, is_confirmed)).await
    }

    async fn close(&self) -> Result<()> {
        self.base.pool.close().await;
        Ok(())
    }

    fn back_office(&self) -> Option<Arc<dyn BackOffice>> {
        Some(Arc::clone(&self.engine).office())
    }
}

fn store<E: Effect>(base: Base, policy: E::Policy) -> PostgresStore<E::Order> {
    let base = Arc::new(base);
    PostgresStore { base: Arc::clone(&base), engine: Arc::new(Keeper::<E> { base, policy }) }
}

/// Makes the store in a schema, or brings it up to date. Returns the formats before and after; 0 before: it was not there.
///
/// # Errors
/// As [`PostgresInventory::connect`]. The role must be the schema's owner, or one that may make it.
///
/// # Cancel safety
/// It may be done all the same.
pub async fn migrate(url: &str, group: &str, order_type: &str) -> Result<(u32, u32)> {
    let (address, settings): (Address, _) = (url.parse()?, PostgresSettings::default());
    let schema = address.schema.clone().unwrap_or_else(|| schema::default_schema(order_type));
    let pool = Pool::new(address, 1, settings.connect_timeout);
    let before = make(&pool, &schema, &settings, (group, order_type)).await;
    pool.close().await;
    Ok((before?, schema::FORMAT))
}

async fn make(pool: &Pool, schema: &str, settings: &PostgresSettings, (group, kind): (&str, &str)) -> Result<u32> {
    let owner = StoreIdentity { name: schema::draw_name()?, group: group.to_owned(), order_type: kind.to_owned() };
    let lease = pool.lease().await?;
    let made = schema::migrate(Link { client: lease.client()? }, schema, settings, &owner).await?;
    lease.give_back();
    Ok(made)
}

/// Finds the store of a group, or makes it where there is none.
async fn open(url: &str, group: &str, order_type: &str, settings: PostgresSettings) -> Result<Base> {
    let address: Address = url.parse()?;
    let schema = address.schema.clone().unwrap_or_else(|| schema::default_schema(order_type));
    let pool = Pool::new(address, settings.connections, settings.connect_timeout);
    let found = match look(&pool, &schema, &settings).await {
        Err(error) if error.code() == ErrorCode::StoreMissing => {
            make(&pool, &schema, &settings, (group, order_type)).await?;
            look(&pool, &schema, &settings).await?
        }
        found => found?,
    };
    found.1.check(group, order_type)?;
    Ok(Base::new(pool, settings, &schema, found))
}

/// The store in a schema. A database that cannot be reached is told at once; a connection that is lost is no end.
pub(super) async fn look(pool: &Pool, schema: &str, settings: &PostgresSettings) -> Result<(u32, StoreIdentity)> {
    let begin = schema::begin(schema, settings, "READ COMMITTED");
    let mut tries = Tries::of(settings);
    loop {
        let leased = tokio::time::timeout(settings.transaction_timeout, pool.lease()).await;
        let lease = leased.map_err(|_| fault::late("the database did not answer in time"))??;
        let read = schema::read(Link { client: lease.client()? }, &begin).await;
        if read.is_ok() {
            lease.give_back();
        }
        if let ControlFlow::Break(found) = tries.judge(read).await {
            return schema::check(found?, schema);
        }
    }
}

/// A store that is only asked.
pub(in crate::store) async fn open_to_ask(url: &str) -> Result<Base> {
    let (address, settings): (Address, _) = (url.parse()?, PostgresSettings::default());
    let pool = Pool::new(address.clone(), settings.connections, settings.connect_timeout);
    let schema = schema::find(&pool, &address, &settings).await?;
    let found = look(&pool, &schema, &settings).await?;
    Ok(Base::new(pool, settings, &schema, found))
}
