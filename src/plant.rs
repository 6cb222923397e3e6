//! Bugs that are planted into this library on purpose, each of which the whole simulation must catch.

use std::cell::Cell;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Plant {
    /// An order counts as settled before its handler has ended.
    CommitBeforeEffect,
    /// A dead letter that cannot be written is taken for written.
    SkipFailedLetter,
    /// A batch that was sent twice does not move the producer's sequence.
    SequenceReused,
    /// An identity below the highest that was applied of its source counts as applied.
    HighestSequence,
    /// What stands behind an order that waits for another try is handed out.
    RetryOvertaken,
    /// What was settled beyond the position is forgotten at the next start.
    SettledForgotten,
    /// What was asked for before a partition began anew is taken all the same.
    GapTaken,
}

thread_local! {
    static PLANTED: Cell<Option<Plant>> = const { Cell::new(None) };
}

/// Whether this bug is planted in what runs on this thread.
pub(crate) fn is(plant: Plant) -> bool {
    PLANTED.get() == Some(plant)
}

/// Plants a bug, or none, in what runs on this thread from now on.
pub(crate) fn plant(plant: Option<Plant>) {
    PLANTED.set(plant);
}
