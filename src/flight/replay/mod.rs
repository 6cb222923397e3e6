//! Running a recording again: the same machines, the recorded events, virtual time.
//!
//! Each machine begins at the first of its states in the file. Every event is given to it at its recorded time, and what
//! it makes of the event is compared with what it made of it then; so is every later state. A machine that is
//! mended since, or broken, shows as a difference with its line.
//!
//! ```no_run
//! let file = std::fs::File::open("inventory.redb.flight-20261123T071500.123456Z.jsonl")?;
//! let replay = orderflow::flight::replay::replay(std::io::BufReader::new(file))?;
//! println!("{replay}");
//! assert_eq!(replay.differences().count(), 0);
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

mod emit;
mod player;

use std::fmt;
use std::io::BufRead;
use std::time::Duration;

pub use self::emit::emit_test;
use self::player::Players;
use crate::{Error, ErrorCode, Result};

/// The longest line: a segment of the largest ring.
const LINE_BYTES: u64 = 128 << 20;

/// A recording that was run again.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Replay {
    /// What the recording says of itself.
    pub header: Header,
    /// Its lines in their order.
    pub steps: Vec<Step>,
    /// Whether the last line was cut off, as when the process ended while it was written.
    pub is_cut: bool,
}

/// What a recording says of itself.
#[derive(Clone, Debug, Default, PartialEq, Eq, serde::Deserialize)]
pub struct Header {
    /// The number of its form.
    pub flight: u16,
    /// The version of the library that wrote it.
    pub version: String,
    /// Why it was written: `stall`, `fence`, `doubt`, `panic`, `asked` or `signal`.
    pub because: String,
    /// When it was written, in milliseconds since 1970.
    pub written: i64,
    /// When the recorder began, in milliseconds since 1970.
    pub began: i64,
    /// Whether keys of orders are `hashed` or `plain`.
    pub ids: String,
    /// How many older lines had no room any more.
    pub lost: u64,
}

/// One line of a recording.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Step {
    /// Its number in the file, from 1.
    pub line: u64,
    /// Since the recorder began.
    pub at: Duration,
    /// The machine's name; empty for a note.
    pub machine: String,
    /// What the machine learned.
    pub event: String,
    /// What it has done now.
    pub effects: String,
    /// Whether that is what it did then.
    pub verdict: Verdict,
}

/// Whether a machine does again what it did.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// It does.
    Same,
    /// It did this.
    Differs {
        /// As recorded.
        recorded: String,
    },
    /// It cannot be told: a note, a first state, or an event before the first state.
    Unknown,
}

impl Verdict {
    /// `yes`, `NO` or `-`.
    #[must_use]
    pub fn as_str(&self) -> &'static str {
        match self {
            Self::Same => "yes",
            Self::Differs { .. } => "NO",
            Self::Unknown => "-",
        }
    }
}

/// Runs a recording again.
///
/// # Errors
/// [`ErrorCode::Input`] for what is no recording, or one of another form.
pub fn replay<R: BufRead>(mut recording: R) -> Result<Replay> {
    let mut replay = Replay::default();
    let (mut players, mut line, mut number) = (Players::<R>::default(), Vec::new(), 0_u64);
    loop {
        line.clear();
        let mut bounded = std::io::Read::take(&mut recording, LINE_BYTES);
        bounded.read_until(b'\n', &mut line).map_err(|cause| unreadable(number, "cannot be read").caused_by(cause))?;
        let Some((end, text)) = line.split_last() else { return Ok(replay) };
        number += 1;
        let (text, is_whole) = if *end == b'\n' { (text, true) } else { (line.as_slice(), false) };
        let taken = match number {
            1 => header(text).map(|header| replay.header = header),
            _ => players.take(number, text).map(|step| replay.steps.push(step)),
        };
        match taken {
            // A line without its end may have been cut in the middle.
            Err(_) if !is_whole && number > 1 => replay.is_cut = true,
            taken => taken?,
        }
    }
}

fn header(text: &[u8]) -> Result<Header> {
    let header: Header =
        serde_json::from_slice(text).map_err(|cause| unreadable(1, "is no header of a recording").caused_by(cause))?;
    match header.flight {
        super::FORMAT => Ok(header),
        other => {
            let sentence = format!("the recording has form {other}, and this version reads form {}", super::FORMAT);
            let remedy = format!("replay it with orderflow {}", header.version);
            Err(Error::new(ErrorCode::Input, sentence).remedy(remedy))
        }
    }
}

fn unreadable(line: u64, why: &str) -> Error {
    Error::new(ErrorCode::Input, format!("line {line} of the recording {why}"))
}

impl Replay {
    /// Where a machine does something else than it did.
    pub fn differences(&self) -> impl Iterator<Item = &Step> {
        self.steps.iter().filter(|step| matches!(step.verdict, Verdict::Differs { .. }))
    }

    /// How many steps a machine did again as it did.
    #[must_use]
    pub fn same(&self) -> usize {
        self.steps.iter().filter(|step| step.verdict == Verdict::Same).count()
    }
}

/// The timeline: when, which machine, whether the same, what it learned, what it did.
impl fmt::Display for Replay {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for Step { line, at, machine, event, effects, verdict } in &self.steps {
            let seconds = at.as_secs_f64();
            writeln!(f, "{seconds:>12.6}  {machine:<20}  {:<3}  {event}  =>  {effects}", verdict.as_str())?;
            if let Verdict::Differs { recorded } = verdict {
                writeln!(f, "  line {line}: it did something else then: {recorded}")?;
            }
        }
        Ok(())
    }
}
