//! What a consumer's settings say of its store.

use std::time::Duration;

use orderflow::Result;
use orderflow::config::{ClientConfig, Property, properties};
use orderflow::store::{RedbSettings, ReorderLevels, Retention};

/// The settings of a store in a database.
#[cfg(feature = "postgres")]
pub fn database_settings(config: &ClientConfig) -> orderflow::store::PostgresSettings {
    let (mut settings, shared) = (orderflow::store::PostgresSettings::default(), store_settings(config));
    settings.connections = config.number(&properties::STORE_POOL_SIZE) as usize;
    settings.connect_timeout = config.millis(&properties::STORE_CONNECT_TIMEOUT);
    settings.transaction_timeout = config.millis(&properties::STORE_TRANSACTION_TIMEOUT);
    settings.lock_timeout = config.millis(&properties::STORE_LOCK_TIMEOUT);
    settings.idle_timeout = config.millis(&properties::STORE_IDLE_TIMEOUT);
    settings.retries = config.number(&properties::STORE_RETRIES) as u32;
    settings.dead_letters_max_bytes = shared.dead_letters_max_bytes;
    settings.retention = shared.retention;
    settings
}

/// Below which stock products are to be restocked.
pub fn levels(config: &ClientConfig) -> Result<ReorderLevels> {
    let products: ReorderLevels = config.text(&properties::STOCK_REORDER_LEVELS).parse()?;
    Ok(products.or_else(config.number(&properties::STOCK_REORDER_LEVEL)))
}

/// The store's part of the settings.
pub fn store_settings(config: &ClientConfig) -> RedbSettings {
    let mut settings = RedbSettings::default();
    settings.cache_bytes = config.bytes(&properties::STORE_CACHE_BYTES);
    settings.dead_letters_max_bytes = config.number(&properties::DEAD_LETTERS_MAX_BYTES);
    settings.retention = Retention {
        numbered: days(config, &properties::DEDUP_RETENTION),
        opaque: days(config, &properties::DEDUP_OPAQUE_RETENTION),
        max_opaque: config.number(&properties::DEDUP_MAX_KEYS),
        log: None,
    };
    settings
}

fn days(config: &ClientConfig, property: &Property) -> Duration {
    Duration::from_secs(config.number(property).saturating_mul(24 * 60 * 60))
}
