//! Moving deliveries in PostgreSQL: updates settled as orders are, with an effect of their own.
//!
//! One transaction at a time moves deliveries: it locks `moves`, so that two never judge the same life. What a day has less
//! by a cancellation is taken off its count, whoever books it meanwhile.

use std::collections::BTreeMap;
use std::sync::Arc;

use futures::FutureExt;
use futures::future::BoxFuture;
use tokio_postgres::types::Type;

use super::days::Deliveries;
use super::early::alone;
use super::effect::Effect;
use super::handle::Engine;
use super::keeper::Keeper;
use super::link::{Link, get, stored};
use super::prints::{has_come, search};
use super::topics::Topics;
use crate::order::{DeliveryUpdate, Status};
use crate::store::dead_letter::About;
use crate::store::decision::{At, Decision};
use crate::store::delivery_line::MoveLine;
use crate::store::ledger::LedgerWriter;
use crate::store::life::{Life, Made, Refused, line_of};
use crate::store::moves::among_updates;
use crate::store::pack::Unpack;
use crate::store::{
    Applied, Batch, DeliveryPolicy, EventId, KnownDelivery, Move, Moves, OutboxRow, Position, Start, StoreIdentity,
    Topic,
};
use crate::{Error, ErrorCode, Result};

/// Locked by who moves deliveries, or takes their prints.
pub(super) const LOCK: &str = "SELECT 1 FROM counters WHERE name = 'moves' FOR UPDATE";
const READ: &str = "SELECT id, life FROM lives WHERE id = ANY($1)";
const WRITE: &str = "INSERT INTO lives (id, row, life) SELECT * FROM unnest($1, $2, $3)
                     ON CONFLICT (id) DO UPDATE SET life = excluded.life";
const LESS: &str = "UPDATE days SET deliveries = days.deliveries - less.deliveries
                    FROM unnest($1, $2) AS less (day, deliveries) WHERE days.day = less.day";

/// Deliveries that move.
#[derive(Debug, Default)]
pub(super) struct Moving {
    /// Those that were asked for and are there.
    lives: BTreeMap<EventId, Life>,
    moved: Vec<EventId>,
    /// The days that have less.
    less: BTreeMap<i32, i64>,
    tidings: Vec<OutboxRow>,
    /// Those that are not there, of which updates were refused.
    missed: Vec<EventId>,
    /// Where these were looked for that have no prints yet.
    seen: Vec<i64>,
}

impl Moving {
    /// Locks and reads what these deliveries are.
    pub(super) async fn of(link: Link<'_>, mut deliveries: Vec<EventId>) -> Result<Self> {
        deliveries.sort_unstable();
        deliveries.dedup();
        let names: Vec<&[u8]> = deliveries.iter().map(|id| id.as_bytes().as_slice()).collect();
        let asked = [(&names as _, Type::BYTEA_ARRAY)];
        let (_, rows) = futures::try_join!(link.rows(LOCK, &[]), link.rows(READ, &asked))?;
        let mut lives = BTreeMap::new();
        for row in &rows {
            lives.insert(name_of(get(row, 0)?)?, Life::decode(get(row, 1)?)?);
        }
        deliveries.retain(|id| !lives.contains_key(id));
        let mut seen = Vec::new();
        if !deliveries.is_empty() {
            lives.extend(search(link, deliveries, &mut seen).await?);
        }
        Ok(Self { lives, seen, ..Self::default() })
    }

    /// Makes a move, if it may follow.
    pub(super) fn make(&mut self, id: EventId, asked: Move) -> Result<Made> {
        let Some(life) = self.lives.get_mut(&id) else { return Ok(Err(Refused::unknown(id))) };
        let now = match life.make(asked)? {
            Ok(now) => now,
            refused => return Ok(refused),
        };
        self.moved.push(id);
        self.tidings.push(OutboxRow::Moved { id, version: now.version });
        if now.status == Status::Cancelled {
            *self.less.entry(life.day).or_default() += 1;
            self.tidings.push(OutboxRow::Returned { id });
        }
        Ok(Ok(now))
    }
}

impl Effect for Moving {
    type Order = DeliveryUpdate;
    type Policy = DeliveryPolicy;
    const ANNOUNCED: bool = false;
    const ABOUT: About = About::Update;

    async fn load(link: Link<'_>, _: &DeliveryPolicy, orders: &[(&DeliveryUpdate, Option<i64>)]) -> Result<Self> {
        let deliveries: Vec<EventId> = orders.iter().map(|(update, _)| EventId::new(update.delivery())).collect();
        if deliveries.is_empty() {
            return Ok(Self::default());
        }
        Self::of(link, deliveries).await
    }

    fn skip(line: &mut Unpack<'_>) -> Result<()> {
        MoveLine::read(line).map(drop)
    }

    fn begin_row(&mut self) {}

    fn decide(&mut self, update: &DeliveryUpdate, at: At<'_>, row: &mut LedgerWriter) -> Result<Decision> {
        let delivery = EventId::new(update.delivery());
        Ok(match self.make(delivery, update.into())? {
            Ok(life) => {
                MoveLine::of(delivery, life).write(row.order(at.offset, at.timestamp, at.identity, ""));
                Decision::Applied
            }
            Err(Refused { code, reason, life }) => {
                self.missed.extend(life.is_none().then_some(delivery));
                Decision::Refused { code, reason }
            }
        })
    }

    fn take_tidings(&mut self) -> Vec<OutboxRow> {
        std::mem::take(&mut self.tidings)
    }

    fn is_to_be_confirmed(&self) -> bool {
        !self.missed.is_empty()
    }

    async fn confirm(&mut self, link: Link<'_>) -> Result<()> {
        alone(link).await?;
        if has_come(link, std::mem::take(&mut self.missed), &mut self.seen).await? {
            return Err(Error::new(ErrorCode::StoreIo, "a delivery came meanwhile that an update is of").retriable());
        }
        Ok(())
    }

    async fn write(&mut self, link: Link<'_>) -> Result<()> {
        self.moved.sort_unstable();
        self.moved.dedup();
        if self.moved.is_empty() {
            return Ok(());
        }
        let names: Vec<&[u8]> = self.moved.iter().map(|id| id.as_bytes().as_slice()).collect();
        let moved = || self.moved.iter().filter_map(|id| self.lives.get(id));
        let rows: Vec<i64> = moved().map(|life| stored(life.row.0)).collect();
        let lives: Vec<Vec<u8>> = moved().map(encoded).collect();
        let written =
            [(&names as _, Type::BYTEA_ARRAY), (&rows as _, Type::INT8_ARRAY), (&lives as _, Type::BYTEA_ARRAY)];
        let (days, less): (Vec<i32>, Vec<i64>) = self.less.iter().map(|(day, less)| (*day, *less)).unzip();
        let fewer = [(&days as _, Type::INT4_ARRAY), (&less as _, Type::INT8_ARRAY)];
        futures::try_join!(link.run(WRITE, &written), link.run(LESS, &fewer)).map(drop)
    }
}

/// The keeper of the moves of a store of deliveries.
pub(super) fn keeper(of: &Keeper<Deliveries>) -> Keeper<Moving> {
    Keeper { base: Arc::clone(&of.base), policy: of.policy }
}

impl Moves for Keeper<Moving> {
    fn identity(&self) -> &StoreIdentity {
        &self.base.identity
    }

    fn positions<'a>(&'a self, topic: &'a Topic) -> BoxFuture<'a, Result<BTreeMap<i32, Position>>> {
        Engine::positions(self, topic)
    }

    fn apply(&self, batch: Batch<DeliveryUpdate>) -> BoxFuture<'_, Result<Applied>> {
        async move {
            self.take_prints().await?;
            Engine::apply(self, &among_updates(batch)).await
        }
        .boxed()
    }

    fn set_position<'a>(&'a self, topic: &'a Topic, start: Start) -> BoxFuture<'a, Result<Position>> {
        async move { Engine::start(self, topic, &start).await }.boxed()
    }
}

/// Everything that is known of a delivery that has moved, with its row of the ledger.
pub(super) fn known(topics: &Topics, id: EventId, life: &Life, row: Option<&[u8]>) -> Result<KnownDelivery> {
    let lost = || Error::new(ErrorCode::StoreCorrupt, "a delivery's row of the ledger is not there");
    let line = line_of(row.ok_or_else(lost)?, life.line, |topic| topics.get(topic))?;
    KnownDelivery::of(id, life, &line)
}

/// A delivery's name in a row.
pub(super) fn name_of(bytes: &[u8]) -> Result<EventId> {
    let broken = |_| Error::new(ErrorCode::StoreCorrupt, "a delivery's name cannot be read");
    <[u8; 16]>::try_from(bytes).map(EventId::new).map_err(broken)
}

fn encoded(life: &Life) -> Vec<u8> {
    let mut row = Vec::new();
    life.encode(&mut row);
    row
}
