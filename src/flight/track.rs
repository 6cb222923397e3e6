//! The lines of one machine.

use std::ops::Deref;

use serde::Serialize;

use super::Machine;
use super::recorder::Recorder;

/// How many steps of one machine are recorded in a row. Those beyond are skipped: a machine that fails for each order
/// must not push everything else out of the ring.
const BURST: u64 = 200;

/// How many steps of one machine are recorded in a second for long.
const STEPS_A_SECOND: u64 = 10;

/// One machine's place in the recorder.
#[derive(Debug)]
pub(crate) struct Track {
    recorder: Recorder,
    name: String,
    form: u16,
    /// The segment that has the machine's state; 0: none.
    segment: u64,
    /// Steps since the last line that no line tells of.
    skipped: u64,
    /// The second of the last step, and how many steps count as taken in a row by then.
    second: u64,
    in_row: u64,
}

/// A step that is being taken.
#[derive(Debug)]
pub(crate) struct Line(Vec<u8>);

impl Track {
    pub(super) fn new(recorder: Recorder, name: String, form: u16) -> Self {
        Self { recorder, name, form, segment: 0, skipped: 0, second: 0, in_row: 0 }
    }

    /// Whether anything is recorded.
    pub(crate) fn is_on(&self) -> bool {
        self.recorder.is_on()
    }

    /// A step was taken, or will be, that no line tells of.
    pub(crate) fn skip(&mut self) {
        self.skipped = self.skipped.saturating_add(1);
    }

    /// Whether a replay could not go on from here without the machine's state.
    pub(crate) fn is_behind(&self) -> bool {
        self.is_on() && (self.skipped > 0 || self.is_stale())
    }

    /// Whether the newest segment lacks the machine's state.
    pub(crate) fn is_stale(&self) -> bool {
        self.segment != self.recorder.segment()
    }

    /// Records the machine's state.
    pub(crate) fn state(&mut self, state: &impl Serialize) {
        self.state_at(self.recorder.at(), state);
    }

    fn state_at(&mut self, at: u64, state: &impl Serialize) {
        let segment = self.recorder.segment();
        let mut line = self.begin(at);
        line.extend_from_slice(format!(",\"form\":{},\"state\":", self.form).as_bytes());
        if serde_json::to_writer(&mut line, state).is_err() {
            return;
        }
        if self.skipped > 0 {
            line.extend_from_slice(format!(",\"skipped\":{}", self.skipped).as_bytes());
        }
        line.push(b'}');
        if self.recorder.push(&line) {
            (self.segment, self.skipped) = (segment, 0);
        }
    }

    /// Begins to record a step; `None`: it is skipped.
    pub(crate) fn step(&mut self, state: &impl Serialize, event: &impl Serialize) -> Option<Line> {
        let at = self.recorder.at();
        if !self.may_record(at) {
            self.skip();
            return None;
        }
        if self.is_behind() {
            self.state_at(at, state);
        }
        let mut line = self.begin(at);
        line.extend_from_slice(b",\"event\":");
        serde_json::to_writer(&mut line, event).ok()?;
        Some(Line(line))
    }

    /// Records the step with what came of it.
    pub(crate) fn done(&mut self, Line(mut line): Line, effects: &impl Serialize) {
        line.extend_from_slice(b",\"effects\":");
        let is_written = serde_json::to_writer(&mut line, effects).is_ok();
        line.push(b'}');
        if !is_written || !self.recorder.push(&line) {
            self.skip();
        }
    }

    fn may_record(&mut self, at: u64) -> bool {
        let second = at / 1_000_000;
        let calmed = second.saturating_sub(self.second).saturating_mul(STEPS_A_SECOND);
        (self.second, self.in_row) = (second, self.in_row.saturating_sub(calmed));
        let may = self.in_row < BURST;
        self.in_row = self.in_row.saturating_add(u64::from(may));
        may
    }

    fn begin(&self, at: u64) -> Vec<u8> {
        format!("{{\"at\":{at},\"machine\":\"{}\"", self.name).into_bytes()
    }
}

/// A machine whose steps are recorded.
#[derive(Debug)]
pub(crate) struct Recorded<M> {
    machine: M,
    track: Track,
}

impl<M: Machine> Recorded<M> {
    pub(super) fn new(machine: M, mut track: Track) -> Self {
        if track.is_on() {
            track.state(&machine);
        }
        Self { machine, track }
    }

    /// Takes one event.
    pub(crate) fn step(&mut self, event: M::Event) -> M::Effects {
        if !self.track.is_on() {
            return self.machine.step(event);
        }
        if !self.machine.is_remarkable(&event) {
            self.track.skip();
            return self.machine.step(event);
        }
        let line = self.track.step(&self.machine, &event);
        let effects = self.machine.step(event);
        if let Some(line) = line {
            self.track.done(line, &effects);
        }
        effects
    }

    /// Takes one event that is not worth a line.
    #[inline]
    pub(crate) fn unrecorded(&mut self, event: M::Event) -> M::Effects {
        self.track.skip();
        self.machine.step(event)
    }

    /// Tells the state again where the ring has begun a new segment.
    pub(crate) fn refresh(&mut self) {
        if self.track.is_on() && self.track.is_stale() {
            self.track.state(&self.machine);
        }
    }
}

impl<M> Deref for Recorded<M> {
    type Target = M;

    fn deref(&self) -> &M {
        &self.machine
    }
}
