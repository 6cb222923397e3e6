//! The embedded store: one file, one process, no server.
//!
//! ```text
//!  RedbStore --> thread: Engine --> Memory (chunks, products, positions) --> Tables --> file
//!      |
//!      +-- StoreReader <-- socket beside the file <-- `orders` in another process
//! ```
//! Every commit is synced to disk before it is answered. What a transaction would touch again and
//! again, chunks of identities and stock, is kept in memory between transactions and can be read
//! back from the file at any time.

mod again;
mod backup;
mod deliveries;
mod effect;
mod engine;
mod fault;
mod forget;
mod format;
mod handle;
mod inventory;
mod letters;
mod lives;
mod lock;
mod memory;
mod moves;
mod office;
mod operator;
mod overlay;
mod page;
mod platter;
mod presence;
mod prints;
mod reader;
mod recall;
mod replay;
mod requests;
mod room;
mod setter;
mod settings;
mod shared;
mod shelf;
mod socket;
mod tables;
mod topics;
mod totals;
mod trace;
mod transaction;
mod verify;

pub use self::handle::{RedbDeliveries, RedbInventory, RedbStore};
pub use self::operator::StoreOperator;
pub use self::reader::{Answer, StoreReader};
pub use self::setter::{PositionPlan, PositionSetter};
pub use self::settings::{RedbSettings, Socket};

#[cfg(test)]
pub(crate) mod tests;
