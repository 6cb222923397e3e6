//! Entries are the same however the bytes come, and memory stays bounded.

use std::io;

use proptest::prelude::*;

use super::*;

/// Gives at most so many bytes a read, and is interrupted or fails when told.
struct Drip<'a> {
    bytes: &'a [u8],
    step: usize,
    reads: usize,
    fail_every: usize,
}

impl Read for Drip<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.reads += 1;
        if self.fail_every > 0 && self.reads.is_multiple_of(self.fail_every) {
            return Err(if self.reads.is_multiple_of(2) {
                io::ErrorKind::Interrupted.into()
            } else {
                io::Error::other("torn")
            });
        }
        let step = self.step.min(self.bytes.len()).min(buffer.len());
        let (now, later) = self.bytes.split_at(step);
        buffer[..step].copy_from_slice(now);
        self.bytes = later;
        Ok(step)
    }
}

/// Index, line, column, bytes, code.
type Seen = (u64, u64, u64, String, Option<&'static str>);

fn seen<R: Read>(entries: &mut EntryReader<R>) -> Vec<Seen> {
    let mut all = Vec::new();
    loop {
        match entries.next_entry() {
            Ok(Some(entry)) => all.push((
                entry.index(),
                entry.line(),
                entry.column(),
                String::from_utf8_lossy(entry.bytes()).into_owned(),
                entry.violation().map(|violation| violation.code().as_str()),
            )),
            Ok(None) => return all,
            Err(error) => assert_eq!(error.code(), ErrorCode::Input),
        }
    }
}

fn of(file: &str) -> Vec<Seen> {
    seen(&mut EntryReader::new(file.as_bytes()))
}

#[test]
fn a_file_without_entries_has_none() {
    for file in ["", " \n\t\r\n", "[]", " [ \n ] \n", "\u{feff}", "\u{feff}[]"] {
        assert_eq!(of(file), [], "{file:?}");
    }
}

#[test]
fn a_bad_line_does_not_hold_up_the_next_one() {
    let entry = |index, line, column, text: &str| (index, line, column, text.to_owned(), None);
    assert_eq!(
        of("\u{feff}{\"a\": \"b\r\n\n  {},\n7 8\t \n\n{}"),
        [entry(0, 1, 1, "{\"a\": \"b"), entry(1, 3, 3, "{},"), entry(2, 4, 1, "7 8"), entry(3, 6, 1, "{}")]
    );
}

#[test]
fn what_is_wrong_with_an_array_is_told_with_its_place() {
    let codes = |file: &str| -> Vec<_> {
        of(file).into_iter().map(|seen| (seen.0, seen.1, seen.2, seen.4.unwrap_or("ok"))).collect()
    };
    assert_eq!(codes("[1,,2]"), [(0, 1, 2, "ok"), (1, 1, 4, "ORD-JSON"), (2, 1, 5, "ok")]);
    assert_eq!(codes("[1,]"), [(0, 1, 2, "ok"), (1, 1, 4, "ORD-JSON")]);
    assert_eq!(codes("[,]"), [(0, 1, 2, "ORD-JSON"), (1, 1, 3, "ORD-JSON")]);
    assert_eq!(codes("[1]\n x"), [(0, 1, 2, "ok"), (1, 2, 2, "ORD-FILE-TRAILING")]);
    assert_eq!(codes("[1,\n 2\n"), [(0, 1, 2, "ok"), (1, 2, 2, "ok"), (2, 3, 1, "ORD-FILE-TRUNCATED")]);
    assert_eq!(codes("[1, {\"a\": [2"), [(0, 1, 2, "ok"), (1, 1, 5, "ORD-FILE-TRUNCATED")]);
    assert_eq!(codes("["), [(0, 1, 2, "ORD-FILE-TRUNCATED")]);
    assert_eq!(codes("[1,"), [(0, 1, 2, "ok"), (1, 1, 4, "ORD-FILE-TRUNCATED")]);
    assert_eq!(codes("[{\"a\": [1}, {}]"), [(0, 1, 2, "ORD-FILE-STRUCTURE")]);
}

#[test]
fn a_broken_element_does_not_hold_up_those_that_begin_in_its_column() {
    let file = "[\n  {\"a\": \"b},\n  {\"c\": 1},\n  {\"d\": [1},\n  {\"e\": {\"f\": 1},\n  {\"g\": 2}\n]\n";
    let bytes: Vec<_> = of(file).into_iter().map(|seen| seen.3).collect();
    assert_eq!(bytes, ["{\"a\": \"b}", "{\"c\": 1}", "{\"d\": [1}", "{\"e\": {\"f\": 1}", "{\"g\": 2}"]);
    assert!(of(file).iter().all(|seen| seen.4.is_none()), "the parser tells what is wrong with them");
}

#[test]
fn an_entry_beyond_the_limit_is_rejected_and_the_rest_goes_on() {
    let long = "x".repeat(400);
    for (file, spot) in [(format!("1\n \"{long}\"\n2"), (2, 2)), (format!("[1,\n \"{long}\" ,2]"), (2, 2))] {
        for step in [1, 7, 300, 10_000] {
            let input = Drip { bytes: file.as_bytes(), step, reads: 0, fail_every: 0 };
            let all = seen(&mut EntryReader::new(input).entry_bytes_max(300));
            let cut = (1, spot.0, spot.1, format!("\"{}", &long[..CUT_KEPT - 1]), Some("ORD-TOO-LARGE"));
            assert_eq!(all.len(), 3, "{all:?}");
            assert_eq!((&all[1], &*all[2].3), (&cut, "2"), "{step}");
        }
    }
}

#[test]
fn a_huge_line_or_element_costs_no_more_memory_than_the_limit() {
    for (opening, closing) in [("", "\n{}\n"), ("[\n", ",\n{}]"), ("[{\"a\": \"", "\"}\n]")] {
        let input = opening.as_bytes().chain(io::repeat(b'x').take(20 << 20)).chain(closing.as_bytes());
        let mut entries = EntryReader::new(input);
        let all = seen(&mut entries);
        assert_eq!(all[0].4, Some("ORD-TOO-LARGE"));
        assert!(entries.window.memory() <= 2 << 20, "{} bytes", entries.window.memory());
    }
}

#[test]
fn a_followed_file_gives_a_line_only_when_it_is_finished() {
    use std::sync::{Arc, Mutex};
    struct Growing(Arc<Mutex<Vec<u8>>>);
    impl Read for Growing {
        fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
            let mut bytes = self.0.lock().unwrap();
            let count = bytes.len().min(buffer.len());
            buffer[..count].copy_from_slice(&bytes[..count]);
            bytes.drain(..count);
            Ok(count)
        }
    }
    let file = Arc::new(Mutex::new(Vec::new()));
    let mut entries = EntryReader::new(Growing(file.clone())).follow().entry_bytes_max(20);
    let mut grow = |text: &str| {
        file.lock().unwrap().extend_from_slice(text.as_bytes());
        seen(&mut entries).into_iter().map(|seen| (seen.0, seen.1, seen.4.unwrap_or("ok"))).collect::<Vec<_>>()
    };
    assert_eq!(grow(""), []);
    assert_eq!(grow(" \n{\"a\""), []);
    assert_eq!(grow(": 1}\n{"), [(0, 2, "ok")]);
    assert_eq!(grow(&"x".repeat(30)), []);
    assert_eq!(grow(&"x".repeat(30)), []);
    assert_eq!(grow("\n{}\n"), [(1, 3, "ORD-TOO-LARGE"), (2, 4, "ok")]);
    assert_eq!(grow(""), []);
}

/// Files made of the parts that decide where entries end.
fn files() -> impl Strategy<Value = String> {
    let part = prop::sample::select(vec![
        "{",
        "}",
        "[",
        "]",
        ",",
        ":",
        "\"",
        "\\",
        "\n",
        "\n  {\"a\": 1}",
        ",\n  {\"b\": \"",
        " ",
        "1",
        "é",
        "{\"a\": [1, \"x\"]}",
        "\r\n",
        "\n]",
    ]);
    let opening = prop::sample::select(vec!["", "[", "[\n", "\u{feff}[", "\u{feff}"]);
    (opening, prop::collection::vec(part, 0..40)).prop_map(|(opening, parts)| format!("{opening}{}", parts.concat()))
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(500))]

    #[test]
    fn entries_are_the_same_however_the_bytes_come(file in files(), step in 1..9_usize, fail_every in 0..4_usize, limit in 1..60_usize) {
        let whole = seen(&mut EntryReader::new(file.as_bytes()).entry_bytes_max(limit));
        let fail_every = if fail_every == 0 { 0 } else { fail_every + 1 };
        let input = Drip { bytes: file.as_bytes(), step, reads: 0, fail_every };
        prop_assert_eq!(seen(&mut EntryReader::new(input).entry_bytes_max(limit)), whole);
    }

    #[test]
    fn the_elements_of_a_valid_array_are_those_that_a_parser_finds(values in prop::collection::vec("[a-z\"\\\\{},:\\[\\]\n ]{0,9}", 0..6), pretty in any::<bool>()) {
        let value = serde_json::json!(values.iter().map(|text| serde_json::json!({"k": text, "n": [{"m": text}]})).collect::<Vec<_>>());
        let file = if pretty { serde_json::to_string_pretty(&value) } else { serde_json::to_string(&value) }.unwrap();
        let found: Vec<serde_json::Value> = of(&file).iter().map(|seen| serde_json::from_str(&seen.3).unwrap()).collect();
        prop_assert_eq!(serde_json::Value::from(found), value);
    }
}
