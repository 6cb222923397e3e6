//! The records of a batch, borrowed from its bytes.

use super::BatchError;
use super::header::{BatchHeader, TimestampType};
use super::varint;
use super::varint::Input;

/// The smallest record: length, attributes, two deltas, no key, no value, no headers.
const MIN_RECORD_BYTES: usize = 7;
/// The smallest header: two lengths.
const MIN_HEADER_BYTES: usize = 2;

/// One record of a batch.
#[derive(Clone, Copy, Debug)]
pub struct Record<'a> {
    /// Its place in the partition's log.
    pub offset: i64,
    /// When it was made, or appended if the topic says so, in milliseconds since 1970.
    pub timestamp: i64,
    /// Its key; an empty key is not the same as none.
    pub key: Option<&'a [u8]>,
    /// Its value; a record without value deletes its key from a compacted topic.
    pub value: Option<&'a [u8]>,
    /// Its headers.
    pub headers: Headers<'a>,
    body: &'a [u8],
}

impl<'a> Record<'a> {
    /// Key, value and headers as they stand in the batch: what [`RecordFields::read`] reads.
    #[must_use]
    pub fn body(&self) -> &'a [u8] {
        self.body
    }
}

/// What a record's body holds.
#[derive(Clone, Copy, Debug, Default)]
pub struct RecordFields<'a> {
    /// Its key; an empty key is not the same as none.
    pub key: Option<&'a [u8]>,
    /// Its value.
    pub value: Option<&'a [u8]>,
    /// Its headers.
    pub headers: Headers<'a>,
}

impl<'a> RecordFields<'a> {
    /// Reads a body that [`Record::body`] gave or [`RecordFields::write`] wrote; `None` for other bytes.
    #[inline]
    #[must_use]
    pub fn read(body: &'a [u8]) -> Option<Self> {
        let mut input = Input(body);
        let (key, value) = (input.nullable()?, input.nullable()?);
        let left = input.length()?;
        Some(Self { key, value, headers: Headers { bytes: input.0, left } })
    }

    /// Appends the body of a record with these fields.
    pub fn write(out: &mut Vec<u8>, key: Option<&[u8]>, value: Option<&[u8]>, headers: &[Header<'_>]) {
        put_field(out, key);
        put_field(out, value);
        varint::put(out, headers.len() as i64);
        for header in headers {
            put_field(out, Some(header.key));
            put_field(out, header.value);
        }
    }
}

fn put_field(out: &mut Vec<u8>, bytes: Option<&[u8]>) {
    varint::put(out, bytes.map_or(-1, |bytes| bytes.len() as i64));
    out.extend_from_slice(bytes.unwrap_or_default());
}

/// A record's header. Keys need not be UTF-8, may repeat, and a value may be missing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Header<'a> {
    /// The header's name.
    pub key: &'a [u8],
    /// The header's value.
    pub value: Option<&'a [u8]>,
}

/// Iterates over a record's headers, in the order in which they were written.
#[derive(Clone, Copy, Debug, Default)]
pub struct Headers<'a> {
    bytes: &'a [u8],
    left: usize,
}

impl<'a> Headers<'a> {
    /// The headers with this name, in order.
    pub fn named(self, name: &'a [u8]) -> impl Iterator<Item = Option<&'a [u8]>> + 'a {
        self.filter(move |header| header.key == name).map(|header| header.value)
    }
}

impl<'a> Iterator for Headers<'a> {
    type Item = Header<'a>;

    #[inline]
    fn next(&mut self) -> Option<Header<'a>> {
        if self.left == 0 {
            return None;
        }
        let mut input = Input(self.bytes);
        let header = header(&mut input)?;
        *self = Self { bytes: input.0, left: self.left - 1 };
        Some(header)
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        (self.left, Some(self.left))
    }
}

impl ExactSizeIterator for Headers<'_> {}

/// Iterates over a batch's records; the first malformed one is the last.
#[derive(Clone, Debug)]
pub struct Records<'a> {
    records: &'a [u8],
    input: Input<'a>,
    header: BatchHeader,
    index: i32,
    /// No record's offset may be below this, counted from the base offset.
    least_delta: i32,
}

/// How far a batch's records have been read.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct RecordsProgress {
    bytes: usize,
    index: i32,
    least_delta: i32,
}

impl<'a> Records<'a> {
    pub(super) fn new(header: &BatchHeader, records: &'a [u8]) -> Result<Self, BatchError> {
        let most = records.len() / MIN_RECORD_BYTES;
        if usize::try_from(header.count).unwrap_or(usize::MAX) > most {
            let what = "it has more records than its bytes can hold";
            return Err(BatchError::Malformed { base_offset: header.base_offset, what });
        }
        Ok(Self { records, input: Input(records), header: *header, index: 0, least_delta: 0 })
    }

    /// Goes on where reading the same records had come to.
    #[must_use]
    pub fn resume(mut self, progress: RecordsProgress) -> Self {
        let RecordsProgress { bytes, index, least_delta } = progress;
        self.input = Input(self.records.get(bytes..).unwrap_or_default());
        (self.index, self.least_delta) = (index, least_delta);
        self
    }

    /// How far they have been read.
    #[must_use]
    pub fn progress(&self) -> RecordsProgress {
        let bytes = self.records.len().saturating_sub(self.input.0.len());
        RecordsProgress { bytes, index: self.index, least_delta: self.least_delta }
    }

    /// Whether the last one has been read.
    #[must_use]
    pub fn is_at_end(&self) -> bool {
        self.index >= self.header.count && self.input.0.is_empty()
    }

    #[inline]
    fn record(&mut self) -> Result<Record<'a>, &'static str> {
        let length = self.input.length().ok_or("its length is malformed")?;
        let mut body = Input(self.input.take(length).ok_or("it is cut")?);
        let (timestamp_delta, delta) = deltas(&mut body).ok_or("its deltas are malformed")?;
        if delta < self.least_delta || delta > self.header.last_offset_delta {
            return Err("its offset is out of order");
        }
        let whole = body.0;
        let key = body.nullable().ok_or("its key is malformed")?;
        let value = body.nullable().ok_or("its value is malformed")?;
        let headers = headers(&mut body).ok_or("its headers are malformed")?;
        if !body.0.is_empty() {
            return Err("bytes remain behind its headers");
        }
        self.least_delta = delta.saturating_add(1);
        let timestamp = match self.header.timestamp_type() {
            TimestampType::CreateTime => self.header.base_timestamp.saturating_add(timestamp_delta),
            TimestampType::LogAppendTime => self.header.max_timestamp,
        };
        // The batch's last offset was found to be in range, and the delta is not beyond it.
        let offset = self.header.base_offset.saturating_add(delta.into());
        Ok(Record { offset, timestamp, key, value, headers, body: whole })
    }

    fn fail(&mut self, what: &'static str) -> BatchError {
        let index = self.index.unsigned_abs();
        self.index = self.header.count;
        self.input = Input(&[]);
        BatchError::Record { base_offset: self.header.base_offset, index, what }
    }
}

impl<'a> Iterator for Records<'a> {
    type Item = Result<Record<'a>, BatchError>;

    #[inline]
    fn next(&mut self) -> Option<Self::Item> {
        if self.index >= self.header.count {
            return (!self.input.0.is_empty()).then(|| Err(self.fail("bytes remain behind the last record")));
        }
        match self.record() {
            Ok(record) => {
                self.index += 1;
                Some(Ok(record))
            }
            Err(what) => Some(Err(self.fail(what))),
        }
    }
}

#[inline]
fn deltas(body: &mut Input<'_>) -> Option<(i64, i32)> {
    body.byte()?;
    Some((body.varlong()?, body.varint()?))
}

/// Takes the headers after walking over each, so that iterating over them later cannot fail.
#[inline]
fn headers<'a>(body: &mut Input<'a>) -> Option<Headers<'a>> {
    let left = body.length()?;
    if left > body.0.len() / MIN_HEADER_BYTES {
        return None;
    }
    let headers = Headers { bytes: body.0, left };
    for _ in 0..left {
        header(body)?;
    }
    Some(headers)
}

#[inline]
fn header<'a>(input: &mut Input<'a>) -> Option<Header<'a>> {
    let length = input.length()?;
    Some(Header { key: input.take(length)?, value: input.nullable()? })
}
