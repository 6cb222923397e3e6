//! A partition's position with the account of what lies before it.
//!
//! Every offset from the first to the position, and each one settled beyond, was counted once when
//! its transaction settled it: the audit compares that account with what the other tables hold.

use super::pack::{Unpack, put_bytes, put_i64, put_u64};
use super::{Counts, Doubt, Part, Position, Settled};
use crate::order::Order;
use crate::{Error, ErrorCode, Result};

/// What a store keeps of one partition.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Standing {
    pub(crate) position: Position,
    /// Where the account begins.
    pub(crate) first: i64,
    /// What became of the offsets since then.
    pub(crate) counts: Counts,
    /// The transaction that wrote this, and the part's first row in it: together a key of the ledger.
    pub(crate) written: (u64, u32),
}

/// How a write that expects a version meets the position.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Meeting {
    /// The position is as expected.
    Fresh,
    /// The write was committed before (rule R5).
    Repeated,
    /// Somebody else wrote the position.
    Conflict,
}

impl Standing {
    /// Rules R2 and R5 in one, for a write that leads to `next` and `settled`.
    ///
    /// A write with the right token that leads elsewhere is not the one that was committed: taking it for that one
    /// would lose what else it settles.
    pub(crate) fn meet(&self, expected: u64, token: u128, (next, settled): (i64, &Settled)) -> Meeting {
        let leads_here = self.position.next == next && self.position.settled == *settled;
        match self.position.judge(expected, token) {
            Doubt::Retry => Meeting::Fresh,
            Doubt::Done if leads_here => Meeting::Repeated,
            Doubt::Done | Doubt::Lost => Meeting::Conflict,
        }
    }

    /// The standing at the start of a partition's account.
    pub(crate) fn starting(&self, next: i64, leader_epoch: i32, token: u128) -> Self {
        let version = self.position.version.saturating_add(1);
        let position =
            Position { next, settled: Settled::new(), leader_epoch, version, token, tried: Vec::new(), tripped: None };
        Self { position, first: next, counts: Counts::default(), written: (0, 0) }
    }

    /// The standing after work outside of a log, all of which was applied, up to `next`.
    pub(crate) fn after_work(&self, next: i64, token: u128) -> Self {
        let mut after = self.clone();
        after.counts.applied = after.counts.applied.saturating_add(next.abs_diff(self.position.next));
        let version = self.position.version.saturating_add(1);
        after.position = Position { next, settled: Settled::new(), version, token, ..after.position };
        after
    }

    /// Whether every offset of the account is accounted for.
    pub(crate) fn adds_up(&self) -> bool {
        let passed = u64::try_from(i128::from(self.position.next) - i128::from(self.first)).ok();
        passed.and_then(|passed| passed.checked_add(self.position.settled.len())) == Some(self.counts.total())
    }

    /// How many offsets the part settles, if it follows on this standing.
    ///
    /// # Errors
    /// The part takes back what is settled, settles an offset twice or an entry is not among what it settles: a bug of
    /// the caller, and nothing may be written (rule R4).
    pub(crate) fn settles<O: Order>(&self, part: &Part<O>) -> Result<u64> {
        // A partition that was never written begins where its first part does.
        let begins = if self.position.version == 0 { first_of(part) } else { self.position.next };
        let before = &self.position.settled;
        let in_order = begins >= 0
            && part.next >= begins
            && part.settled.ranges().next().is_none_or(|(start, _)| start > part.next)
            && part.settled.ranges().len() <= super::MAX_AHEAD
            && part.settled.covers(part.next, before);
        if !in_order {
            return Err(bug(part, "does not follow on the position"));
        }
        let mut least = begins;
        for entry in &part.entries {
            let settled = entry.offset < part.next || part.settled.contains(entry.offset);
            if entry.offset < least || !settled || before.contains(entry.offset) {
                return Err(bug(part, "has an entry that it does not settle"));
            }
            least = entry.offset.saturating_add(1);
        }
        let after = part.next.abs_diff(begins).saturating_add(part.settled.len());
        Ok(after.saturating_sub(before.len()))
    }

    /// The first offset of the account, once `part` is settled.
    pub(crate) fn first_with<O: Order>(&self, part: &Part<O>) -> i64 {
        if self.position.version == 0 { first_of(part) } else { self.first }
    }

    pub(crate) fn encode(&self, out: &mut Vec<u8>) {
        let Self { position, first, counts, written } = self;
        put_i64(position.next, out);
        put_i64(i64::from(position.leader_epoch), out);
        put_u64(position.version, out);
        out.extend_from_slice(&position.token.to_le_bytes());
        put_i64(*first, out);
        for count in [counts.applied, counts.duplicates, counts.refused, counts.dead_letters, counts.no_record] {
            put_u64(count, out);
        }
        put_u64(written.0, out);
        put_u64(u64::from(written.1), out);
        let mut settled = Vec::new();
        position.settled.encode(position.next, &mut settled);
        put_bytes(&settled, out);
    }

    pub(crate) fn decode(bytes: &[u8]) -> Result<Self> {
        let mut row = Unpack::new(bytes, "a position");
        let (next, leader_epoch, version) = (row.i64()?, row.i32()?, row.u64()?);
        let (token, first) = (u128::from_le_bytes(row.array()?), row.i64()?);
        let counts = Counts {
            applied: row.u64()?,
            duplicates: row.u64()?,
            refused: row.u64()?,
            dead_letters: row.u64()?,
            no_record: row.u64()?,
        };
        let written = (row.u64()?, row.u32()?);
        let settled = Settled::decode(next, row.bytes()?)?;
        row.end()?;
        Ok(Self {
            position: Position { next, settled, leader_epoch, version, token, tried: Vec::new(), tripped: None },
            first,
            counts,
            written,
        })
    }
}

/// Where a part begins that meets no position: at its first entry, or at its end if it has none.
fn first_of<O: Order>(part: &Part<O>) -> i64 {
    part.entries.first().map_or(part.next, |entry| entry.offset.min(part.next))
}

fn bug<O: Order>(part: &Part<O>, what: &str) -> Error {
    let message = format!("the part of partition {} that ends at offset {} {what}", part.partition, part.next);
    Error::new(ErrorCode::Internal, message)
}

#[cfg(test)]
mod tests;
