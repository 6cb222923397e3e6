//! Every message in every version.

mod debug_tree;
mod oracle;

use bytes::Bytes;
use proptest::prelude::*;
use proptest::test_runner::{Config, TestRunner};

use super::*;
use crate::wire::codec::sample::{Draw, Sample};

/// A check that is made on every API.
pub(super) trait Visitor {
    fn api<R>(&mut self)
    where
        R: Request<Response: Sample + PartialEq> + Sample + PartialEq;
}

fn each_message(check: impl Fn(&Subject)) {
    struct Each<F>(F);
    impl<F: Fn(&Subject)> Visitor for Each<F> {
        fn api<R>(&mut self)
        where
            R: Request<Response: Sample + PartialEq> + Sample + PartialEq,
        {
            for version in R::VERSIONS.min..=R::VERSIONS.max {
                self.0(&Subject::of::<R, R>(version, "request"));
                self.0(&Subject::of::<R, R::Response>(version, "response"));
            }
        }
    }
    api::visit_all(&mut Each(check));
}

/// One message in one version, with what can be done to it.
struct Subject {
    name: String,
    round_trip: fn(&[u8], i16) -> Result<Vec<u8>, TestCaseError>,
    reencode: fn(&[u8], i16) -> Option<Vec<u8>>,
    version: i16,
}

impl Subject {
    fn of<R: Request, M: Encode + Decode + Sample + PartialEq + std::fmt::Debug>(version: i16, side: &str) -> Self {
        Self {
            name: format!("{} {side} v{version}", R::API),
            round_trip: |choices, version| {
                let message = M::sample(&mut Draw::new(choices), Shape::new(version, R::FLEXIBLE_FROM));
                let bytes = encoded(&message, version, R::FLEXIBLE_FROM);
                let back = decode_body::<M>(bytes.clone().into(), version, R::FLEXIBLE_FROM);
                prop_assert_eq!(back.as_ref(), Ok(&message));
                Ok(bytes)
            },
            reencode: |bytes, version| {
                let message = decode_body::<M>(Bytes::copy_from_slice(bytes), version, R::FLEXIBLE_FROM).ok()?;
                Some(encoded(&message, version, R::FLEXIBLE_FROM))
            },
            version,
        }
    }
}

fn encoded<M: Encode>(message: &M, version: i16, flexible_from: i16) -> Vec<u8> {
    let mut out = Vec::new();
    encode_body(message, version, flexible_from, &mut out).unwrap();
    out
}

fn run<S: Strategy>(name: &str, cases: u32, strategy: S, check: impl Fn(S::Value) -> Result<(), TestCaseError>) {
    let config = Config { cases, failure_persistence: None, ..Config::default() };
    TestRunner::new(config).run(&strategy, check).unwrap_or_else(|failure| panic!("{name}: {failure}"));
}

#[test]
fn every_message_reads_back_in_every_version() {
    let choices = proptest::collection::vec(any::<u8>(), 0..400);
    each_message(|subject| {
        run(&subject.name, 30, &choices, |choices| (subject.round_trip)(&choices, subject.version).map(drop));
    });
}

#[test]
fn changed_bytes_are_an_error_or_another_message_that_reads_back() {
    let choices = (proptest::collection::vec(any::<u8>(), 0..200), any::<prop::sample::Index>(), any::<u8>());
    each_message(|subject| {
        run(&subject.name, 60, &choices, |(choices, place, byte)| {
            let mut bytes = (subject.round_trip)(&choices, subject.version)?;
            if bytes.is_empty() {
                return Ok(());
            }
            let place = place.index(bytes.len());
            bytes[place] = byte;
            reads_the_same_again(subject, &bytes)?;
            // A prefix is what a peer leaves that dies.
            reads_the_same_again(subject, &bytes[..place])
        });
    });
}

#[test]
fn any_bytes_are_an_error_or_a_message_that_reads_back() {
    // Small numbers are likely lengths and counts.
    let byte = prop_oneof![3 => 0_u8..6, 1 => any::<u8>(), 1 => Just(0xff_u8), 1 => Just(0x7f_u8)];
    let bytes = proptest::collection::vec(byte, 0..120);
    each_message(|subject| {
        run(&subject.name, 60, &bytes, |bytes| reads_the_same_again(subject, &bytes));
    });
}

fn reads_the_same_again(subject: &Subject, bytes: &[u8]) -> Result<(), TestCaseError> {
    let Some(once) = (subject.reencode)(bytes, subject.version) else { return Ok(()) };
    prop_assert_eq!((subject.reencode)(&once, subject.version), Some(once));
    Ok(())
}
