//! Remembers at which offset each leader epoch began (KIP-101).

/// The epochs of a log, each with its first offset; both rise.
#[derive(Debug, Default)]
pub(super) struct Epochs(Vec<(i32, i64)>);

impl Epochs {
    /// Notes that `epoch` begins at `offset`. An epoch that wrote nothing leaves no trace.
    pub(super) fn begin(&mut self, epoch: i32, offset: i64) {
        if self.0.last().is_some_and(|(last, _)| *last >= epoch) {
            return;
        }
        self.0.retain(|(_, start)| *start < offset);
        self.0.push((epoch, offset));
    }

    /// The epoch of the record at `offset`, or of the last one before it.
    pub(super) fn at(&self, offset: i64) -> Option<i32> {
        self.0.iter().rev().find(|(_, start)| *start <= offset).map(|(epoch, _)| *epoch)
    }

    /// The last epoch up to `epoch`, with the offset at which the next one begins, or the log's end. `None` beyond the last epoch.
    pub(super) fn end_of(&self, epoch: i32, log_end: i64) -> Option<(i32, i64)> {
        if self.0.last().is_none_or(|(last, _)| epoch > *last) {
            return None;
        }
        let behind = self.0.partition_point(|(known, _)| *known <= epoch);
        let end = self.0.get(behind).map_or(log_end, |(_, start)| *start);
        let floor = behind.checked_sub(1).and_then(|index| self.0.get(index));
        Some((floor.map_or(epoch, |(known, _)| *known), end))
    }

    /// Forgets the epochs that begin at `end` or behind.
    pub(super) fn truncate(&mut self, end: i64) {
        self.0.retain(|(_, start)| *start < end);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_epoch_ends_where_the_next_begins_and_the_last_at_the_logs_end() {
        let mut epochs = Epochs::default();
        for (epoch, start) in [(0, 0), (2, 10), (5, 20)] {
            epochs.begin(epoch, start);
        }
        assert_eq!(epochs.end_of(0, 30), Some((0, 10)));
        assert_eq!(epochs.end_of(1, 30), Some((0, 10)));
        assert_eq!(epochs.end_of(4, 30), Some((2, 20)));
        assert_eq!(epochs.end_of(5, 30), Some((5, 30)));
        assert_eq!(epochs.end_of(6, 30), None, "an epoch that has not been");
        assert_eq!([epochs.at(9), epochs.at(10), epochs.at(99)], [Some(0), Some(2), Some(5)]);
    }

    #[test]
    fn an_epoch_without_records_leaves_no_trace() {
        let mut epochs = Epochs::default();
        epochs.begin(0, 0);
        epochs.begin(1, 10);
        epochs.begin(2, 10);
        assert_eq!(epochs.end_of(1, 30), Some((0, 10)));
        epochs.truncate(10);
        assert_eq!(epochs.end_of(0, 10), Some((0, 10)));
    }
}
