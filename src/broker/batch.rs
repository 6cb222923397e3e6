//! A record batch as the broker sees it: a header to read, bytes to keep.
//!
//! The broker never looks at records. It reads what the header says, checks the checksum, and keeps the bytes as they came. Two fields of
//! the header are the broker's own, the base offset and the leader epoch; they stand before the bytes that the checksum covers, so they are
//! written when the batch is sent ([`Stored::prefix`]) and the stored bytes stay as they came.
