//! The errors that a broker answers with, and what mends them.
//!
//! The table follows Kafka's list of error codes (up to 4.1) in code and name. What to do is our own: Kafka's flag "retriable" counts some
//! errors as passing that never pass, and the other way round.

use std::fmt;

use crate::{Error, ErrorCode};

/// Whether the same request may succeed later.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Retry {
    /// It may not: something else must change first.
    No,
    /// Perhaps: the error sometimes stays for ever, so one or two tries are enough.
    Few,
    /// It may, within the deadline of what is being done.
    Yes,
}

/// What must be looked up before the next try.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stale {
    Nothing,
    Metadata,
    Coordinator,
}

macro_rules! errors {
    ($($name:ident = $code:literal, $text:literal, $retry:ident $($stale:ident)?, $meaning:literal;)*) => {
        /// An error of the protocol.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        #[non_exhaustive]
        pub enum KafkaError {
            $(#[doc = $meaning] $name,)*
            /// A code that is newer than this library.
            Unknown(i16),
        }

        impl KafkaError {
            /// Every error that is known.
            pub const ALL: &[Self] = &[$(Self::$name,)*];

            /// The error of a response's `error_code`; `None` for 0, which is success.
            #[must_use]
            pub const fn from_code(code: i16) -> Option<Self> {
                match code {
                    0 => None,
                    $($code => Some(Self::$name),)*
                    code => Some(Self::Unknown(code)),
                }
            }

            /// The code of the protocol.
            #[must_use]
            pub const fn code(self) -> i16 {
                match self {
                    $(Self::$name => $code,)*
                    Self::Unknown(code) => code,
                }
            }

            /// Kafka's name for it.
            #[must_use]
            pub const fn name(self) -> &'static str {
                match self {
                    $(Self::$name => $text,)*
                    Self::Unknown(_) => "UNKNOWN_ERROR_CODE",
                }
            }

            /// What it means, as a sentence for people.
            #[must_use]
            pub const fn meaning(self) -> &'static str {
                match self {
                    $(Self::$name => $meaning,)*
                    Self::Unknown(_) => "The error is newer than this library.",
                }
            }

            /// Whether the same request may succeed later.
            #[must_use]
            pub const fn retry(self) -> Retry {
                match self {
                    $(Self::$name => Retry::$retry,)*
                    // Whatever it is, it is worth a second try and no endless ones.
                    Self::Unknown(_) => Retry::Few,
                }
            }

            const fn stale(self) -> Stale {
                match self {
                    $(Self::$name => errors!(@stale $($stale)?),)*
                    Self::Unknown(_) => Stale::Nothing,
                }
            }
        }
    };
    (@stale) => { Stale::Nothing };
    (@stale $stale:ident) => { Stale::$stale };
}

// name = code, Kafka's name, whether to retry, what to look up first, meaning
errors! {
    UnknownServerError = -1, "UNKNOWN_SERVER_ERROR", Few, "The broker met an error that it did not expect; its log says more.";
    OffsetOutOfRange = 1, "OFFSET_OUT_OF_RANGE", No, "The offset is outside the partition's log.";
    CorruptMessage = 2, "CORRUPT_MESSAGE", Few, "The batch is damaged, or a record of a compacted topic has no key.";
    UnknownTopicOrPartition = 3, "UNKNOWN_TOPIC_OR_PARTITION", Yes Metadata, "The broker does not know the topic or the partition, which may be new or gone.";
    InvalidFetchSize = 4, "INVALID_FETCH_SIZE", No, "The size asked for is invalid.";
    LeaderNotAvailable = 5, "LEADER_NOT_AVAILABLE", Yes Metadata, "The partition has no leader at the moment.";
    NotLeaderOrFollower = 6, "NOT_LEADER_OR_FOLLOWER", Yes Metadata, "The partition has moved to another broker.";
    RequestTimedOut = 7, "REQUEST_TIMED_OUT", Yes, "The broker could not finish in time; what it was asked to do may still happen.";
    BrokerNotAvailable = 8, "BROKER_NOT_AVAILABLE", Few Metadata, "The broker is not available.";
    ReplicaNotAvailable = 9, "REPLICA_NOT_AVAILABLE", Yes Metadata, "The replica is not available.";
    MessageTooLarge = 10, "MESSAGE_TOO_LARGE", No, "The batch is larger than the topic allows (max.message.bytes).";
    StaleControllerEpoch = 11, "STALE_CONTROLLER_EPOCH", No, "The controller has moved.";
    OffsetMetadataTooLarge = 12, "OFFSET_METADATA_TOO_LARGE", No, "The text beside a committed offset is too long (offset.metadata.max.bytes).";
    NetworkException = 13, "NETWORK_EXCEPTION", Yes Metadata, "A broker lost its connection to another before the answer.";
    CoordinatorLoadInProgress = 14, "COORDINATOR_LOAD_IN_PROGRESS", Yes, "The coordinator is still loading the group.";
    CoordinatorNotAvailable = 15, "COORDINATOR_NOT_AVAILABLE", Yes Coordinator, "The group has no coordinator at the moment.";
    NotCoordinator = 16, "NOT_COORDINATOR", Yes Coordinator, "The group has moved to another coordinator.";
    InvalidTopicException = 17, "INVALID_TOPIC_EXCEPTION", No, "The topic's name is invalid, or the topic is Kafka's own.";
    RecordListTooLarge = 18, "RECORD_LIST_TOO_LARGE", No, "The batch is larger than a segment of the log.";
    NotEnoughReplicas = 19, "NOT_ENOUGH_REPLICAS", Yes, "Too few replicas are in sync (min.insync.replicas); nothing was written.";
    NotEnoughReplicasAfterAppend = 20, "NOT_ENOUGH_REPLICAS_AFTER_APPEND", Yes, "Too few replicas are in sync (min.insync.replicas); the batch was written to those that are.";
    InvalidRequiredAcks = 21, "INVALID_REQUIRED_ACKS", No, "The number of acknowledgements asked for is invalid.";
    IllegalGeneration = 22, "ILLEGAL_GENERATION", No, "The group is in another generation.";
    InconsistentGroupProtocol = 23, "INCONSISTENT_GROUP_PROTOCOL", No, "The member shares no assignor with the group's other members.";
    InvalidGroupId = 24, "INVALID_GROUP_ID", No, "The group's name is invalid.";
    UnknownMemberId = 25, "UNKNOWN_MEMBER_ID", No, "The coordinator does not know the member, whose session may have expired.";
    InvalidSessionTimeout = 26, "INVALID_SESSION_TIMEOUT", No, "The session timeout is outside what the broker allows.";
    RebalanceInProgress = 27, "REBALANCE_IN_PROGRESS", No, "The group rebalances; the member must join again.";
    InvalidCommitOffsetSize = 28, "INVALID_COMMIT_OFFSET_SIZE", No, "The commit is too large for the broker.";
    TopicAuthorizationFailed = 29, "TOPIC_AUTHORIZATION_FAILED", No, "The client may not do this with the topic.";
    GroupAuthorizationFailed = 30, "GROUP_AUTHORIZATION_FAILED", No, "The client may not do this with the group.";
    ClusterAuthorizationFailed = 31, "CLUSTER_AUTHORIZATION_FAILED", No, "The client may not do this with the cluster.";
    InvalidTimestamp = 32, "INVALID_TIMESTAMP", No, "A record's time is outside what the topic accepts.";
    UnsupportedSaslMechanism = 33, "UNSUPPORTED_SASL_MECHANISM", No, "The broker does not offer the SASL mechanism.";
    IllegalSaslState = 34, "ILLEGAL_SASL_STATE", No, "The request does not fit the state of the login.";
    UnsupportedVersion = 35, "UNSUPPORTED_VERSION", No, "The broker does not speak this version of the request.";
    TopicAlreadyExists = 36, "TOPIC_ALREADY_EXISTS", No, "A topic of this name exists.";
    InvalidPartitions = 37, "INVALID_PARTITIONS", No, "The number of partitions is invalid.";
    InvalidReplicationFactor = 38, "INVALID_REPLICATION_FACTOR", No, "The number of replicas is below 1 or above the number of brokers.";
    InvalidReplicaAssignment = 39, "INVALID_REPLICA_ASSIGNMENT", No, "The assignment of replicas is invalid.";
    InvalidConfig = 40, "INVALID_CONFIG", No, "A setting is invalid.";
    NotController = 41, "NOT_CONTROLLER", Yes Metadata, "The controller has moved to another broker.";
    InvalidRequest = 42, "INVALID_REQUEST", No, "The broker cannot make sense of the request; its log says more.";
    UnsupportedForMessageFormat = 43, "UNSUPPORTED_FOR_MESSAGE_FORMAT", No, "The topic's message format is too old for the request.";
    PolicyViolation = 44, "POLICY_VIOLATION", No, "A policy of the cluster forbids the request.";
    OutOfOrderSequenceNumber = 45, "OUT_OF_ORDER_SEQUENCE_NUMBER", No, "A batch before this one is missing.";
    DuplicateSequenceNumber = 46, "DUPLICATE_SEQUENCE_NUMBER", No, "The batch is in the log already.";
    InvalidProducerEpoch = 47, "INVALID_PRODUCER_EPOCH", No, "The producer has a newer epoch.";
    InvalidTxnState = 48, "INVALID_TXN_STATE", No, "The transaction's state does not allow this.";
    InvalidProducerIdMapping = 49, "INVALID_PRODUCER_ID_MAPPING", No, "The producer id does not belong to the transactional name.";
    InvalidTransactionTimeout = 50, "INVALID_TRANSACTION_TIMEOUT", No, "The transaction timeout is above what the broker allows.";
    ConcurrentTransactions = 51, "CONCURRENT_TRANSACTIONS", Yes, "An earlier step of the same transaction is still going on.";
    TransactionCoordinatorFenced = 52, "TRANSACTION_COORDINATOR_FENCED", No, "The transaction's coordinator has moved.";
    TransactionalIdAuthorizationFailed = 53, "TRANSACTIONAL_ID_AUTHORIZATION_FAILED", No, "The client may not use the transactional name.";
    SecurityDisabled = 54, "SECURITY_DISABLED", No, "The broker has no security switched on.";
    OperationNotAttempted = 55, "OPERATION_NOT_ATTEMPTED", No, "The broker left this out because another part of the request failed.";
    KafkaStorageError = 56, "KAFKA_STORAGE_ERROR", Yes Metadata, "The broker cannot use the disk that holds the partition.";
    LogDirNotFound = 57, "LOG_DIR_NOT_FOUND", No, "The broker has no such log directory.";
    SaslAuthenticationFailed = 58, "SASL_AUTHENTICATION_FAILED", No, "The login was refused.";
    UnknownProducerId = 59, "UNKNOWN_PRODUCER_ID", No, "The broker has forgotten the producer, whose last records are gone.";
    ReassignmentInProgress = 60, "REASSIGNMENT_IN_PROGRESS", No, "The partition is being moved.";
    DelegationTokenAuthDisabled = 61, "DELEGATION_TOKEN_AUTH_DISABLED", No, "Delegation tokens are not switched on.";
    DelegationTokenNotFound = 62, "DELEGATION_TOKEN_NOT_FOUND", No, "The broker does not know the delegation token.";
    DelegationTokenOwnerMismatch = 63, "DELEGATION_TOKEN_OWNER_MISMATCH", No, "The delegation token belongs to somebody else.";
    DelegationTokenRequestNotAllowed = 64, "DELEGATION_TOKEN_REQUEST_NOT_ALLOWED", No, "Delegation tokens need a connection that is encrypted and logged in.";
    DelegationTokenAuthorizationFailed = 65, "DELEGATION_TOKEN_AUTHORIZATION_FAILED", No, "The client may not do this with the delegation token.";
    DelegationTokenExpired = 66, "DELEGATION_TOKEN_EXPIRED", No, "The delegation token has expired.";
    InvalidPrincipalType = 67, "INVALID_PRINCIPAL_TYPE", No, "The kind of principal is not supported.";
    NonEmptyGroup = 68, "NON_EMPTY_GROUP", No, "The group has members.";
    GroupIdNotFound = 69, "GROUP_ID_NOT_FOUND", No, "The broker does not know the group.";
    FetchSessionIdNotFound = 70, "FETCH_SESSION_ID_NOT_FOUND", Yes, "The broker has forgotten the fetch session; a new one is needed.";
    InvalidFetchSessionEpoch = 71, "INVALID_FETCH_SESSION_EPOCH", Yes, "The fetch session is out of step; a new one is needed.";
    ListenerNotFound = 72, "LISTENER_NOT_FOUND", Yes Metadata, "The leader has no listener by which the client could reach it.";
    TopicDeletionDisabled = 73, "TOPIC_DELETION_DISABLED", No, "The cluster does not delete topics.";
    FencedLeaderEpoch = 74, "FENCED_LEADER_EPOCH", Yes Metadata, "The partition has a newer leader than the client knows.";
    UnknownLeaderEpoch = 75, "UNKNOWN_LEADER_EPOCH", Yes, "The broker does not know yet that the partition has a newer leader.";
    UnsupportedCompressionType = 76, "UNSUPPORTED_COMPRESSION_TYPE", No, "The request's version cannot carry the topic's compression.";
    StaleBrokerEpoch = 77, "STALE_BROKER_EPOCH", No, "The broker has restarted.";
    OffsetNotAvailable = 78, "OFFSET_NOT_AVAILABLE", Yes, "The new leader does not know yet how far its log is settled.";
    MemberIdRequired = 79, "MEMBER_ID_REQUIRED", No, "The member must join again with the id that it was given.";
    PreferredLeaderNotAvailable = 80, "PREFERRED_LEADER_NOT_AVAILABLE", Yes Metadata, "The preferred leader is not available.";
    GroupMaxSizeReached = 81, "GROUP_MAX_SIZE_REACHED", Few, "The group has as many members as the broker allows.";
    FencedInstanceId = 82, "FENCED_INSTANCE_ID", No, "Another process uses the same group.instance.id.";
    EligibleLeadersNotAvailable = 83, "ELIGIBLE_LEADERS_NOT_AVAILABLE", Yes Metadata, "No replica can become leader.";
    ElectionNotNeeded = 84, "ELECTION_NOT_NEEDED", No, "The partition has its leader already.";
    NoReassignmentInProgress = 85, "NO_REASSIGNMENT_IN_PROGRESS", No, "The partition is not being moved.";
    GroupSubscribedToTopic = 86, "GROUP_SUBSCRIBED_TO_TOPIC", No, "The group is subscribed to the topic.";
    InvalidRecord = 87, "INVALID_RECORD", No, "The broker's checks refuse a record.";
    UnstableOffsetCommit = 88, "UNSTABLE_OFFSET_COMMIT", Yes, "A transaction over the offset is still open.";
    ThrottlingQuotaExceeded = 89, "THROTTLING_QUOTA_EXCEEDED", Yes, "The client has used up its quota for now.";
    ProducerFenced = 90, "PRODUCER_FENCED", No, "A newer producer has the same transactional name.";
    ResourceNotFound = 91, "RESOURCE_NOT_FOUND", No, "The request names something that does not exist.";
    DuplicateResource = 92, "DUPLICATE_RESOURCE", No, "The request names something twice.";
    UnacceptableCredential = 93, "UNACCEPTABLE_CREDENTIAL", No, "The credential is not good enough.";
    InconsistentVoterSet = 94, "INCONSISTENT_VOTER_SET", No, "The controllers disagree on who votes.";
    InvalidUpdateVersion = 95, "INVALID_UPDATE_VERSION", No, "The version of the update is invalid.";
    FeatureUpdateFailed = 96, "FEATURE_UPDATE_FAILED", No, "The cluster's features could not be changed.";
    PrincipalDeserializationFailure = 97, "PRINCIPAL_DESERIALIZATION_FAILURE", No, "A broker cannot read who the client is; the cluster's security is set up wrongly.";
    SnapshotNotFound = 98, "SNAPSHOT_NOT_FOUND", No, "The snapshot does not exist.";
    PositionOutOfRange = 99, "POSITION_OUT_OF_RANGE", No, "The position is outside the snapshot.";
    UnknownTopicId = 100, "UNKNOWN_TOPIC_ID", Yes Metadata, "The broker does not know a topic of this identity, which may be new or gone.";
    DuplicateBrokerRegistration = 101, "DUPLICATE_BROKER_REGISTRATION", No, "Another broker has this node's number.";
    BrokerIdNotRegistered = 102, "BROKER_ID_NOT_REGISTERED", No, "No broker with this number is registered.";
    InconsistentTopicId = 103, "INCONSISTENT_TOPIC_ID", Yes Metadata, "The topic was made anew under its old name.";
    InconsistentClusterId = 104, "INCONSISTENT_CLUSTER_ID", No, "The broker belongs to another cluster.";
    TransactionalIdNotFound = 105, "TRANSACTIONAL_ID_NOT_FOUND", No, "The broker does not know the transactional name.";
    FetchSessionTopicIdError = 106, "FETCH_SESSION_TOPIC_ID_ERROR", Yes Metadata, "The fetch session mixes topics with and without identity; a new one is needed.";
    IneligibleReplica = 107, "INELIGIBLE_REPLICA", No, "A replica cannot be in sync now.";
    NewLeaderElected = 108, "NEW_LEADER_ELECTED", No, "The partition has a new leader after the change.";
    OffsetMovedToTieredStorage = 109, "OFFSET_MOVED_TO_TIERED_STORAGE", No, "The offset is in tiered storage only.";
    FencedMemberEpoch = 110, "FENCED_MEMBER_EPOCH", No, "The coordinator has taken the member's partitions away; it must join again.";
    UnreleasedInstanceId = 111, "UNRELEASED_INSTANCE_ID", No, "Another member still uses the same group.instance.id.";
    UnsupportedAssignor = 112, "UNSUPPORTED_ASSIGNOR", No, "The broker does not offer the assignor.";
    StaleMemberEpoch = 113, "STALE_MEMBER_EPOCH", No, "The member's epoch has moved on; the next heartbeat tells the new one.";
    MismatchedEndpointType = 114, "MISMATCHED_ENDPOINT_TYPE", No, "The request went to a broker and is for a controller, or the reverse.";
    UnsupportedEndpointType = 115, "UNSUPPORTED_ENDPOINT_TYPE", No, "The kind of endpoint is not supported.";
    UnknownControllerId = 116, "UNKNOWN_CONTROLLER_ID", No, "The controller is not known.";
    UnknownSubscriptionId = 117, "UNKNOWN_SUBSCRIPTION_ID", No, "The subscription for telemetry is outdated.";
    TelemetryTooLarge = 118, "TELEMETRY_TOO_LARGE", No, "The telemetry is larger than the broker accepts.";
    InvalidRegistration = 119, "INVALID_REGISTRATION", No, "The controller refuses the broker's registration.";
    TransactionAbortable = 120, "TRANSACTION_ABORTABLE", No, "The transaction must be aborted.";
    InvalidRecordState = 121, "INVALID_RECORD_STATE", No, "The record cannot be acknowledged in its state.";
    ShareSessionNotFound = 122, "SHARE_SESSION_NOT_FOUND", Yes, "The broker has forgotten the share session; a new one is needed.";
    InvalidShareSessionEpoch = 123, "INVALID_SHARE_SESSION_EPOCH", Yes, "The share session is out of step; a new one is needed.";
    FencedStateEpoch = 124, "FENCED_STATE_EPOCH", No, "The share group's state has a newer epoch.";
    InvalidVoterKey = 125, "INVALID_VOTER_KEY", No, "The voter's key is not the receiver's.";
    DuplicateVoter = 126, "DUPLICATE_VOTER", No, "The voter votes already.";
    VoterNotFound = 127, "VOTER_NOT_FOUND", No, "The voter is none.";
    InvalidRegularExpression = 128, "INVALID_REGULAR_EXPRESSION", No, "The broker cannot read the pattern subscribed to.";
    RebootstrapRequired = 129, "REBOOTSTRAP_REQUIRED", Yes Metadata, "The client's view of the cluster is too old; it must start again from its first addresses.";
    StreamsInvalidTopology = 130, "STREAMS_INVALID_TOPOLOGY", No, "The topology is invalid.";
    StreamsInvalidTopologyEpoch = 131, "STREAMS_INVALID_TOPOLOGY_EPOCH", No, "The topology's epoch is invalid.";
    StreamsTopologyFenced = 132, "STREAMS_TOPOLOGY_FENCED", No, "The topology has a newer epoch.";
    ShareSessionLimitReached = 133, "SHARE_SESSION_LIMIT_REACHED", Yes, "The broker has as many share sessions as it allows.";
}

impl KafkaError {
    /// Whether another try may succeed. [`KafkaError::retry`] tells how many are worth while.
    #[must_use]
    pub const fn is_retriable(self) -> bool {
        !matches!(self.retry(), Retry::No)
    }

    /// Whether the leader, the controller or the topic is another than the client thinks: look it up before the next try.
    #[must_use]
    pub const fn needs_metadata(self) -> bool {
        matches!(self.stale(), Stale::Metadata)
    }

    /// Whether the group's coordinator is another than the client thinks: look it up before the next try.
    #[must_use]
    pub const fn needs_coordinator(self) -> bool {
        matches!(self.stale(), Stale::Coordinator)
    }

    /// Whether the broker refuses the login or the permission.
    #[must_use]
    pub const fn is_denial(self) -> bool {
        matches!(
            self,
            Self::TopicAuthorizationFailed
                | Self::GroupAuthorizationFailed
                | Self::ClusterAuthorizationFailed
                | Self::TransactionalIdAuthorizationFailed
                | Self::DelegationTokenAuthorizationFailed
                | Self::SaslAuthenticationFailed
                | Self::UnsupportedSaslMechanism
                | Self::IllegalSaslState
        )
    }

    const fn error_code(self) -> ErrorCode {
        match self {
            Self::UnknownTopicOrPartition | Self::UnknownTopicId | Self::InvalidTopicException => {
                ErrorCode::UnknownTopic
            }
            Self::OffsetOutOfRange => ErrorCode::OffsetOutOfRange,
            Self::UnsupportedVersion => ErrorCode::BrokerTooOld,
            denied if denied.is_denial() => ErrorCode::Denied,
            _ => ErrorCode::Broker,
        }
    }
}

impl fmt::Display for KafkaError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ({}): {}", self.name(), self.code(), self.meaning())
    }
}

impl std::error::Error for KafkaError {}

impl From<KafkaError> for Error {
    /// The error with its name and meaning; the caller adds the place.
    fn from(error: KafkaError) -> Self {
        let meaning = error.meaning().trim_end_matches('.');
        let told = Self::new(error.error_code(), format!("{} ({}): {meaning}", error.name(), error.code()));
        let told = if error.is_retriable() { told.retriable() } else { told };
        told.caused_by(error)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_code_gives_its_error_and_every_error_its_code() {
        for code in i16::MIN..=i16::MAX {
            let error = KafkaError::from_code(code);
            assert_eq!(error.map(KafkaError::code), (code != 0).then_some(code));
        }
        let known: Vec<i16> = KafkaError::ALL.iter().map(|error| error.code()).collect();
        assert_eq!(known, std::iter::once(-1).chain(1..=133).collect::<Vec<_>>());
    }

    #[test]
    fn names_agree_with_the_oracle_and_retries_differ_only_where_we_mean_it() {
        let mut differ = Vec::new();
        for error in KafkaError::ALL {
            let oracle = kafka_protocol::ResponseError::try_from_code(error.code()).unwrap();
            assert_eq!(error.name().replace('_', ""), oracle.to_string().to_uppercase());
            if error.is_retriable() != oracle.is_retriable() {
                differ.push(*error);
            }
        }
        assert_eq!(
            differ,
            [
                KafkaError::UnknownServerError,
                KafkaError::BrokerNotAvailable,
                KafkaError::ConcurrentTransactions,
                KafkaError::GroupMaxSizeReached,
                KafkaError::ElectionNotNeeded,
                KafkaError::RebootstrapRequired,
            ]
        );
    }

    #[test]
    fn what_must_be_looked_up_is_retried_afterwards() {
        for error in KafkaError::ALL {
            assert!(error.is_retriable() || !(error.needs_metadata() || error.needs_coordinator()), "{error}");
        }
        assert!(KafkaError::NotLeaderOrFollower.needs_metadata());
        assert!(KafkaError::NotCoordinator.needs_coordinator());
        assert_eq!(KafkaError::CorruptMessage.retry(), Retry::Few);
    }

    #[test]
    fn an_error_keeps_the_code_and_says_what_it_means() {
        let error = Error::from(KafkaError::TopicAuthorizationFailed);
        assert_eq!(error.code(), ErrorCode::Denied);
        assert!(!error.is_retriable());
        assert_eq!(
            error.to_string(),
            "BRK-DENIED: TOPIC_AUTHORIZATION_FAILED (29): The client may not do this with the topic"
        );
        let cause = std::error::Error::source(&error).and_then(|cause| cause.downcast_ref::<KafkaError>());
        assert_eq!(cause, Some(&KafkaError::TopicAuthorizationFailed));
    }
}
