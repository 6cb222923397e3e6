//! Settings by the names that Kafka gives them.
