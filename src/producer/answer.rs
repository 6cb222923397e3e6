//! What a broker's answer to a batch means: written, again, refused, or to be cut.
//!
//! The question that decides is whether a batch may be in the log all the same. An error that a leader gives before it
//! appends leaves no trace; one that it may also give afterwards, while the batch waits for its replicas
//! (NOT_LEADER_OR_FOLLOWER, REQUEST_TIMED_OUT, ...), and one that we do not know, may leave one.

use super::idempotence::{Answer, Trace};
use crate::wire::kafka_error::{KafkaError, Retry};

/// How often a batch is sent while the answer is an error that sometimes stays for ever.
const FEW_TRIES: u32 = 3;

/// What `error` means for a batch of `count` records that was sent `tries` times.
pub(super) fn meaning(error: KafkaError, count: u32, tries: u32) -> Answer {
    match error {
        // It is written, and the broker no longer knows where.
        KafkaError::DuplicateSequenceNumber => return Answer::Written,
        KafkaError::OutOfOrderSequenceNumber | KafkaError::UnknownProducerId => return Answer::OutOfOrder,
        KafkaError::InvalidProducerEpoch | KafkaError::ProducerFenced => return Answer::OldEpoch,
        error if is_about_records(error) && count > 1 => return Answer::TooMuch,
        _ => {}
    }
    let again = match error.retry() {
        Retry::Yes => true,
        Retry::Few => tries < FEW_TRIES,
        Retry::No => false,
    };
    if again { Answer::Again(trace(error)) } else { Answer::Refused(trace(error)) }
}

/// Whether the batch's records, or how many they are, are what the broker minds.
pub(super) fn is_about_records(error: KafkaError) -> bool {
    matches!(
        error,
        KafkaError::MessageTooLarge
            | KafkaError::RecordListTooLarge
            | KafkaError::InvalidRecord
            | KafkaError::InvalidTimestamp
    )
}

fn trace(error: KafkaError) -> Trace {
    use KafkaError as E;
    match error {
        E::CorruptMessage
        | E::MessageTooLarge
        | E::InvalidTopicException
        | E::RecordListTooLarge
        | E::NotEnoughReplicas
        | E::InvalidRequiredAcks
        | E::TopicAuthorizationFailed
        | E::ClusterAuthorizationFailed
        | E::InvalidTimestamp
        | E::UnsupportedVersion
        | E::UnsupportedForMessageFormat
        | E::PolicyViolation
        | E::FencedLeaderEpoch
        | E::UnsupportedCompressionType
        | E::InvalidRecord
        | E::ThrottlingQuotaExceeded => Trace::None,
        _ => Trace::Possible,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_errors_given_before_appending_leave_no_trace() {
        for (error, answer) in [
            (KafkaError::NotLeaderOrFollower, Answer::Again(Trace::Possible)),
            (KafkaError::NotEnoughReplicasAfterAppend, Answer::Again(Trace::Possible)),
            (KafkaError::NotEnoughReplicas, Answer::Again(Trace::None)),
            (KafkaError::TopicAuthorizationFailed, Answer::Refused(Trace::None)),
            (KafkaError::Unknown(9999), Answer::Again(Trace::Possible)),
            (KafkaError::DuplicateSequenceNumber, Answer::Written),
            (KafkaError::UnknownProducerId, Answer::OutOfOrder),
            (KafkaError::InvalidProducerEpoch, Answer::OldEpoch),
            (KafkaError::MessageTooLarge, Answer::TooMuch),
        ] {
            assert_eq!(meaning(error, 2, 1), answer, "{error}");
        }
    }

    #[test]
    fn a_single_record_is_refused_where_a_batch_would_be_cut() {
        assert_eq!(meaning(KafkaError::MessageTooLarge, 1, 1), Answer::Refused(Trace::None));
    }

    #[test]
    fn an_error_that_may_stay_for_ever_is_tried_few_times() {
        assert_eq!(meaning(KafkaError::CorruptMessage, 1, FEW_TRIES - 1), Answer::Again(Trace::None));
        assert_eq!(meaning(KafkaError::CorruptMessage, 1, FEW_TRIES), Answer::Refused(Trace::None));
        assert_eq!(meaning(KafkaError::UnknownServerError, 1, FEW_TRIES), Answer::Refused(Trace::Possible));
    }
}
