//! The text beside a committed offset.
//!
//! With a store it names the store and the version of its position, so that a second store of one group
//! is noticed. Without one it names the topic's identity, so that a topic made anew is not begun at the
//! old one's offset (rule R11), and the offsets that are settled beyond the position, so that a restart
//! repeats fewer orders; and the orders that cost a member its place, so that one that is too slow for every member is not
//! passed round for ever.
//!
//! ```text
//!  of1 store redb:0123… 57
//!  of1 topic 8a3f… settled 2+1,4+10      (after 2 more, 1 is settled; after 4 more, another 10)
//!  of1 topic 8a3f… tried 0x2,5x1         (the order at the position cost two members their place, the fifth after it one)
//! ```

use std::fmt::Write;

use crate::place::TopicId;
use crate::store::Settled;

/// Brokers refuse a longer text unless told otherwise (`offset.metadata.max.bytes`).
const MAX_BYTES: usize = 4096;

const STORE: &str = "of1 store ";
const TOPIC: &str = "of1 topic ";
const SETTLED: &str = " settled ";
const TRIED: &str = " tried ";

/// How many slow orders are told, the lowest first.
const MOST_TRIED: usize = 64;

/// What a commit's text says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Note {
    /// Nothing of ours.
    None,
    /// A store holds the position, in this version.
    Store { name: String, version: u64 },
    /// The position is in the topic of this identity, these offsets beyond it are settled, and the orders at these were
    /// too slow so often.
    Topic { id: TopicId, settled: Settled, tried: Vec<(i64, u32)> },
}

impl Note {
    /// The text beside a commit of `next`. Of a set that does not fit, the lower part is told.
    pub(crate) fn write(&self, next: i64) -> String {
        match self {
            Self::None => String::new(),
            Self::Store { name, version } => format!("{STORE}{name} {version}"),
            Self::Topic { id, settled, tried } => {
                let mut text = format!("{TOPIC}{id}");
                write_tried(tried, next, &mut text);
                write_settled(settled, next, &mut text);
                text
            }
        }
    }

    /// Reads the text beside a commit of `next`. What is not ours, or is damaged, says nothing: orders are repeated then.
    pub(crate) fn read(text: &str, next: i64) -> Self {
        if let Some((name, version)) = text.strip_prefix(STORE).and_then(|rest| rest.rsplit_once(' ')) {
            return version.parse().map_or(Self::None, |version| Self::Store { name: name.to_owned(), version });
        }
        text.strip_prefix(TOPIC).and_then(|rest| read_topic(rest, next)).unwrap_or(Self::None)
    }
}

fn read_topic(text: &str, next: i64) -> Option<Note> {
    let (text, settled) = match text.split_once(SETTLED) {
        Some((text, pairs)) => (text, read_settled(pairs, next)?),
        None => (text, Settled::new()),
    };
    let (id, tried) = match text.split_once(TRIED) {
        Some((id, pairs)) => (id, read_tried(pairs, next)?),
        None => (text, Vec::new()),
    };
    let (pairs, odd) = id.as_bytes().as_chunks::<2>();
    let byte = |pair: &[u8; 2]| u8::from_str_radix(std::str::from_utf8(pair).ok()?, 16).ok();
    let bytes = pairs.iter().map(byte).collect::<Option<Vec<u8>>>()?;
    let bytes = <[u8; 16]>::try_from(bytes).ok().filter(|_| odd.is_empty())?;
    Some(Note::Topic { id: TopicId::new(bytes), settled, tried })
}

fn write_tried(tried: &[(i64, u32)], next: i64, text: &mut String) {
    let mut separator = TRIED;
    for (offset, times) in tried.iter().filter(|(offset, _)| *offset >= next).take(MOST_TRIED) {
        // Writing to a string does not fail.
        let _ = write!(text, "{separator}{}x{times}", offset.abs_diff(next));
        separator = ",";
    }
}

fn read_tried(pairs: &str, next: i64) -> Option<Vec<(i64, u32)>> {
    let read = |pair: &str| {
        let (gap, times) = pair.split_once('x')?;
        Some((next.checked_add_unsigned(gap.parse().ok()?)?, times.parse().ok()?))
    };
    pairs.split(',').take(MOST_TRIED).map(read).collect()
}

fn write_settled(set: &Settled, next: i64, text: &mut String) {
    let mut at = next;
    for (start, end) in set.ranges() {
        let before = text.len();
        let separator = if at == next { SETTLED } else { "," };
        let written = write!(text, "{separator}{}+{}", start.abs_diff(at), end.abs_diff(start));
        if written.is_err() || text.len() > MAX_BYTES {
            text.truncate(before);
            break;
        }
        at = end;
    }
}

fn read_settled(pairs: &str, next: i64) -> Option<Settled> {
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

    const ID: TopicId = TopicId::new([0x8a; 16]);

    #[test]
    fn a_store_is_recognised_by_its_name() {
        let note = Note::Store { name: "redb:0123".into(), version: 57 };
        assert_eq!(note.write(9), "of1 store redb:0123 57");
        assert_eq!(Note::read("of1 store redb:0123 57", 9), note);
    }

    #[test]
    fn slow_orders_are_told_with_how_often_they_were_too_slow() {
        let settled: Settled = [42].into_iter().collect();
        let text = Note::Topic { id: ID, settled: settled.clone(), tried: vec![(7, 9), (40, 2), (45, 1)] }.write(40);
        assert_eq!(text, format!("of1 topic {ID} tried 0x2,5x1 settled 2+1"));
        assert_eq!(Note::read(&text, 40), Note::Topic { id: ID, settled, tried: vec![(40, 2), (45, 1)] });
    }

    #[test]
    fn what_is_not_ours_says_nothing() {
        let hex = "8a".repeat(16);
        let damaged = [
            "tried ",
            "tried 1",
            "tried 1x",
            "tried 1x-1 settled 2+1",
            "settled ",
            "settled 1+",
            "settled 1+99999999999999999999",
            "1",
        ];
        let mut texts: Vec<String> = damaged.iter().map(|rest| format!("of1 topic {hex} {rest}")).collect();
        texts.extend(["", "hello", "of1 store x", "of1 topic 8a", "of1 topic +1+1"].map(str::to_owned));
        for text in texts {
            assert_eq!(Note::read(&text, 0), Note::None, "{text}");
        }
    }

    #[test]
    fn of_a_set_that_does_not_fit_the_lower_part_is_told() {
        let set: Settled = (0..5_000).map(|n| 1_000 + n * 1_001).collect();
        let text = Note::Topic { id: ID, settled: set.clone(), tried: Vec::new() }.write(0);
        assert!(text.len() <= MAX_BYTES);
        let Note::Topic { settled, .. } = Note::read(&text, 0) else { panic!("{text}") };
        assert!(settled.len() > 100 && settled.ranges().zip(set.ranges()).all(|(left, right)| left == right));
    }

    proptest! {
        #[test]
        fn a_set_reads_back_as_it_was(
            offsets in prop::collection::btree_set(1_i64..300, 0..60),
            slow in prop::collection::btree_map(0_i64..300, 1_u32..9, 0..MOST_TRIED),
            next in 0_i64..1_000_000,
        ) {
            let settled = offsets.iter().map(|offset| next + offset).collect();
            let tried = slow.iter().map(|(offset, times)| (next + offset, *times)).collect();
            let note = Note::Topic { id: ID, settled, tried };
            prop_assert_eq!(Note::read(&note.write(next), next), note);
        }

        #[test]
        fn no_text_can_hurt(text in ".{0,60}", pairs in "of1 topic (8a){16}( tried [0-9x,]{0,20})?( settled [0-9+,]{0,60})?") {
            let _ = Note::read(&text, i64::MAX - 3);
            let _ = Note::read(&pairs, i64::MAX - 3);
        }
    }
}
