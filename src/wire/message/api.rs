//! Which APIs there are, in which versions.

use std::fmt;

use super::*;

/// A range of API versions, both ends included.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct VersionRange {
    /// The lowest version.
    pub min: i16,
    /// The highest version.
    pub max: i16,
}

impl VersionRange {
    /// The versions from `min` to `max`.
    #[must_use]
    pub const fn new(min: i16, max: i16) -> Self {
        Self { min, max }
    }

    /// Whether `version` is one of them.
    #[must_use]
    pub const fn contains(self, version: i16) -> bool {
        self.min <= version && version <= self.max
    }

    /// The highest version in both, which is what two peers speak; `None` when they share none.
    #[must_use]
    pub fn highest_common(self, other: Self) -> Option<i16> {
        let max = self.max.min(other.max);
        (self.min.max(other.min) <= max).then_some(max)
    }
}

impl fmt::Display for VersionRange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}-{}", self.min, self.max)
    }
}

/// A request, with all that is fixed about its API.
pub trait Request: Encode + Decode + fmt::Debug + Clone + Send + Sync + 'static {
    /// The API.
    const API: ApiKey;
    /// The versions that can be encoded and decoded.
    const VERSIONS: VersionRange;
    /// The versions that our client sends. Their low end is what the oldest broker that we serve, Apache Kafka 2.8, offers, or lower where
    /// nothing that we need would be missing.
    const CLIENT_VERSIONS: VersionRange;
    /// The first version in the flexible forms (KIP-482), also of the response.
    const FLEXIBLE_FROM: i16;
    /// What answers it.
    type Response: Encode + Decode + fmt::Debug + Clone + Send + Sync + 'static;
}

macro_rules! apis {
    ($($(#[$doc:meta])* $name:ident($request:ident) = $key:literal,)*) => {
        /// An API of the protocol, by its number.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
        #[non_exhaustive]
        #[repr(i16)]
        pub enum ApiKey { $($(#[$doc])* $name = $key,)* }

        impl ApiKey {
            /// Every API that can be encoded and decoded, in the order of their numbers.
            pub const ALL: &[Self] = &[$(Self::$name,)*];

            /// The API with this number; `None` when it is none of ours.
            #[must_use]
            pub const fn from_i16(key: i16) -> Option<Self> {
                match key {
                    $($key => Some(Self::$name),)*
                    _ => None,
                }
            }

            /// The number.
            #[must_use]
            pub const fn as_i16(self) -> i16 {
                self as i16
            }

            /// The versions that can be encoded and decoded.
            #[must_use]
            pub const fn versions(self) -> VersionRange {
                match self { $(Self::$name => <$request as Request>::VERSIONS,)* }
            }

            /// The first version in the flexible forms.
            #[must_use]
            pub const fn flexible_from(self) -> i16 {
                match self { $(Self::$name => <$request as Request>::FLEXIBLE_FROM,)* }
            }

            /// The API's name in Kafka's documentation.
            #[must_use]
            pub const fn name(self) -> &'static str {
                match self { $(Self::$name => stringify!($name),)* }
            }
        }

        /// Runs a check on each request and response.
        #[cfg(test)]
        pub(super) fn visit_all(visitor: &mut impl super::tests::Visitor) {
            $(visitor.api::<$request>();)*
        }
    };
}

apis! {
    /// Appends record batches.
    Produce(ProduceRequest) = 0,
    /// Reads record batches.
    Fetch(FetchRequest) = 1,
    /// Finds offsets by time.
    ListOffsets(ListOffsetsRequest) = 2,
    /// Tells brokers, topics and leaders.
    Metadata(MetadataRequest) = 3,
    /// Keeps a group's positions.
    OffsetCommit(OffsetCommitRequest) = 8,
    /// Tells a group's positions.
    OffsetFetch(OffsetFetchRequest) = 9,
    /// Tells which broker keeps a group.
    FindCoordinator(FindCoordinatorRequest) = 10,
    /// Enters a classic group's next generation.
    JoinGroup(JoinGroupRequest) = 11,
    /// Shows that a classic group's member is alive.
    Heartbeat(HeartbeatRequest) = 12,
    /// Takes members out of a classic group.
    LeaveGroup(LeaveGroupRequest) = 13,
    /// Hands out a classic group's assignment.
    SyncGroup(SyncGroupRequest) = 14,
    /// Tells the members of classic groups.
    DescribeGroups(DescribeGroupsRequest) = 15,
    /// Tells which groups a broker keeps.
    ListGroups(ListGroupsRequest) = 16,
    /// Chooses the way to log in.
    SaslHandshake(SaslHandshakeRequest) = 17,
    /// Tells which APIs the broker serves.
    ApiVersions(ApiVersionsRequest) = 18,
    /// Makes topics.
    CreateTopics(CreateTopicsRequest) = 19,
    /// Removes topics.
    DeleteTopics(DeleteTopicsRequest) = 20,
    /// Moves the start of partitions forward.
    DeleteRecords(DeleteRecordsRequest) = 21,
    /// Gives a producer its id.
    InitProducerId(InitProducerIdRequest) = 22,
    /// Tells where a leader epoch ends.
    OffsetForLeaderEpoch(OffsetForLeaderEpochRequest) = 23,
    /// Tells the settings of topics and brokers.
    DescribeConfigs(DescribeConfigsRequest) = 32,
    /// Carries one step of a login.
    SaslAuthenticate(SaslAuthenticateRequest) = 36,
    /// Gives topics more partitions.
    CreatePartitions(CreatePartitionsRequest) = 37,
    /// Removes groups.
    DeleteGroups(DeleteGroupsRequest) = 42,
    /// Removes positions of a group.
    OffsetDelete(OffsetDeleteRequest) = 47,
    /// Tells the cluster's brokers and its name.
    DescribeCluster(DescribeClusterRequest) = 60,
    /// Joins, keeps and leaves a KIP-848 group.
    ConsumerGroupHeartbeat(ConsumerGroupHeartbeatRequest) = 68,
    /// Tells the members of KIP-848 groups.
    ConsumerGroupDescribe(ConsumerGroupDescribeRequest) = 69,
}

impl fmt::Display for ApiKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}
