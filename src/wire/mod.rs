//! Bytes to and from one broker: messages, record batches, connections. The only folder that names `rskafka`.

pub mod codec;
pub mod compression;
pub mod connection;
pub mod kafka_error;
pub mod message;
pub mod record_batch;
