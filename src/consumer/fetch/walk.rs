//! How far a partition's part of an answer reaches.
//!
//! Only the headers of the batches are read here, so that the next fetch is on its way before any record
//! is decoded. Positions come from the headers: also over markers, gaps and what a compaction left out.

use bytes::Bytes;

use crate::wire::record_batch::{BatchError, BatchReader};

/// What one partition's records are, by their headers.
#[derive(Debug, Default)]
pub(crate) struct Walked {
    /// The offset behind the last whole batch; where the fetch began if there is none.
    pub(crate) next: i64,
    /// How many whole batches there are.
    pub(crate) batches: usize,
    /// The leader epoch of the last whole batch.
    pub(crate) leader_epoch: Option<i32>,
    /// How many bytes the batch behind the last whole one lacks.
    pub(crate) missing: usize,
    /// What is wrong with the batch behind the last whole one.
    pub(crate) fault: Option<BatchError>,
}

/// Walks over the batches of a fetch that began at `from`.
pub(crate) fn walk(records: &Bytes, from: i64) -> Walked {
    let mut walked = Walked { next: from, ..Walked::default() };
    let mut reader = BatchReader::new(records.clone());
    for batch in reader.by_ref() {
        match batch {
            Ok(batch) => {
                walked.next = walked.next.max(batch.last_offset().saturating_add(1));
                walked.batches += 1;
                walked.leader_epoch = Some(batch.leader_epoch());
            }
            Err(fault) => walked.fault = Some(fault),
        }
    }
    walked.missing = reader.missing();
    walked
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::consumer::sample::{batch, log};

    #[test]
    fn the_next_position_is_behind_the_last_whole_batch() {
        let mut bytes = log([batch(10, 3), batch(20, 2)]).to_vec();
        let whole = bytes.len();
        bytes.extend_from_slice(&batch(30, 1)[..40]);
        let walked = walk(&bytes.into(), 11);
        assert_eq!((walked.next, walked.batches), (22, 2));
        assert!(walked.missing > 0 && whole > 0 && walked.fault.is_none());
    }

    #[test]
    fn a_batch_that_is_none_ends_the_walk_with_what_was_good() {
        let mut bad = batch(30, 1).to_vec();
        bad[16] = 9;
        let walked = walk(&log([batch(10, 3), bad.into()]), 10);
        assert_eq!((walked.next, walked.batches), (13, 1));
        assert_eq!(walked.fault.map(|fault| fault.base_offset()), Some(30));
    }

    #[test]
    fn an_answer_that_lies_before_the_position_does_not_move_it_back() {
        assert_eq!(walk(&batch(10, 3), 50).next, 50);
        assert_eq!(walk(&Bytes::new(), 50).next, 50);
    }
}
