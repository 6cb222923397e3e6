//! `orders flight`: what the pure machines of a consumer saw and did, written to a file, or run again.

use std::path::{Path, PathBuf};

use clap::{Args, Subcommand};
use orderflow::flight::replay::{Replay, Step, Verdict, emit_test, replay};
use orderflow::store::Operation;
use orderflow::{Error, ErrorCode, Result};
use serde_json::json;

use crate::dlq::{once, tell};
use crate::face::Flags;
use crate::face::finish::Ending;
use crate::face::output::{Lines, complain};
use crate::table::Table;

/// What the table shows of a text at most.
const SHOWN: usize = 160;

#[derive(Args, Debug)]
#[command(args_conflicts_with_subcommands = true, subcommand_negates_reqs = true)]
pub(crate) struct Wanted {
    #[command(subcommand)]
    act: Option<Act>,
    /// The store whose consumer is to write
    #[arg(long, required = true)]
    store: Option<String>,
    /// The file to be made; default: beside the store
    #[arg(long, value_name = "FILE")]
    to: Option<PathBuf>,
}

#[derive(Subcommand, Debug)]
enum Act {
    /// Run a recording again in virtual time, and show the timeline
    Replay {
        /// The recording
        file: PathBuf,
        /// Print a regression test instead
        #[arg(long)]
        emit_test: bool,
    },
}

/// Has a recording written, or runs one again.
pub(crate) async fn flight(flags: &Flags, lines: &Lines, wanted: Wanted) -> Result<Ending> {
    match (wanted.act, wanted.store) {
        (Some(Act::Replay { file, emit_test }), _) => again(flags, lines, &file, emit_test),
        (None, store) => {
            let unknown = |cause| Error::new(ErrorCode::Input, "the file's folder cannot be told").caused_by(cause);
            let to = wanted.to.map(std::path::absolute).transpose().map_err(unknown)?;
            let rows = once(&store.unwrap_or_default(), Operation::Flight { to }).await?;
            Ok(tell(flags, lines, &rows, "did"))
        }
    }
}

fn again(flags: &Flags, lines: &Lines, file: &Path, emits_test: bool) -> Result<Ending> {
    let unread = |cause| Error::new(ErrorCode::Input, format!("{} cannot be read", file.display())).caused_by(cause);
    let recording = std::fs::read(file).map_err(unread)?;
    let replay = replay(recording.as_slice())?;
    if emits_test {
        let recording = String::from_utf8_lossy(&recording);
        lines.line(&[emit_test(&recording, &replay).trim_end().as_bytes()]);
        lines.flush();
    } else {
        show(flags, lines, &replay);
    }
    let differences: Vec<_> = replay.differences().collect();
    for Step { line, machine, .. } in &differences {
        complain(&format!("{}:{line}: {machine} does something else than it did", file.display()));
    }
    if replay.is_cut {
        complain("the last line of the recording is cut off");
    }
    complain(&format!("{} steps the same, {} different", replay.same(), differences.len()));
    Ok(if differences.is_empty() { Ending::Done } else { Ending::Undone })
}

fn show(flags: &Flags, lines: &Lines, replay: &Replay) {
    let mut table = Table::new(flags, lines);
    for Step { at, machine, event, effects, verdict, .. } in &replay.steps {
        let recorded = match verdict {
            Verdict::Differs { recorded } => recorded.as_str(),
            Verdict::Same | Verdict::Unknown => "",
        };
        let shown = |text: &str| match flags.json {
            true => text.to_owned(),
            false => shortened(text),
        };
        table.row(json!({
            "at": format!("{:.6}", at.as_secs_f64()),
            "machine": machine,
            "same": verdict.as_str(),
            "event": shown(event),
            "effects": shown(effects),
            "recorded": shown(recorded),
        }));
    }
    table.finish();
}

fn shortened(text: &str) -> String {
    match text.char_indices().nth(SHOWN) {
        Some((end, _)) => format!("{}…", text.get(..end).unwrap_or_default()),
        None => text.to_owned(),
    }
}
