//! What is kept of a record that was refused or set aside.

use super::pack::{Unpack, put_bytes, put_i64, put_optional, put_u64};
use super::{DeadLetter, DeadLetterKind, DeadLetterState, Original};
use crate::order::{IDENTITY_HEADER, Identity, Order};
use crate::{Error, ErrorCode, Result};

/// A dead letter or a refusal, without the record's bytes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Letter {
    pub(crate) kind: DeadLetterKind,
    pub(crate) about: About,
    pub(crate) state: DeadLetterState,
    pub(crate) code: String,
    pub(crate) reason: String,
    /// The identity as its header has it.
    pub(crate) identity: Option<Vec<u8>>,
    /// Where the first copy stood.
    pub(crate) first: Spot,
    /// The first copy's timestamp.
    pub(crate) timestamp: i64,
    pub(crate) attempts: u32,
    /// How many copies of the record failed.
    pub(crate) copies: u32,
    /// When it failed first and last, in milliseconds since 1970.
    pub(crate) failed: (i64, i64),
    /// Counts the changes, so that a late repeat of an event is recognised.
    pub(crate) version: u32,
    /// How many bytes are kept of the record.
    pub(crate) bytes: u64,
}

/// What kind of record it was.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum About {
    /// One of the store's orders.
    #[default]
    Order,
    /// An update of a delivery.
    Update,
}

/// A place in the log, by the store's number of the topic.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Spot {
    pub(crate) topic: u32,
    pub(crate) partition: i32,
    pub(crate) offset: i64,
}

impl Letter {
    /// Another copy failed: the origin stays, the cause is the newest, and the attempts add up.
    pub(crate) fn after(self, earlier: Self) -> Self {
        Self {
            first: earlier.first,
            timestamp: earlier.timestamp,
            attempts: earlier.attempts.saturating_add(self.attempts),
            copies: earlier.copies.saturating_add(1),
            failed: (earlier.failed.0, self.failed.1),
            version: earlier.version.saturating_add(1),
            // What was discarded stays so, whatever copies come.
            state: if earlier.state == DeadLetterState::Discarded { earlier.state } else { self.state },
            ..self
        }
    }

    /// It is closed, and its record let go.
    pub(crate) fn closed(self, state: DeadLetterState) -> Self {
        Self { state, version: self.version.saturating_add(1), bytes: 0, ..self }
    }

    pub(crate) fn is_open(&self) -> bool {
        self.state == DeadLetterState::Open
    }

    pub(crate) fn encode(&self, out: &mut Vec<u8>) {
        out.push(u8::from(self.kind == DeadLetterKind::Refused) | u8::from(self.about == About::Update) << 1);
        out.push(match self.state {
            DeadLetterState::Open => 0,
            DeadLetterState::Resolved => 1,
            DeadLetterState::Replayed => 2,
            DeadLetterState::Discarded => 3,
        });
        put_bytes(self.code.as_bytes(), out);
        put_bytes(self.reason.as_bytes(), out);
        put_optional(self.identity.as_deref(), out);
        self.first.encode(out);
        put_i64(self.timestamp, out);
        put_u64(u64::from(self.attempts), out);
        put_u64(u64::from(self.copies), out);
        put_i64(self.failed.0, out);
        put_i64(self.failed.1, out);
        put_u64(u64::from(self.version), out);
        put_u64(self.bytes, out);
    }

    pub(crate) fn decode(bytes: &[u8]) -> Result<Self> {
        let mut row = Unpack::new(bytes, "a dead letter");
        let bits = row.byte()?;
        let kind = if bits & 1 == 0 { DeadLetterKind::DeadLetter } else { DeadLetterKind::Refused };
        let about = if bits & 2 == 0 { About::Order } else { About::Update };
        let state = match row.byte()? {
            0 => DeadLetterState::Open,
            1 => DeadLetterState::Resolved,
            2 => DeadLetterState::Replayed,
            3 => DeadLetterState::Discarded,
            _ => return Err(row.broken()),
        };
        let letter = Self {
            kind,
            about,
            state,
            code: row.text()?.to_owned(),
            reason: row.text()?.to_owned(),
            identity: row.optional()?.map(<[u8]>::to_vec),
            first: Spot::decode(&mut row)?,
            timestamp: row.i64()?,
            attempts: row.u32()?,
            copies: row.u32()?,
            failed: (row.i64()?, row.i64()?),
            version: row.u32()?,
            bytes: row.u64()?,
        };
        row.end()?;
        Ok(letter)
    }
}

impl Spot {
    fn encode(self, out: &mut Vec<u8>) {
        put_u64(u64::from(self.topic), out);
        put_i64(i64::from(self.partition), out);
        put_i64(self.offset, out);
    }

    fn decode(row: &mut Unpack<'_>) -> Result<Self> {
        Ok(Self { topic: row.u32()?, partition: row.i32()?, offset: row.i64()? })
    }
}

/// The record of an order that the effect refused, as a producer would write it.
pub(crate) fn rebuilt<O: Order>(order: &O, identity: Option<&Identity>) -> Original {
    let mut value = Vec::with_capacity(order.encoded_len());
    order.encode(&mut value);
    let header = |identity| (IDENTITY_HEADER.as_bytes().into(), Some(header_of(identity).into()));
    Original {
        key: Some(bytes::Bytes::copy_from_slice(order.key())),
        value: Some(value.into()),
        headers: identity.map(header).into_iter().collect(),
    }
}

/// A letter that failed now.
pub(crate) fn letter_of(
    (kind, about): (DeadLetterKind, About),
    cause: &DeadLetter,
    identity: Option<&Identity>,
    (spot, timestamp): (Spot, i64),
    now: i64,
) -> Letter {
    Letter {
        kind,
        about,
        state: DeadLetterState::Open,
        code: cause.code.clone().into_owned(),
        reason: cause.reason.clone(),
        identity: identity.map(header_of),
        first: spot,
        timestamp,
        attempts: cause.attempts.max(1),
        copies: 1,
        failed: (now, now),
        version: 1,
        bytes: 0,
    }
}

/// The identity as its header has it.
pub(crate) fn header_of(identity: &Identity) -> Vec<u8> {
    let mut header = Vec::with_capacity(identity.header_len());
    identity.write_header(&mut header);
    header
}

/// The room for dead letters is used up.
pub(crate) fn full(max_bytes: u64) -> Error {
    Error::new(ErrorCode::StoreFull, format!("dead letters have used up their {max_bytes} bytes"))
        .remedy("replay or discard some with `orders dlq`, or raise dead_letters.max.bytes")
}

/// Appends a record's bytes.
pub(crate) fn encode_original(original: &Original, out: &mut Vec<u8>) {
    put_optional(original.key.as_deref(), out);
    put_optional(original.value.as_deref(), out);
    put_u64(original.headers.len() as u64, out);
    for (key, value) in &original.headers {
        put_bytes(key, out);
        put_optional(value.as_deref(), out);
    }
}

/// The record that [`encode_original`] wrote.
pub(crate) fn decode_original(bytes: &[u8]) -> Result<Original> {
    let mut row = Unpack::new(bytes, "a dead letter's record");
    let copy = |bytes: &[u8]| bytes::Bytes::copy_from_slice(bytes);
    let (key, value) = (row.optional()?.map(copy), row.optional()?.map(copy));
    let headers =
        (0..row.count(2)?).map(|_| Ok((copy(row.bytes()?), row.optional()?.map(copy)))).collect::<Result<_>>()?;
    row.end()?;
    Ok(Original { key, value, headers })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn letter(offset: i64) -> Letter {
        let spot = Spot { topic: 1, partition: 2, offset };
        Letter {
            kind: DeadLetterKind::DeadLetter,
            about: About::Update,
            state: DeadLetterState::Open,
            code: "ORD-DATE-INVALID".into(),
            reason: "no such day".into(),
            identity: Some(b"checkout:1".to_vec()),
            first: spot,
            timestamp: offset * 10,
            attempts: 2,
            copies: 1,
            failed: (offset * 100, offset * 100),
            version: 1,
            bytes: 40,
        }
    }

    #[test]
    fn another_copy_raises_the_attempts_and_leaves_the_origin() {
        let both = Letter { kind: DeadLetterKind::Refused, ..letter(9) }.after(letter(7));
        assert_eq!((both.attempts, both.copies, both.version, both.failed), (4, 2, 2, (700, 900)));
        assert_eq!((both.first.offset, both.timestamp), (7, 70));
        assert_eq!(both.kind, DeadLetterKind::Refused);
        assert!(both.is_open() && !both.closed(DeadLetterState::Resolved).is_open());
    }

    #[test]
    fn a_letter_and_its_record_are_read_as_they_were_written() {
        let mut row = Vec::new();
        letter(7).encode(&mut row);
        assert_eq!(Letter::decode(&row).unwrap(), letter(7));
        (0..row.len()).for_each(|cut| assert!(Letter::decode(&row[..cut]).is_err()));

        let header = (bytes::Bytes::from_static(b"h"), None);
        let original =
            Original { key: None, value: Some(b"\xff{".as_slice().into()), headers: vec![header.clone(), header] };
        let mut row = Vec::new();
        encode_original(&original, &mut row);
        assert_eq!(decode_original(&row).unwrap(), original);
        (0..row.len()).for_each(|cut| assert!(decode_original(&row[..cut]).is_err()));
    }
}
