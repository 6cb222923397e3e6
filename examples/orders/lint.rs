//! `orders lint`: all that is wrong with order files.

use std::fs::File;
use std::io::{BufRead, BufReader, IsTerminal, Read};
use std::path::{Path, PathBuf};

use orderflow::order::{Finding, lint as lint_input};
use orderflow::{Error, ErrorCode, Result};
use serde_json::json;

use crate::face::Flags;
use crate::face::finish::Ending;
use crate::face::output::Lines;

/// Checks each file and tells every violation.
pub(crate) fn lint(flags: &Flags, lines: &Lines, files: &[PathBuf]) -> Result<Ending> {
    let mut violations = 0;
    for path in files {
        let mut findings = Findings { flags, lines, path, count: 0 };
        if path.as_os_str() == "-" {
            findings.tell_all(std::io::stdin().lock())?;
        } else {
            let file = File::open(path).map_err(|cause| unreadable(path, &cause.to_string()))?;
            if path.is_dir() {
                return Err(unreadable(path, "it is a directory"));
            }
            findings.tell_all(file)?;
        }
        violations += findings.count;
    }
    Ok(if violations == 0 { Ending::Done } else { Ending::Undone })
}

fn unreadable(path: &Path, reason: &str) -> Error {
    Error::new(ErrorCode::Input, format!("{} cannot be read: {reason}", path.display()))
}

struct Findings<'a> {
    flags: &'a Flags,
    lines: &'a Lines,
    path: &'a Path,
    count: u64,
}

impl Findings<'_> {
    fn tell_all(&mut self, input: impl Read) -> Result<()> {
        for finding in lint_input(input) {
            let finding = finding.map_err(|cause| unreadable(self.path, &cause.to_string()))?;
            self.count += 1;
            self.tell(&finding);
        }
        Ok(())
    }

    fn tell(&self, finding: &Finding) {
        let violation = &finding.violation;
        let file = self.path.display().to_string();
        if self.flags.json {
            self.lines.object(&json!({
                "file": file, "line": finding.line, "column": finding.column, "code": violation.code().as_str(),
                "reason": violation.sentence(), "pointer": violation.pointer(),
            }));
        } else if !self.flags.quiet {
            let (line, column) = (finding.line, finding.column);
            let (code, sentence, pointer) = (violation.code(), violation.sentence(), violation.pointer());
            self.lines.line(&[format!("{file}:{line}:{column}: {code}: {sentence} ({pointer})").as_bytes()]);
            self.show_place(line, column);
        }
    }

    /// On a terminal: the line itself, with a caret under the value.
    fn show_place(&self, line: u64, column: u64) {
        if !std::io::stdout().is_terminal() {
            return;
        }
        let Ok(file) = File::open(self.path) else { return };
        if let Some(text) = nth_line(BufReader::new(file), line).filter(|text| text.len() <= SHOWN_MAX) {
            let before = usize::try_from(column.saturating_sub(1)).unwrap_or_default();
            self.lines.line(&[b"  ", &text]);
            self.lines.line(&[b"  ", " ".repeat(before.min(text.len())).as_bytes(), b"^"]);
        }
    }
}

/// A line longer than this is not shown.
const SHOWN_MAX: usize = 4096;

/// The `line`th line, counted from 1, in bounded memory: of a longer one so much that it is seen to be too long.
fn nth_line(mut file: impl BufRead, line: u64) -> Option<Vec<u8>> {
    for _ in 1..line {
        file.skip_until(b'\n').ok()?;
    }
    let mut text = Vec::new();
    file.take(SHOWN_MAX as u64 + 2).read_until(b'\n', &mut text).ok()?;
    let whole = text.trim_ascii_end().len();
    text.truncate(whole);
    Some(text)
}
