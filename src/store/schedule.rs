//! On which day a delivery is made.
//!
//! The day is the first working day with capacity left, not before the order's date (or its record's,
//! if that is later) and the lead days. It is decided once, inside the transaction, and stored.
//! Days are counted from 1970-01-01, in UTC; this file reads no clock.

use std::collections::HashMap;
use std::str::FromStr;

use chrono::NaiveDate;
use serde::{Deserialize, Serialize};

use crate::config::{ClientConfig, properties};
use crate::{Error, ErrorCode, Result};

/// How far ahead a delivery may be scheduled, in days. Beyond it the order is refused, so that a
/// full calendar can neither be searched nor filled without end.
pub const HORIZON_DAYS: i32 = 3_660;

/// How many days the calendar remembers between transactions before it starts afresh.
const REMEMBERED_DAYS: usize = 16_384;

const MILLIS_A_DAY: i64 = 86_400_000;

/// The days of the week on which deliveries are made.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct WorkingDays(u8);

impl WorkingDays {
    /// Monday to Friday.
    pub const MONDAY_TO_FRIDAY: Self = Self(0b001_1111);
    /// Monday to Saturday.
    pub const MONDAY_TO_SATURDAY: Self = Self(0b011_1111);
    /// Every day.
    pub const EVERY_DAY: Self = Self(0b111_1111);

    /// These days of the week. `None` if there are none, as no delivery could ever be made.
    pub fn new(days: impl IntoIterator<Item = chrono::Weekday>) -> Option<Self> {
        let mask = days.into_iter().fold(0, |mask, day| mask | 1 << day.num_days_from_monday());
        (mask != 0).then_some(Self(mask))
    }

    fn has(self, day: i32) -> bool {
        // 1970-01-01 was a Thursday, the day with number 3.
        let weekday = i64::from(day).saturating_add(3).rem_euclid(7);
        self.0 >> weekday & 1 == 1
    }
}

/// When deliveries are made.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct DeliveryPolicy {
    /// How many days after the order a delivery is made at the earliest. Default 2.
    pub lead_days: u16,
    /// The days of the week on which deliveries are made. Default Monday to Friday.
    pub working_days: WorkingDays,
    /// How many deliveries are made on one day at most. Default: no limit.
    pub daily_capacity: Option<u32>,
}

impl Default for DeliveryPolicy {
    fn default() -> Self {
        Self { lead_days: 2, working_days: WorkingDays::MONDAY_TO_FRIDAY, daily_capacity: None }
    }
}

impl FromStr for WorkingDays {
    type Err = Error;

    /// Reads `mon,tue,wed,thu,fri`: names of days or their beginnings, in any case.
    fn from_str(text: &str) -> Result<Self> {
        let bad = || {
            Error::new(ErrorCode::ConfigValue, format!("`{text}` names no days of the week"))
                .remedy("write them as mon,tue,wed,thu,fri")
        };
        let days = text.split(',').map(|day| day.trim().parse::<chrono::Weekday>());
        let days = days.collect::<Result<Vec<_>, _>>().map_err(|_| bad())?;
        Self::new(days).ok_or_else(bad)
    }
}

impl DeliveryPolicy {
    /// The policy that settings ask for: `delivery.lead.days`, `delivery.working.days`, `delivery.daily.capacity`.
    ///
    /// ```
    /// use orderflow::config::ClientConfig;
    /// use orderflow::store::{DeliveryPolicy, WorkingDays};
    /// let config = ClientConfig::new("kafka:9092").set("delivery.working.days", "Mon,Tue,Wed,Thu,Fri,Sat")?;
    /// let policy = DeliveryPolicy::of_settings(&config.set("delivery.daily.capacity", "200")?)?;
    /// assert_eq!(policy.working_days, WorkingDays::MONDAY_TO_SATURDAY);
    /// assert_eq!((policy.lead_days, policy.daily_capacity), (2, Some(200)));
    /// # Ok::<(), orderflow::Error>(())
    /// ```
    ///
    /// # Errors
    /// [`ErrorCode::ConfigValue`]: `delivery.working.days` names no days of the week.
    pub fn of_settings(config: &ClientConfig) -> Result<Self> {
        let capacity = u32::try_from(config.number(&properties::DELIVERY_DAILY_CAPACITY)).unwrap_or(u32::MAX);
        Ok(Self {
            lead_days: u16::try_from(config.number(&properties::DELIVERY_LEAD_DAYS)).unwrap_or(u16::MAX),
            working_days: config.text(&properties::DELIVERY_WORKING_DAYS).parse()?,
            daily_capacity: (capacity > 0).then_some(capacity),
        })
    }

    /// The earliest day for an order of `date` whose record was written at `timestamp` milliseconds, if it has one.
    pub(crate) fn earliest(&self, date: NaiveDate, timestamp: Option<i64>) -> i32 {
        let written = timestamp.map_or(i32::MIN, day_of_millis);
        number_of_day(date).max(written).saturating_add(i32::from(self.lead_days))
    }
}

/// How many deliveries each day has, as far as they were asked for.
#[derive(Debug, Default)]
pub(crate) struct Calendar {
    days: HashMap<i32, Day>,
}

#[derive(Clone, Copy, Debug)]
struct Day {
    deliveries: u32,
    changed: bool,
    /// For a full day, the next one that may have capacity; shortened as it is followed.
    onward: Option<i32>,
}

impl Calendar {
    /// Books the first possible day from `earliest` on; `stored` tells how many deliveries a day has in the store.
    ///
    /// `None` if there is no such day within [`HORIZON_DAYS`].
    pub(crate) fn book(
        &mut self,
        policy: &DeliveryPolicy,
        earliest: i32,
        mut stored: impl FnMut(i32) -> Result<u32>,
    ) -> Result<Option<i32>> {
        let limit = earliest.saturating_add(HORIZON_DAYS);
        let mut day = earliest;
        while day < limit {
            if !policy.working_days.has(day) {
                day += 1;
                continue;
            }
            let state = self.day(day, &mut stored)?;
            if policy.daily_capacity.is_none_or(|capacity| state.deliveries < capacity) {
                state.deliveries = state.deliveries.saturating_add(1);
                state.changed = true;
                self.shorten(earliest, day);
                return Ok(Some(day));
            }
            day = *state.onward.get_or_insert(day + 1);
        }
        self.shorten(earliest, limit);
        Ok(None)
    }

    /// A delivery is made no more: its day has room again, and is found by those that pass it by.
    pub(crate) fn give_back(
        &mut self,
        policy: &DeliveryPolicy,
        day: i32,
        mut stored: impl FnMut(i32) -> Result<u32>,
    ) -> Result<()> {
        let state = self.day(day, &mut stored)?;
        let was_full = policy.daily_capacity.is_some_and(|capacity| state.deliveries >= capacity);
        state.deliveries = state.deliveries.saturating_sub(1);
        state.changed = true;
        // Only a full day is passed by.
        if was_full {
            for (_, before) in self.days.iter_mut().filter(|(before, _)| **before < day) {
                before.onward = before.onward.map(|onward| onward.min(day));
            }
        }
        Ok(())
    }

    /// The days that were booked since the last call, with their deliveries.
    pub(crate) fn take_changed(&mut self) -> Vec<(i32, u32)> {
        let mut changed: Vec<_> = self
            .days
            .iter_mut()
            .filter_map(|(day, state)| std::mem::take(&mut state.changed).then_some((*day, state.deliveries)))
            .collect();
        changed.sort_unstable();
        if self.days.len() > REMEMBERED_DAYS {
            self.days.clear();
        }
        changed
    }

    fn day(&mut self, day: i32, stored: &mut impl FnMut(i32) -> Result<u32>) -> Result<&mut Day> {
        use std::collections::hash_map::Entry;
        match self.days.entry(day) {
            Entry::Occupied(known) => Ok(known.into_mut()),
            Entry::Vacant(unknown) => {
                let deliveries = stored(day)?;
                Ok(unknown.insert(Day { deliveries, changed: false, onward: None }))
            }
        }
    }

    /// Lets the full days on the way from `day` lead straight to `found`, so that a full year is walked once.
    fn shorten(&mut self, mut day: i32, found: i32) {
        while day < found {
            day = match self.days.get_mut(&day).and_then(|state| state.onward.as_mut()) {
                Some(onward) => std::mem::replace(onward, found),
                None => day + 1,
            };
        }
    }
}

/// The day's number, from 1970-01-01.
pub(crate) fn number_of_day(date: NaiveDate) -> i32 {
    date.to_epoch_days()
}

/// The day with this number; the far ends of the calendar stand for what lies beyond them.
pub(crate) fn date_of_day(day: i32) -> NaiveDate {
    NaiveDate::from_epoch_days(day).unwrap_or(if day < 0 { NaiveDate::MIN } else { NaiveDate::MAX })
}

/// The number of the day that holds the instant `millis` after 1970.
pub(crate) fn day_of_millis(millis: i64) -> i32 {
    let day = millis.div_euclid(MILLIS_A_DAY);
    i32::try_from(day).unwrap_or(if day < 0 { i32::MIN } else { i32::MAX })
}

#[cfg(test)]
mod tests {
    use chrono::{Datelike, Weekday};
    use proptest::prelude::*;

    use super::*;

    fn date(text: &str) -> NaiveDate {
        text.parse().unwrap()
    }

    fn book(calendar: &mut Calendar, policy: &DeliveryPolicy, earliest: i32) -> Option<i32> {
        calendar.book(policy, earliest, |_| Ok(0)).unwrap()
    }

    #[test]
    fn a_delivery_is_made_on_the_first_working_day_after_the_lead_days() {
        let policy = DeliveryPolicy::default();
        let friday = date("2026-11-20");
        let earliest = policy.earliest(friday, None);
        assert_eq!(date_of_day(earliest), date("2026-11-22"));
        let day = book(&mut Calendar::default(), &policy, earliest).unwrap();
        assert_eq!(date_of_day(day), date("2026-11-23"));
        assert_eq!(date_of_day(day).weekday(), Weekday::Mon);
    }

    #[test]
    fn the_later_of_the_orders_date_and_its_records_counts() {
        let policy = DeliveryPolicy { lead_days: 0, ..DeliveryPolicy::default() };
        let written = i64::from(number_of_day(date("2026-11-24"))) * MILLIS_A_DAY + 5;
        assert_eq!(date_of_day(policy.earliest(date("2023-01-01"), Some(written))), date("2026-11-24"));
        assert_eq!(date_of_day(policy.earliest(date("2027-01-01"), Some(written))), date("2027-01-01"));
        assert_eq!(date_of_day(policy.earliest(date("2023-01-01"), None)), date("2023-01-01"));
        assert_eq!(policy.earliest(date("2023-01-01"), Some(i64::MAX)), i32::MAX);
    }

    #[test]
    fn a_full_day_is_passed_over_and_what_the_store_holds_counts() {
        let policy = DeliveryPolicy { daily_capacity: Some(2), ..DeliveryPolicy::default() };
        let monday = number_of_day(date("2026-11-23"));
        let stored = |day| Ok(if day == monday { 1 } else { 0 });
        let mut calendar = Calendar::default();
        let days: Vec<_> = (0..4).map(|_| calendar.book(&policy, monday, stored).unwrap().unwrap() - monday).collect();
        assert_eq!(days, [0, 1, 1, 2]);
        assert_eq!(calendar.take_changed(), [(monday, 2), (monday + 1, 2), (monday + 2, 1)]);
        assert_eq!(calendar.take_changed(), []);
    }

    #[test]
    fn no_day_within_the_horizon_is_an_answer() {
        let policy = DeliveryPolicy { daily_capacity: Some(0), ..DeliveryPolicy::default() };
        let mut calendar = Calendar::default();
        assert_eq!(book(&mut calendar, &policy, 0), None);
        assert_eq!(book(&mut calendar, &policy, i32::MAX - 5), None);
    }

    #[test]
    fn a_week_without_working_days_cannot_be_made() {
        assert_eq!(WorkingDays::new([]), None);
        assert_eq!(WorkingDays::new([Weekday::Mon, Weekday::Tue]), Some(WorkingDays(3)));
        assert_eq!("tuesday, MON".parse::<WorkingDays>().unwrap(), WorkingDays(3));
        assert!(["", "mon,,tue", "someday"].iter().all(|text| text.parse::<WorkingDays>().is_err()));
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(60))]

        #[test]
        fn a_day_that_is_given_back_is_booked_again_before_later_ones_and_none_is_overbooked(
            capacity in 1_u32..4,
            asked in prop::collection::vec((0_i32..25, prop::option::weighted(0.4, any::<prop::sample::Index>())), 0..150),
        ) {
            let policy = DeliveryPolicy { daily_capacity: Some(capacity), ..DeliveryPolicy::default() };
            // Another calendar is asked half of the time, as after a restart: it knows what the first has stored.
            let (mut calendar, mut model, mut booked) = (Calendar::default(), HashMap::<i32, u32>::new(), Vec::new());
            for (number, (earliest, cancelled)) in asked.into_iter().enumerate() {
                if number % 10 == 9 {
                    calendar = Calendar::default();
                }
                let stored = model.clone();
                let stored = |day: i32| Ok(stored.get(&day).copied().unwrap_or(0));
                if let (Some(which), false) = (cancelled, booked.is_empty()) {
                    let day = booked.swap_remove(which.index(booked.len()));
                    calendar.give_back(&policy, day, stored).unwrap();
                    *model.get_mut(&day).unwrap() -= 1;
                    continue;
                }
                let expected = (earliest..).find(|day| {
                    policy.working_days.has(*day) && model.get(day).copied().unwrap_or(0) < capacity
                });
                prop_assert_eq!(calendar.book(&policy, earliest, stored).unwrap(), expected);
                let day = expected.unwrap();
                booked.push(day);
                *model.entry(day).or_default() += 1;
                prop_assert!(model.values().all(|deliveries| *deliveries <= capacity));
            }
            let days: Vec<_> = calendar.take_changed();
            prop_assert!(days.iter().all(|(day, deliveries)| model.get(day) == Some(deliveries)));
        }

        #[test]
        fn the_calendar_equals_a_plain_search(capacity in 1_u32..4, asked in prop::collection::vec(0_i32..40, 0..150)) {
            let policy = DeliveryPolicy { daily_capacity: Some(capacity), ..DeliveryPolicy::default() };
            let mut calendar = Calendar::default();
            let mut model: HashMap<i32, u32> = HashMap::new();
            for earliest in asked {
                let expected = (earliest..).find(|day| {
                    policy.working_days.has(*day) && model.get(day).copied().unwrap_or(0) < capacity
                });
                *model.entry(expected.unwrap()).or_default() += 1;
                prop_assert_eq!(book(&mut calendar, &policy, earliest), expected);
            }
        }
    }
}
