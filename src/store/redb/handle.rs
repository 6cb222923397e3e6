//! The handle of a redb store.

use std::collections::BTreeMap;
use std::fmt;
use std::fs::OpenOptions;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use redb::backends::FileBackend;
use redb::{Builder, Database};
use tokio::sync::{mpsc, oneshot, watch};

use super::deliveries::Deliveries;
use super::effect::{Effect, table_of};
use super::engine::{Command, Engine, Reopen, WAITING, gone};
use super::fault::fault;
use super::format::prepare;
use super::inventory::Inventory;
use super::lock::holder;
use super::office::{Office, Steered};
use super::platter::Platter;
use super::presence::look;
use super::reader::StoreReader;
use super::room::try_room;
use super::settings::{RedbSettings, Socket};
use super::shared::{Open, Shared};
use super::socket::{Desk, listen, serve, socket_path};
use crate::order::{DeliveryOrder, InventoryOrder, Order};
use crate::shutdown::Tasks;
use crate::store::moves::ask;
use crate::store::{
    Applied, BackOffice, Batch, DeliveryPolicy, EventId, MoveRow, Position, ReorderLevels, Start, Status, Store,
    StoreIdentity, Topic,
};
use crate::{Error, ErrorCode, Result};

/// How long closing waits for answers that are under way on the socket.
const ANSWERS_END: Duration = Duration::from_secs(2);

/// Stock in a redb file.
pub type RedbInventory = RedbStore<InventoryOrder>;

/// Deliveries in a redb file.
pub type RedbDeliveries = RedbStore<DeliveryOrder>;

/// A store in one file, held by one process.
///
/// ```
/// # let folder = tempfile::tempdir()?;
/// # let path = folder.path().join("inventory.redb");
/// use orderflow::store::{RedbInventory, Store};
/// let store = RedbInventory::open(&path, "inventory")?;
/// assert_eq!(store.identity().group, "inventory");
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub struct RedbStore<O: Order> {
    calls: mpsc::Sender<Command<O>>,
    shared: Arc<Shared>,
    office: Arc<dyn BackOffice>,
    tasks: Tasks,
}

impl<O: Order> fmt::Debug for RedbStore<O> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RedbStore").field("shared", &self.shared).finish_non_exhaustive()
    }
}

impl RedbInventory {
    /// Opens the group's store of stock, or makes it.
    ///
    /// Waits for the disk; a file that was not closed cleanly is checked first.
    ///
    /// # Errors
    /// [`ErrorCode::StoreLocked`] naming the process that holds the store; [`ErrorCode::StoreForeign`] for the store of
    /// another group or order type; [`ErrorCode::StoreFormat`] for a newer format; [`ErrorCode::StoreIo`];
    /// [`ErrorCode::StoreCorrupt`].
    pub fn open(path: impl AsRef<Path>, group: &str) -> Result<Self> {
        Self::open_with(path, group, RedbSettings::default())
    }

    /// Opens the store with settings of your own.
    ///
    /// # Errors
    /// As [`RedbInventory::open`].
    pub fn open_with(path: impl AsRef<Path>, group: &str, settings: RedbSettings) -> Result<Self> {
        Self::open_with_levels(path, group, settings, ReorderLevels::default())
    }

    /// Opens the store with settings and reorder levels of your own.
    ///
    /// # Errors
    /// As [`RedbInventory::open`].
    pub fn open_with_levels(
        path: impl AsRef<Path>,
        group: &str,
        settings: RedbSettings,
        levels: ReorderLevels,
    ) -> Result<Self> {
        Self::at(path.as_ref(), group, settings, levels)
    }

    /// Of one path type, so that it is compiled here and not with whoever opens a store.
    fn at(path: &Path, group: &str, settings: RedbSettings, levels: ReorderLevels) -> Result<Self> {
        start::<Inventory>(file(path, &settings)?, path, group, settings, levels)
    }
}

impl RedbDeliveries {
    /// Opens the group's store of deliveries, or makes it, with the default [`DeliveryPolicy`].
    ///
    /// Waits for the disk; a file that was not closed cleanly is checked first.
    ///
    /// # Errors
    /// As [`RedbInventory::open`].
    pub fn open(path: impl AsRef<Path>, group: &str) -> Result<Self> {
        Self::open_with(path, group, RedbSettings::default(), DeliveryPolicy::default())
    }

    /// Opens the store with settings and a policy of your own. A changed policy counts for what is scheduled from now
    /// on.
    ///
    /// # Errors
    /// As [`RedbInventory::open`].
    pub fn open_with(
        path: impl AsRef<Path>,
        group: &str,
        settings: RedbSettings,
        policy: DeliveryPolicy,
    ) -> Result<Self> {
        Self::at(path.as_ref(), group, settings, policy)
    }

    /// Of one path type, so that it is compiled here and not with whoever opens a store.
    fn at(path: &Path, group: &str, settings: RedbSettings, policy: DeliveryPolicy) -> Result<Self> {
        start::<Deliveries>(file(path, &settings)?, path, group, settings, policy)
    }
}

impl RedbDeliveries {
    /// Moves a delivery now, as `orders deliveries set` does. What a partner's updates say is read by a consumer.
    ///
    /// A delivery makes each move once, so a repeated call is refused and changes nothing; the row says why.
    ///
    /// ```
    /// # let folder = tempfile::tempdir()?;
    /// # let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    /// # runtime.block_on(async {
    /// use orderflow::store::{Backfill, Query, RedbDeliveries, Row, Status, Store};
    /// let store = RedbDeliveries::open(folder.path().join("delivery.redb"), "delivery")?;
    /// let orders = Backfill::of_file("fixtures/orders.json").await?;
    /// orders.apply(&store, std::future::pending(), |_| {}).await?;
    /// let rows = store.reader().ask(Query::Deliveries { orders: Vec::new() }).rows().await?;
    /// if let Some(Row::Delivery(first)) = rows.first() {
    ///     let why = Some("the customer called");
    ///     let row = store.move_delivery(first.delivery_id, Status::Cancelled, why).await?;
    ///     assert!(row.moved && row.status == Some(Status::Cancelled));
    ///     let again = store.move_delivery(first.delivery_id, Status::Cancelled, why).await?;
    ///     assert_eq!((again.moved, again.code.as_deref()), (false, Some("DLV-REPEATED")));
    /// }
    /// store.close().await
    /// # })?;
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
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

impl<O: Order> RedbStore<O> {
    /// The store's file.
    #[must_use]
    pub fn path(&self) -> &Path {
        self.shared.path()
    }

    /// Asks the store while it is held, beside the thread that writes.
    #[must_use]
    pub fn reader(&self) -> StoreReader {
        StoreReader::of(&self.shared)
    }

    async fn call<T>(&self, command: impl FnOnce(oneshot::Sender<Result<T>>) -> Command<O> + Send) -> Result<T> {
        let (answer, answered) = oneshot::channel();
        self.calls.send(command(answer)).await.map_err(gone)?;
        answered.await.map_err(gone)?
    }
}

impl<O: Order> Store<O> for RedbStore<O> {
    fn identity(&self) -> &StoreIdentity {
        self.shared.identity()
    }

    async fn positions(&self, topic: &Topic) -> Result<BTreeMap<i32, Position>> {
        let topic = topic.clone();
        self.call(|answer| Command::Positions(topic, answer)).await
    }

    async fn apply(&self, batch: Batch<O>) -> Result<Applied> {
        self.call(|answer| Command::Apply(batch, answer)).await
    }

    async fn set_position(&self, topic: &Topic, start: Start) -> Result<Position> {
        let topic = topic.clone();
        self.call(|answer| Command::Start(topic, start, answer)).await
    }

    async fn close(&self) -> Result<()> {
        if !self.tasks.finish(ANSWERS_END).await {
            tracing::warn!("answers on the store's socket did not end in time");
        }
        match self.call(Command::Close).await {
            Err(error) if error.code() == ErrorCode::Closed => Ok(()),
            closed => closed,
        }
    }

    fn back_office(&self) -> Option<Arc<dyn BackOffice>> {
        Some(Arc::clone(&self.office))
    }
}

/// Opens the file, and says how it is opened again once its disk has room.
fn file(path: &Path, settings: &RedbSettings) -> Result<(Database, Reopen)> {
    look(path)?;
    let database = open_file(path, settings, true)?;
    let (path, settings) = (path.to_owned(), *settings);
    let reopen = move || {
        try_room(&path)?;
        open_file(&path, &settings, false)
    };
    Ok((database, Box::new(reopen)))
}

fn open_file(path: &Path, settings: &RedbSettings, may_create: bool) -> Result<Database> {
    let opened = OpenOptions::new().read(true).write(true).create(may_create).truncate(false).open(path);
    let backend = FileBackend::new(opened.map_err(|error| fault(redb::Error::Io(error)))?).map_err(fault)?;
    let opened = builder(settings).create_with_backend(Platter::new(backend, Some(path)));
    opened.map_err(|error| match error {
        redb::DatabaseError::DatabaseAlreadyOpen => holder(path).caused_by(error),
        error => fault(error),
    })
}

pub(super) fn builder(settings: &RedbSettings) -> Builder {
    let mut builder = Builder::new();
    builder.set_cache_size(settings.cache_bytes);
    builder
}

/// Starts the thread of an open database.
pub(super) fn start<E: Effect>(
    (database, reopen): (Database, Reopen),
    path: &Path,
    group: &str,
    settings: RedbSettings,
    policy: E::Policy,
) -> Result<RedbStore<E::Order>> {
    let identity = prepare(&database, group, E::Order::TYPE, table_of::<E>())?;
    let shared = Arc::new(Shared::new(Open::Writer(database), path, identity));
    let (told, news) = watch::channel(0);
    let engine = Engine::<E>::new(Arc::clone(&shared), settings, policy, told)?.reopening(reopen);
    let (calls, served) = mpsc::channel(WAITING);
    std::thread::Builder::new()
        .name("orderflow-store".into())
        .spawn(move || engine.run(served))
        .map_err(|error| Error::new(ErrorCode::Internal, "the store's thread cannot be started").caused_by(error))?;
    let office = Office { calls: calls.downgrade(), shared: Arc::clone(&shared), news, steering: Steered::default() };
    let (tasks, office) = (Tasks::new(), Arc::new(office));
    if settings.socket == Socket::Beside {
        answer_others(&tasks, Desk { shared: Arc::clone(&shared), office: office.clone() });
    }
    Ok(RedbStore { calls, shared, office, tasks })
}

/// Opens the socket beside the store. A store without one works all the same, for this process.
fn answer_others(tasks: &Tasks, desk: Desk) {
    let path = socket_path(desk.shared.path());
    let Ok(runtime) = tokio::runtime::Handle::try_current() else {
        tracing::warn!("the store was opened outside of a tokio runtime: it does not answer other processes");
        return;
    };
    let entered = runtime.enter();
    match listen(&path) {
        Ok(listener) => tasks.spawn(serve(desk, listener, path, tasks.stop_signal())),
        Err(error) => {
            let path = path.display();
            tracing::warn!(%error, "no socket {path}: other processes cannot ask the store while this one holds it");
        }
    }
    drop(entered);
}
