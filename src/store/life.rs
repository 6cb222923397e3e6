//! What a store keeps of a delivery from its first move on.
//!
//! A delivery that never moved is its line of the ledger and nothing else. The first move writes this row under the
//! delivery's name: where its line stands, its day, and each move. There are two moves at most, so the row stays small.

use super::delivery::{IllegalMove, Lifecycle, Move, UNKNOWN};
use super::delivery_line::DeliveryLine;
use super::ledger::{LedgerReader, Lines};
use super::pack::{Unpack, put_i64, put_optional, put_u64};
use super::schedule::date_of_day;
use super::{EventId, Topic};
use crate::order::Status;
use crate::{Error, ErrorCode, Result};

const FORM: u8 = 1;

/// A delivery that has moved.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Life {
    /// The row of the ledger that has its line: transaction and row there, or the row's number and 0.
    pub(crate) row: (u64, u32),
    /// Which line of that row it is, from 0.
    pub(crate) line: u32,
    /// The day that was booked for it, counted from 1970-01-01.
    pub(crate) day: i32,
    /// When it was scheduled: its record's timestamp.
    pub(crate) scheduled: i64,
    /// Each move that it made.
    pub(crate) moves: Vec<Move>,
}

impl Life {
    /// The delivery as it is now.
    pub(crate) fn now(&self) -> Result<Lifecycle> {
        self.moves.iter().try_fold(Lifecycle::scheduled(self.scheduled), |life, made| life.after(made).map_err(broken))
    }

    /// Makes a move, if it may follow.
    pub(crate) fn make(&mut self, asked: Move) -> Result<Made> {
        let before = self.now()?;
        Ok(match before.after(&asked) {
            Ok(after) => {
                self.moves.push(asked);
                Ok(after)
            }
            Err(illegal) => Err(Refused { code: illegal.code(), reason: illegal.to_string(), life: Some(before) }),
        })
    }

    /// Whether its day has it no more.
    pub(crate) fn is_cancelled(&self) -> bool {
        self.moves.last().is_some_and(|last| last.to == Status::Cancelled)
    }

    pub(crate) fn encode(&self, out: &mut Vec<u8>) {
        out.push(FORM);
        put_u64(self.row.0, out);
        put_u64(u64::from(self.row.1), out);
        put_u64(u64::from(self.line), out);
        put_i64(i64::from(self.day), out);
        put_i64(self.scheduled, out);
        for Move { to, at, reason } in &self.moves {
            out.push(byte_of(*to));
            put_i64(*at, out);
            put_optional(reason.as_deref().map(str::as_bytes), out);
        }
    }

    pub(crate) fn decode(bytes: &[u8]) -> Result<Self> {
        let mut row = Unpack::new(bytes, "a delivery's life");
        if row.byte()? != FORM {
            return Err(row.broken());
        }
        let (at, line, day, scheduled) = ((row.u64()?, row.u32()?), row.u32()?, row.i32()?, row.i64()?);
        let mut moves = Vec::new();
        while !row.is_empty() {
            let (to, at) = (status_of(row.byte()?).ok_or_else(|| row.broken())?, row.i64()?);
            let reason = row.optional()?.map(|text| String::from_utf8_lossy(text).into_owned());
            moves.push(Move { to, at, reason });
        }
        Ok(Self { row: at, line, day, scheduled, moves })
    }
}

/// The life of a delivery after a move, or why the move was not made.
pub(crate) type Made = Result<Lifecycle, Refused>;

/// A move that was not made.
#[derive(Debug)]
pub(crate) struct Refused {
    pub(crate) code: &'static str,
    pub(crate) reason: String,
    /// Where the delivery is; none: the store has no such delivery.
    pub(crate) life: Option<Lifecycle>,
}

impl Refused {
    pub(crate) fn unknown(delivery: EventId) -> Self {
        Self { code: UNKNOWN, reason: format!("the store has no delivery {delivery}"), life: None }
    }
}

/// The byte that stands for a status in a row.
pub(crate) fn byte_of(status: Status) -> u8 {
    match status {
        Status::Scheduled => 0,
        Status::OutForDelivery => 1,
        Status::Delivered => 2,
        Status::Failed => 3,
        Status::Cancelled => 4,
    }
}

/// The status that a byte stands for.
pub(crate) fn status_of(byte: u8) -> Option<Status> {
    Status::ALL.get(usize::from(byte)).copied()
}

/// Everything that a store knows of a delivery that has moved.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KnownDelivery {
    /// Its name.
    pub id: EventId,
    /// The order.
    pub order_id: String,
    /// What is delivered.
    pub product_id: String,
    /// How many pieces.
    pub quantity: u32,
    /// The whole order as a record's value, where it has a customer or an address.
    pub order: Option<Vec<u8>>,
    /// The day of delivery.
    pub scheduled_for: chrono::NaiveDate,
    /// Where it is in its life.
    pub life: Lifecycle,
    /// What it has been, from version 1 on, with the reasons.
    pub history: Vec<(Lifecycle, Option<String>)>,
}

impl KnownDelivery {
    /// Puts together what a delivery's life and its line of the ledger tell.
    ///
    /// # Errors
    /// [`ErrorCode::StoreCorrupt`]: they are not of one delivery.
    pub(crate) fn of(id: EventId, life: &Life, line: &FoundLine) -> Result<Self> {
        if (line.id, line.day, line.timestamp) != (id, life.day, life.scheduled) {
            return Err(Error::new(ErrorCode::StoreCorrupt, "a delivery's line of the ledger is another's"));
        }
        let mut now = Lifecycle::scheduled(life.scheduled);
        let mut history = vec![(now, None)];
        for made in &life.moves {
            now = now.after(made).map_err(broken)?;
            history.push((now, made.reason.clone()));
        }
        Ok(Self {
            id,
            order_id: line.order_id.clone(),
            product_id: line.product_id.clone(),
            quantity: line.quantity,
            order: line.order.clone(),
            scheduled_for: date_of_day(line.day),
            life: now,
            history,
        })
    }
}

/// A delivery's line, copied out of its row of the ledger.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct FoundLine {
    pub(crate) timestamp: i64,
    pub(crate) order_id: String,
    pub(crate) product_id: String,
    pub(crate) quantity: u32,
    pub(crate) day: i32,
    pub(crate) order: Option<Vec<u8>>,
    /// The delivery's name.
    pub(crate) id: EventId,
}

/// The delivery on a line of a row of the ledger, from 0.
pub(crate) fn line_of<'t>(row: &[u8], line: u32, topic: impl FnOnce(u32) -> Result<&'t Topic>) -> Result<FoundLine> {
    let missing = || Error::new(ErrorCode::StoreCorrupt, "a delivery's line is not in its row of the ledger");
    let mut row = LedgerReader::new(row)?;
    let head = row.head();
    if head.lines != Lines::Orders {
        return Err(missing());
    }
    for _ in 0..line {
        row.line()?.ok_or_else(missing)?;
        DeliveryLine::read(row.rest())?;
    }
    let found = row.line()?.ok_or_else(missing)?;
    let delivery = DeliveryLine::read(row.rest())?;
    Ok(FoundLine {
        timestamp: found.timestamp,
        order_id: found.order_id.to_owned(),
        product_id: delivery.product_id.to_owned(),
        quantity: delivery.quantity,
        day: delivery.day,
        order: delivery.order.map(<[u8]>::to_vec),
        id: found.event_id(topic(head.topic)?, head.partition),
    })
}

fn broken(illegal: IllegalMove) -> Error {
    Error::new(ErrorCode::StoreCorrupt, "a delivery made a move that cannot be").caused_by(illegal)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::ledger::{Head, LedgerWriter};

    fn moved(moves: &[(Status, i64, Option<&str>)]) -> Life {
        let moves = moves.iter().map(|(to, at, reason)| Move { to: *to, at: *at, reason: reason.map(Into::into) });
        Life { row: (1 << 40, 3), line: 7, day: -4, scheduled: 11, moves: moves.collect() }
    }

    #[test]
    fn a_life_is_read_as_it_was_written() {
        for life in [
            moved(&[(Status::Cancelled, 5, Some("called off"))]),
            moved(&[(Status::OutForDelivery, -5, None), (Status::Failed, i64::MAX, Some(""))]),
        ] {
            let mut row = Vec::new();
            life.encode(&mut row);
            assert_eq!(Life::decode(&row).unwrap(), life);
            assert_eq!(life.now().unwrap().version, 1 + life.moves.len() as u32);
            assert!(Life::decode(&row[..row.len() - 1]).is_err());
        }
        for byte in 0..5 {
            assert_eq!(status_of(byte).map(byte_of), Some(byte));
        }
        assert_eq!(status_of(5), None);
        assert!(moved(&[(Status::Delivered, 1, None)]).now().is_err(), "such a life cannot be");
    }

    #[test]
    fn a_move_that_cannot_follow_is_not_kept() {
        let mut life = moved(&[]);
        let to = |to| Move { to, at: 20, reason: None };
        assert_eq!(life.make(to(Status::Cancelled)).unwrap().unwrap().version, 2);
        assert!(life.make(to(Status::OutForDelivery)).unwrap().is_err());
        assert!(life.is_cancelled() && life.moves.len() == 1);
    }

    #[test]
    fn a_delivery_is_found_on_its_line_and_nowhere_else() {
        let head = Head { topic: 3, partition: 1, version: 9, lines: Lines::Orders };
        let mut row = LedgerWriter::new(head, Vec::new());
        for (offset, product) in [(5, "02758"), (6, "9")] {
            let order = crate::order::DeliveryOrder::new("97537", product, 4, "5/30/2023").unwrap();
            DeliveryLine::write(&order, 20, &mut Vec::new(), row.order(offset, 100 + offset, None, "97537"));
        }
        let row = row.into_buffer();
        let topic = Topic::new(crate::place::TopicId::new([1; 16]), "t");
        let found = line_of(&row, 1, |_| Ok(&topic)).unwrap();
        assert_eq!((found.product_id.as_str(), found.timestamp, found.day), ("9", 106, 20));
        assert_eq!(found.id, EventId::of(None, &topic, 1, 6));
        assert_eq!(line_of(&row, 2, |_| Ok(&topic)).unwrap_err().code(), ErrorCode::StoreCorrupt);
    }
}
