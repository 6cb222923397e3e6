//! Moving deliveries, in the transaction that settles the update or the command.
//!
//! ```text
//!  update --> its life, or its line of the ledger --may follow?--> life, ledger line, event
//!                 |  neither: DLV-UNKNOWN              |  no          \-- cancelled: its day has room, goods come back
//!                 +----------------------------------> refused, as DLV-..., nothing changes
//! ```

use super::deliveries::Deliveries;
use super::effect::{At, Decision, Settles};
use super::fault::fault;
use super::tables::bytes_of;
use super::transaction::{Here, Settling};
use crate::Result;
use crate::order::{DeliveryUpdate, Status};
use crate::place::TopicId;
use crate::store::dead_letter::About;
use crate::store::delivery_line::MoveLine;
use crate::store::ledger::{Head, LedgerWriter, Lines};
use crate::store::life::Life;
use crate::store::rows::instant;
use crate::store::standing::Standing;
use crate::store::{
    BACKFILL, Batch, EventId, Lifecycle, Move, MoveRow, OutboxRow, Position, Settled, Topic, UNKNOWN, Work,
};

/// What is moved by command is accounted for under a topic of its own. Kafka allows no parentheses in names.
const TOPIC: &str = "(moves)";

/// A move that was made, or why it was not.
type Made = Result<Lifecycle, Refused>;

struct Refused {
    code: &'static str,
    reason: String,
    life: Option<Lifecycle>,
}

impl Settles<DeliveryUpdate> for Deliveries {
    const ABOUT: About = About::Update;

    fn prepare(settling: &mut Settling<'_, '_, Self>, batch: &Batch<DeliveryUpdate>) -> Result<()> {
        let entries = batch.parts.iter().flat_map(|part| &part.entries);
        let deliveries = entries.filter_map(|entry| match &entry.work {
            Work::Apply(update) => Some(EventId::new(update.delivery())),
            Work::Refuse(_) | Work::DeadLetter(_) => None,
        });
        <Self as super::effect::Effect>::find(settling, deliveries.collect())
    }

    fn settle(
        settling: &mut Settling<'_, '_, Self>,
        update: &DeliveryUpdate,
        at: At<'_>,
        row: &mut LedgerWriter,
    ) -> Result<Decision> {
        settling.update(update, at, row)
    }
}

impl Settling<'_, '_, Deliveries> {
    /// Makes the move of an update, with its line in the ledger.
    pub(super) fn update(&mut self, update: &DeliveryUpdate, at: At<'_>, row: &mut LedgerWriter) -> Result<Decision> {
        let delivery = EventId::new(update.delivery());
        let reason = update.reason().map(ToOwned::to_owned);
        match self.make(delivery, Move { to: update.status(), at: update.at(), reason })? {
            Ok(life) => {
                let line = MoveLine { delivery, to: life.status, version: life.version };
                line.write(row.order(at.offset, at.timestamp, at.identity, ""));
                Ok(Decision::Applied)
            }
            Err(Refused { code, reason, .. }) => Ok(Decision::Refused { code, reason }),
        }
    }

    /// Makes a move that an operator asks for, if it may follow.
    pub(super) fn by_command(mut self, delivery: EventId, asked: Move) -> Result<MoveRow> {
        <Deliveries as super::effect::Effect>::find(&mut self, vec![delivery])?;
        let given = asked.reason.clone();
        let row = match self.make(delivery, asked)? {
            Ok(life) => {
                self.account(delivery, life)?;
                MoveRow { moved: true, reason: given, ..row_of(delivery, Some(life)) }
            }
            Err(Refused { code, reason, life }) => {
                MoveRow { code: Some(code.to_owned()), reason: Some(reason), ..row_of(delivery, life) }
            }
        };
        self.finish()?;
        Ok(row)
    }

    fn make(&mut self, delivery: EventId, asked: Move) -> Result<Made> {
        let name = delivery.as_bytes().as_slice();
        let kept = bytes_of(&self.tables.lives, name)?.map(|row| Life::decode(&row)).transpose()?;
        let Some(mut life) = kept.or_else(|| self.memory.effect.found(delivery).cloned()) else {
            let reason = format!("the store has no delivery {delivery}");
            return Ok(Err(Refused { code: UNKNOWN, reason, life: None }));
        };
        let now = match life.make(asked)? {
            Ok(now) => now,
            Err(illegal) => {
                let life = Some(life.now()?);
                return Ok(Err(Refused { code: illegal.code(), reason: illegal.to_string(), life }));
            }
        };
        let mut row = Vec::new();
        life.encode(&mut row);
        self.tables.lives.insert(name, row.as_slice()).map_err(fault)?;
        self.desk().announce(OutboxRow::Moved { id: delivery, version: now.version })?;
        if now.status == Status::Cancelled {
            self.memory.effect.give_back(life.day, &self.tables.effect)?;
            self.desk().announce(OutboxRow::Returned { id: delivery })?;
        }
        Ok(Ok(now))
    }

    /// Accounts for a move by command, as for a record of a log.
    fn account(&mut self, delivery: EventId, life: Lifecycle) -> Result<()> {
        let topic = Topic::new(TopicId::NONE, TOPIC);
        let number = self.memory.topics.number(&topic, &mut self.tables.topics)?;
        let here = Here { topic: &topic, number, partition: BACKFILL };
        self.memory.totals.transaction += 1;
        let mut standing = self.memory.standing(self.tables, here.key())?.clone();
        let (offset, version) = (standing.position.next, standing.position.version.saturating_add(1));
        let written = (self.memory.totals.transaction, self.rows);
        let head = Head { topic: number, partition: BACKFILL, version, lines: Lines::Moves };
        let mut row = LedgerWriter::new(head, self.memory.buffer());
        let line = MoveLine { delivery, to: life.status, version: life.version };
        line.write(row.order(offset, self.now, None, ""));
        self.keep(&mut row)?;
        self.memory.give_back(row.into_buffer());
        standing.counts.applied = standing.counts.applied.saturating_add(1);
        let (next, token) = (offset.saturating_add(1), fastrand::u128(..));
        let position = Position { next, settled: Settled::new(), version, token, ..standing.position };
        self.memory.stand(self.tables, here.key(), Standing { position, written, ..standing })
    }
}

fn row_of(delivery_id: EventId, life: Option<Lifecycle>) -> MoveRow {
    MoveRow {
        delivery_id,
        moved: false,
        status: life.map(|life| life.status),
        since: life.map(|life| instant(life.since)),
        version: life.map(|life| life.version),
        code: None,
        reason: None,
    }
}
