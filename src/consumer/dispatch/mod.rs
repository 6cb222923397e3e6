//! From fetched batches to settled orders.
//!
//! The two ways to settle, [`store`] and [`handler`], take the same news and make progress step by step,
//! so that one loop can drive either beside everything else.
//!
//! ```text
//!  News --> Stock of batches, by partition --> decode --> store.apply | handler.handle --> settled
//! ```

pub(crate) mod chunk;
mod contest;
pub(crate) mod decode;
pub(crate) mod group;
pub(crate) mod handler;
pub(crate) mod lanes;
pub(crate) mod store;
pub(crate) mod tales;
pub(crate) mod teller;

use futures::future::BoxFuture;
use tokio::time::Instant;

use super::fetch::Fetched;
use super::patience::LongCall;
use crate::store::{Position, Topic};
use crate::{Error, Result};

/// Settles orders, one way or the other.
pub(crate) trait Dispatch: Send {
    /// A partition begins here; what was known of it before is void.
    fn begin(&mut self, topic: Topic, partition: i32, position: Position);

    /// Takes the next batches of a partition.
    fn feed(&mut self, fetched: Fetched);

    /// Takes nothing more from a partition, and drops what was not begun of it. What is in hand is finished.
    fn retire(&mut self, partition: i32);

    /// Whether nothing of a partition is in hand.
    fn is_clear(&self, partition: i32) -> bool;

    /// Makes a step, or waits until one can be made.
    ///
    /// # Cancel safety
    /// Nothing is lost when the future is dropped.
    fn step(&mut self) -> BoxFuture<'_, Step>;

    /// Begins nothing more, until told otherwise.
    fn set_holding(&mut self, holding: bool);

    /// Begins nothing more of these partitions, until told otherwise; of others it does.
    fn set_held(&mut self, partitions: &[i32]);

    /// Has a partition go on whose breaker is open; `None`: all.
    fn overridden(&mut self, partition: Option<i32>);

    /// Takes nothing more from anywhere: what is in hand is finished.
    fn finish(&mut self);

    /// Ends what belongs to the dispatcher alone.
    fn close(&mut self) -> BoxFuture<'_, Result<()>>;

    /// Whether nothing is in hand.
    fn is_idle(&self) -> bool;

    /// Whether nothing is in hand and nothing waits.
    fn is_drained(&self) -> bool;

    /// The position of a partition as it is committed; `None` before it begins.
    fn position(&self, partition: i32) -> Option<i64>;

    /// Whether as many records are settled as were asked for.
    fn is_limit_reached(&self) -> bool;

    /// What keeps the position of a partition from moving, if anything is known: words that follow «offset N:».
    fn obstacle(&self, partition: i32) -> Option<String>;

    /// Has the flight recorder told of what happened since the last call, as far as it was not worth a line by itself.
    fn record(&mut self);

    /// The handler's call that has been under way for longest, if any is.
    fn longest_call(&self) -> Option<LongCall>;

    /// Handler's calls that began before this and have not ended count as attempts, which is committed at once: whoever has
    /// the order next goes on counting, however this call is cut short.
    fn count_slow(&mut self, before: Instant);
}

/// What came of a step.
#[derive(Debug)]
pub(crate) enum Step {
    /// Something moved on.
    Done,
    /// Somebody else moved this partition's position: read it again.
    Restart { partition: i32 },
    /// What was fetched of this partition beyond `next` was dropped: it cannot be held now.
    Stalled { partition: i32, next: i64 },
    /// That partition takes batches again.
    Resumed { partition: i32 },
    /// This partition cannot go on.
    Stopped { partition: i32, error: Error },
    /// So many records of this partition fail that it takes no more until one goes through.
    Tripped { partition: i32, error: Error },
    /// Nothing can go on.
    Failed(Error),
}
