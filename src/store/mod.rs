//! Keeping effects and positions in one transaction.
//!
//! An order's effect and the position beyond its record are committed together or not at all, and a
//! position is written only by who knows its version. So an order takes effect once, whatever is
//! repeated, revived or restarted: rules R1 to R5.
//!
//! ```text
//!  Batch { parts: [ Part { expected version, next, settled, entries } ] }
//!     |  compare versions -> drop duplicates -> effect | refusal | dead letter -> new positions
//!     v
//!  Applied { parts: [ AppliedPart { position, outcomes } ] }
//! ```

mod applied;
mod back_office;
mod backfill;
mod batch;
mod dead_letter;
mod decision;
mod delivery;
mod delivery_line;
mod destination;
mod event_id;
mod failures;
#[cfg(feature = "guard")]
mod guard;
mod inventory;
mod ledger;
mod letter_rows;
mod life;
mod moves;
mod outbox;
mod outcome;
mod overlay;
mod pack;
mod position;
#[cfg(feature = "postgres")]
mod postgres;
mod prints;
mod query;
mod ranges;
mod redb;
mod reorder;
mod replays;
mod rows;
mod schedule;
mod settled;
mod standing;
mod tidings;
mod trace;

use std::collections::BTreeMap;
use std::future::Future;
use std::sync::Arc;

pub use self::applied::Retention;
pub use self::back_office::{BackOffice, Operation, Origin, Rehearsal, SetAside, Steering};
pub use self::backfill::{Backfill, BackfillSummary, Backfilled};
pub use self::batch::{Batch, DeadLetter, Entry, Original, Part, Work};
pub use self::delivery::{IMPOSSIBLE, IllegalMove, Illegality, LATE, Lifecycle, Move, REPEATED, UNKNOWN};
pub use self::destination::Destination;
pub use self::event_id::EventId;
#[cfg(feature = "guard")]
pub use self::guard::{Decided, Due, PositionGuard, Settlement, Statement, StoredPosition, Value};
pub use self::inventory::INSUFFICIENT;
pub use self::letter_rows::{DeadLetterKind, DeadLetterRow, DeadLetterState, OriginalRow, ReplayRow, Replayed, Text};
pub use self::life::KnownDelivery;
pub use self::moves::{DeliveryMoves, MoveRow, Moves};
pub(crate) use self::outbox::shard_of;
pub use self::outbox::{OutboxRow, OwnEvent};
pub use self::outcome::{Applied, AppliedPart, Outcome};
pub use self::overlay::{Overlay, OwnRow};
pub(crate) use self::overlay::{OverlayRow, row_name};
pub use self::position::{ADOPTED, BACKFILL, Doubt, Position, Start, StoreIdentity, Topic, Tried};
#[cfg(feature = "postgres")]
pub use self::postgres::{PostgresDeliveries, PostgresInventory, PostgresSettings, PostgresStore, migrate};
pub use self::query::{
    AppliedSince, Audit, BackupRow, Counts, DeliveryRow, FlightRow, IdentityRow, MovementRow, PositionRow, Query, Row,
    SteeredRow, StockRow,
};
#[cfg(test)]
pub(crate) use self::redb::tests::inline;
pub use self::redb::{
    Answer, PositionPlan, PositionSetter, RedbDeliveries, RedbInventory, RedbSettings, RedbStore, Socket,
    StoreOperator, StoreReader,
};
pub use self::reorder::ReorderLevels;
pub(crate) use self::replays::REFUSED;
pub use self::replays::{Replays, Reply, Requested, Said};
pub(crate) use self::rows::instant;
pub use self::schedule::{DeliveryPolicy, HORIZON_DAYS, WorkingDays};
pub use self::settled::{MAX_AHEAD, Settled};
pub(crate) use self::tidings::bit;
pub use self::tidings::{
    ALL_SHARDS, Backlog, DeliveryTold, Done, Leases, LowStock, Mark, ShardLease, Tidings, Waiting, WaitingEvent,
};
pub(crate) use self::trace::concerns;
pub use self::trace::{Step, StepRow};
use crate::Result;
use crate::order::Order;
pub use crate::order::Status;

/// Keeps the effects of orders, and how far they are applied, in one transaction.
pub trait Store<O: Order>: Send + Sync + 'static {
    /// Which store this is.
    fn identity(&self) -> &StoreIdentity;

    /// Where the store stands in each partition of `topic` that it knows; read after assignment (rule R3).
    ///
    /// # Errors
    /// [`crate::ErrorCode::StoreIo`], [`crate::ErrorCode::StoreCorrupt`], [`crate::ErrorCode::Closed`].
    ///
    /// # Cancel safety
    /// Nothing changes.
    fn positions(&self, topic: &Topic) -> impl Future<Output = Result<BTreeMap<i32, Position>>> + Send;

    /// Settles a batch in one durable transaction (rules R1, R2).
    ///
    /// A repeat of a batch that was committed, with the same tokens, changes nothing and has the
    /// same answer (rule R5), so a lost answer is mended by another call.
    ///
    /// # Errors
    /// [`crate::ErrorCode::StoreConflict`] naming the partition whose position somebody else moved: nothing of the
    /// batch is applied. [`crate::ErrorCode::StoreFull`]: dead letters have no room left; nothing is applied.
    /// [`crate::ErrorCode::StoreIo`]: whether the batch is committed is unknown until the store can be read again. One that
    /// is marked as [passing](crate::Error::is_retriable) is waited out, the batch given again; any other ends the run.
    ///
    /// # Cancel safety
    /// The batch may be committed all the same; call again with the same tokens, or read the positions.
    fn apply(&self, batch: Batch<O>) -> impl Future<Output = Result<Applied>> + Send;

    /// Writes a position on purpose, without effect: the resolved start before the first fetch, or a move by command.
    ///
    /// # Errors
    /// As [`Store::apply`].
    ///
    /// # Cancel safety
    /// As [`Store::apply`].
    fn set_position(&self, topic: &Topic, start: Start) -> impl Future<Output = Result<Position>> + Send;

    /// Takes partitions over for this process before it writes to them, as a member of the group in this epoch or generation.
    ///
    /// From then on what another process writes there is refused at its first question, although nobody has moved the
    /// position yet. That is no more than early: without it the same write is refused by its version (rule R2), which is what
    /// promises hold by.
    ///
    /// Returns the partitions that stay with another process, because its epoch is not older. Epochs of a group that was
    /// deleted begin anew, so such a refusal is not final: a process whose membership its coordinator has confirmed *after*
    /// this answer calls again with `is_confirmed`, and takes them.
    ///
    /// The default does nothing, for stores of one process. A store that wraps another one hands this on.
    ///
    /// # Errors
    /// [`crate::ErrorCode::StoreIo`], [`crate::ErrorCode::Closed`].
    ///
    /// # Cancel safety
    /// The partitions may be taken over all the same; call again.
    fn claim(
        &self,
        _topic: &Topic,
        _partitions: &[i32],
        _epoch: i32,
        _is_confirmed: bool,
    ) -> impl Future<Output = Result<Vec<i32>>> + Send {
        async { Ok(Vec::new()) }
    }

    /// Ends the store: what was accepted is finished, and the store may be opened by another process.
    ///
    /// # Errors
    /// [`crate::ErrorCode::StoreIo`] when the store could not be ended cleanly; its content is safe.
    ///
    /// # Cancel safety
    /// The store ends all the same.
    fn close(&self) -> impl Future<Output = Result<()>> + Send;

    /// The events that wait to leave the store, for the relay beside the consumer. `None`, which is the default: there
    /// are none, or the store has them relayed by itself. A store that wraps another one hands this on.
    fn back_office(&self) -> Option<Arc<dyn BackOffice>> {
        None
    }
}
