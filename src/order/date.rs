//! Dates: an order's timestamp, strictly read.
//!
//! `116/2023` must not become a day by a lenient parser's guess, so exactly two shapes are read: `M/D/YYYY`, and ISO 8601
//! (`YYYY-MM-DD`, or with `THH:MM`, seconds, a fraction and an offset). Text is written again as it was read.

use std::fmt;
use std::str::FromStr;

use chrono::{Datelike, NaiveDate, NaiveTime};
use compact_str::CompactString;

use super::quote::quoted;
use super::violation::{Violation, ViolationCode};

/// Day, time of day, minutes east of UTC.
pub(super) type Moment = (Day, Option<NaiveTime>, Option<i16>);

/// A day that exists, from the year 1 to 9999. A calendar is asked only where somebody wants to reckon with it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct Day {
    year: u16,
    month: u8,
    day: u8,
}

impl Day {
    #[inline]
    fn new(year: u32, month: u32, day: u32) -> Option<Self> {
        let last = match month {
            4 | 6 | 9 | 11 => 30,
            2 if year.is_multiple_of(4) && (!year.is_multiple_of(100) || year.is_multiple_of(400)) => 29,
            2 => 28,
            1..=12 => 31,
            _ => return None,
        };
        let exists = (1..=9999).contains(&year) && (1..=last).contains(&day);
        exists.then_some(Self { year: year as u16, month: month as u8, day: day as u8 })
    }

    fn date(self) -> NaiveDate {
        NaiveDate::from_ymd_opt(self.year.into(), self.month.into(), self.day.into()).unwrap_or_default()
    }
}

/// An order's timestamp: the text as it was read, and the day it names.
///
/// ```
/// use orderflow::order::OrderTime;
/// let time: OrderTime = "5/30/2023".parse()?;
/// assert_eq!(time.as_str(), "5/30/2023");
/// assert_eq!(time.date().to_string(), "2023-05-30");
/// assert!("2/30/2023".parse::<OrderTime>().is_err());
/// # Ok::<(), orderflow::order::Violation>(())
/// ```
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct OrderTime {
    text: CompactString,
    day: Day,
    time: Option<NaiveTime>,
    offset: Option<i16>,
}

impl OrderTime {
    /// The text as it was read.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// The day, as written: not converted to another time zone.
    #[must_use]
    pub fn date(&self) -> NaiveDate {
        self.day.date()
    }

    /// The time of day, as written, where one was given.
    #[must_use]
    pub fn time(&self) -> Option<NaiveTime> {
        self.time
    }

    /// The offset from UTC in minutes (east is positive), where one was given.
    #[must_use]
    pub fn offset_minutes(&self) -> Option<i16> {
        self.offset
    }

    /// The timestamp `M/D/YYYY` of a day.
    pub(super) fn of_day(date: NaiveDate) -> Self {
        let day = Day { year: date.year() as u16, month: date.month() as u8, day: date.day() as u8 };
        let mut text = CompactString::const_new("");
        let mut digits = itoa::Buffer::new();
        text.push_str(digits.format(day.month));
        text.push('/');
        text.push_str(digits.format(day.day));
        text.push('/');
        text.push_str(digits.format(day.year));
        Self { text, day, time: None, offset: None }
    }

    #[cfg(test)]
    pub(super) fn is_heap_allocated(&self) -> bool {
        self.text.is_heap_allocated()
    }

    /// Reads the text; `None` where it is not a timestamp.
    pub(super) fn read(text: &str) -> Option<Self> {
        Some(Self::of_moment(text, Self::moment(text)?))
    }

    /// The timestamp whose text means this moment.
    #[inline]
    pub(super) fn of_moment(text: &str, (day, time, offset): Moment) -> Self {
        Self { text: CompactString::new(text), day, time, offset }
    }

    /// What the text means: day, time of day, minutes east of UTC.
    #[inline]
    pub(super) fn moment(text: &str) -> Option<Moment> {
        let bytes = text.as_bytes();
        let (date, rest) = match bytes.get(4) {
            Some(b'-') => iso_date(bytes)?,
            _ => return Some((month_day_year(bytes)?, None, None)),
        };
        match rest {
            [] => Some((date, None, None)),
            [b'T', clock @ ..] => {
                let (time, zone) = iso_time(clock)?;
                Some((date, Some(time), iso_offset(zone)?))
            }
            _ => None,
        }
    }
}

impl FromStr for OrderTime {
    type Err = Violation;

    fn from_str(text: &str) -> Result<Self, Violation> {
        Self::read(text).ok_or_else(|| {
            let sentence = format!("{} is not a date M/D/YYYY or ISO 8601, or no such day exists", quoted(text));
            Violation::new(ViolationCode::DateInvalid, sentence).at("/timestamp")
        })
    }
}

impl fmt::Display for OrderTime {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

impl fmt::Debug for OrderTime {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "OrderTime({self})")
    }
}

/// `M/D/YYYY`: one or two digits, one or two digits, four digits.
#[inline]
fn month_day_year(bytes: &[u8]) -> Option<Day> {
    let (month, rest) = one_or_two_digits(bytes)?;
    let (day, rest) = one_or_two_digits(rest.strip_prefix(b"/")?)?;
    let (year, rest) = digits::<4>(rest.strip_prefix(b"/")?)?;
    if rest.is_empty() { Day::new(year, month, day) } else { None }
}

fn iso_date(bytes: &[u8]) -> Option<(Day, &[u8])> {
    let (year, rest) = digits::<4>(bytes)?;
    let (month, rest) = digits::<2>(rest.strip_prefix(b"-")?)?;
    let (day, rest) = digits::<2>(rest.strip_prefix(b"-")?)?;
    Some((Day::new(year, month, day)?, rest))
}

/// `HH:MM`, then `:SS`, then `.` and one to nine digits.
fn iso_time(bytes: &[u8]) -> Option<(NaiveTime, &[u8])> {
    let (hour, rest) = digits::<2>(bytes)?;
    let (minute, rest) = digits::<2>(rest.strip_prefix(b":")?)?;
    let (second, rest) = match rest {
        [b':', rest @ ..] => digits::<2>(rest)?,
        _ => return Some((NaiveTime::from_hms_opt(hour, minute, 0)?, rest)),
    };
    let (nanos, rest) = match rest {
        [b'.', rest @ ..] => fraction(rest)?,
        _ => (0, rest),
    };
    Some((NaiveTime::from_hms_nano_opt(hour, minute, second, nanos)?, rest))
}

fn fraction(bytes: &[u8]) -> Option<(u32, &[u8])> {
    let count = bytes.iter().take_while(|byte| byte.is_ascii_digit()).count();
    let (fraction, rest) = bytes.split_at_checked(count)?;
    if !(1..=9).contains(&count) {
        return None;
    }
    let padded = fraction.iter().chain(std::iter::repeat(&b'0')).take(9);
    Some((padded.fold(0, |nanos, digit| nanos * 10 + u32::from(digit - b'0')), rest))
}

/// Nothing, `Z`, or `+HH:MM` up to 23:59.
fn iso_offset(bytes: &[u8]) -> Option<Option<i16>> {
    let (sign, rest) = match bytes {
        [] => return Some(None),
        b"Z" => return Some(Some(0)),
        [b'+', rest @ ..] => (1, rest),
        [b'-', rest @ ..] => (-1, rest),
        _ => return None,
    };
    let (hours, rest) = digits::<2>(rest)?;
    let (minutes, rest) = digits::<2>(rest.strip_prefix(b":")?)?;
    if hours > 23 || minutes > 59 || !rest.is_empty() {
        return None;
    }
    Some(Some(sign * i16::try_from(hours * 60 + minutes).ok()?))
}

#[inline]
fn digits<const N: usize>(bytes: &[u8]) -> Option<(u32, &[u8])> {
    let (digits, rest) = bytes.split_first_chunk::<N>()?;
    let mut value = 0;
    for digit in digits {
        if !digit.is_ascii_digit() {
            return None;
        }
        value = value * 10 + u32::from(digit - b'0');
    }
    Some((value, rest))
}

#[inline]
fn one_or_two_digits(bytes: &[u8]) -> Option<(u32, &[u8])> {
    digits::<2>(bytes).or_else(|| digits::<1>(bytes))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn both_shapes_are_read_and_keep_their_text() {
        for (text, date, time, offset) in [
            ("5/30/2023", "2023-05-30", None, None),
            ("05/03/2023", "2023-05-03", None, None),
            ("2/29/2024", "2024-02-29", None, None),
            ("2023-05-30", "2023-05-30", None, None),
            ("2023-05-30T07:08", "2023-05-30", Some("07:08:00"), None),
            ("2023-05-30T07:08:09", "2023-05-30", Some("07:08:09"), None),
            ("2023-05-30T07:08:09Z", "2023-05-30", Some("07:08:09"), Some(0)),
            ("2023-05-30T07:08:09.25+05:30", "2023-05-30", Some("07:08:09.250"), Some(330)),
            ("2023-05-30T23:59:59.123456789-23:59", "2023-05-30", Some("23:59:59.123456789"), Some(-1439)),
        ] {
            let read: OrderTime = text.parse().unwrap();
            let seen = (read.as_str(), read.date().to_string(), read.time().map(|time| time.to_string()));
            assert_eq!(seen, (text, date.to_owned(), time.map(str::to_owned)));
            assert_eq!(read.offset_minutes(), offset);
        }
    }

    #[test]
    fn everything_else_is_refused() {
        for text in [
            "",
            "116/2023",
            "17/2022",
            "17/20/2024",
            "19/24/2024",
            "11/2024",
            "2/30/2023",
            "2/29/2023",
            "0/1/2023",
            "1/0/2023",
            "1/1/0000",
            "1/1/23",
            "1/1/02023",
            "1/1/2023 ",
            " 1/1/2023",
            "001/1/2023",
            "1/001/2023",
            "-1/1/2023",
            "1-1-2023",
            "2023-5-30",
            "2023-05-31T",
            "2023-06-31",
            "0000-01-01",
            "2023-05-30 07:08",
            "2023-05-30t07:08",
            "2023-05-30T7:08",
            "2023-05-30T24:00",
            "2023-05-30T07:60",
            "2023-05-30T07:08:60",
            "2023-05-30T07:08:09.",
            "2023-05-30T07:08:09.1234567890",
            "2023-05-30T07:08z",
            "2023-05-30T07:08+24:00",
            "2023-05-30T07:08+0530",
            "2023-05-30T07:08+05:60",
            "2023-05-30Z",
            "20230530",
            "\u{661}/1/2023",
            "1/1/2023\0",
            "now",
        ] {
            let violation = text.parse::<OrderTime>().unwrap_err();
            assert_eq!(violation.code(), ViolationCode::DateInvalid, "{text}");
        }
    }

    proptest! {
        #[test]
        fn no_text_panics_and_what_is_read_is_written_again(text in "[0-9/T:Z.+-]{0,30}|\\PC{0,12}") {
            if let Ok(time) = text.parse::<OrderTime>() {
                prop_assert_eq!(time.as_str(), text);
            }
        }

        #[test]
        fn every_real_day_is_read(days in 0..3_652_058_i32) {
            let day = NaiveDate::from_num_days_from_ce_opt(days + 1).unwrap();
            let american: OrderTime = day.format("%-m/%-d/%Y").to_string().parse().unwrap();
            let iso: OrderTime = day.format("%Y-%m-%d").to_string().parse().unwrap();
            prop_assert_eq!((american.date(), iso.date()), (day, day));
        }
    }
}
