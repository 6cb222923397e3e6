//! Batches for this folder's tests.

use bytes::{Bytes, BytesMut};

use crate::wire::compression::{Compression, Compressor};
use crate::wire::record_batch::{BatchBuilder, Header, RecordParts, set_place};

/// A batch of `values` from `base` on, with a key `k<n>` and no headers.
pub(crate) fn batch_of(base: i64, values: &[&[u8]], headers: &[Header<'_>]) -> Bytes {
    let mut builder = BatchBuilder::new(Compression::None, Vec::new());
    for (number, value) in values.iter().enumerate() {
        let key = format!("k{number}");
        let parts = RecordParts { key: Some(key.as_bytes()), headers, value_len: Some(value.len()) };
        builder.append(1_000 + number as i64, &parts, |out| out.extend_from_slice(value)).unwrap();
    }
    placed(builder, base)
}

/// A batch of `count` one-byte records from `base` on.
pub(crate) fn batch(base: i64, count: usize) -> Bytes {
    batch_of(base, &vec![&b"x"[..]; count], &[])
}

pub(crate) fn placed(builder: BatchBuilder, base: i64) -> Bytes {
    let closed = builder.close(&mut Compressor::new());
    let mut bytes = closed.bytes().to_vec();
    assert!(set_place(&mut bytes, base, 3));
    bytes.into()
}

/// Batches behind each other, as a broker sends them.
pub(crate) fn log(batches: impl IntoIterator<Item = Bytes>) -> Bytes {
    let mut bytes = BytesMut::new();
    batches.into_iter().for_each(|batch| bytes.extend_from_slice(&batch));
    bytes.freeze()
}
