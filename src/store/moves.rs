//! Moving deliveries: what a store of deliveries offers to those who read of moves.
//!
//! Moves are settled as orders are: a batch in one transaction with its positions, each identity once, what cannot be done
//! kept as a refusal. So whatever reads orders into a store reads updates into [`DeliveryMoves`].
//!
//! ```text
//!  delivery_updates --> Batch<DeliveryUpdate> --Moves--> life, ledger line, day, event, position: one transaction
//! ```
//! The store has one set of identities. A partner's key may be an order's by chance, so those of updates are kept under
//! names that no order has: an opaque one behind a mark, one of our own form under its source turned around.

use std::collections::BTreeMap;
use std::sync::Arc;

use futures::future::BoxFuture;
use serde::{Deserialize, Serialize};

use super::life::Made;
use super::rows::instant;
use super::{
    Applied, BackOffice, Batch, EventId, Operation, Position, Row, Start, Status, Store, StoreIdentity, Topic,
};
use crate::order::{DeliveryUpdate, Identity};
use crate::{Error, ErrorCode, Result};

/// What is moved by command is accounted for under a topic of its own. Kafka allows no parentheses in names.
pub(crate) const BY_COMMAND: &str = "(moves)";

/// Stands before the opaque identities of updates.
const MARK: &[u8] = b"delivery update\0";

/// What became of a move that an operator asked for.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct MoveRow {
    /// The delivery's name.
    pub delivery_id: EventId,
    /// Whether the move was made; if not, nothing has changed.
    pub moved: bool,
    /// The delivery's status now; none: the store has no such delivery.
    pub status: Option<Status>,
    /// Since when it has its status, in RFC 3339.
    pub since: Option<String>,
    /// Counts its changes, from 1.
    pub version: Option<u32>,
    /// Why the move was refused, as a stable code: `DLV-UNKNOWN`, `DLV-REPEATED`, `DLV-LATE`, `DLV-IMPOSSIBLE`.
    pub code: Option<String>,
    /// Why the move was refused, as a sentence; or the reason that came with it.
    pub reason: Option<String>,
}

impl MoveRow {
    /// What became of the move; `given` is the reason that came with it.
    pub(crate) fn of(delivery_id: EventId, made: Made, given: Option<String>) -> Self {
        let (life, code, reason) = match made {
            Ok(life) => (Some(life), None, given),
            Err(refused) => (refused.life, Some(refused.code.to_owned()), Some(refused.reason)),
        };
        Self {
            delivery_id,
            moved: code.is_none(),
            status: life.map(|life| life.status),
            since: life.map(|life| instant(life.since)),
            version: life.map(|life| life.version),
            code,
            reason,
        }
    }
}

/// Moves the deliveries of a store, each move once.
pub trait Moves: Send + Sync {
    /// Which store this is.
    fn identity(&self) -> &StoreIdentity;

    /// As [`Store::positions`].
    ///
    /// # Errors
    /// As [`Store::positions`].
    ///
    /// # Cancel safety
    /// Nothing changes.
    fn positions<'a>(&'a self, topic: &'a Topic) -> BoxFuture<'a, Result<BTreeMap<i32, Position>>>;

    /// As [`Store::apply`].
    ///
    /// # Errors
    /// As [`Store::apply`].
    ///
    /// # Cancel safety
    /// As [`Store::apply`].
    fn apply(&self, batch: Batch<DeliveryUpdate>) -> BoxFuture<'_, Result<Applied>>;

    /// As [`Store::set_position`].
    ///
    /// # Errors
    /// As [`Store::set_position`].
    ///
    /// # Cancel safety
    /// As [`Store::set_position`].
    fn set_position<'a>(&'a self, topic: &'a Topic, start: Start) -> BoxFuture<'a, Result<Position>>;
}

/// The moves of a store as a store of their own, over the same file or schema. Closing it closes nothing.
#[derive(Clone)]
pub struct DeliveryMoves(Arc<dyn Moves>);

impl DeliveryMoves {
    /// The moves that [`super::BackOffice::moves`] gives.
    #[must_use]
    pub fn new(moves: Arc<dyn Moves>) -> Self {
        Self(moves)
    }
}

impl std::fmt::Debug for DeliveryMoves {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("DeliveryMoves").field(self.0.identity()).finish()
    }
}

impl Store<DeliveryUpdate> for DeliveryMoves {
    fn identity(&self) -> &StoreIdentity {
        self.0.identity()
    }

    async fn positions(&self, topic: &Topic) -> Result<BTreeMap<i32, Position>> {
        self.0.positions(topic).await
    }

    async fn apply(&self, batch: Batch<DeliveryUpdate>) -> Result<Applied> {
        self.0.apply(batch).await
    }

    async fn set_position(&self, topic: &Topic, start: Start) -> Result<Position> {
        self.0.set_position(topic, start).await
    }

    async fn close(&self) -> Result<()> {
        Ok(())
    }
}

/// Asks a store to move a delivery.
pub(crate) async fn ask(
    office: Option<Arc<dyn BackOffice>>,
    delivery: EventId,
    (to, reason): (Status, Option<&str>),
) -> Result<MoveRow> {
    let missing = || Error::new(ErrorCode::Internal, "the store did not say what became of a move");
    let operation = Operation::Move { delivery, to, reason: reason.map(ToOwned::to_owned) };
    let rows = office.ok_or_else(missing)?.operate(operation).await?;
    rows.into_iter().find_map(|row| if let Row::Moved(row) = row { Some(row) } else { None }).ok_or_else(missing)
}

/// Refuses a reason that an update could not have.
pub(crate) fn check_reason(reason: Option<&str>) -> Result<()> {
    let most = crate::order::TEXT_MAX;
    if reason.is_none_or(|reason| reason.len() <= most) {
        return Ok(());
    }
    Err(Error::new(ErrorCode::ConfigValue, format!("the reason is longer than {most} bytes")).remedy("shorten it"))
}

/// The batch with the identities under which updates are kept.
pub(crate) fn among_updates(mut batch: Batch<DeliveryUpdate>) -> Batch<DeliveryUpdate> {
    let entries = batch.parts.iter_mut().flat_map(|part| &mut part.entries);
    for identity in entries.filter_map(|entry| entry.identity.as_mut()) {
        match identity {
            Identity::Numbered { source, .. } => *source = source.turned(),
            Identity::Opaque(bytes) => *bytes = [MARK, bytes].concat().into(),
        }
    }
    batch
}

/// The identity that a partner gave an update that is kept under this one.
pub(crate) fn as_given(kept: Identity) -> Identity {
    match kept {
        Identity::Opaque(bytes) => Identity::Opaque(bytes.strip_prefix(MARK).map(Into::into).unwrap_or(bytes)),
        Identity::Numbered { source, index } => {
            Identity::numbered(source.turned(), index).unwrap_or(Identity::Numbered { source, index })
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::order::{DeliveryUpdate, Source, Status};
    use crate::place::TopicId;
    use crate::store::{Entry, Part, Settled, Work};

    #[test]
    fn an_updates_identity_is_no_orders_and_is_shown_as_it_was_given() {
        let update = DeliveryUpdate::new(&"0a".repeat(16), Status::Failed, "2026-11-24T08:30:00Z").unwrap();
        let numbered = Identity::numbered(Source::named("monday", None), 7).unwrap();
        for given in [Identity::opaque("checkout:1").unwrap(), numbered] {
            let entry =
                Entry { offset: 0, timestamp: 0, identity: Some(given.clone()), work: Work::Apply(update.clone()) };
            let part = Part {
                partition: 0,
                expected: 0,
                token: 0,
                next: 1,
                settled: Settled::new(),
                leader_epoch: 0,
                entries: vec![entry],
            };
            let batch = among_updates(Batch { topic: Topic::new(TopicId::NONE, "t"), parts: vec![part] });
            let kept = batch.parts[0].entries[0].identity.clone().unwrap();
            assert_ne!(kept, given);
            assert_eq!(as_given(kept), given);
        }
    }
}
