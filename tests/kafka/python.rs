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
        let said = self.script(script).args(args).input(input).run(SCRIPT).ok();
        ndjson::parse(said.stdout.lines())
    }

    /// The same of one that reads nothing, and may take so long.
    pub(crate) fn python_within(&self, script: &str, args: &[&str], within: Duration) -> Vec<Value> {
        ndjson::parse(self.script(script).args(args).run(within).ok().stdout.lines())
    }

    fn script(&self, script: &str) -> Program {
        let python = install::python().unwrap_or_else(|lacking| panic!("{lacking}"));
        Program::new(python).arg(install::here("python").join(script)).arg(&self.bootstrap)
    }
}
