//! The fuzzer's checks without a fuzzer: on arbitrary bytes, on valid ones that were mutated.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    unreachable_pub,
    reason = "a check fails by panicking"
)]

#[path = "../../fuzz/checks/mod.rs"]
mod checks;
mod seeds;

use checks::{ALL, Check};
use proptest::prelude::*;
use proptest::test_runner::{Config, TestRunner};

/// How often each check is run on each kind of input.
const CASES: u32 = 1_500;

#[track_caller]
fn hold(name: &str) {
    let (_, check): &Check = ALL.iter().find(|(known, _)| *known == name).expect("a check of this name");
    let seeds = seeds::of(name);
    // A seed that a check does not accept proves nothing.
    seeds.iter().for_each(|seed| check(seed));
    let mut runner = TestRunner::new(Config { cases: CASES, failure_persistence: None, ..Config::default() });
    let input = prop_oneof![
        1 => prop::collection::vec(any::<u8>(), 0..400),
        3 => (prop::sample::select(seeds), prop::collection::vec(change(), 1..6)).prop_map(|(seed, changes)| {
            changes.into_iter().fold(seed, |seed, change| change.made_to(seed))
        }),
    ];
    let ran = runner.run(&input, |bytes| {
        check(&bytes);
        Ok(())
    });
    if let Err(failed) = ran {
        panic!("{name}: {failed}");
    }
}

/// A change to valid bytes.
#[derive(Clone, Debug)]
enum Change {
    Set(prop::sample::Index, u8),
    Extreme(prop::sample::Index, [u8; 4]),
    Cut(prop::sample::Index),
    Remove(prop::sample::Index),
    Repeat(prop::sample::Index, u8),
}

fn change() -> impl Strategy<Value = Change> {
    let at = any::<prop::sample::Index>;
    let extremes: Vec<[u8; 4]> =
        vec![[255; 4], [0; 4], i32::MAX.to_be_bytes(), i32::MIN.to_be_bytes(), [255, 255, 255, 15], *b"[{[\""];
    prop_oneof![
        (at(), any::<u8>()).prop_map(|(at, byte)| Change::Set(at, byte)),
        (at(), prop::sample::select(extremes)).prop_map(|(at, bytes)| Change::Extreme(at, bytes)),
        at().prop_map(Change::Cut),
        at().prop_map(Change::Remove),
        (at(), any::<u8>()).prop_map(|(at, count)| Change::Repeat(at, count)),
    ]
}

impl Change {
    fn made_to(self, mut bytes: Vec<u8>) -> Vec<u8> {
        if bytes.is_empty() {
            return bytes;
        }
        match self {
            Self::Set(at, byte) => {
                let at = at.index(bytes.len());
                bytes[at] = byte;
            }
            Self::Extreme(at, extreme) => {
                let at = at.index(bytes.len());
                bytes.iter_mut().skip(at).zip(extreme).for_each(|(byte, extreme)| *byte = extreme);
            }
            Self::Cut(at) => {
                let at = at.index(bytes.len());
                bytes.truncate(at);
            }
            Self::Remove(at) => {
                let at = at.index(bytes.len());
                bytes.remove(at);
            }
            Self::Repeat(at, count) => {
                let at = at.index(bytes.len());
                let repeated = vec![bytes[at]; usize::from(count)];
                bytes.splice(at..at, repeated);
            }
        }
        bytes
    }
}

macro_rules! each_holds {
    ($($check:ident)*) => {
        $(#[test]
        fn $check() {
            hold(stringify!($check));
        })*

        #[test]
        fn every_check_of_the_fuzzer_is_run_here_and_has_a_target() {
            let run = [$(stringify!($check)),*];
            assert_eq!(ALL.iter().map(|(name, _)| *name).collect::<Vec<_>>(), run);
            let manifest = std::fs::read_to_string("fuzz/Cargo.toml").unwrap();
            for name in run {
                assert!(manifest.contains(&format!("path = \"fuzz_targets/{name}.rs\"")), "{name}");
                let target = std::fs::read_to_string(format!("fuzz/fuzz_targets/{name}.rs")).unwrap();
                assert!(target.contains(&format!("checks::{name}(bytes)")), "{name}");
            }
        }
    };
}

each_holds! {
    record_batch compression message request_header order_file order_codec date identity properties
}
