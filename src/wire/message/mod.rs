//! The messages of the protocol, one API a file, each encoded and decoded.
//!
//! Structures and fields have the names of Kafka's schemas (`clients/src/main/resources/common/message` in its source). The client and
//! the development broker share them.
//!
//! ```text
//!  request  = RequestHeader, body        body in the version that the header names
//!  response = response header, body      body in the version of the request
//! ```

mod api;
mod api_versions;
mod fetch;
mod header;
mod metadata;
mod produce;
#[cfg(test)]
mod tests;

pub use super::codec::{CodecError, Decode, Encode, Fault, Reader, Shape, Writer, decode_body, encode_body};
pub use api::{ApiKey, Request, VersionRange};
pub use api_versions::*;
pub use fetch::*;
pub use header::{RequestHeader, decode_response_header, encode_response_header};
pub use metadata::*;
pub use produce::*;
