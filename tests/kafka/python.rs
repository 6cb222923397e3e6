//! Scripts with kafka-python, which most scripts in a shop are written with, or with librdkafka.

use std::time::Duration;

use serde_json::Value;

use crate::cluster::Servers;
use crate::install;
use crate::support::ndjson;
use crate::support::program::Program;

const SCRIPT: Duration = Duration::from_secs(90);

impl Servers {
    /// Runs a script of `tests/kafka/python` with the bootstrap servers as its first argument. It prints JSON lines.
    pub(crate) fn python(&self, script: &str, args: &[&str], input: &str) -> Vec<Value> {
        let python = install::python().unwrap_or_else(|lacking| panic!("{lacking}"));
        let script = Program::new(python).arg(install::here("python").join(script)).arg(&self.bootstrap);
        let said = script.args(args).input(input).run(SCRIPT).ok();
        ndjson::parse(said.stdout.lines())
    }
}
