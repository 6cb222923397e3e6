//! How entries are delimited, and so which identities they have, never changes: golden files hold it fast.
//!
//! Beside each file in `fixtures/identity` stands `<file>.expected`: index, place, identity and bytes of every entry, and
//! what the reader itself finds wrong. A difference here means that orders sent before would be applied again.

use std::fmt::Write;
use std::path::PathBuf;

use super::*;
use crate::order::{DeliveryOrder, Identity, InventoryOrder, Order, Source, Violation, ViolationCode};

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
    assert_eq!(checked, 20);
}

/// An order type of other rules: all of it is valid, or nothing.
#[derive(Clone, Debug, PartialEq)]
struct Ruled<const VALID: bool>(Vec<u8>, Option<Identity>);

impl<const VALID: bool> Order for Ruled<VALID> {
    const TYPE: &'static str = "ruled";
    const TOPIC: &'static str = "ruled";

    fn key(&self) -> &[u8] {
        &self.0
    }

    fn identity(&self) -> Option<&Identity> {
        self.1.as_ref()
    }

    fn set_identity(&mut self, identity: Identity) {
        self.1 = Some(identity);
    }

    fn encoded_len(&self) -> usize {
        self.0.len()
    }

    fn encode(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(&self.0);
    }

    fn decode(value: &[u8]) -> Result<Self, Violation> {
        let refused = || Violation::new(ViolationCode::QuantityRange, "never valid");
        if VALID { Ok(Self(value.to_vec(), None)) } else { Err(refused()) }
    }
}

/// The index of every entry, whatever the rules make of it; an order's identity must say the same.
fn indices<O: Order>(file: &[u8]) -> Vec<u64> {
    let source = Source::of_digest(digest_of(file).unwrap());
    let index_of = |entry: Entry<O>| match entry {
        Entry::Order(Located { order, index, .. }) => {
            assert_eq!(order.identity(), Some(&Identity::numbered(source, index).unwrap()));
            index
        }
        Entry::Filtered { index } => index,
        Entry::Rejected(rejection) => rejection.index,
    };
    OrderReader::<O, _>::new(file).with_source(source).map(|entry| index_of(entry.unwrap())).collect()
}

#[test]
fn no_rule_of_any_order_type_shifts_an_identity() {
    for file in std::fs::read_dir(folder()).unwrap() {
        let path = file.unwrap().path();
        let file = std::fs::read(&path).unwrap();
        let all = indices::<Ruled<true>>(&file);
        assert!(all.iter().copied().eq(0..all.len() as u64), "{}", path.display());
        assert_eq!(indices::<Ruled<false>>(&file), all, "{}", path.display());
        assert_eq!(indices::<InventoryOrder>(&file), all, "{}", path.display());
        assert_eq!(indices::<DeliveryOrder>(&file), all, "{}", path.display());
    }
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
