//! The text beside a committed offset.
//!
//! With a store it names the store and the version of its position, so that a second store of one group
//! is noticed. Without one it carries the offsets that are settled beyond the position, so that a restart
//! repeats fewer orders.
//!
//! ```text
//!  of1 store redb:0123… 57          of1 settled 2+1,4+10        (2 on is settled, then after 4 more another 10)
//! ```

use std::fmt::Write;

use crate::store::Settled;

/// Brokers refuse a longer text unless told otherwise (`offset.metadata.max.bytes`).
const MAX_BYTES: usize = 4096;

const STORE: &str = "of1 store ";
const SETTLED: &str = "of1 settled ";

/// What a commit's text says.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) enum Note {
    /// Nothing of ours.
    #[default]
    None,
    /// A store holds the position, in this version.
    Store { name: String, version: u64 },
    /// These offsets beyond the position are settled.
    Settled(Settled),
}

impl Note {
    /// The text beside a commit of `next`. Of a set that does not fit, the lower part is told.
    pub(crate) fn write(&self, next: i64) -> String {
        match self {
            Self::None => String::new(),
            Self::Store { name, version } => format!("{STORE}{name} {version}"),
            Self::Settled(set) if set.is_empty() => String::new(),
            Self::Settled(set) => settled_text(set, next),
        }
    }

    /// Reads the text beside a commit of `next`. What is not ours, or is cut, says nothing: orders are repeated then.
    pub(crate) fn read(text: &str, next: i64) -> Self {
        if let Some((name, version)) = text.strip_prefix(STORE).and_then(|rest| rest.rsplit_once(' ')) {
            return version.parse().map_or(Self::None, |version| Self::Store { name: name.to_owned(), version });
        }
        let set = text.strip_prefix(SETTLED).and_then(|pairs| settled_set(pairs, next));
        set.map_or(Self::None, Self::Settled)
    }
}

fn settled_text(set: &Settled, next: i64) -> String {
    let mut text = String::from(SETTLED);
    let mut at = next;
    for (start, end) in set.ranges() {
        let before = text.len();
        let separator = if at == next { "" } else { "," };
        let written = write!(text, "{separator}{}+{}", start.abs_diff(at), end.abs_diff(start));
        if written.is_err() || text.len() > MAX_BYTES {
            text.truncate(before);
            break;
        }
        at = end;
    }
    text
}

fn settled_set(pairs: &str, next: i64) -> Option<Settled> {
    let (mut set, mut at) = (Settled::new(), next);
    for pair in pairs.split(',') {
        let (gap, length) = pair.split_once('+')?;
        let start = at.checked_add_unsigned(gap.parse().ok()?)?;
        at = start.checked_add_unsigned(length.parse().ok()?)?;
        set.insert_range(start, at);
    }
    Some(set)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_store_is_recognised_by_its_name() {
        let note = Note::Store { name: "redb:0123".into(), version: 57 };
        assert_eq!(note.write(9), "of1 store redb:0123 57");
        assert_eq!(Note::read("of1 store redb:0123 57", 9), note);
    }

    #[test]
    fn what_is_not_ours_says_nothing() {
        for text in ["", "hello", "of1 store x", "of1 settled ", "of1 settled 1+", "of1 settled 1+99999999999999999999"]
        {
            assert_eq!(Note::read(text, 0), Note::None, "{text}");
        }
    }

    #[test]
    fn of_a_set_that_does_not_fit_the_lower_part_is_told() {
        let set: Settled = (0..5_000).map(|n| 1_000 + n * 1_001).collect();
        let text = Note::Settled(set.clone()).write(0);
        assert!(text.len() <= MAX_BYTES);
        let Note::Settled(read) = Note::read(&text, 0) else { panic!("{text}") };
        assert!(!read.is_empty() && read.ranges().zip(set.ranges()).all(|(left, right)| left == right));
    }

    proptest! {
        #[test]
        fn a_set_reads_back_as_it_was(offsets in prop::collection::btree_set(1_i64..300, 0..60), next in 0_i64..1_000_000) {
            let set: Settled = offsets.iter().map(|offset| next + offset).collect();
            let expected = if set.is_empty() { Note::None } else { Note::Settled(set.clone()) };
            prop_assert_eq!(Note::read(&Note::Settled(set).write(next), next), expected);
        }

        #[test]
        fn no_text_can_hurt(text in ".{0,60}", pairs in "of1 settled [0-9+,]{0,60}") {
            let _ = Note::read(&text, i64::MAX - 3);
            let _ = Note::read(&pairs, i64::MAX - 3);
        }
    }
}
