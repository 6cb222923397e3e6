//! Lint: every violation of a file, for orders of both types, by the producers' and consumers' own rules.

use std::collections::VecDeque;
use std::fmt;
use std::io::Read;

use super::entries::EntryReader;
use super::raw_entry::RawEntry;
use crate::Result;
use crate::order::Violation;
use crate::order::validate::examine;

/// So many characters of a line are shown before and from the offending value on.
const SHOWN_BEFORE: usize = 60;
const SHOWN_FROM: usize = 40;

/// One violation in a file.
///
/// `Display` is `LINE:COLUMN: CODE: sentence (pointer)`, to be put behind a file's name and a colon.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finding {
    /// Which entry of the file it is in, from 0.
    pub index: u64,
    /// The line of the offending value, from 1.
    pub line: u64,
    /// The column of the offending value, from 1, in bytes.
    pub column: u64,
    /// The rule that was broken.
    pub violation: Violation,
    /// The part of the entry's line around the offending value. Control characters and bad UTF-8 stand as `\u{fffd}`.
    pub excerpt: String,
    /// How many characters of `excerpt` are before the offending value.
    pub caret: usize,
}

impl Finding {
    fn new(entry: &RawEntry<'_>, violation: Violation) -> Self {
        let (line, column) = entry.place_of(violation.offset());
        let (before, from) = entry.bytes().split_at_checked(violation.offset()).unwrap_or((b"", entry.bytes()));
        let before = before.rsplit(|byte| *byte == b'\n').next().unwrap_or_default();
        let from = from.split(|byte| *byte == b'\n').next().unwrap_or_default();
        let before: Vec<char> =
            shown(before.get(before.len().saturating_sub(SHOWN_BEFORE * 4)..).unwrap_or(before)).collect();
        let before = before.get(before.len().saturating_sub(SHOWN_BEFORE)..).unwrap_or(&before);
        let from = shown(from.get(..SHOWN_FROM * 4).unwrap_or(from)).take(SHOWN_FROM).collect::<String>();
        let excerpt = before.iter().copied().chain(from.chars()).collect();
        Self { index: entry.index(), line, column, violation, excerpt, caret: before.len() }
    }
}

/// The characters as they can be shown: one for one, and none that steers a terminal.
fn shown(bytes: &[u8]) -> impl Iterator<Item = char> {
    let characters: Vec<char> = String::from_utf8_lossy(bytes).chars().collect();
    characters.into_iter().map(|character| if character.is_control() { '\u{fffd}' } else { character })
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}: {}", self.line, self.column, self.violation)
    }
}

/// Every violation of a file; made by [`lint`].
pub struct Lint<R> {
    entries: EntryReader<R>,
    /// The current entry's findings that were not given yet.
    found: VecDeque<Finding>,
}

/// Finds every violation of an order file, several of one entry included.
///
/// ```
/// use orderflow::order::lint;
/// let file = br#"{"order_id": 1, "product_id": "", "quantity": 3, "type": "delivery", "timestamp": "5/30/2023"}"#;
/// let findings: Vec<_> = lint(&file[..]).collect::<Result<_, _>>()?;
/// assert_eq!(findings.len(), 2);
/// assert_eq!(findings[1].to_string(), "1:31: ORD-ID-EMPTY: the id is empty (/product_id)");
/// # Ok::<(), orderflow::Error>(())
/// ```
pub fn lint<R: Read>(input: R) -> Lint<R> {
    Lint { entries: EntryReader::new(input), found: VecDeque::new() }
}

impl<R: Read> Lint<R> {
    /// How many entries were looked at.
    #[must_use]
    pub fn entries(&self) -> u64 {
        self.entries.count()
    }
}

/// An item is an error (`ORD-INPUT`) where the input cannot be read.
impl<R: Read> Iterator for Lint<R> {
    type Item = Result<Finding>;

    fn next(&mut self) -> Option<Self::Item> {
        loop {
            if let Some(finding) = self.found.pop_front() {
                return Some(Ok(finding));
            }
            let entry = match self.entries.next_entry() {
                Ok(entry) => entry?,
                Err(error) => return Some(Err(error)),
            };
            let violations = match entry.violation() {
                Some(violation) => vec![violation.clone()],
                None => examine(entry.bytes(), None).err().unwrap_or_default(),
            };
            self.found.extend(violations.into_iter().map(|violation| Finding::new(&entry, violation)));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_caret_stands_under_the_value_whatever_is_before_it() {
        let long = "é".repeat(300);
        for id in ["1", "é\\u0001", "\u{1b}", &long] {
            let file = format!("[ {{\"x\": \"{id}\",\n \"a\": \"é\", \"quantity\": 0}}]");
            let findings: Vec<_> = lint(file.as_bytes()).map(Result::unwrap).collect();
            for finding in &findings {
                let from: String = finding.excerpt.chars().skip(finding.caret).collect();
                let starts = match finding.violation.code().as_str() {
                    "ORD-QTY-RANGE" => from.starts_with("0}"),
                    "ORD-FIELD-MISSING" => from.starts_with("{\"x\""),
                    _ => from.starts_with('\u{fffd}'),
                };
                assert!(starts, "{finding:?}");
                assert!(finding.excerpt.chars().count() <= SHOWN_BEFORE + SHOWN_FROM);
            }
            assert!(!findings.is_empty());
        }
    }

    #[test]
    fn a_file_without_a_violation_has_no_finding() {
        let mut lint = lint(&include_bytes!("../../../fixtures/orders.json")[..]);
        assert!(lint.next().is_none());
        assert_eq!(lint.entries(), 34);
    }
}
