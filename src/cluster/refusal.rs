//! A broker's error code as an error of ours.

use crate::error::{Error, ErrorCode};
use crate::wire::kafka_error::KafkaError;

/// The error that says what the broker answered when `doing` was tried.
#[must_use]
pub fn refusal(error: KafkaError, doing: &str) -> Error {
    let (code, remedy) = match error {
        KafkaError::UnknownTopicOrPartition | KafkaError::UnknownTopicId => {
            (ErrorCode::UnknownTopic, Some("create it with `orders topics create`"))
        }
        KafkaError::InvalidTopicException => {
            (ErrorCode::UnknownTopic, Some("a topic's name has letters, digits, `.`, `_` and `-`, at most 249"))
        }
        KafkaError::TopicAuthorizationFailed
        | KafkaError::GroupAuthorizationFailed
        | KafkaError::ClusterAuthorizationFailed
        | KafkaError::SaslAuthenticationFailed => (ErrorCode::Denied, Some("ask for the permission")),
        _ => (ErrorCode::Broker, None),
    };
    let refused = Error::new(code, format!("{doing}: {} ({})", error.meaning(), error.name()));
    let refused = if error.is_retriable() { refused.retriable() } else { refused };
    match remedy {
        Some(remedy) => refused.remedy(remedy),
        None => refused,
    }
}
