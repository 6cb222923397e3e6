//! Elements: where one element of a JSON array ends, told from its bytes alone.
//!
//! Only as much of JSON is looked at as is needed to find the end: strings and brackets. Whether the element is valid is
//! the parser's question.

use super::window::is_blank;
use crate::order::codec::plain_prefix;

/// Deeper than this an element is not followed: one bit a level, set for an object.
const LEVELS: u32 = 128;

/// Why an element ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Stop {
    /// A comma follows.
    Comma,
    /// The array's closing bracket follows.
    Close,
    /// The element is broken, and by its place in the line the next one follows.
    Next,
}

/// The state between two parts of one element.
#[derive(Debug)]
pub(super) struct Element {
    /// The column in which the element begins, if it is the first on its line.
    column: Option<u64>,
    state: State,
    levels: u128,
    depth: u32,
    /// The last byte that was not blank, of the parts before.
    last: u8,
    /// The column behind the parts before, if only blanks stand before it in its line.
    indent: Option<u64>,
    fed: usize,
    broken: Option<usize>,
}

#[derive(Clone, Copy, Debug)]
enum State {
    Between,
    InString,
    /// After a backslash in a string.
    Escaped,
    /// Broken, at the beginning of a line, before this column.
    LineStart(u64),
    /// Broken, elsewhere in a line.
    InLine,
}

impl Element {
    pub(super) fn new(column: Option<u64>) -> Self {
        Self { column, state: State::Between, levels: 0, depth: 0, last: 0, indent: None, fed: 0, broken: None }
    }

    /// Where the inside could not be told any more, in bytes from the element's beginning.
    pub(super) fn broken(&self) -> Option<usize> {
        self.broken
    }

    /// Whether the end of the file could be the end of the element.
    pub(super) fn is_closed(&self) -> bool {
        matches!(self.state, State::Between) && self.depth == 0
    }

    /// Looks at the next part. Gives why and where in it the element ends.
    pub(super) fn feed(&mut self, part: &[u8]) -> Option<(Stop, usize)> {
        let mut at = 0;
        while let Some(rest) = part.get(at..).filter(|rest| !rest.is_empty()) {
            let (moved, stop) = match self.state {
                State::Between => self.between(part, at),
                State::InString => (self.in_string(part, at), None),
                State::Escaped => {
                    self.state = State::InString;
                    // A line end ends the string even here.
                    (usize::from(rest.first() != Some(&b'\n')), None)
                }
                State::LineStart(column) => self.line_start(rest, column),
                State::InLine => (self.in_line(rest), None),
            };
            at += moved;
            if let Some(stop) = stop {
                self.fed += at;
                return Some((stop, at));
            }
        }
        self.indent = self.indent_behind(part);
        self.last = self.last_behind(part);
        self.fed += part.len();
        None
    }

    /// Moves to the next string or bracket that matters.
    #[inline]
    fn between(&mut self, part: &[u8], from: usize) -> (usize, Option<Stop>) {
        let mut at = from;
        while let Some(byte) = part.get(at) {
            match byte {
                b'"' => {
                    self.state = State::InString;
                    return (at + 1 - from, None);
                }
                b',' if self.depth == 0 => return (at - from, Some(Stop::Comma)),
                b']' if self.depth == 0 => return (at - from, Some(Stop::Close)),
                b'{' | b'[' if !self.open(*byte, before(part, at)) => return (self.give_up(part, at) - from, None),
                b'}' | b']' if !self.close(*byte) => return (self.give_up(part, at) - from, None),
                _ => at += 1,
            }
        }
        (at - from, None)
    }

    /// Opens a bracket, unless it stands in an object where no value can be, or too deep.
    fn open(&mut self, bracket: u8, before: &[u8]) -> bool {
        if self.depth > 0 && self.levels & 1 == 1 && self.last_behind(before) != b':' {
            return false;
        }
        self.depth += 1;
        self.levels = self.levels << 1 | u128::from(bracket == b'{');
        self.depth <= LEVELS
    }

    /// Closes a bracket, unless it is of the wrong kind. One too many is left to the parser.
    fn close(&mut self, bracket: u8) -> bool {
        if self.depth == 0 {
            return true;
        }
        let fits = (self.levels & 1 == 1) == (bracket == b'}');
        self.depth -= 1;
        self.levels >>= 1;
        fits
    }

    #[inline]
    fn in_string(&mut self, part: &[u8], from: usize) -> usize {
        let rest = part.get(from..).unwrap_or_default();
        let plain = plain_prefix(rest);
        match rest.get(plain) {
            Some(b'"') => self.state = State::Between,
            Some(b'\\') => self.state = State::Escaped,
            Some(b'\n') => return self.give_up(part, from + plain) - from,
            Some(_) => {}
            None => return plain,
        }
        plain + 1
    }

    /// From here on only lines are told apart. The byte at `at` of the part is looked at again.
    fn give_up(&mut self, part: &[u8], at: usize) -> usize {
        self.broken = Some(self.fed + at);
        self.state = self.indent_behind(before(part, at)).map_or(State::InLine, State::LineStart);
        at
    }

    /// The last byte behind this beginning of a part that is not blank.
    fn last_behind(&self, beginning: &[u8]) -> u8 {
        beginning.iter().rev().find(|byte| !is_blank(**byte)).copied().unwrap_or(self.last)
    }

    /// The column behind this beginning of a part, if only blanks stand before it in its line.
    fn indent_behind(&self, beginning: &[u8]) -> Option<u64> {
        let blanks = beginning.iter().rev().take_while(|byte| is_blank(**byte) && **byte != b'\n').count();
        match beginning.len().checked_sub(blanks + 1) {
            None => self.indent.map(|column| column + blanks as u64),
            Some(at) => (beginning.get(at) == Some(&b'\n')).then_some(blanks as u64 + 1),
        }
    }

    fn in_line(&mut self, rest: &[u8]) -> usize {
        match memchr::memchr(b'\n', rest) {
            Some(line_end) => {
                self.state = State::LineStart(1);
                line_end + 1
            }
            None => rest.len(),
        }
    }

    fn line_start(&mut self, rest: &[u8], column: u64) -> (usize, Option<Stop>) {
        match (rest.first(), self.column) {
            (Some(b'{'), Some(own)) if column == own => return (0, Some(Stop::Next)),
            (Some(b']'), Some(own)) if column < own => return (0, Some(Stop::Close)),
            (Some(b' ' | b'\t' | b'\r'), _) => self.state = State::LineStart(column + 1),
            (Some(b'\n'), _) => self.state = State::LineStart(1),
            _ => self.state = State::InLine,
        }
        (1, None)
    }
}

fn before(part: &[u8], at: usize) -> &[u8] {
    part.get(..at).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn end_of(text: &str) -> Option<(Stop, usize)> {
        Element::new(Some(3)).feed(text.as_bytes())
    }

    #[test]
    fn an_element_ends_at_a_comma_or_bracket_outside_strings_and_inner_brackets() {
        for (element, stop) in [
            (r#"{"a": "},]", "b": [1, {"c": 2}]}"#, Stop::Comma),
            (r#"{"a\\": "\"", "b": "\\"}"#, Stop::Comma),
            ("7 8", Stop::Close),
            ("", Stop::Close),
            ("{}}", Stop::Comma),
            ("{}\n{}", Stop::Comma),
        ] {
            let follows = if stop == Stop::Comma { ", {}" } else { "] ," };
            assert_eq!(end_of(&format!("{element}{follows}")), Some((stop, element.len())), "{element}");
        }
        assert_eq!(end_of(r#"{"a": 1"#), None);
    }

    #[test]
    fn a_broken_element_ends_before_a_line_that_begins_in_its_column() {
        for broken in [
            r#"{"a": "b}, "#,
            r#"{"a": [1}, "#,
            r#"{"a": {"b": 1}, "#,
            r#"{"a": 1 {"#,
            "{\"a\": \"\\",
            &"[".repeat(200),
        ] {
            let next = format!("{broken}\n    {{}},\n ,\n  {{\"a\"");
            assert_eq!(end_of(&next), Some((Stop::Next, next.len() - 4)), "{broken}");
            let close = format!("{broken}\n    ]\n ] x");
            assert_eq!(end_of(&close), Some((Stop::Close, close.len() - 3)), "{broken}");
            assert_eq!(Element::new(None).feed(next.as_bytes()), None, "{broken}");
        }
    }

    fn parts() -> impl Strategy<Value = String> {
        let part = prop::sample::select(vec![
            "{", "}", "[", "]", ",", ":", "\"", "\\", "\n", "  {", " ", "a", "\u{e9}", "12345678",
        ]);
        prop::collection::vec(part, 0..40).prop_map(|parts| parts.concat())
    }

    proptest! {
        #[test]
        fn the_end_is_the_same_however_the_bytes_come(text in parts(), sizes in prop::collection::vec(1..9_usize, 40..41)) {
            let whole = Element::new(Some(3)).feed(text.as_bytes());
            let (mut element, mut at, mut found) = (Element::new(Some(3)), 0, None);
            for size in sizes.iter().cycle() {
                let end = (at + size).min(text.len());
                found = element.feed(&text.as_bytes()[at..end]).map(|(stop, place)| (stop, at + place));
                at = end;
                if found.is_some() || at == text.len() { break }
            }
            prop_assert_eq!(found, whole);
        }

        #[test]
        fn a_valid_value_ends_where_it_ends(values in prop::collection::vec("[a-z\"\\\\{},\\[\\]:\n\u{e9}]{0,12}", 0..6)) {
            let value = serde_json::json!([{"k": values, "m": {"n": values}}, values]).to_string();
            prop_assert_eq!(end_of(&format!("{value},")), Some((Stop::Comma, value.len())));
        }
    }
}
