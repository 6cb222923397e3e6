//! Moving a delivery by command, in one transaction that changes no position of a log.

use std::ops::ControlFlow;

use futures::FutureExt;

use super::keeper::{Keeper, within};
use super::ledger::Ledger;
use super::letters::Desk;
use super::link::Link;
use super::moves::{Moving, Refused};
use super::positions::{self, Written};
use super::transaction::{Told, now, write};
use crate::place::TopicId;
use crate::store::delivery_line::MoveLine;
use crate::store::ledger::{Head, LedgerWriter, Lines};
use crate::store::rows::instant;
use crate::store::standing::Standing;
use crate::store::{BACKFILL, EventId, Lifecycle, Move, MoveRow, Position, Settled, Status, Topic};
use crate::{Error, ErrorCode, Result};

/// What is moved by command is accounted for under a topic of its own. Kafka allows no parentheses in names.
const TOPIC: &str = "(moves)";

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
        let topic = self.base.topic(&Topic::new(TopicId::NONE, TOPIC)).await?;
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
        let life = match moving.make(delivery, asked)? {
            Ok(life) => life,
            Err(Refused { code, reason, life }) => {
                link.plain("ROLLBACK").await?;
                let refused = row_of(delivery, life);
                return Ok((MoveRow { code: Some(code.to_owned()), reason: Some(reason), ..refused }, None));
            }
        };
        let (offset, version) = (standing.position.next, standing.position.version.saturating_add(1));
        let head = Head { topic, partition: BACKFILL, version, lines: Lines::Moves };
        let (mut row, mut ledger) = (LedgerWriter::new(head, Vec::new()), Ledger::default());
        let line = MoveLine { delivery, to: life.status, version: life.version };
        line.write(row.order(offset, at, None, ""));
        ledger.keep(head, &mut row);
        let desk = Desk::make(link, Vec::new(), super::effect::Effect::take_tidings(&mut moving), u64::MAX).await?;
        let position = Position {
            next: offset.saturating_add(1),
            settled: Settled::new(),
            version,
            token: fastrand::u128(..),
            ..standing.position
        };
        let mut standing = Standing { position, ..standing };
        standing.counts.applied = standing.counts.applied.saturating_add(1);
        let written = [Written { partition: BACKFILL, standing, log_time: i64::MIN, identities: 0 }];
        write(link, topic, &written, (&ledger, &mut moving, &desk)).await?;
        Ok((MoveRow { moved: true, reason: given, ..row_of(delivery, Some(life)) }, desk.told()))
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
