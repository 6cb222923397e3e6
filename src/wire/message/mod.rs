//! The messages of the protocol, one API a file, each encoded and decoded.
//!
//! Structures and fields have the names of Kafka's schemas (`clients/src/main/resources/common/message` in its source). The client and
//! the development broker share them.
//!
//! ```text
//!  request  = RequestHeader, body        body in the version that the header names
//!  response = response header, body      body in the version of the request
//! ```
//!
//! All are exported here, except those few whose name two APIs use: these are found in their API's module.
//!
//! ```
//! use orderflow::wire::message::{ListOffsetsRequest, ListOffsetsTopic, Request, decode_body, encode_body};
//! # fn main() -> Result<(), orderflow::wire::message::CodecError> {
//! let topic = ListOffsetsTopic { name: "inventory_orders".into(), ..Default::default() };
//! let request = ListOffsetsRequest { topics: vec![topic], ..Default::default() };
//! let mut body = Vec::new();
//! encode_body(&request, 7, ListOffsetsRequest::FLEXIBLE_FROM, &mut body)?;
//! let same: ListOffsetsRequest = decode_body(body.into(), 7, ListOffsetsRequest::FLEXIBLE_FROM)?;
//! assert_eq!(same, request);
//! # Ok(())
//! # }
//! ```

mod api;
mod header;
#[cfg(test)]
mod tests;

pub mod api_versions;
pub mod consumer_group_describe;
pub mod consumer_group_heartbeat;
pub mod create_partitions;
pub mod create_topics;
pub mod delete_groups;
pub mod delete_records;
pub mod delete_topics;
pub mod describe_cluster;
pub mod describe_configs;
pub mod describe_groups;
pub mod fetch;
pub mod find_coordinator;
pub mod heartbeat;
pub mod init_producer_id;
pub mod join_group;
pub mod leave_group;
pub mod list_groups;
pub mod list_offsets;
pub mod metadata;
pub mod offset_commit;
pub mod offset_delete;
pub mod offset_fetch;
pub mod offset_for_leader_epoch;
pub mod produce;
pub mod sasl_authenticate;
pub mod sasl_handshake;
pub mod sync_group;

pub use super::codec::{CodecError, Decode, Encode, Fault, Reader, Shape, Writer, decode_body, encode_body};
pub use api::{ApiKey, Request, VersionRange};
pub use header::{RequestHeader, decode_response_header, encode_response_header};

pub use api_versions::*;
pub use consumer_group_describe::{ConsumerGroupDescribeRequest, ConsumerGroupDescribeResponse};
pub use consumer_group_heartbeat::*;
pub use create_partitions::*;
pub use create_topics::*;
pub use delete_groups::*;
pub use delete_records::*;
pub use delete_topics::*;
pub use describe_cluster::*;
pub use describe_configs::*;
pub use describe_groups::*;
pub use fetch::*;
pub use find_coordinator::*;
pub use heartbeat::*;
pub use init_producer_id::*;
pub use join_group::*;
pub use leave_group::*;
pub use list_groups::*;
pub use list_offsets::*;
pub use metadata::*;
pub use offset_commit::*;
pub use offset_delete::*;
pub use offset_fetch::*;
pub use offset_for_leader_epoch::{
    OffsetForLeaderEpochRequest, OffsetForLeaderEpochResponse, OffsetForLeaderPartition, OffsetForLeaderTopic,
    OffsetForLeaderTopicResult,
};
pub use produce::*;
pub use sasl_authenticate::*;
pub use sasl_handshake::*;
pub use sync_group::*;
