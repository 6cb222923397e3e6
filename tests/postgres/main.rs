//! The store in PostgreSQL: the cases of every store, and what only a database can do.
//!
//! The server is the tests' own, in a folder that is removed. Where none is installed each case is ignored with the
//! reason; with `CI=true` that is a failure. Run it with `make test-postgres`.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test fails by panicking")]
#![allow(clippy::indexing_slicing, clippy::panic, reason = "a test fails by panicking")]
#![allow(clippy::print_stdout, clippy::print_stderr, reason = "a test program tells people what it does")]

mod claims;
mod early;
mod fencing;
mod fleet;
mod guarded;
mod home;
mod opening;
mod own;
mod pooler;
mod prints;
mod protected;
mod relays;
mod requested;
mod server;
#[path = "../store_support/mod.rs"]
mod store_support;
#[path = "../support/mod.rs"]
mod support;

use std::process::ExitCode;
use std::sync::OnceLock;

use libtest_mimic::{Arguments, Trial};

use crate::home::{Pooled, Postgres};
use crate::server::{Server, programs};
use crate::store_support::cases::model::{run, steps};
use crate::store_support::{
    asking_cases, event_cases, forget_cases, letter_cases, model_cases, move_cases, overlay_cases, replay_cases,
    rule_cases, trace_cases,
};
use crate::support::wait;

/// The server that most cases share.
static SERVER: OnceLock<Server> = OnceLock::new();

/// The shared server, which is started by the first that asks. Losing power is not its subject.
pub(crate) fn server() -> &'static Server {
    SERVER.get_or_init(|| {
        let programs = programs().expect("the programs were found");
        Server::start(
            &programs,
            &["fsync=off", "synchronous_commit=off", "max_connections=60", "deadlock_timeout=100ms"],
        )
    })
}

/// A test.
pub(crate) type Case = (String, fn());

pub(crate) fn block_on(work: impl Future<Output = ()>) {
    tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap().block_on(work);
}

/// Makes each case of every store one on PostgreSQL.
macro_rules! on_postgres {
    ($module:ident: $($case:ident),*) => {
        vec![$({
            let body: fn() = || block_on(store_support::cases::$module::$case::<Postgres>());
            (concat!(stringify!($module), "::", stringify!($case)).to_owned(), body)
        }),*]
    };
}

/// The same through a pooler.
macro_rules! on_pooled {
    ($module:ident: $($case:ident),*) => {
        vec![$({
            let body: fn() = || block_on(store_support::cases::$module::$case::<Pooled>());
            (concat!("pooled::", stringify!($module), "::", stringify!($case)).to_owned(), body)
        }),*]
    };
}

fn the_store_does_what_a_plain_model_does() {
    use proptest::test_runner::{Config, TestRunner};
    let config = Config { cases: 32, failure_persistence: None, ..Config::default() };
    let ran = TestRunner::new(config).run(&steps(), |steps| {
        block_on(run::<Postgres>(steps));
        Ok(())
    });
    ran.unwrap_or_else(|error| panic!("{error}"));
}

fn main() -> ExitCode {
    let mut arguments = Arguments::from_args();
    arguments.test_threads = arguments.test_threads.or(Some(2));
    let lacking = programs().err();
    if let Some(reason) = &lacking {
        eprintln!("every case is ignored: {reason}");
    }
    let model: Case =
        ("model::the_store_does_what_a_plain_model_does".to_owned(), the_store_does_what_a_plain_model_does);
    let shared = [
        rule_cases!(on_postgres),
        letter_cases!(on_postgres),
        event_cases!(on_postgres),
        forget_cases!(on_postgres),
        asking_cases!(on_postgres),
        move_cases!(on_postgres),
        trace_cases!(on_postgres),
        model_cases!(on_postgres),
        overlay_cases!(on_postgres),
        replay_cases!(on_postgres),
        vec![model],
        own::cases(),
        early::cases(),
        opening::cases(),
        prints::cases(),
        guarded::cases(),
        relays::cases(),
        requested::cases(),
        fencing::cases(),
        fleet::cases(),
        claims::cases(),
        protected::cases(),
    ];
    let pooled = [rule_cases!(on_pooled), letter_cases!(on_pooled), event_cases!(on_pooled)];
    let no_pooler = pooler::program().err();
    if let Some(reason) = &no_pooler {
        eprintln!("the cases that begin with `pooled` are ignored: {reason}");
    }
    let trials = shared.into_iter().flatten().map(|case| (case, lacking.is_some()));
    let no_pooler = lacking.is_some() || no_pooler.is_some();
    let pooled = pooled.into_iter().flatten().map(|case| (case, no_pooler));
    let trials = trials.chain(pooled).map(|((name, body), is_lacking)| {
        let kind = if is_lacking { "not installed" } else { "" };
        let trial = Trial::test(name, move || {
            body();
            Ok(())
        });
        trial.with_kind(kind).with_ignored_flag(is_lacking)
    });
    let trials: Vec<_> = trials.collect();
    let ended = libtest_mimic::run(&arguments, trials);
    if let Some(server) = SERVER.get() {
        server.stop();
    }
    ended.exit_code()
}
