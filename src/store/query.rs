//! What a store can be asked, as values that also travel over its socket.
//!
//! The rows have the field names of the `orders` commands: they are printed as they are.

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::rows::instant;
use super::{Backlog, DeadLetterRow, EventId, MoveRow, OriginalRow, OwnRow, ReplayRow, Status, StepRow, Topic};

/// A question.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Query {
    /// Which store this is, and which process holds it.
    Identity,
    /// The stock of these products, or of all.
    Stock {
        /// Empty: all.
        products: Vec<String>,
    },
    /// The deliveries of these orders, or all.
    Deliveries {
        /// Empty: all.
        orders: Vec<String>,
    },
    /// The movements of these orders, or all, as they were applied.
    Movements {
        /// Empty: all.
        orders: Vec<String>,
    },
    /// Dead letters and refusals.
    DeadLetters {
        /// Whether closed ones are listed too.
        all: bool,
    },
    /// One dead letter or refusal, with the original record.
    DeadLetter {
        /// Its name.
        id: EventId,
    },
    /// The rows of a table that handlers keep for themselves ([`Overlay`](super::Overlay)).
    Own {
        /// The table.
        table: String,
    },
    /// Where the store stands.
    Positions,
    /// How many orders of a partition, from an offset on, were applied: those without identity would be again if the
    /// position were set back to it.
    AppliedSince {
        /// The topic.
        topic: Topic,
        /// The partition.
        partition: i32,
        /// The offset.
        from: i64,
    },
    /// Everything that the store knows of an order, found in one walk over its ledger.
    Trace {
        /// The order.
        order: String,
    },
    /// How much waits in the outbox, and since when.
    Outbox,
    /// The audit.
    Verify,
}

/// One row of an answer.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Row {
    /// Which store, and which process holds it.
    Identity(IdentityRow),
    /// A product's stock.
    Stock(StockRow),
    /// A delivery.
    Delivery(DeliveryRow),
    /// A movement.
    Movement(MovementRow),
    /// A dead letter or a refusal.
    DeadLetter(DeadLetterRow),
    /// A dead letter or a refusal with the record it came from.
    Original(OriginalRow),
    /// A partition's position.
    Position(PositionRow),
    /// What was applied from an offset on.
    AppliedSince(AppliedSince),
    /// The audit's result.
    Audit(Audit),
    /// What became of a dead letter that was tried again or discarded.
    Replayed(ReplayRow),
    /// A consumer was paused, or goes on.
    Steered(SteeredRow),
    /// A copy was written.
    Backup(BackupRow),
    /// A recording was written.
    Flight(FlightRow),
    /// A delivery was asked to move.
    Moved(MoveRow),
    /// A step in an order's life.
    Step(StepRow),
    /// What the outbox holds.
    Outbox(Backlog),
    /// A row that a handler keeps for itself.
    Own(OwnRow),
}

impl Row {
    /// The row as an object, without the name of its kind.
    #[must_use]
    pub fn to_object(&self) -> Value {
        let object = match self {
            Self::Identity(row) => serde_json::to_value(row),
            Self::Stock(row) => serde_json::to_value(row),
            Self::Delivery(row) => serde_json::to_value(row),
            Self::Movement(row) => serde_json::to_value(row),
            Self::DeadLetter(row) => serde_json::to_value(row),
            Self::Original(row) => serde_json::to_value(row),
            Self::Position(row) => serde_json::to_value(row),
            Self::AppliedSince(row) => serde_json::to_value(row),
            Self::Audit(row) => serde_json::to_value(row),
            Self::Replayed(row) => serde_json::to_value(row),
            Self::Steered(row) => serde_json::to_value(row),
            Self::Backup(row) => serde_json::to_value(row),
            Self::Flight(row) => serde_json::to_value(row),
            Self::Moved(row) => serde_json::to_value(row),
            Self::Step(row) => serde_json::to_value(row),
            Self::Outbox(row) => serde_json::to_value(row),
            Self::Own(row) => serde_json::to_value(row),
        };
        object.unwrap_or(Value::Null)
    }
}

/// Which store, and which process holds it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct IdentityRow {
    /// The store's name.
    pub store: String,
    /// Its consumer group.
    pub group: String,
    /// Its order type.
    pub order_type: String,
    /// The format of its file.
    pub format: u32,
    /// The process that answers.
    pub process: u32,
}

/// A product's stock.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct StockRow {
    /// The product.
    pub product_id: String,
    /// How many pieces there are.
    pub stock: i64,
    /// How many movements led to it.
    pub movements: u64,
    /// When the last one was written to the log, in RFC 3339.
    pub last_movement: String,
}

/// A delivery.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct DeliveryRow {
    /// The delivery's name.
    pub delivery_id: EventId,
    /// The order.
    pub order_id: String,
    /// What is delivered.
    pub product_id: String,
    /// How many pieces.
    pub quantity: u32,
    /// How far it is.
    pub status: Status,
    /// The day of delivery, `YYYY-MM-DD`.
    pub scheduled_for: String,
    /// Since when it has its status, in RFC 3339.
    pub since: String,
    /// Why, where somebody said so.
    #[serde(default)]
    pub reason: Option<String>,
}

/// A movement of stock, as it was applied.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct MovementRow {
    /// The order.
    pub order_id: String,
    /// The product.
    pub product_id: String,
    /// How many pieces came in, or went out if negative.
    pub quantity: i64,
    /// The order's identity, if it has one.
    pub idempotency_key: Option<String>,
    /// When the record was written, in RFC 3339.
    pub at: String,
    /// The topic; none for a backfilled order.
    pub topic: Option<String>,
    /// The partition; none for a backfilled order.
    pub partition: Option<i32>,
    /// The offset; none for a backfilled order.
    pub offset: Option<i64>,
}

/// A consumer was paused, or goes on.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SteeredRow {
    /// The topic.
    pub topic: String,
    /// The partition; none: all.
    pub partition: Option<i32>,
    /// Whether it is paused now.
    pub paused: bool,
    /// What still holds what was to go on.
    #[serde(default)]
    pub reason: Option<String>,
}

/// A copy of a store.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct BackupRow {
    /// The file.
    pub to: String,
    /// How many rows it has.
    pub rows: u64,
    /// How many bytes.
    pub bytes: u64,
}

/// A recording of a consumer's machines.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct FlightRow {
    /// The file.
    pub file: String,
    /// How many lines it has beside its header.
    pub lines: u64,
    /// How many bytes.
    pub bytes: u64,
}

/// Where the store stands in a partition, and what became of what lies before.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PositionRow {
    /// The topic.
    pub topic: String,
    /// The partition; none for backfilled orders.
    pub partition: Option<i32>,
    /// The offset that the store began at, or that the position was last set to.
    pub first: i64,
    /// The lowest offset that is not settled.
    pub position: i64,
    /// How many offsets beyond it are settled already.
    pub ahead: u64,
    /// The leader epoch of the last batch before it, -1 if unknown.
    pub leader_epoch: i32,
    /// How often the position was written.
    pub version: u64,
    /// What became of the offsets since `first`.
    #[serde(flatten)]
    pub counts: Counts,
    /// The topic's identity; a topic made anew under its name has another one.
    pub topic_id: String,
    /// When the position was last set on purpose, in RFC 3339; none for backfilled orders.
    pub set_at: Option<String>,
    /// Why it was: `auto.offset.reset=earliest`, or what the operator said.
    pub reason: Option<String>,
    /// The offset at which the store took the partition over from another one; what lies before it is not in this store.
    #[serde(default)]
    pub adopted: Option<i64>,
}

/// What was applied of a partition, from an offset on.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct AppliedSince {
    /// Orders that are recognised when they come again.
    pub with_identity: u64,
    /// Orders that are told apart by their place alone.
    pub without_identity: u64,
}

/// What became of offsets.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Counts {
    /// Orders whose effect was applied.
    pub applied: u64,
    /// Copies of settled orders.
    pub duplicates: u64,
    /// Orders that the business refused.
    pub refused: u64,
    /// Records that were set aside.
    pub dead_letters: u64,
    /// Offsets without an order: markers, aborted and compacted records.
    pub no_record: u64,
}

impl Counts {
    /// How many offsets these are.
    #[must_use]
    pub fn total(&self) -> u64 {
        [self.applied, self.duplicates, self.refused, self.dead_letters, self.no_record]
            .into_iter()
            .fold(0, u64::saturating_add)
    }

    pub(crate) fn add(&mut self, other: &Self) {
        self.applied = self.applied.saturating_add(other.applied);
        self.duplicates = self.duplicates.saturating_add(other.duplicates);
        self.refused = self.refused.saturating_add(other.refused);
        self.dead_letters = self.dead_letters.saturating_add(other.dead_letters);
        self.no_record = self.no_record.saturating_add(other.no_record);
    }
}

/// The audit: whether everything adds up, and since the store began what became of every offset.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Audit {
    /// Whether no problem was found.
    pub holds: bool,
    /// What became of the offsets.
    #[serde(flatten)]
    pub counts: Counts,
    /// What does not add up, at most [`Audit::MAX_PROBLEMS`] sentences.
    pub problems: Vec<String>,
    /// How many rows of the outbox wait to be relayed; no member of the object when none does.
    #[serde(default, skip_serializing_if = "is_none")]
    pub outbox_rows: u64,
    /// Since when the oldest of them waits, in RFC 3339; likewise.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub outbox_since: Option<String>,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde asks by reference")]
const fn is_none(rows: &u64) -> bool {
    *rows == 0
}

impl Audit {
    /// How many problems are told.
    pub const MAX_PROBLEMS: usize = 100;

    pub(crate) fn new(counts: Counts, problems: Vec<String>, outbox: Backlog) -> Self {
        // Rows of earlier forms do not say when they were written.
        let outbox_since = outbox.oldest.filter(|oldest| outbox.rows > 0 && *oldest > 0).map(instant);
        Self { holds: problems.is_empty(), counts, problems, outbox_rows: outbox.rows, outbox_since }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_audit_is_printed_as_the_commands_promise() {
        let counts = Counts { applied: 13, ..Counts::default() };
        let row = Row::Audit(Audit::new(counts, Vec::new(), Backlog::default()));
        let promised =
            r#"{"holds":true,"applied":13,"duplicates":0,"refused":0,"dead_letters":0,"no_record":0,"problems":[]}"#;
        assert_eq!(serde_json::from_str::<Value>(promised).unwrap(), row.to_object());
        let travelled = serde_json::to_string(&row).unwrap();
        assert_eq!(serde_json::from_str::<Row>(&travelled).unwrap(), row);
        let waits = Audit::new(counts, Vec::new(), Backlog { rows: 2, oldest: Some(1_700_000_000_000) });
        let more = serde_json::json!({"outbox_rows": 2, "outbox_since": "2023-11-14T22:13:20.000Z"});
        let told = serde_json::to_value(waits).unwrap();
        assert_eq!((&told["outbox_rows"], &told["outbox_since"]), (&more["outbox_rows"], &more["outbox_since"]));
    }
}
