//! A recording as a regression test.

use std::fmt::Write as _;

use super::Replay;

/// The text of a test that holds the recording and fails once a machine does something else. It needs nothing but this
/// crate. Who mends a machine writes into its lines what it is to do from now on.
#[must_use]
pub fn emit_test(recording: &str, replay: &Replay) -> String {
    let header = &replay.header;
    let when = chrono::DateTime::from_timestamp_millis(header.written).unwrap_or_default();
    let fence = fence_for(recording);
    let mut test = String::new();
    // Writing to a text does not fail.
    let _ = write!(
        test,
        "//! The machines do again what they did before {} (orderflow {}, because: {}).\n\
         #![allow(clippy::expect_used, reason = \"a test fails by panicking\")]\n\n\
         use orderflow::flight::replay::replay;\n\n\
         #[test]\n\
         fn the_machines_do_again_what_they_did_before_{}() {{\n    \
         let replay = replay(RECORDING.as_bytes()).expect(\"the recording is read\");\n    \
         assert_eq!((replay.same(), replay.differences().count()), ({}, 0), \"{{replay}}\");\n\
         }}\n\n\
         /// One step a line: an event, and the effects that it is to have.\n\
         const RECORDING: &str = r{fence}\"{recording}\"{fence};\n",
        when.format("%Y-%m-%dT%H:%M:%SZ"),
        header.version,
        header.because,
        when.format("%Y_%m_%d_at_%H_%M_%S"),
        replay.same().saturating_add(replay.differences().count()),
    );
    test
}

/// So many `#` that nothing in the text ends a raw string.
fn fence_for(text: &str) -> String {
    let longest = text.split('"').skip(1).map(|rest| rest.len() - rest.trim_start_matches('#').len()).max();
    "#".repeat(longest.unwrap_or(0).saturating_add(1))
}
