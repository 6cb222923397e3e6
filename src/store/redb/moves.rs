//! Moving deliveries, in the transaction that settles the update or the command.
//!
//! ```text
//!  update --> its life, or its line of the ledger --may follow?--> life, ledger line, event
//!                 |  neither: DLV-UNKNOWN              |  no          \-- cancelled: its day has room, goods come back
//!                 +----------------------------------> refused, as DLV-..., nothing changes
//! ```

use super::deliveries::Deliveries;
use super::effect::Settles;
use super::fault::fault;
use super::tables::bytes_of;
use super::transaction::{Here, Settling};
use crate::Result;
use crate::order::{DeliveryUpdate, Status};
use crate::place::TopicId;
use crate::store::dead_letter::About;
use crate::store::decision::{At, Decision};
use crate::store::delivery_line::MoveLine;
use crate::store::ledger::{Head, LedgerWriter, Lines};
use crate::store::life::{Life, Made, Refused};
use crate::store::moves::BY_COMMAND;
use crate::store::standing::Standing;
use crate::store::{BACKFILL, Batch, EventId, Lifecycle, Move, MoveRow, OutboxRow, Topic, Work};

impl Settles<DeliveryUpdate> for Deliveries {
    const ABOUT: About = About::Update;

    fn prepare(settling: &mut Settling<'_, '_, Self>, batch: &Batch<DeliveryUpdate>) -> Result<()> {
        let entries = batch.parts.iter().flat_map(|part| &part.entries);
        let deliveries = entries.filter_map(|entry| match &entry.work {
            Work::Apply(update) | Work::ApplyWith(update, _) => Some(EventId::new(update.delivery())),
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
        Ok(match self.make(delivery, update.into())? {
            Ok(life) => {
                MoveLine::of(delivery, life).write(row.order(at.offset, at.timestamp, at.identity, ""));
                Decision::Applied
            }
            Err(Refused { code, reason, .. }) => Decision::Refused { code, reason },
        })
    }

    /// Makes a move that an operator asks for, if it may follow.
    pub(super) fn by_command(mut self, delivery: EventId, asked: Move) -> Result<MoveRow> {
        <Deliveries as super::effect::Effect>::find(&mut self, vec![delivery])?;
        let given = asked.reason.clone();
        let made = self.make(delivery, asked)?;
        if let Ok(life) = made {
            self.account(delivery, life)?;
        }
        self.finish()?;
        Ok(MoveRow::of(delivery, made, given))
    }

    fn make(&mut self, delivery: EventId, asked: Move) -> Result<Made> {
        let name = delivery.as_bytes().as_slice();
        let kept = bytes_of(&self.tables.lives, name)?.map(|row| Life::decode(&row)).transpose()?;
        let Some(mut life) = kept.or_else(|| self.memory.effect.found(delivery).cloned()) else {
            return Ok(Err(Refused::unknown(delivery)));
        };
        let now = match life.make(asked)? {
            Ok(now) => now,
            refused => return Ok(refused),
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
        let topic = Topic::new(TopicId::NONE, BY_COMMAND);
        let number = self.memory.topics.number(&topic, &mut self.tables.topics)?;
        let here = Here { topic: &topic, number, partition: BACKFILL };
        self.memory.totals.transaction += 1;
        let before = self.memory.standing(self.tables, here.key())?.clone();
        let after = before.after_work(before.position.next.saturating_add(1), fastrand::u128(..));
        let written = (self.memory.totals.transaction, self.rows);
        let head = Head { topic: number, partition: BACKFILL, version: after.position.version, lines: Lines::Moves };
        let mut row = LedgerWriter::new(head, self.memory.buffer());
        MoveLine::of(delivery, life).write(row.order(before.position.next, self.now, None, ""));
        self.keep(&mut row)?;
        self.memory.give_back(row.into_buffer());
        self.memory.stand(self.tables, here.key(), Standing { written, ..after })
    }
}
