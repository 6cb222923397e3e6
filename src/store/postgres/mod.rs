//! A store in PostgreSQL: one schema, any number of processes of one group.
//!
//! ```text
//!  PostgresStore --> Keeper: one try after the other --> Link: BEGIN ... COMMIT --> Pool --> server (or a pooler)
//!                      |                                   |
//!                      effect: stock, deliveries           positions, identities, ledger, letters, outbox
//! ```
//! Nothing is remembered between transactions but the numbers of topics: what a transaction needs it locks and reads, in
//! a few trips whatever its size, so any process may write next. Statements have no names and settings end with their
//! transaction, so a pooler that hands connections out by transaction may stand in between.

mod address;
mod base;
mod candidates;
mod command;
mod days;
mod early;
mod effect;
mod fault;
mod forget;
mod handle;
mod identities;
mod keeper;
mod ledger;
mod letters;
mod link;
mod moves;
mod office;
mod overlay;
mod page;
mod pool;
mod positions;
mod prints;
mod protection;
mod recall;
mod replay;
mod requests;
mod schema;
mod settings;
mod shards;
mod stock;
mod topics;
mod trace;
mod transaction;
mod verify;
mod walk;

pub(in crate::store) use self::base::Base;
pub(in crate::store) use self::handle::open_to_ask;
pub use self::handle::{PostgresDeliveries, PostgresInventory, PostgresStore, migrate};
pub(in crate::store) use self::page::{Cursor, page};
pub use self::settings::PostgresSettings;
