//! Moving a delivery by command, in one transaction that changes no position of a log.

use std::ops::ControlFlow;

use futures::FutureExt;

use super::early::Early;
use super::keeper::{Keeper, within};
use super::ledger::Ledger;
use super::letters::Desk;
use super::link::Link;
use super::moves::Moving;
use super::positions::{self, Written};
use super::transaction::{Told, now, write};
use crate::place::TopicId;
use crate::store::delivery_line::MoveLine;
use crate::store::ledger::{Head, LedgerWriter, Lines};
use crate::store::moves::BY_COMMAND;
use crate::store::{BACKFILL, EventId, Move, MoveRow, Status, Topic};
use crate::{Error, ErrorCode, Result};

impl Keeper<Moving> {
    /// Moves a delivery, if it may move so.
    pub(super) async fn move_now(&self, delivery: EventId, to: Status, reason: Option<String>) -> Result<MoveRow> {
        self.take_prints().await?;
        let asked = Move { to, at: now(), reason };
        let mut tries = self.base.tries();
        let (row, told) = loop {
            let tried = within(&self.base, self.try_move(delivery, asked.clone()).boxed()).await;
            if let ControlFlow::Break(done) = tries.judge(tried).await {
                break done?;
            }
        };
        self.tell(told);
        Ok(row)
    }

    async fn try_move(&self, delivery: EventId, asked: Move) -> Result<Told<MoveRow>> {
        let topic = self.base.topic(&Topic::new(TopicId::NONE, BY_COMMAND)).await?;
        let lease = self.base.lease().await?;
        let done = self.move_on(Link { client: lease.client()? }, topic, (delivery, asked)).await;
        self.base.end(lease, done).await
    }

    async fn move_on(&self, link: Link<'_>, topic: u32, (delivery, asked): (EventId, Move)) -> Result<Told<MoveRow>> {
        let ((), stands) =
            futures::try_join!(link.plain(self.base.begin()), positions::lock(link, topic, &[BACKFILL]))?;
        let lost = || Error::new(ErrorCode::StoreIo, "a position was not locked").retriable();
        let standing = stands.get(&BACKFILL).ok_or_else(lost)?.standing.clone();
        let mut moving = Moving::of(link, vec![delivery]).await?;
        let (at, given) = (asked.at, asked.reason.clone());
        let made = moving.make(delivery, asked)?;
        let Ok(life) = made else {
            link.plain("ROLLBACK").await?;
            return Ok((MoveRow::of(delivery, made, given), None));
        };
        let offset = standing.position.next;
        let after = standing.after_work(offset.saturating_add(1), fastrand::u128(..));
        let head = Head { topic, partition: BACKFILL, version: after.position.version, lines: Lines::Moves };
        let (mut row, mut ledger) = (LedgerWriter::new(head, Vec::new()), Ledger::default());
        MoveLine::of(delivery, life).write(row.order(offset, at, None, ""));
        ledger.keep(head, &mut row);
        let desk = Desk::make(link, Vec::new(), super::effect::Effect::take_tidings(&mut moving), u64::MAX).await?;
        let written = [Written { partition: BACKFILL, standing: after, log_time: i64::MIN, identities: 0 }];
        write(link, topic, &written, (&ledger, &mut moving, &desk), &Early::default()).boxed().await?;
        Ok((MoveRow::of(delivery, made, given), desk.told()))
    }
}
