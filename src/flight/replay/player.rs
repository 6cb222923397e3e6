//! Machines that are run again.
//!
//! Everything here is generic over the reader, so that it is built where it is used and nowhere else: reading machines
//! back takes more code than all of recording.

use std::fmt;
use std::marker::PhantomData;
use std::time::Duration;

use litemap::LiteMap;
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::Value;
use serde_json::value::RawValue;

use super::{Step, Verdict, unreadable};
use crate::consumer::breaker::Breaker;
use crate::consumer::config::RetryConfig;
use crate::consumer::group::classic::Classic;
use crate::consumer::group::next_generation::NextGeneration;
use crate::consumer::ledger::Ledger;
use crate::flight::Machine;
use crate::outbox::rounds::Rounds;
use crate::producer::idempotence::Lane;
use crate::{Error, ErrorCode, Result};

/// How much work a recording may ask for, in offsets: a file that was made up must not keep anybody waiting for hours.
const MOST_WORK: u64 = 1 << 31;

/// The machines of a recording.
pub(super) struct Players<R> {
    playing: LiteMap<String, Box<dyn Again>>,
    work: u64,
    reader: PhantomData<fn(R)>,
}

impl<R> Default for Players<R> {
    fn default() -> Self {
        Self { playing: LiteMap::new(), work: 0, reader: PhantomData }
    }
}

#[derive(Deserialize)]
struct Line<'a> {
    at: u64,
    #[serde(default)]
    machine: String,
    #[serde(borrow, default)]
    state: Option<&'a RawValue>,
    #[serde(default)]
    form: u16,
    #[serde(default)]
    skipped: u64,
    #[serde(borrow, default)]
    event: Option<&'a RawValue>,
    #[serde(borrow, default)]
    effects: Option<&'a RawValue>,
    #[serde(borrow, default)]
    note: Option<&'a RawValue>,
}

/// A machine of whichever kind.
trait Again {
    /// Takes a recorded event.
    fn step(&mut self, event: &RawValue) -> serde_json::Result<Stepped>;

    /// Its state, as it would be recorded.
    fn state(&self) -> serde_json::Result<String>;
}

/// A step of a machine that runs again.
struct Stepped {
    event: String,
    effects: String,
    /// As they would be recorded.
    recorded: String,
    work: u64,
}

struct Player<M>(M);

impl<M> Again for Player<M>
where
    M: Machine,
    M::Event: DeserializeOwned + fmt::Debug,
    M::Effects: fmt::Debug,
{
    fn step(&mut self, event: &RawValue) -> serde_json::Result<Stepped> {
        let event: M::Event = serde_json::from_str(event.get())?;
        let work = M::work(&event);
        if work > MOST_WORK {
            return Err(serde::de::Error::custom("it asks for more work than any machine did"));
        }
        let told = M::tell(&event);
        let effects = self.0.step(event);
        let recorded = serde_json::to_string(&effects)?;
        Ok(Stepped { event: told, effects: M::tell_effects(&effects), recorded, work })
    }

    fn state(&self) -> serde_json::Result<String> {
        serde_json::to_string(&self.0)
    }
}

impl<R> Players<R> {
    /// Runs one line.
    pub(super) fn take(&mut self, number: u64, text: &[u8]) -> Result<Step> {
        let broken = |cause: serde_json::Error| unreadable(number, "makes no sense").caused_by(cause);
        let line: Line<'_> = serde_json::from_slice(text).map_err(broken)?;
        let mut step = Step {
            line: number,
            at: Duration::from_micros(line.at),
            machine: line.machine.clone(),
            event: String::new(),
            effects: String::new(),
            verdict: Verdict::Unknown,
        };
        match (line.state, line.event, line.note) {
            (Some(state), ..) => self.state(&mut step, (line.form, state), line.skipped).map_err(broken)?,
            (_, Some(event), _) => self.event(&mut step, event, line.effects).map_err(broken)?,
            (.., Some(note)) => step.event = note.get().to_owned(),
            (None, None, None) => return Err(unreadable(number, "has neither state, event nor note")),
        }
        if self.work > MOST_WORK {
            return Err(Error::new(ErrorCode::Input, "the recording asks for more work than any machine did"));
        }
        Ok(step)
    }

    /// A state begins a machine, or tells whether one that runs has come to it as well.
    fn state(&mut self, step: &mut Step, (form, state): (u16, &RawValue), skipped: u64) -> serde_json::Result<()> {
        step.event = match skipped {
            0 => "(its state)".to_owned(),
            skipped => format!("(its state, after {skipped} steps that went through)"),
        };
        match self.playing.get(&step.machine) {
            Some(playing) if skipped == 0 => {
                step.verdict = compared(&playing.state()?, state.get());
            }
            _ => {}
        }
        match Self::begin(&step.machine, form, state)? {
            Some(player) => drop(self.playing.insert(step.machine.clone(), player)),
            None => {
                step.effects = "this version knows no such machine, or none of this form".to_owned();
                self.playing.remove(&step.machine);
            }
        }
        Ok(())
    }

    fn begin(machine: &str, form: u16, state: &RawValue) -> serde_json::Result<Option<Box<dyn Again>>> {
        let kind = machine.split(['/', '#']).next().unwrap_or_default();
        Ok(Some(match kind {
            Lane::KIND if form == Lane::FORM => player::<Lane>(state)?,
            Breaker::KIND if form == Breaker::FORM => player::<Breaker>(state)?,
            Ledger::KIND if form == Ledger::FORM => player::<Ledger>(state)?,
            RetryConfig::KIND if form == RetryConfig::FORM => player::<RetryConfig>(state)?,
            Classic::KIND if form == Classic::FORM => player::<Classic>(state)?,
            NextGeneration::KIND if form == NextGeneration::FORM => player::<NextGeneration>(state)?,
            Rounds::KIND if form == Rounds::FORM => player::<Rounds>(state)?,
            _ => return Ok(None),
        }))
    }

    fn event(&mut self, step: &mut Step, event: &RawValue, effects: Option<&RawValue>) -> serde_json::Result<()> {
        let Some(playing) = self.playing.get_mut(&step.machine) else {
            step.event = event.get().to_owned();
            step.effects = effects.map(RawValue::get).unwrap_or_default().to_owned();
            return Ok(());
        };
        let stepped = playing.step(event)?;
        step.event = stepped.event;
        step.effects = stepped.effects;
        step.verdict = compared(&stepped.recorded, effects.map_or("null", RawValue::get));
        self.work = self.work.saturating_add(stepped.work);
        Ok(())
    }
}

fn player<M>(state: &RawValue) -> serde_json::Result<Box<dyn Again>>
where
    M: Machine + DeserializeOwned + 'static,
    M::Event: DeserializeOwned + fmt::Debug,
    M::Effects: fmt::Debug,
{
    Ok(Box::new(Player(serde_json::from_str::<M>(state.get())?)))
}

/// Whether two texts mean the same.
fn compared(now: &str, then: &str) -> Verdict {
    let meaning = |text: &str| serde_json::from_str::<Value>(text).ok();
    match now == then || meaning(now) == meaning(then) {
        true => Verdict::Same,
        false => Verdict::Differs { recorded: then.to_owned() },
    }
}
