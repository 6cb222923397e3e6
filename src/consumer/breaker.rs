//! Whether so many records of a partition fail that the fault is rather ours than theirs.
//!
//! One bad deployment must not set a whole topic aside. The record that trips the breaker stays undecided; it is tried
//! again with back-off, and when it goes through the partition goes on. Refusals are answers, so they never count.
//!
//! ```text
//!  closed --failing: in a row, or a share of the last ones--> open(offset) --probe fails--> open, a longer wait
//!     ^                                                          |  ^
//!     +-------------- the probe goes through, or an operator ----+  | the next that fails
//!     ^                                                             |
//!     +-- that record goes through, or an operator -- trial(offset): another run, or member, had it open
//! ```

use serde::{Deserialize, Serialize};

use crate::flight::{Machine, Recorded};

/// When a breaker trips.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct BreakerConfig {
    /// So many failing records in a row (`breaker.consecutive`); 0: never.
    pub(crate) consecutive: u32,
    /// So many percent of the last `window` records (`breaker.ratio`); 0: never.
    pub(crate) percent: u32,
    /// How many records the share is taken of, at least (`breaker.window`).
    pub(crate) window: u32,
}

/// What happened to a record of the partition.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Event {
    /// So many records went through since the last event, none of them the probe.
    WentThrough(u32),
    /// The record at this offset went through, or was refused.
    Decided(i64),
    /// The record at this offset would be set aside.
    Failing(i64),
    /// An operator has the partition go on.
    Overridden,
}

/// What follows.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Effect {
    /// Nothing out of the ordinary: a failing record is set aside.
    Pass,
    /// The record stays undecided and the partition takes nothing more; this is its probe number so many, from 0.
    Hold(u32),
    /// The partition goes on.
    Close,
}

/// The breaker of one partition.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Breaker {
    config: BreakerConfig,
    /// How many failed in a row.
    in_row: u32,
    /// How many were seen, and how many of them failed; both are halved when the window is full.
    seen: u32,
    failed: u32,
    /// It was open when the partition was last given up, because of the record at this offset: nothing more fails before that
    /// is decided.
    trial: Option<i64>,
    open: Option<Open>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Open {
    offset: i64,
    probes: u32,
}

impl Breaker {
    pub(crate) fn new(config: BreakerConfig) -> Self {
        Self { config, in_row: 0, seen: 0, failed: 0, trial: None, open: None }
    }

    /// The breaker of a partition that was given up, by us or another, while the record at `tripped` was undecided.
    pub(crate) fn resumed(config: BreakerConfig, tripped: Option<i64>) -> Self {
        Self { trial: tripped, ..Self::new(config) }
    }

    /// The record that is undecided.
    pub(crate) fn undecided(&self) -> Option<i64> {
        self.open.map(|open| open.offset).or(self.trial)
    }

    /// Whether the partition takes nothing more.
    pub(crate) fn is_open(&self) -> bool {
        self.open.is_some()
    }

    /// Why it is open.
    pub(crate) fn reason(&self) -> String {
        let BreakerConfig { consecutive, percent, window } = self.config;
        if self.trial.is_some() {
            return "it was open when the partition was last given up, and what tripped it is not mended".to_owned();
        }
        if consecutive > 0 && self.in_row.saturating_add(1) >= consecutive {
            return format!(
                "{} records in a row cannot be applied (breaker.consecutive)",
                self.in_row.saturating_add(1)
            );
        }
        format!("{percent} % of the last {window} records cannot be applied (breaker.ratio)")
    }

    /// Takes an event.
    pub(crate) fn take(&mut self, event: Event) -> Effect {
        match event {
            Event::WentThrough(records) => self.went_through(records),
            Event::Decided(offset) if self.undecided() == Some(offset) => return self.close(),
            Event::Decided(_) => {}
            Event::Failing(offset) => return self.failing(offset),
            Event::Overridden if self.undecided().is_some() => return self.close(),
            Event::Overridden => {}
        }
        Effect::Pass
    }

    fn went_through(&mut self, records: u32) {
        if records > 0 && !self.is_open() {
            self.in_row = 0;
            self.see(records, 0);
        }
    }

    fn failing(&mut self, offset: i64) -> Effect {
        if let Some(open) = &mut self.open {
            // Others that were in hand stay undecided as well; only the probe makes the waits longer.
            if open.offset == offset {
                open.probes = open.probes.saturating_add(1);
            }
            return Effect::Hold(open.probes);
        }
        if self.trial.is_some() || self.trips() {
            self.open = Some(Open { offset, probes: 0 });
            return Effect::Hold(0);
        }
        self.in_row = self.in_row.saturating_add(1);
        self.see(1, 1);
        Effect::Pass
    }

    /// Whether one more failing record is too many.
    fn trips(&self) -> bool {
        let BreakerConfig { consecutive, percent, window } = self.config;
        let (seen, failed) = (u64::from(self.seen) + 1, u64::from(self.failed) + 1);
        let in_row = consecutive > 0 && self.in_row.saturating_add(1) >= consecutive;
        let share = percent > 0 && seen >= u64::from(window) && failed * 100 >= u64::from(percent) * seen;
        in_row || share
    }

    fn see(&mut self, records: u32, failed: u32) {
        self.seen = self.seen.saturating_add(records);
        self.failed = self.failed.saturating_add(failed);
        while self.seen >= self.config.window.saturating_mul(2).max(2) {
            self.seen /= 2;
            self.failed /= 2;
        }
    }

    fn close(&mut self) -> Effect {
        *self = Self::new(self.config);
        Effect::Close
    }
}

impl Machine for Breaker {
    const KIND: &'static str = "breaker";
    const FORM: u16 = 1;
    type Event = Event;
    type Effects = Effect;

    fn step(&mut self, event: Event) -> Effect {
        self.take(event)
    }

    /// What goes through a closed breaker is not worth a line.
    fn is_remarkable(&self, event: &Event) -> bool {
        self.undecided().is_some() || !matches!(event, Event::WentThrough(_) | Event::Decided(_))
    }
}

impl Recorded<Breaker> {
    /// Takes an event.
    pub(crate) fn take(&mut self, event: Event) -> Effect {
        self.step(event)
    }

    /// One record was decided. Returns whether the partition goes on.
    pub(crate) fn decided(&mut self, offset: i64, went_through: bool) -> bool {
        if self.undecided().is_none() {
            if went_through {
                self.unrecorded(Event::WentThrough(1));
            }
            return false;
        }
        if self.take(Event::Decided(offset)) == Effect::Close {
            return true;
        }
        if went_through {
            self.take(Event::WentThrough(1));
        }
        false
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const CONFIG: BreakerConfig = BreakerConfig { consecutive: 5, percent: 50, window: 20 };

    #[test]
    fn the_fifth_in_a_row_trips_it_and_stays_undecided_until_it_goes_through() {
        let mut breaker = Breaker::new(CONFIG);
        let effects: Vec<_> = (0..7).map(|offset| breaker.take(Event::Failing(offset.min(4)))).collect();
        let pass = [Effect::Pass; 4].into_iter();
        assert_eq!(effects, pass.chain((0..3).map(Effect::Hold)).collect::<Vec<_>>());
        assert!(breaker.is_open() && breaker.reason().contains("5 records in a row"), "{breaker:?}");
        assert_eq!(breaker.take(Event::Decided(3)), Effect::Pass, "another record is no probe");
        breaker.take(Event::WentThrough(100));
        assert!(breaker.is_open());
        assert_eq!(breaker.take(Event::Decided(4)), Effect::Close);
        assert_eq!(breaker.take(Event::Failing(5)), Effect::Pass);
    }

    #[test]
    fn one_that_goes_through_begins_the_count_anew() {
        let mut breaker = Breaker::new(CONFIG);
        for offset in 0..9 {
            assert_eq!(breaker.take(Event::Failing(offset)), Effect::Pass);
            breaker.take(Event::WentThrough(2));
        }
    }

    #[test]
    fn half_of_the_window_trips_it_though_never_many_fail_in_a_row() {
        let mut breaker = Breaker::new(CONFIG);
        let tripped = (0..100).find(|offset| {
            let held = breaker.take(Event::Failing(*offset)) != Effect::Pass;
            breaker.take(Event::WentThrough(1));
            held
        });
        assert_eq!(tripped, Some(10));
    }

    #[test]
    fn one_that_was_open_before_a_restart_trips_at_the_first_that_fails_and_closes_by_its_own_record() {
        let mut failing = Breaker::resumed(CONFIG, Some(4));
        assert!(!failing.is_open(), "it is tried at once");
        assert_eq!(failing.take(Event::Failing(4)), Effect::Hold(0));
        assert!(failing.is_open() && failing.reason().contains("last given up"), "{failing:?}");
        let mut mended = Breaker::resumed(CONFIG, Some(4));
        mended.take(Event::WentThrough(3));
        assert_eq!((mended.undecided(), mended.take(Event::Decided(4))), (Some(4), Effect::Close));
        assert_eq!(mended.take(Event::Failing(5)), Effect::Pass);
        let mut overridden = Breaker::resumed(CONFIG, Some(4));
        assert_eq!(overridden.take(Event::Overridden), Effect::Close);
        assert_eq!(overridden.take(Event::Failing(4)), Effect::Pass);
    }

    #[test]
    fn an_operator_overrides_it_and_nothing_trips_one_that_is_off() {
        let mut breaker = Breaker::new(CONFIG);
        (0..5).for_each(|offset| _ = breaker.take(Event::Failing(offset)));
        assert_eq!(breaker.take(Event::Overridden), Effect::Close);
        assert_eq!(breaker.take(Event::Failing(4)), Effect::Pass);
        let mut off = Breaker::new(BreakerConfig { consecutive: 0, percent: 0, window: 20 });
        assert!((0..10_000).all(|offset| off.take(Event::Failing(offset)) == Effect::Pass));
    }

    proptest! {
        #[test]
        fn whatever_happens_no_more_are_set_aside_in_a_row_than_the_setting_allows(
            events in prop::collection::vec((0_i64..50, any::<bool>()), 0..200),
        ) {
            let (mut breaker, mut in_row) = (Breaker::new(CONFIG), 0);
            for (offset, fails) in events {
                let was_open = breaker.is_open();
                let effect = breaker.take(if fails { Event::Failing(offset) } else { Event::WentThrough(1) });
                match effect {
                    Effect::Pass if fails => in_row += 1,
                    Effect::Pass if !was_open => in_row = 0,
                    Effect::Pass | Effect::Hold(_) | Effect::Close => {}
                }
                prop_assert!(in_row < CONFIG.consecutive);
                prop_assert_eq!(matches!(effect, Effect::Hold(_)), fails && breaker.is_open());
            }
        }
    }
}
