//! A statement with its parameters, for whatever driver runs it.

use std::fmt;

/// A statement for PostgreSQL. Its text is always the same, so a driver that keeps prepared statements keeps few.
#[derive(Clone, Debug, PartialEq)]
pub struct Statement {
    /// The text, with `$1`, `$2`, ..., whose types it says.
    pub sql: &'static str,
    /// The values of `$1`, `$2`, ...
    pub values: Vec<Value>,
}

/// The value of a parameter.
#[derive(Clone, PartialEq)]
pub enum Value {
    /// A `text`.
    Text(String),
    /// An `integer`.
    Int(i32),
    /// A `bigint`.
    Long(i64),
    /// A `bytea`, which may be null.
    Bytes(Option<Vec<u8>>),
    /// An `integer[]`.
    Ints(Vec<i32>),
    /// A `bigint[]`.
    Longs(Vec<i64>),
    /// A `bytea[]`.
    ManyBytes(Vec<Vec<u8>>),
}

/// Bytes are records, which hold customers' data: only their number is shown.
impl fmt::Debug for Value {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Text(text) => fmt::Debug::fmt(text, f),
            Self::Int(number) => fmt::Debug::fmt(number, f),
            Self::Long(number) => fmt::Debug::fmt(number, f),
            Self::Bytes(None) => f.write_str("null"),
            Self::Bytes(Some(bytes)) => write!(f, "{} bytes", bytes.len()),
            Self::Ints(numbers) => fmt::Debug::fmt(numbers, f),
            Self::Longs(numbers) => fmt::Debug::fmt(numbers, f),
            Self::ManyBytes(many) => write!(f, "{} times bytes", many.len()),
        }
    }
}
