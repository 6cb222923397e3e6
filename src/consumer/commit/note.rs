//! The text beside a committed offset.
//!
//! With a store it names the store, the version of its position and the topic's identity, so that a second store of one group
//! is noticed, and a copy of the store that is older than this. Without one it names the topic's identity, so that a topic made anew is not begun at the
//! old one's offset (rule R11), and the offsets that are settled beyond the position, so that a restart
//! repeats fewer orders. Both say which orders a handler was given before, so that one that fails or is too slow for every member
//! is not passed round for ever, and which record tripped the partition's breaker, so that a restart does not set aside more.
//!
//! ```text
//!  of1 store redb:0123… 57 in 8a3f…
//!  of1 store redb:0123… 57 in 8a3f… open 0   (the record at the position tripped the breaker)
//!  of1 store redb:0123… 57 in 8a3f… tried 0x2@17…   (its handler was given the order at the position twice; it failed first then)
//!  of1 topic 8a3f… settled 2+1,4+10      (after 2 more, 1 is settled; after 4 more, another 10)
//!  of1 topic 8a3f… tried 0x2,5x1@17…     (the order at the position was tried twice, the fifth after it once; it failed then)
//!  of1 topic 8a3f… tried 0x2@17…+4200    (twice; it failed first then, and again after 4.2 s of being tried)
//! ```

use std::fmt::Write;
use std::time::Duration;

use crate::place::TopicId;
use crate::store::{Settled, Tried};

/// Brokers refuse a longer text unless told otherwise (`offset.metadata.max.bytes`).
const MAX_BYTES: usize = 4096;

const STORE: &str = "of1 store ";
const TOPIC: &str = "of1 topic ";
const SETTLED: &str = " settled ";
const TRIED: &str = " tried ";
const OPEN: &str = " open ";
const IN: &str = " in ";

/// How many orders that were tried are told, the lowest first.
const MOST_TRIED: usize = 64;

/// What a commit's text says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Note {
    /// Nothing of ours.
    None,
    /// A store holds the position, in this version and in the topic of this identity, its handler was given these orders, and
    /// the record at this offset tripped the breaker.
    Store { name: String, version: u64, topic: Option<TopicId>, tried: Vec<Tried>, tripped: Option<i64> },
    /// The position is in the topic of this identity, these offsets beyond it are settled, these orders were tried, and the
    /// record at this offset tripped the breaker.
    Topic { id: TopicId, settled: Settled, tried: Vec<Tried>, tripped: Option<i64> },
}

impl Note {
    /// The text beside a commit of `next`. Of a set that does not fit, the lower part is told.
    pub(crate) fn write(&self, next: i64) -> String {
        match self {
            Self::None => String::new(),
            Self::Store { name, version, topic, tried, tripped } => {
                let mut text = format!("{STORE}{name} {version}");
                if let Some(id) = topic {
                    text.push_str(IN);
                    text.push_str(&id.to_string());
                }
                write_open(*tripped, next, &mut text);
                write_tried(tried, next, &mut text);
                text
            }
            Self::Topic { id, settled, tried, tripped } => {
                let mut text = format!("{TOPIC}{id}");
                write_open(*tripped, next, &mut text);
                write_tried(tried, next, &mut text);
                write_settled(settled, next, &mut text);
                text
            }
        }
    }

    /// Reads the text beside a commit of `next`. What is not ours, or is damaged, says nothing: orders are repeated then.
    pub(crate) fn read(text: &str, next: i64) -> Self {
        let read = match text.strip_prefix(STORE) {
            Some(rest) => read_store(rest, next),
            None => text.strip_prefix(TOPIC).and_then(|rest| read_topic(rest, next)),
        };
        read.unwrap_or(Self::None)
    }
}

fn read_store(text: &str, next: i64) -> Option<Note> {
    let (text, tried) = split_tried(text, next)?;
    let (text, tripped) = read_open(text, next)?;
    let (text, topic) = match text.split_once(IN) {
        Some((text, id)) => (text, Some(read_id(id)?)),
        None => (text, None),
    };
    let (name, version) = text.rsplit_once(' ')?;
    Some(Note::Store { name: name.to_owned(), version: version.parse().ok()?, topic, tried, tripped })
}

fn read_topic(text: &str, next: i64) -> Option<Note> {
    let (text, settled) = match text.split_once(SETTLED) {
        Some((text, pairs)) => (text, read_settled(pairs, next)?),
        None => (text, Settled::new()),
    };
    let (id, tried) = split_tried(text, next)?;
    let (id, tripped) = read_open(id, next)?;
    Some(Note::Topic { id: read_id(id)?, settled, tried, tripped })
}

fn read_id(text: &str) -> Option<TopicId> {
    let (pairs, odd) = text.as_bytes().as_chunks::<2>();
    let byte = |pair: &[u8; 2]| u8::from_str_radix(std::str::from_utf8(pair).ok()?, 16).ok();
    let bytes = pairs.iter().map(byte).collect::<Option<Vec<u8>>>()?;
    <[u8; 16]>::try_from(bytes).ok().filter(|_| odd.is_empty()).map(TopicId::new)
}

fn write_open(tripped: Option<i64>, next: i64, text: &mut String) {
    if let Some(offset) = tripped.filter(|offset| *offset >= next) {
        // Writing to a string does not fail.
        let _ = write!(text, "{OPEN}{}", offset.abs_diff(next));
    }
}

/// What stands before the word, and the offset behind it if it is there.
fn read_open(text: &str, next: i64) -> Option<(&str, Option<i64>)> {
    let Some((text, gap)) = text.split_once(OPEN) else { return Some((text, None)) };
    Some((text, Some(next.checked_add_unsigned(gap.parse().ok()?)?)))
}

fn write_tried(tried: &[Tried], next: i64, text: &mut String) {
    let mut separator = TRIED;
    let from_here = tried.iter().filter(|tried| tried.offset >= next);
    for Tried { offset, times, first_failed, failing_for } in from_here.take(MOST_TRIED) {
        let gap = offset.abs_diff(next);
        let _ = match (first_failed, failing_for.as_millis()) {
            (Some(first), 0) => write!(text, "{separator}{gap}x{times}@{first}"),
            (Some(first), millis) => write!(text, "{separator}{gap}x{times}@{first}+{millis}"),
            (None, _) => write!(text, "{separator}{gap}x{times}"),
        };
        separator = ",";
    }
}

/// What stands before the word, and the orders behind it.
fn split_tried(text: &str, next: i64) -> Option<(&str, Vec<Tried>)> {
    let Some((text, pairs)) = text.split_once(TRIED) else { return Some((text, Vec::new())) };
    Some((text, read_tried(pairs, next)?))
}

fn read_tried(pairs: &str, next: i64) -> Option<Vec<Tried>> {
    let read = |pair: &str| {
        let (gap, times) = pair.split_once('x')?;
        let (times, first) = times.split_once('@').map_or((times, None), |(times, first)| (times, Some(first)));
        let (first, millis) = match first.map(|first| first.split_once('+').unwrap_or((first, "0"))) {
            Some((first, millis)) => (Some(first.parse().ok()?), millis.parse().ok()?),
            None => (None, 0),
        };
        let offset = next.checked_add_unsigned(gap.parse().ok()?)?;
        let failing_for = Duration::from_millis(millis);
        Some(Tried { offset, times: times.parse().ok()?, first_failed: first, failing_for })
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
        let note_of =
            |topic, tripped, tried| Note::Store { name: "redb:0123".into(), version: 57, topic, tried, tripped };
        let note = |topic, tripped| note_of(topic, tripped, Vec::new());
        let failing_for = Duration::from_millis(40);
        let tried = vec![Tried { offset: 11, times: 3, first_failed: Some(7), failing_for }];
        let id = format!("in {}", "8a".repeat(16));
        for (note, rest) in [
            (note(None, None), String::new()),
            (note(Some(ID), None), format!(" {id}")),
            (note(None, Some(11)), " open 2".to_owned()),
            (note(Some(ID), Some(11)), format!(" {id} open 2")),
            (note_of(Some(ID), None, tried.clone()), format!(" {id} tried 2x3@7+40")),
            (note_of(Some(ID), Some(9), tried), format!(" {id} open 0 tried 2x3@7+40")),
        ] {
            let text = format!("of1 store redb:0123 57{rest}");
            assert_eq!(note.write(9), text);
            assert_eq!(Note::read(&text, 9), note);
        }
        assert_eq!(note(None, Some(8)).write(9), note(None, None).write(9), "what is behind us is decided");
    }

    #[test]
    fn orders_are_told_with_how_often_they_were_tried_and_when_they_failed_first() {
        let settled: Settled = [42].into_iter().collect();
        let tried = |offset, times, first_failed, millis| Tried {
            offset,
            times,
            first_failed,
            failing_for: Duration::from_millis(millis),
        };
        let first = Some(1_700_000_000_000);
        let told = vec![tried(40, 2, None, 0), tried(45, 1, first, 0), tried(46, 3, first, 4_200)];
        let all = [&[tried(7, 9, None, 0)], &told[..]].concat();
        let text = Note::Topic { id: ID, settled: settled.clone(), tried: all, tripped: Some(40) }.write(40);
        assert_eq!(
            text,
            format!("of1 topic {ID} open 0 tried 0x2,5x1@{at},6x3@{at}+4200 settled 2+1", at = 1_700_000_000_000_u64)
        );
        assert_eq!(Note::read(&text, 40), Note::Topic { id: ID, settled, tried: told, tripped: Some(40) });
    }

    #[test]
    fn what_is_not_ours_says_nothing() {
        let hex = "8a".repeat(16);
        let damaged = [
            "tried ",
            "tried 1",
            "tried 1x",
            "tried 1x-1 settled 2+1",
            "tried 1x1@",
            "tried 1x1@7+",
            "tried 1x1@7+-1",
            "open ",
            "open -1 settled 2+1",
            "settled ",
            "settled 1+",
            "settled 1+99999999999999999999",
            "1",
        ];
        let mut texts: Vec<String> = damaged.iter().map(|rest| format!("of1 topic {hex} {rest}")).collect();
        texts.extend(
            [
                "",
                "hello",
                "of1 store x",
                "of1 store x 7 tried ",
                "of1 store x 7 tried 1x1@",
                "of1 topic 8a",
                "of1 topic +1+1",
            ]
            .map(str::to_owned),
        );
        for text in texts {
            assert_eq!(Note::read(&text, 0), Note::None, "{text}");
        }
    }

    #[test]
    fn of_a_set_that_does_not_fit_the_lower_part_is_told() {
        let set: Settled = (0..5_000).map(|n| 1_000 + n * 1_001).collect();
        let text = Note::Topic { id: ID, settled: set.clone(), tried: Vec::new(), tripped: None }.write(0);
        assert!(text.len() <= MAX_BYTES);
        let Note::Topic { settled, .. } = Note::read(&text, 0) else { panic!("{text}") };
        assert!(settled.len() > 100 && settled.ranges().zip(set.ranges()).all(|(left, right)| left == right));
    }

    proptest! {
        #[test]
        fn a_set_reads_back_as_it_was(
            offsets in prop::collection::btree_set(1_i64..300, 0..60),
            slow in prop::collection::btree_map(0_i64..300, (1_u32..9, any::<Option<(i64, u32)>>()), 0..MOST_TRIED),
            open in prop::option::of(0_i64..300),
            next in 0_i64..1_000_000,
        ) {
            let settled = offsets.iter().map(|offset| next + offset).collect();
            let tried = slow.iter().map(|(offset, (times, failed))| {
                let (first_failed, millis) = failed.map_or((None, 0), |(first, millis)| (Some(first), millis.into()));
                let failing_for = Duration::from_millis(millis);
                Tried { offset: next + offset, times: *times, first_failed, failing_for }
            });
            let note = Note::Topic { id: ID, settled, tried: tried.collect(), tripped: open.map(|open| next + open) };
            prop_assert_eq!(Note::read(&note.write(next), next), note);
        }

        #[test]
        fn no_text_can_hurt(text in ".{0,60}", pairs in "of1 (topic (8a){16}|store x 7)( open [0-9-]{0,20})?( tried [0-9x@+,]{0,20})?( settled [0-9+,]{0,60})?") {
            let _ = Note::read(&text, i64::MAX - 3);
            let _ = Note::read(&pairs, i64::MAX - 3);
        }
    }
}
