//! How entries are delimited, and so which identities they have, never changes: golden files hold it fast.
//!
//! Beside each file in `fixtures/identity` stands `<file>.expected`: index, place, identity and bytes of every entry, and
//! what the reader itself finds wrong. A difference here means that orders sent before would be applied again.

use std::fmt::Write;
use std::path::PathBuf;

use super::*;
use crate::order::{Identity, Source};

fn folder() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("fixtures/identity")
}

fn told(file: &[u8]) -> String {
    let source = Source::of_digest(digest_of(file).unwrap());
    let mut entries = EntryReader::new(file);
    let mut told = String::new();
    while let Some(entry) = entries.next_entry().unwrap() {
        let identity = Identity::numbered(source, entry.index()).unwrap();
        let (line, column, bytes) = (entry.line(), entry.column(), entry.bytes().escape_ascii());
        let code = entry.violation().map_or("-", |violation| violation.code().as_str());
        writeln!(told, "{line}:{column} {identity} {code} {bytes}").unwrap();
    }
    told
}

#[test]
fn entries_have_the_identities_that_they_always_had() {
    let mut checked = 0;
    for file in std::fs::read_dir(folder()).unwrap() {
        let path = file.unwrap().path();
        if !path.extension().is_some_and(|kind| kind == "json" || kind == "ndjson") {
            continue;
        }
        let told = told(&std::fs::read(&path).unwrap());
        let expected = std::fs::read_to_string(format!("{}.expected", path.display())).unwrap_or_default();
        assert_eq!(told, expected, "{} is told as\n{told}", path.display());
        checked += 1;
    }
    assert_eq!(checked, 9);
}

#[test]
fn sources_are_what_they_always_were() {
    let file = Source::of_digest([7; 32]);
    let mut told = String::new();
    for name in ["", "monday", "Zoë", "of1:a:1", "BwcHBwcHBwcHBwcHBwcHBw"] {
        writeln!(told, "{name:?} {} {}", Source::named(name, None), Source::named(name, Some(&file))).unwrap();
    }
    assert_eq!(told, std::fs::read_to_string(folder().join("sources.expected")).unwrap_or_default(), "\n{told}");
}
