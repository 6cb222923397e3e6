//! DescribeGroups (key 15): a classic group.
//!
//! The coordinator passes on what members say to each other without reading it, so these bytes are foreign input: what
//! cannot be read makes the member look as if it owned nothing, and is no error of the group.

use bytes::Bytes;

use self::form::{AssignmentForm, SubscriptionForm};
use super::member::{Member, Membership};
use super::{Group, GroupKind, ask};
use crate::error::{Error, ErrorCode, Result};
use crate::place::TopicPartition;
use crate::wire::codec::{Decode, Reader, Shape};
use crate::wire::connection::Connection;
use crate::wire::kafka_error::KafkaError;
use crate::wire::message::DescribeGroupsRequest;
use crate::wire::message::describe_groups::{DescribedGroup, DescribedGroupMember};

/// What the members of consumer groups call their protocol.
const CONSUMER: &str = "consumer";

/// The state of a group that there is not.
const DEAD: &str = "Dead";

mod form {
    #![expect(unreachable_pub, reason = "the language of messages declares public structures")]

    use bytes::Bytes;

    use crate::wire::codec::messages;

    messages! {
        /// The beginning of `ConsumerProtocolSubscription`, which all versions share.
        pub struct SubscriptionForm {
            /// The names that the member wants.
            topics: Vec<String>;
        }

        /// `ConsumerProtocolAssignment`, the same in all versions.
        pub struct AssignmentForm {
            /// What the member has.
            topics: Vec<TopicForm>;
            /// What the leader's assignor adds.
            user_data: Option<Bytes>;
        }

        /// The partitions of one topic.
        pub struct TopicForm {
            /// The topic's name.
            topic: String;
            /// The partitions' numbers.
            partitions: Vec<i32>;
        }
    }
}

/// Describes the group.
pub(super) async fn describe(connection: &Connection, group: &str) -> Result<Group> {
    let request = DescribeGroupsRequest { groups: vec![group.to_owned()], ..DescribeGroupsRequest::default() };
    let answer = connection.call(request).await?;
    let Some(told) = answer.groups.into_iter().find(|told| told.group_id == group) else {
        return Err(Error::new(ErrorCode::Protocol, "the coordinator left out the group that it was asked for"));
    };
    match KafkaError::from_code(told.error_code) {
        Some(KafkaError::GroupIdNotFound) => Err(ask::unknown(group)),
        Some(error) => Err(ask::refused(error, group, "its members were asked for")),
        None if told.group_state == DEAD => Err(ask::unknown(group)),
        None => Ok(read(told)),
    }
}

fn read(told: DescribedGroup) -> Group {
    let ours = told.protocol_type == CONSUMER;
    Group {
        name: told.group_id.into(),
        kind: GroupKind::Classic,
        state: told.group_state,
        assignor: told.protocol_data,
        members: told.members.into_iter().map(|member| read_member(member, ours)).collect(),
    }
}

fn read_member(told: DescribedGroupMember, ours: bool) -> Member {
    let subscription = body::<SubscriptionForm>(&told.member_metadata).filter(|_| ours);
    let assignment = body::<AssignmentForm>(&told.member_assignment).filter(|_| ours);
    let owned = assignment.map(|(_, form)| form.topics).unwrap_or_default().into_iter().flat_map(|topic| {
        let partitions = topic.partitions.into_iter().filter(|partition| *partition >= 0);
        let name = std::sync::Arc::<str>::from(topic.topic);
        partitions.map(move |partition| TopicPartition::new(name.clone(), partition))
    });
    Member {
        id: told.member_id,
        instance: told.group_instance_id,
        client_id: told.client_id,
        host: address(&told.client_host),
        membership: Membership::Classic { subscription: subscription.as_ref().map(|(version, _)| *version) },
        partitions: owned.collect(),
        topics: subscription.map(|(_, form)| form.topics).unwrap_or_default(),
    }
}

/// The version and the body, as far as it is known; `None` for what cannot be read.
fn body<M: Decode>(bytes: &Bytes) -> Option<(i16, M)> {
    let mut input = Reader::new(bytes.clone(), Shape { version: 0, flexible: false });
    let version = i16::from_be_bytes(input.array().ok()?);
    Some((version, M::decode(&mut input).ok()?))
}

/// An address without the slash that Java puts before it.
pub(super) fn address(host: &str) -> String {
    host.strip_prefix('/').unwrap_or(host).to_owned()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn member(metadata: &[u8], assignment: &[u8], ours: bool) -> Member {
        let told = DescribedGroupMember {
            member_id: "m".into(),
            client_host: "/10.0.0.7".into(),
            member_metadata: Bytes::copy_from_slice(metadata),
            member_assignment: Bytes::copy_from_slice(assignment),
            ..DescribedGroupMember::default()
        };
        read_member(told, ours)
    }

    /// Version 1, one topic `ab` with partitions 3, 0 and -1, no user data.
    const ASSIGNMENT: &[u8] =
        b"\x00\x01\x00\x00\x00\x01\x00\x02ab\x00\x00\x00\x03\x00\x00\x00\x03\x00\x00\x00\x00\xff\xff\xff\xff\xff\xff\xff\xff";
    const SUBSCRIPTION: &[u8] = b"\x00\x03\x00\x00\x00\x01\x00\x02ab\xff\xff\xff\xff and what later versions add";

    #[test]
    fn what_members_say_to_each_other_is_read() {
        let member = member(SUBSCRIPTION, ASSIGNMENT, true);
        assert_eq!(member.partitions, [TopicPartition::new("ab", 3), TopicPartition::new("ab", 0)]);
        assert_eq!((member.topics, member.host), (vec!["ab".to_owned()], "10.0.0.7".to_owned()));
        assert_eq!(member.membership, Membership::Classic { subscription: Some(3) });
    }

    #[test]
    fn what_another_kind_of_program_says_is_not_taken_for_partitions() {
        let member = member(SUBSCRIPTION, ASSIGNMENT, false);
        assert_eq!((member.partitions, member.membership), (vec![], Membership::Classic { subscription: None }));
    }

    proptest! {
        #[test]
        fn no_bytes_of_a_member_can_hurt(bytes in prop::collection::vec(any::<u8>(), 0..80), cut in 0_usize..40) {
            let _ = member(&bytes, &bytes, true);
            let _ = member(&SUBSCRIPTION[..cut.min(SUBSCRIPTION.len())], &ASSIGNMENT[..cut.min(ASSIGNMENT.len())], true);
        }
    }
}
