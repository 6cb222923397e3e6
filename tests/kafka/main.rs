//! The promises against Apache Kafka itself, beside its own console tools.
//!
//! ```text
//! install (jars, venv) -> cluster (nodes, faults) -> cases: our examples <-> console tools, kafka-python
//! ```
//! Most cases share one node; those that break something start a cluster of their own. A case whose java, mvn or python3
//! is missing is ignored with the reason; with `CI=true` that is a failure. Run it with `make test-kafka`.
#![allow(clippy::expect_used, clippy::indexing_slicing, clippy::panic, reason = "a test fails by panicking")]
#![allow(clippy::print_stdout, clippy::print_stderr, reason = "a test program tells people what it does")]

mod beside;
mod claim;
mod cluster;
mod console;
mod crash;
mod development;
mod forgotten;
mod groups;
mod harness;
mod idle;
mod inputs;
mod install;
mod interference;
mod interop;
mod letters;
mod library;
mod members;
mod nodes;
mod ours;
mod python;
mod recovery;
mod shop;
mod statics;
mod status;
#[path = "../support/mod.rs"]
mod support;
mod takeover;
mod unclean;

use std::process::ExitCode;
use std::sync::{Arc, OnceLock};

use libtest_mimic::{Arguments, Completion, Trial};

use crate::cluster::Cluster;
use crate::install::Lacking;

/// One test.
#[derive(Clone, Copy)]
pub(crate) struct Case {
    name: &'static str,
    needs: Needs,
    body: fn(&Shared),
}

/// What must be installed for a case.
#[derive(Clone, Copy)]
pub(crate) enum Needs {
    Java,
    JavaAndPython,
}

impl Needs {
    fn lacking(self) -> Option<Lacking> {
        let python = || matches!(self, Self::JavaAndPython).then(|| install::python().err()).flatten();
        install::jars().err().or_else(python)
    }
}

/// A case named as its module and function.
macro_rules! case {
    ($needs:ident, $body:ident) => {
        crate::Case { name: concat!(module_path!(), "::", stringify!($body)), needs: crate::Needs::$needs, body: $body }
    };
}
pub(crate) use case;

/// The node that most cases share, started by the first that asks.
#[derive(Default)]
pub(crate) struct Shared {
    cluster: OnceLock<Cluster>,
}

impl Shared {
    pub(crate) fn cluster(&self) -> &Cluster {
        self.cluster.get_or_init(|| Cluster::start(1, &[]))
    }
}

fn main() -> ExitCode {
    harness::own_if_told();
    ours::join_if_told();
    let shared = Arc::new(Shared::default());
    let ours = [library::CASES, interop::CASES, recovery::CASES, interference::CASES, status::CASES, claim::CASES];
    let files =
        [inputs::CASES, unclean::CASES, groups::CASES, beside::CASES, statics::CASES, takeover::CASES, nodes::CASES];
    let faults = [crash::CASES, crash::long_cases(), letters::CASES, idle::CASES, forgotten::CASES];
    let cases = [&[harness::CASES, development::CASES], ours.as_slice(), &files, &faults].concat().concat();
    let trials = cases.into_iter().map(|case| trial(case, Arc::clone(&shared))).collect();
    let conclusion = libtest_mimic::run(&Arguments::from_args(), trials);
    if let Some(cluster) = Arc::into_inner(shared).and_then(|shared| shared.cluster.into_inner()) {
        cluster.end(conclusion.has_failed());
    }
    if conclusion.num_ignored > 0 && std::env::var("CI").is_ok_and(|ci| ci == "true") {
        eprintln!("CI=true: an ignored test counts as failed");
        return ExitCode::FAILURE;
    }
    conclusion.exit_code()
}

fn trial(case: Case, shared: Arc<Shared>) -> Trial {
    Trial::ignorable_test(case.name.trim_start_matches("kafka::"), move || {
        if let Some(lacking) = case.needs.lacking() {
            return Ok(Completion::ignored_with(lacking));
        }
        (case.body)(&shared);
        Ok(Completion::Completed)
    })
}
