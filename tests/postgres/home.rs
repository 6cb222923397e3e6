//! Schemas of the shared server.

use std::sync::atomic::{AtomicU32, Ordering};

use orderflow::store::{
    DeliveryPolicy, PostgresDeliveries, PostgresInventory, PostgresSettings, ReorderLevels, StoreReader,
};

use crate::pooler::pooler;
use crate::server;
use crate::store_support::{Home, Terms};

static SCHEMAS: AtomicU32 = AtomicU32::new(0);

/// A schema that nothing else uses, reached through the pooler or not.
pub(crate) struct Reached<const POOLED: bool> {
    number: u32,
}

/// On the server itself.
pub(crate) type Postgres = Reached<false>;

/// Through a pooler that hands connections out by transaction.
pub(crate) type Pooled = Reached<true>;

impl<const POOLED: bool> Reached<POOLED> {
    pub(crate) fn next() -> Self {
        Self { number: SCHEMAS.fetch_add(1, Ordering::Relaxed) }
    }

    pub(crate) fn schema(&self, kind: &str) -> String {
        format!("t{}_{kind}", self.number)
    }

    pub(crate) fn url(&self) -> String {
        self.url_of("inventory")
    }

    pub(crate) fn url_of(&self, kind: &str) -> String {
        let schema = self.schema(kind);
        if POOLED { pooler().url(&schema) } else { server().url(&schema) }
    }
}

impl<const POOLED: bool> Home for Reached<POOLED> {
    type Inventory = PostgresInventory;
    type Deliveries = PostgresDeliveries;

    async fn new() -> Self {
        Self::next()
    }

    async fn open_with(&self, terms: Terms) -> PostgresInventory {
        let mut settings = PostgresSettings::default();
        settings.retention = terms.retention;
        settings.dead_letters_max_bytes = terms.dead_letters_max_bytes;
        PostgresInventory::connect_with(&self.url(), "inventory", settings).await.unwrap()
    }

    async fn open_deliveries(&self, policy: DeliveryPolicy) -> PostgresDeliveries {
        PostgresDeliveries::connect_with(&self.url_of("delivery"), "delivery", PostgresSettings::default(), policy)
            .await
            .unwrap()
    }

    async fn open_with_levels(&self, levels: ReorderLevels) -> PostgresInventory {
        let settings = PostgresSettings::default();
        PostgresInventory::connect_with_levels(&self.url(), "inventory", settings, levels).await.unwrap()
    }

    /// As another process asks.
    async fn reader(&self, _store: &PostgresInventory) -> StoreReader {
        StoreReader::open(self.url()).await.unwrap()
    }

    async fn delivery_reader(&self, store: &PostgresDeliveries) -> StoreReader {
        store.reader()
    }
}
