//! Where an operator sends a position.

use std::str::FromStr;

use chrono::{DateTime, NaiveDate, NaiveTime};

/// Where a partition is to be gone on from, as it is typed.
///
/// ```
/// use orderflow::store::Destination;
/// assert_eq!("57".parse(), Ok(Destination::Offset(57)));
/// assert_eq!("earliest".parse(), Ok(Destination::Earliest));
/// assert_eq!("1970-01-02".parse(), Ok(Destination::Time(86_400_000)));
/// assert!("yesterday".parse::<Destination>().is_err());
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Destination {
    /// This offset.
    Offset(i64),
    /// The first offset that the log has.
    Earliest,
    /// The end of what can be read.
    Latest,
    /// The first record written at this time or later, in milliseconds since 1970.
    Time(i64),
}

impl FromStr for Destination {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        if let Ok(offset) = text.parse::<u64>() {
            let offset = i64::try_from(offset).map_err(|_| format!("{text} is larger than any offset"))?;
            return Ok(Self::Offset(offset));
        }
        let day = |text: &str| Some(text.parse::<NaiveDate>().ok()?.and_time(NaiveTime::MIN).and_utc());
        let instant = |text: &str| DateTime::parse_from_rfc3339(text).ok().map(|time| time.to_utc());
        match text {
            "earliest" => Ok(Self::Earliest),
            "latest" => Ok(Self::Latest),
            text => {
                instant(text).or_else(|| day(text)).map(|time| Self::Time(time.timestamp_millis())).ok_or_else(|| {
                    format!("`{text}` is no offset, `earliest`, `latest`, 2026-11-24 or 2026-11-24T08:00:00Z")
                })
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_time_is_a_date_or_an_instant_with_its_zone() {
        assert_eq!("1970-01-01T01:00:00+01:00".parse(), Ok(Destination::Time(0)));
        assert_eq!("1970-01-01T00:00:01.5Z".parse(), Ok(Destination::Time(1500)));
        for nonsense in ["", "-1", "1.5", "99999999999999999999", "9223372036854775808", "Latest", "1970-13-01"] {
            assert!(nonsense.parse::<Destination>().is_err(), "{nonsense}");
        }
    }
}
