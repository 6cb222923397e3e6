//! Rows as an aligned table for people, or as one JSON object a line for programs.

use std::io::IsTerminal;

use serde_json::{Map, Value};

use crate::face::Flags;
use crate::face::output::Lines;

/// How many rows the columns are measured over, so that a million rows are shown as they come.
const MEASURED: usize = 1000;

/// Writes rows as they come.
pub(crate) struct Table<'a> {
    flags: &'a Flags,
    lines: &'a Lines,
    held: Vec<Map<String, Value>>,
    widths: Option<Vec<usize>>,
}

impl<'a> Table<'a> {
    pub(crate) fn new(flags: &'a Flags, lines: &'a Lines) -> Self {
        Self { flags, lines, held: Vec::new(), widths: None }
    }

    /// Takes one row: an object whose fields are the columns.
    pub(crate) fn row(&mut self, object: Value) {
        let Value::Object(row) = object else { return };
        if self.flags.json {
            self.lines.object(&row);
        } else if self.widths.is_some() {
            self.write(&row);
        } else {
            self.held.push(row);
            if self.held.len() >= MEASURED {
                self.begin();
            }
        }
    }

    /// Writes what is held back.
    pub(crate) fn finish(mut self) {
        if !self.flags.json && self.widths.is_none() {
            self.begin();
        }
        self.lines.flush();
    }

    fn begin(&mut self) {
        let rows = std::mem::take(&mut self.held);
        let Some(first) = rows.first() else { return };
        let titles: Map<String, Value> = first.keys().map(|key| (key.clone(), Value::String(title(key)))).collect();
        let measured = || rows.iter().chain([&titles]);
        let widths =
            first.keys().map(|key| measured().map(|row| cell(row.get(key)).chars().count()).max().unwrap_or(0));
        self.widths = Some(widths.collect());
        if std::io::stdout().is_terminal() || !self.flags.quiet {
            self.write(&titles);
        }
        for row in &rows {
            self.write(row);
        }
    }

    fn write(&self, row: &Map<String, Value>) {
        let widths = self.widths.as_deref().unwrap_or_default();
        let cells: Vec<String> =
            row.values().zip(widths).map(|(value, width)| format!("{:<width$}", cell(Some(value)))).collect();
        self.lines.line(&[cells.join("  ").trim_end().as_bytes()]);
    }
}

fn title(key: &str) -> String {
    key.replace('_', " ").to_uppercase()
}

fn cell(value: Option<&Value>) -> String {
    match value {
        None | Some(Value::Null) => "-".into(),
        Some(Value::String(text)) => text.clone(),
        Some(other) => other.to_string(),
    }
}
