//! What the headers of a record on a dead-letter topic say, in either dialect.

use bytes::Bytes;

use super::headers::{Dialect, Header, LEFT_OUT, Says, instant};
use crate::consumer::retry_topic::REPLAYED_FOR;
use crate::order::Identity;
use crate::scan::Found;
use crate::store::{DeadLetterKind, DeadLetterRow, DeadLetterState, EventId, OriginalRow, Text, Topic};

/// A record on a dead-letter topic, with the dialect that its headers speak.
pub(super) struct Told<'f> {
    pub(super) found: &'f Found,
    dialect: Dialect,
}

impl<'f> Told<'f> {
    /// Which dialect it is follows from the headers; a record without any of ours is told of as far as it goes.
    pub(super) fn of(found: &'f Found) -> Self {
        let speaks = |dialect: &Dialect| {
            let said = dialect.name(Says::Topic);
            found.original.headers.iter().any(|(name, _)| said.is_some_and(|said| name == said.as_bytes()))
        };
        let dialect = [Dialect::Text, Dialect::Spring].into_iter().find(speaks).unwrap_or(Dialect::Text);
        Self { found, dialect }
    }

    fn value(&self, says: Says) -> Option<&'f Bytes> {
        self.header(self.dialect.name(says)?)
    }

    fn header(&self, name: &str) -> Option<&'f Bytes> {
        self.found.original.headers.iter().find(|(known, _)| known == name.as_bytes())?.1.as_ref()
    }

    fn text(&self, says: Says) -> Option<String> {
        self.value(says).map(|bytes| String::from_utf8_lossy(bytes).into_owned())
    }

    fn number(&self, says: Says) -> Option<i64> {
        self.dialect.number(self.value(says)?)
    }

    /// When something was, in RFC 3339.
    fn time(&self, says: Says) -> Option<String> {
        match self.dialect {
            Dialect::Text => self.text(says),
            Dialect::Spring => self.number(says).map(instant),
        }
    }

    /// The order's identity, unless its headers break the rules.
    pub(super) fn identity(&self) -> Option<Identity> {
        let headers = &self.found.original.headers;
        Identity::from_headers(headers.iter().map(|(name, value)| (&name[..], value.as_deref()))).ok().flatten()
    }

    /// The name that the record was set aside under; one that does not say it is named by its identity, or by its place on
    /// the dead-letter `topic`.
    pub(super) fn id(&self, topic: &Topic) -> EventId {
        let told = self.text(Says::Id).and_then(|text| text.parse().ok());
        told.unwrap_or_else(|| EventId::of(self.identity().as_ref(), topic, self.found.partition, self.found.offset))
    }

    /// The place at which it failed first.
    pub(super) fn origin(&self) -> Option<(String, i32, i64)> {
        let partition = i32::try_from(self.number(Says::Partition)?).ok()?;
        Some((self.text(Says::Topic)?, partition, self.number(Says::Offset)?))
    }

    /// The group that gave it up last.
    pub(super) fn group(&self) -> Option<String> {
        let replayed_for = self.header(REPLAYED_FOR).map(|bytes| String::from_utf8_lossy(bytes).into_owned());
        replayed_for.or_else(|| self.text(Says::Group))
    }

    /// How many bytes of its record were too many for the topic.
    pub(super) fn left_out(&self) -> Option<String> {
        self.header(LEFT_OUT).map(|bytes| String::from_utf8_lossy(bytes).into_owned())
    }

    pub(super) fn row(&self, topic: &Topic) -> DeadLetterRow {
        let written = || instant(self.found.timestamp);
        let origin = self.origin();
        DeadLetterRow {
            id: self.id(topic),
            kind: DeadLetterKind::DeadLetter,
            state: DeadLetterState::Open,
            code: self.text(Says::Code).unwrap_or_default(),
            reason: self.text(Says::Reason).unwrap_or_default(),
            idempotency_key: self.identity().map(|identity| identity.to_string()),
            topic: origin.as_ref().map(|(topic, ..)| topic.clone()),
            partition: origin.as_ref().map(|(_, partition, _)| *partition),
            offset: origin.as_ref().map(|(.., offset)| *offset),
            attempts: self.number(Says::Attempts).and_then(|number| u32::try_from(number).ok()).unwrap_or(1),
            first_failed: self.time(Says::FirstFailed).unwrap_or_else(written),
            last_failed: self.time(Says::LastFailed).unwrap_or_else(written),
            replayed: false,
        }
    }

    pub(super) fn original_row(&self, row: DeadLetterRow) -> OriginalRow {
        let text = |bytes: &Bytes| Text::of(bytes);
        let original = &self.found.original;
        OriginalRow {
            row,
            timestamp: self.time(Says::Timestamp).unwrap_or_else(|| instant(self.found.timestamp)),
            key: original.key.as_ref().map(text),
            value: original.value.as_ref().map(text),
            headers: original.headers.iter().map(|(name, value)| (text(name), value.as_ref().map(text))).collect(),
        }
    }
}

/// The headers of a record that is replayed: its own and those of its failure, without those of an earlier replay.
pub(super) fn kept(headers: &[Header]) -> impl Iterator<Item = &Header> {
    headers.iter().filter(|(name, _)| !super::headers::is_of_replay(name))
}
