//! The last lines, within a bound of bytes.
//!
//! Lines are kept in segments, of which the oldest is dropped as a whole when a new one begins: a replay goes on from
//! the states that each machine tells again in every segment.

use std::collections::VecDeque;

/// How many segments the bound is shared by: so much of it at most is given up at once.
const SEGMENTS: usize = 8;

/// See the module.
#[derive(Debug)]
pub(super) struct Ring {
    segments: VecDeque<Vec<u8>>,
    segment_bytes: usize,
    /// The number of the newest segment, from 1.
    number: u64,
    /// How many lines were dropped.
    lost: u64,
}

impl Ring {
    /// A ring that never has more than `max_bytes`. Memory is taken segment by segment, and used again.
    pub(super) fn new(max_bytes: usize) -> Self {
        let segment_bytes = max_bytes / SEGMENTS;
        let segments = VecDeque::from([Vec::with_capacity(segment_bytes)]);
        Self { segments, segment_bytes, number: 1, lost: 0 }
    }

    /// Takes a line, without its end. Returns whether it has room: one that is longer than a segment has not.
    pub(super) fn push(&mut self, line: &[u8]) -> bool {
        let bytes = line.len().saturating_add(1);
        if bytes > self.segment_bytes {
            self.lost = self.lost.saturating_add(1);
            return false;
        }
        if self.segments.back().is_none_or(|open| open.len().saturating_add(bytes) > self.segment_bytes) {
            self.begin_segment();
        }
        if let Some(open) = self.segments.back_mut() {
            open.extend_from_slice(line);
            open.push(b'\n');
        }
        true
    }

    fn begin_segment(&mut self) {
        let mut fresh = match self.segments.len() < SEGMENTS {
            true => Vec::with_capacity(self.segment_bytes),
            false => self.segments.pop_front().unwrap_or_default(),
        };
        let dropped = memchr::memchr_iter(b'\n', &fresh).count();
        self.lost = self.lost.saturating_add(u64::try_from(dropped).unwrap_or(u64::MAX));
        fresh.clear();
        self.segments.push_back(fresh);
        self.number = self.number.saturating_add(1);
    }

    /// The number of the newest segment.
    pub(super) fn number(&self) -> u64 {
        self.number
    }

    /// How many lines are not there any more.
    pub(super) fn lost(&self) -> u64 {
        self.lost
    }

    /// All lines, the oldest first.
    pub(super) fn copy(&self) -> Vec<u8> {
        self.segments.iter().flatten().copied().collect()
    }

    #[cfg(test)]
    pub(super) fn bytes(&self) -> usize {
        self.segments.iter().map(Vec::capacity).sum()
    }
}
