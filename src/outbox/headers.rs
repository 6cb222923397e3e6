//! The headers of a dead letter: the record's own, then ours.

use bytes::Bytes;

use crate::consumer::retry_topic::{REPLAYED_FOR, REPLAYED_FROM};
use crate::store::{Original, SetAside};

/// A header: its name, and its value unless that is null.
pub(super) type Header = (Bytes, Option<Bytes>);

/// Says of a dead letter that was too large for its topic how many bytes of its record are left out.
pub(super) const LEFT_OUT: &str = "dead-letter-left-out";

/// The longest sentence that a header carries.
const REASON_BYTES: usize = 1024;

/// Which headers say why a record was set aside (`dead_letters.headers`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Dialect {
    Text,
    Spring,
}

/// What one of our headers says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Says {
    Code,
    Reason,
    Topic,
    Partition,
    Offset,
    Timestamp,
    TimestampType,
    Group,
    Attempts,
    FirstFailed,
    LastFailed,
    Id,
    Version,
}

impl Says {
    /// Whether a record that brings this header keeps it: it speaks of the first failure.
    fn is_first(self) -> bool {
        use Says::{FirstFailed, Group, Offset, Partition, Timestamp, TimestampType, Topic};
        matches!(self, Topic | Partition | Offset | Timestamp | TimestampType | Group | FirstFailed)
    }
}

const TEXT: &[(Says, &str)] = &[
    (Says::Code, "dead-letter-code"),
    (Says::Reason, "dead-letter-reason"),
    (Says::Topic, "dead-letter-topic"),
    (Says::Partition, "dead-letter-partition"),
    (Says::Offset, "dead-letter-offset"),
    (Says::Timestamp, "dead-letter-timestamp"),
    (Says::Group, "dead-letter-group"),
    (Says::Attempts, "dead-letter-attempts"),
    (Says::FirstFailed, "dead-letter-first-failed"),
    (Says::LastFailed, "dead-letter-last-failed"),
    (Says::Id, "dead-letter-id"),
    (Says::Version, "dead-letter-version"),
];

const SPRING: &[(Says, &str)] = &[
    (Says::Topic, "kafka_dlt-original-topic"),
    (Says::Partition, "kafka_dlt-original-partition"),
    (Says::Offset, "kafka_dlt-original-offset"),
    (Says::Timestamp, "kafka_dlt-original-timestamp"),
    (Says::TimestampType, "kafka_dlt-original-timestamp-type"),
    (Says::Group, "kafka_dlt-original-consumer-group"),
    (Says::Code, "kafka_dlt-exception-fqcn"),
    (Says::Reason, "kafka_dlt-exception-message"),
    (Says::Attempts, "retry_topic-attempts"),
    (Says::Id, "dead-letter-id"),
    (Says::Version, "dead-letter-version"),
];

impl Dialect {
    fn names(self) -> &'static [(Says, &'static str)] {
        match self {
            Self::Text => TEXT,
            Self::Spring => SPRING,
        }
    }

    /// All headers of a record that was set aside by `group`, in their order.
    pub(super) fn headers(self, letter: &SetAside, group: &str) -> Vec<Header> {
        let names = self.names();
        let is_ours = |name: &[u8]| names.iter().any(|(_, ours)| ours.as_bytes() == name);
        let (earlier, mut headers): (Vec<_>, Vec<_>) =
            letter.original.headers.iter().cloned().partition(|(name, _)| is_ours(name));
        // Which replay brought a record here is over with it.
        headers.retain(|(name, _)| name != REPLAYED_FROM.as_bytes());
        let brought = |name: &str| earlier.iter().find(|(known, _)| known == name.as_bytes())?.1.clone();
        // A record that failed before brings the whole of its first origin, or nothing of it.
        let failed_before = names.iter().any(|(says, name)| *says == Says::Topic && brought(name).is_some());
        for (says, name) in names {
            let before = brought(name).filter(|_| failed_before);
            let value = match says {
                says if says.is_first() && failed_before => before,
                Says::Attempts => self.attempts(before.as_deref(), letter.attempts),
                says => self.value(*says, letter, group),
            };
            headers.extend(value.map(|value| (Bytes::from_static(name.as_bytes()), Some(value))));
        }
        headers
    }

    /// As [`Dialect::headers`], without those of the record that are not ours, and with how much is left out of the record.
    pub(super) fn headers_in_brief(self, letter: &SetAside, group: &str) -> Vec<Header> {
        let is_ours = |name: &[u8]| self.names().iter().any(|(_, ours)| ours.as_bytes() == name);
        let Original { key, value, headers } = &letter.original;
        let (ours, others): (Vec<Header>, Vec<Header>) = headers.iter().cloned().partition(|(name, _)| is_ours(name));
        let of_headers = others.iter().map(|(name, value)| name.len() + value.as_ref().map_or(0, Bytes::len));
        let bytes = [key, value].into_iter().flatten().map(Bytes::len).chain(of_headers).sum::<usize>();
        let brief = SetAside { original: Original { key: None, value: None, headers: ours }, ..letter.clone() };
        let mut headers = self.headers(&brief, group);
        headers.push((Bytes::from_static(LEFT_OUT.as_bytes()), text(&bytes.to_string())));
        headers
    }

    /// What the header is called, if this dialect has it.
    pub(super) fn name(self, says: Says) -> Option<&'static str> {
        self.names().iter().find(|(known, _)| *known == says).map(|(_, name)| *name)
    }

    /// The number that a header's value is.
    pub(super) fn number(self, value: &[u8]) -> Option<i64> {
        match self {
            Self::Text => std::str::from_utf8(value).ok()?.parse().ok(),
            Self::Spring => match value.len() {
                4 => Some(i32::from_be_bytes(value.try_into().ok()?).into()),
                _ => Some(i64::from_be_bytes(value.try_into().ok()?)),
            },
        }
    }

    fn value(self, says: Says, letter: &SetAside, group: &str) -> Option<Bytes> {
        let origin = letter.origin.as_ref();
        match says {
            Says::Code => text(&letter.code),
            Says::Reason => text(letter.reason.get(..letter.reason.floor_char_boundary(REASON_BYTES))?),
            Says::Topic => text(&origin?.topic),
            Says::Partition => self.number32(origin?.partition),
            Says::Offset => self.number64(origin?.offset),
            Says::Timestamp => self.instant(letter.timestamp),
            // The store does not know it; producers' times are what topics have unless set otherwise.
            Says::TimestampType => text("CreateTime"),
            Says::Group => text(group),
            Says::Attempts => self.attempts(None, letter.attempts),
            Says::FirstFailed => self.instant(letter.first_failed),
            Says::LastFailed => self.instant(letter.last_failed),
            Says::Id => text(&letter.id.to_string()),
            Says::Version => text(&letter.version.to_string()),
        }
    }

    /// The attempts that the record brings, and those of now.
    fn attempts(self, before: Option<&[u8]>, now: u32) -> Option<Bytes> {
        let before = before.and_then(|bytes| match self {
            Self::Text => std::str::from_utf8(bytes).ok()?.parse().ok(),
            Self::Spring => Some(u32::from_be_bytes(bytes.try_into().ok()?)),
        });
        let attempts = before.unwrap_or(0_u32).saturating_add(now);
        self.number32(i32::try_from(attempts).unwrap_or(i32::MAX))
    }

    fn number32(self, number: i32) -> Option<Bytes> {
        match self {
            Self::Text => text(&number.to_string()),
            Self::Spring => Some(Bytes::copy_from_slice(&number.to_be_bytes())),
        }
    }

    fn number64(self, number: i64) -> Option<Bytes> {
        match self {
            Self::Text => text(&number.to_string()),
            Self::Spring => Some(Bytes::copy_from_slice(&number.to_be_bytes())),
        }
    }

    fn instant(self, millis: i64) -> Option<Bytes> {
        match self {
            Self::Text => text(&instant(millis)),
            Self::Spring => self.number64(millis),
        }
    }
}

/// Whether a header is of a replay, and not of the record.
pub(super) fn is_of_replay(name: &[u8]) -> bool {
    name == REPLAYED_FOR.as_bytes() || name == REPLAYED_FROM.as_bytes()
}

fn text(text: &str) -> Option<Bytes> {
    Some(Bytes::copy_from_slice(text.as_bytes()))
}

/// An instant in RFC 3339; one that no calendar has stays a number.
pub(super) fn instant(millis: i64) -> String {
    match chrono::DateTime::from_timestamp_millis(millis) {
        Some(instant) => instant.to_rfc3339_opts(chrono::SecondsFormat::Millis, true),
        None => format!("{millis} ms"),
    }
}
