//! Order files: entries and orders out of a JSON array or NDJSON, as a stream in constant memory.
//!
//! A bad entry is a value with its place, and what follows it is read. How entries are delimited decides their identities,
//! so it never changes; golden files in `fixtures/identity/` hold it fast:
//!
//! - A byte order mark at the very beginning is skipped. The first byte that is not blank decides: `[` begins an array,
//!   everything else NDJSON. Blank are space, tab, carriage return and line feed. A file without entries has no orders.
//! - NDJSON: every line that is not blank is an entry, from its first to its last byte that is not blank.
//! - Array: what stands between the array's brackets and its commas (those outside strings and inner brackets) is an entry.
//!   Nothing between two commas, or between a comma and the closing bracket, is an entry too, and a bad one.
//! - An entry whose inside cannot be told apart (a string that is open at its line's end, a closing bracket of the wrong
//!   kind, an object or array where a field's name belongs, more than 128 levels) ends before the next line whose first byte that
//!   is not blank is a `{` in the entry's own column, or a `]` in a column before it; where the entry is not the first on
//!   its line, or there is no such line, nothing more is read.
//! - Every entry counts, from 0, good or bad and of either type.
//!
//! ```text
//!  Read -> Window (buffer) -> EntryReader (bytes, index, line, column) -> OrderReader (Order | Filtered | Rejected)
//!                                                                      -> Lint (every violation, with an excerpt)
//! ```

mod current;
mod digest;
mod element;
mod entries;
mod growing;
mod lint;
mod orders;
mod raw_entry;
mod window;

pub use self::digest::{DigestReader, digest_of};
pub use self::entries::{EntryReader, Format};
pub use self::growing::{Change, GrowingFile};
pub use self::lint::{Finding, Lint, lint};
pub use self::orders::{Entry, Located, OrderReader, Rejection};
pub use self::raw_entry::RawEntry;

#[cfg(test)]
mod golden;
