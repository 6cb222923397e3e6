//! ConsumerGroupDescribe: tells the state and the members of KIP-848 groups.

use super::{ApiKey, Request, VersionRange};
use crate::place::TopicId;
use crate::wire::codec::messages;

impl Request for ConsumerGroupDescribeRequest {
    const API: ApiKey = ApiKey::ConsumerGroupDescribe;
    const VERSIONS: VersionRange = VersionRange::new(0, 1);
    const CLIENT_VERSIONS: VersionRange = VersionRange::new(0, 1);
    const FLEXIBLE_FROM: i16 = 0;
    type Response = ConsumerGroupDescribeResponse;
}

messages! {
    /// Asks a coordinator about groups of its own.
    pub struct ConsumerGroupDescribeRequest {
        /// The groups' names.
        group_ids: Vec<String>;
        /// Whether to tell what the client may do with each group.
        include_authorized_operations: bool;
    }

    /// Answers a [`ConsumerGroupDescribeRequest`].
    pub struct ConsumerGroupDescribeResponse {
        /// How long the broker holds back this connection because of a quota, in milliseconds.
        throttle_time_ms: i32;
        /// The groups.
        groups: Vec<DescribedGroup>;
    }

    /// One group.
    pub struct DescribedGroup {
        /// Why the group cannot be told, or 0.
        error_code: i16;
        /// Why the group cannot be told, for people.
        error_message: Option<String> = None;
        /// The group's name.
        group_id: String;
        /// The group's state: `Stable`, `Empty`, `Assigning`, `Reconciling` or `Dead`.
        group_state: String;
        /// The group's epoch: it counts changes of members and subscriptions.
        group_epoch: i32;
        /// The epoch for which the target assignment was made.
        assignment_epoch: i32;
        /// The assignor in use.
        assignor_name: String;
        /// The members.
        members: Vec<Member>;
        /// What the client may do with the group, one bit an operation.
        authorized_operations: i32 = i32::MIN;
    }

    /// One member.
    pub struct Member {
        /// The member's id.
        member_id: String;
        /// The member's lasting name.
        instance_id: Option<String> = None;
        /// Where the member is.
        rack_id: Option<String> = None;
        /// The member's epoch.
        member_epoch: i32;
        /// The name that the client gives itself.
        client_id: String;
        /// The client's address.
        client_host: String;
        /// The topics subscribed to.
        subscribed_topic_names: Vec<String>;
        /// The pattern subscribed to.
        subscribed_topic_regex: Option<String> = None;
        /// What the member owns.
        assignment: Assignment;
        /// What the member shall own.
        target_assignment: Assignment;
        /// What the member speaks: 0 classic, 1 KIP-848, -1 unknown.
        member_type: i8 = -1, ignorable since 1;
    }

    /// The partitions of a member.
    pub struct Assignment {
        /// The partitions, by topic.
        topic_partitions: Vec<TopicPartitions>;
    }

    /// Some partitions of one topic.
    pub struct TopicPartitions {
        /// The topic's identity.
        topic_id: TopicId;
        /// The topic's name.
        topic_name: String;
        /// The partitions' numbers.
        partitions: Vec<i32>;
    }
}
