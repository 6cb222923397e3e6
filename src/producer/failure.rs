//! Why orders were not acknowledged, as a value that many orders share.

use std::borrow::Cow;
use std::time::Duration;

use crate::place::{Place, TopicPartition};
use crate::wire::kafka_error::KafkaError;
use crate::{Error, ErrorCode};

/// The reason that a batch's orders failed. Each order gets an [`Error`] of its own made from it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Failure {
    code: ErrorCode,
    message: Cow<'static, str>,
    cause: Option<KafkaError>,
    retriable: bool,
    possibly_written: bool,
}

impl Failure {
    pub(super) fn new(code: ErrorCode, message: impl Into<Cow<'static, str>>) -> Self {
        Self { code, message: message.into(), cause: None, retriable: false, possibly_written: false }
    }

    /// The broker's answer, with what it says beside its code.
    pub(super) fn answered(error: KafkaError, words: Option<&str>) -> Self {
        let meaning = error.meaning().trim_end_matches('.');
        let message = match words {
            Some(words) => format!("{}: {meaning}: {words}", error.name()),
            None => format!("{}: {meaning}", error.name()),
        };
        let code = match error {
            KafkaError::MessageTooLarge | KafkaError::RecordListTooLarge => ErrorCode::TooLarge,
            error if error.is_denial() => ErrorCode::Denied,
            _ => ErrorCode::Refused,
        };
        Self { cause: Some(error), retriable: error.is_retriable(), ..Self::new(code, message) }
    }

    /// What `delivery.timeout.ms` ended, and what stood in the way last.
    pub(super) fn late(within: Duration, trouble: Option<&Self>) -> Self {
        let within_ms = within.as_millis();
        let message = match trouble {
            Some(trouble) => format!("not acknowledged within {within_ms} ms: {}", trouble.message),
            None => format!("not acknowledged within {within_ms} ms"),
        };
        let cause = trouble.and_then(|trouble| trouble.cause);
        Self { cause, retriable: true, ..Self::new(ErrorCode::DeliveryTimeout, message) }
    }

    /// The handle was closed first.
    pub(super) fn closed() -> Self {
        Self::new(ErrorCode::Closed, "the producer was closed before the order was acknowledged")
    }

    /// An error of the layers below, for whoever is told of it later.
    pub(super) fn of(error: &Error) -> Self {
        Self { retriable: error.is_retriable(), ..Self::new(error.code(), error.to_string()) }
    }

    #[must_use]
    pub(super) fn possibly_written(mut self, possibly: bool) -> Self {
        self.possibly_written = possibly;
        self
    }

    /// The error of one order.
    pub(super) fn error(&self, at: &TopicPartition) -> Error {
        let mut error = Error::new(self.code, self.message.clone()).at(Place::partition(at));
        if let Some(cause) = self.cause {
            error = error.caused_by(cause);
        }
        if self.retriable {
            error = error.retriable();
        }
        if self.possibly_written { error.maybe_written() } else { error }
    }
}
