//! Tries that failed, for the flight recorder.
//!
//! What a handler says in its own words is not recorded: it may name a customer.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::{Verdict, Why};
use crate::consumer::config::RetryConfig;
use crate::consumer::{Failure, Outcome};
use crate::flight::{Machine, Recorder, Track};

/// The order of a try.
#[derive(Clone, Copy)]
pub(crate) struct Attempt<'a> {
    pub(crate) partition: i32,
    pub(crate) offset: i64,
    /// Its number, from 1.
    pub(crate) number: u32,
    /// Since it failed first.
    pub(crate) since: Duration,
    /// Names its key.
    pub(crate) key: &'a dyn Fn() -> String,
}

/// A try that did not settle its order.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Try {
    partition: i32,
    offset: i64,
    key: String,
    attempt: u32,
    since: Duration,
    answer: Answered,
    chance: u16,
}

/// What the handler answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Answered {
    Done,
    Refuse,
    Reject,
    Retry(Duration),
    /// It failed, and names the wait if it wants one.
    Failed(Option<Duration>),
    FailedForGood,
}

/// What follows.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Decided {
    Settled,
    Again(Duration),
    SetAside(String),
}

impl Answered {
    fn of(answer: &Result<Outcome, Failure>) -> Self {
        match answer {
            Ok(Outcome::Done) => Self::Done,
            Ok(Outcome::Refuse(_)) => Self::Refuse,
            Ok(Outcome::Reject(_)) => Self::Reject,
            Ok(Outcome::Retry(after)) => Self::Retry(*after),
            Err(failure) if failure.is_retriable() => Self::Failed(failure.wait()),
            Err(_) => Self::FailedForGood,
        }
    }

    fn answer(self) -> Result<Outcome, Failure> {
        match self {
            Self::Done => Ok(Outcome::Done),
            Self::Refuse => Ok(Outcome::Refuse("".into())),
            Self::Reject => Ok(Outcome::Reject("".into())),
            Self::Retry(after) => Ok(Outcome::Retry(after)),
            Self::Failed(None) => Err(Failure::retriable("")),
            Self::Failed(Some(after)) => Err(Failure::retriable("").after(after)),
            Self::FailedForGood => Err(Failure::permanent("")),
        }
    }
}

impl Decided {
    fn of(verdict: &Verdict) -> Self {
        match verdict {
            Verdict::Done | Verdict::Refused(_) => Self::Settled,
            Verdict::Again { after, why: Why::Asked | Why::Failed(_) } => Self::Again(*after),
            Verdict::Failed(code, _) => Self::SetAside((*code).to_owned()),
        }
    }
}

impl Machine for RetryConfig {
    const KIND: &'static str = "retry";
    const FORM: u16 = 1;
    type Event = Try;
    type Effects = Decided;

    fn step(&mut self, Try { attempt, since, answer, chance, .. }: Try) -> Decided {
        Decided::of(&self.judge(answer.answer(), (attempt, since), share(chance)))
    }
}

/// Judges answers, and records those that settle nothing.
#[derive(Debug)]
pub(crate) struct Retries {
    config: RetryConfig,
    track: Track,
}

impl Retries {
    pub(crate) fn new(config: RetryConfig, recorder: &Recorder) -> Self {
        Self { config, track: recorder.track((RetryConfig::KIND, RetryConfig::FORM), None) }
    }

    /// How often an order is tried.
    pub(crate) fn attempts(&self) -> u32 {
        self.config.attempts
    }

    /// See [`RetryConfig::judge`].
    pub(crate) fn judge(&mut self, answer: Result<Outcome, Failure>, tried: Attempt<'_>, chance: u16) -> Verdict {
        let Attempt { partition, offset, number: attempt, since, key } = tried;
        let line = self.track.is_on().then(|| {
            let answer = Answered::of(&answer);
            let event = Try { partition, offset, key: key(), attempt, since, answer, chance };
            self.track.step(&self.config, &event)
        });
        let verdict = self.config.judge(answer, (attempt, since), share(chance));
        if let Some(Some(line)) = line {
            self.track.done(line, &Decided::of(&verdict));
        }
        verdict
    }

    /// Tells the settings again where the ring has begun a new segment.
    pub(crate) fn refresh(&mut self) {
        if self.track.is_on() && self.track.is_stale() {
            self.track.state(&self.config);
        }
    }
}

/// A chance as a share, in `0.0..1.0`.
fn share(chance: u16) -> f64 {
    f64::from(chance) / (f64::from(u16::MAX) + 1.0)
}
