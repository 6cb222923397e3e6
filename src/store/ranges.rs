//! A set of numbers as ranges.

use super::pack::{Unpack, put_u64};
use crate::Result;

/// Disjoint half-open ranges in ascending order that never touch.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Ranges(Vec<(i64, i64)>);

impl Ranges {
    pub(crate) const fn new() -> Self {
        Self(Vec::new())
    }

    /// These ranges, if they are what a set may hold.
    pub(crate) fn from_sorted(ranges: Vec<(i64, i64)>) -> Option<Self> {
        let apart = ranges.iter().zip(ranges.iter().skip(1)).all(|(left, right)| left.1 < right.0);
        (apart && ranges.iter().all(|(start, end)| start < end)).then_some(Self(ranges))
    }

    pub(crate) fn as_slice(&self) -> &[(i64, i64)] {
        &self.0
    }

    /// How many numbers are in the set.
    pub(crate) fn count(&self) -> u64 {
        self.0.iter().fold(0, |sum: u64, (start, end)| sum.saturating_add(end.abs_diff(*start)))
    }

    pub(crate) fn contains(&self, number: i64) -> bool {
        self.holds(number, number.saturating_add(1))
    }

    /// Whether all of `start..end`, which is not empty, is in the set.
    pub(crate) fn holds(&self, start: i64, end: i64) -> bool {
        let after = self.0.partition_point(|(other, _)| *other <= start);
        let range = after.checked_sub(1).and_then(|at| self.0.get(at));
        range.is_some_and(|(_, other_end)| start < end && end <= *other_end)
    }

    /// Adds `start..end`; an empty range changes nothing.
    pub(crate) fn insert(&mut self, start: i64, end: i64) {
        if start >= end {
            return;
        }
        let from = self.0.partition_point(|(_, other_end)| *other_end < start);
        let to = self.0.partition_point(|(other, _)| *other <= end).max(from);
        let touched = self.0.get(from..to).unwrap_or_default();
        let start = touched.first().map_or(start, |(other, _)| start.min(*other));
        let end = touched.last().map_or(end, |(_, other_end)| end.max(*other_end));
        self.0.splice(from..to, [(start, end)]);
    }

    /// Takes away the ranges that begin at or before `next`, and gives the end of the last of them, or `next`.
    pub(crate) fn pass(&mut self, next: i64) -> i64 {
        let mut next = next;
        while let Some((_, end)) = self.0.first().filter(|(start, _)| *start <= next).copied() {
            let passed = self.0.partition_point(|(start, _)| *start <= next.max(end));
            next = self.0.drain(..passed).fold(next, |next, (_, end)| next.max(end));
        }
        next
    }

    /// Appends the gaps and lengths, counted from `base`, which lies before the set.
    pub(crate) fn encode(&self, base: i64, out: &mut Vec<u8>) {
        let mut at = base;
        for (start, end) in &self.0 {
            put_u64(start.abs_diff(at), out);
            put_u64(end.abs_diff(*start), out);
            at = *end;
        }
    }

    /// Reads at most `limit` ranges, all beyond `base`, from all that remains.
    pub(crate) fn decode(base: i64, row: &mut Unpack<'_>, limit: usize) -> Result<Self> {
        let (mut at, mut ranges) = (base, Vec::new());
        while !row.is_empty() {
            let (gap, length) = (row.u64()?, row.u64()?);
            let start = at.checked_add_unsigned(gap).filter(|_| gap > 0).ok_or_else(|| row.broken())?;
            let end = start.checked_add_unsigned(length).filter(|_| length > 0).ok_or_else(|| row.broken())?;
            if ranges.len() == limit {
                return Err(row.broken());
            }
            ranges.push((start, end));
            at = end;
        }
        Ok(Self(ranges))
    }
}
