//! ConsumerGroupDescribe (key 69): a KIP-848 group.

use std::sync::Arc;

use super::member::{Member, Membership};
use super::{Group, GroupKind, ask, classic};
use crate::error::{Error, ErrorCode, Result};
use crate::place::TopicPartition;
use crate::wire::connection::Connection;
use crate::wire::kafka_error::KafkaError;
use crate::wire::message::ConsumerGroupDescribeRequest;
use crate::wire::message::consumer_group_describe::{DescribedGroup, Member as Told};

/// Describes the group; `None` if the coordinator knows no KIP-848 group of this name.
pub(super) async fn describe(connection: &Connection, group: &str) -> Result<Option<Group>> {
    let request = ConsumerGroupDescribeRequest { group_ids: vec![group.to_owned()], ..Default::default() };
    let answer = connection.call(request).await?;
    let Some(told) = answer.groups.into_iter().find(|told| told.group_id == group) else {
        return Err(Error::new(ErrorCode::Protocol, "the coordinator left out the group that it was asked for"));
    };
    match KafkaError::from_code(told.error_code) {
        None => Ok(Some(read(told))),
        // A broker may name the request and have the feature switched off.
        Some(KafkaError::GroupIdNotFound | KafkaError::UnsupportedVersion) => Ok(None),
        Some(error) => Err(ask::refused(error, group, "its members were asked for")),
    }
}

fn read(told: DescribedGroup) -> Group {
    Group {
        name: told.group_id.into(),
        kind: GroupKind::Consumer,
        state: told.group_state,
        assignor: told.assignor_name,
        members: told.members.into_iter().map(read_member).collect(),
    }
}

fn read_member(told: Told) -> Member {
    let owned = told.assignment.topic_partitions.into_iter().flat_map(|topic| {
        let name = Arc::<str>::from(topic.topic_name);
        topic.partitions.into_iter().map(move |partition| TopicPartition::new(name.clone(), partition))
    });
    Member {
        id: told.member_id,
        instance: told.instance_id,
        client_id: told.client_id,
        host: classic::address(&told.client_host),
        membership: match told.member_type {
            0 => Membership::Classic { subscription: None },
            1 => Membership::Consumer,
            _ => Membership::Unknown,
        },
        partitions: owned.collect(),
        topics: told.subscribed_topic_names,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::message::consumer_group_describe::{Assignment, TopicPartitions};

    #[test]
    fn what_a_member_owns_is_its_assignment_and_not_its_target() {
        let of = |partitions: &[i32]| Assignment {
            topic_partitions: vec![TopicPartitions {
                topic_name: "orders".into(),
                partitions: partitions.to_vec(),
                ..TopicPartitions::default()
            }],
        };
        let told = Told { assignment: of(&[1]), target_assignment: of(&[1, 2]), member_type: 1, ..Told::default() };
        let member = read_member(told);
        assert_eq!(member.partitions, [TopicPartition::new("orders", 1)]);
        assert_eq!(member.membership, Membership::Consumer);
    }
}
