//! A partition between looks, as a verdict.
//!
//! Consumers commit in steps (every 5 s by Kafka's defaults), so two looks a moment apart say nothing. What is exact is
//! the way between two steps: the offsets over the time between two changes of the committed position. A partition is
//! decided as soon as that is known, or as soon as everything that was there at the first look has been read; one that is
//! not decided when the watch ends has not moved.
//!
//! ```text
//!   position   ----+        +-----------+       +---
//!                  |        |           |       |
//!   look       1   2        3     4     5       6        speed = (step at 5) / (time from 3 to 5)
//! ```
//! Nothing here reads a clock: times are spans since the first look.

use std::fmt;
use std::time::Duration;

/// What is to be thought of a partition.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// All is read, or will be.
    Ok,
    /// Its member reads, but no faster than orders arrive.
    Slow,
    /// A member owns it, there is something to read, and its position does not move.
    Stalled,
    /// Its position went back while it was looked at.
    Rewound,
    /// Nobody owns it.
    Stopped,
}

impl Verdict {
    /// The verdict as one word: `OK`, `SLOW`, `STALLED`, `REWOUND`, `STOPPED`.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Ok => "OK",
            Self::Slow => "SLOW",
            Self::Stalled => "STALLED",
            Self::Rewound => "REWOUND",
            Self::Stopped => "STOPPED",
        }
    }
}

impl fmt::Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// What was seen of a partition at one look.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Sight {
    /// When, since the first look.
    pub(super) at: Duration,
    /// The committed position.
    pub(super) position: Option<i64>,
    /// The log's first offset; wanted where nothing is committed.
    pub(super) start: Option<i64>,
    /// The log's end, as a reader of committed records sees it.
    pub(super) end: Option<i64>,
}

impl Sight {
    /// How many offsets are left to read; 0 for a reader that is beyond what is committed.
    fn lag(self) -> Option<i64> {
        Some(self.end?.saturating_sub(self.position?).max(0))
    }

    /// Whether there is nothing to read.
    fn is_done(self) -> bool {
        match self.position {
            Some(_) => self.lag() == Some(0),
            None => self.end.is_some() && self.start == self.end,
        }
    }
}

/// One partition under watch.
#[derive(Clone, Debug)]
pub(super) struct Watch {
    first: Sight,
    last: Sight,
    /// The first and the newest change of the position.
    steps: Option<(Step, Step)>,
    fell: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Step {
    at: Duration,
    position: i64,
}

impl Watch {
    pub(super) fn begin(sight: Sight) -> Self {
        Self { first: sight, last: sight, steps: None, fell: false }
    }

    /// Looks again. What a look did not show stays as it was.
    pub(super) fn look(&mut self, sight: Sight) {
        let Sight { at, position, start, end } = sight;
        if let Some(position) = position.filter(|position| Some(*position) != self.last.position) {
            let step = Step { at, position };
            self.fell |= self.last.position.is_some_and(|before| position < before);
            self.steps = Some((self.steps.map_or(step, |(first, _)| first), step));
        }
        self.first.end = self.first.end.or(end);
        let (position, start, end) =
            (position.or(self.last.position), start.or(self.last.start), end.or(self.last.end));
        self.last = Sight { at, position, start, end };
    }

    /// The newest sight.
    pub(super) fn last(&self) -> Sight {
        self.last
    }

    /// How many offsets are left to read.
    pub(super) fn lag(&self) -> Option<i64> {
        self.last.lag()
    }

    /// Whether another look would not change the verdict of a partition that a member owns.
    pub(super) fn is_decided(&self) -> bool {
        let twice = self.steps.is_some_and(|(first, last)| first != last);
        self.fell || twice || self.last.is_done() || self.has_kept_up()
    }

    /// The verdict, and the seconds until nothing is left to read.
    pub(super) fn judge(&self, is_owned: bool) -> (Verdict, Option<f64>) {
        let drain = self.drain_seconds();
        let verdict = match () {
            () if self.fell => Verdict::Rewound,
            () if !is_owned => Verdict::Stopped,
            () if self.last.is_done() || self.has_kept_up() => Verdict::Ok,
            () if self.steps.is_none() => Verdict::Stalled,
            () if drain.is_some() => Verdict::Ok,
            () => Verdict::Slow,
        };
        let keeps = matches!(verdict, Verdict::Ok) || self.last.is_done();
        (verdict, drain.filter(|_| keeps))
    }

    /// Whether all is read that was there at the first look.
    fn has_kept_up(&self) -> bool {
        self.first.is_done() || self.last.position.zip(self.first.end).is_some_and(|(position, end)| position >= end)
    }

    fn drain_seconds(&self) -> Option<f64> {
        let lag = self.last.lag()?;
        if lag == 0 {
            return Some(0.0);
        }
        let speed = self.speed()?;
        let net = speed - self.growth();
        let drain = if net > 0.0 { net } else { speed };
        (drain > 0.0 && (net > 0.0 || self.has_kept_up())).then(|| number(lag) / drain)
    }

    /// Offsets read in a second, between two commits where two were seen.
    fn speed(&self) -> Option<f64> {
        let (first, last) = self.steps?;
        let (from, since) =
            if first == last { (self.first.position?, self.first.at) } else { (first.position, first.at) };
        let took = if first == last { self.last.at } else { last.at }.saturating_sub(since);
        rate(last.position.saturating_sub(from), took)
    }

    /// Offsets that arrive in a second.
    fn growth(&self) -> f64 {
        let grown = self.last.end.zip(self.first.end).map_or(0, |(last, first)| last.saturating_sub(first));
        rate(grown, self.last.at.saturating_sub(self.first.at)).unwrap_or(0.0)
    }
}

fn rate(offsets: i64, took: Duration) -> Option<f64> {
    (!took.is_zero()).then(|| number(offsets) / took.as_secs_f64())
}

#[expect(clippy::cast_precision_loss, reason = "2^53 offsets are more than a partition ever has")]
fn number(offsets: i64) -> f64 {
    offsets as f64
}

#[cfg(test)]
mod tests;
