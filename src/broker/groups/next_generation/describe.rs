//! A KIP-848 group as it is told to people.

use super::{Member, NextGeneration, Share, by_topic};
use crate::place::TopicId;
use crate::wire::message::consumer_group_describe as told;

/// KIP-848, where 0 would be a classic member.
const MEMBER_TYPE: i8 = 1;

impl NextGeneration {
    /// The group's state by Kafka's name.
    pub(in crate::broker) fn state(&self) -> &'static str {
        if self.is_empty() {
            "Empty"
        } else if self.epoch > self.target_epoch {
            "Assigning"
        } else if self.members.iter().all(|member| member.is_settled(self.target_epoch)) {
            "Stable"
        } else {
            "Reconciling"
        }
    }

    /// The group with its members; `name` gives the names of topics.
    pub(in crate::broker) fn describe(
        &self,
        group_id: &str,
        name: &dyn Fn(TopicId) -> Option<String>,
    ) -> told::DescribedGroup {
        told::DescribedGroup {
            group_id: group_id.to_owned(),
            group_state: self.state().to_owned(),
            group_epoch: self.epoch,
            assignment_epoch: self.target_epoch,
            assignor_name: self.assignor().name().to_owned(),
            members: self.members.iter().map(|member| member.describe(name)).collect(),
            ..Default::default()
        }
    }
}

/// A member as a simulation's judge sees it.
#[cfg(test)]
#[derive(Clone, Debug)]
pub(in crate::broker) struct Standing {
    pub(in crate::broker) epochs: [i32; 2],
    /// The numbers of the partitions that nobody else may get.
    pub(in crate::broker) held: Vec<i32>,
}

#[cfg(test)]
impl NextGeneration {
    /// Everybody, by id.
    pub(in crate::broker) fn standings(&self) -> Vec<(String, Standing)> {
        let standing = |member: &Member| {
            let held = member.assigned.iter().chain(&member.revoking).map(|((_, number), _)| *number);
            Standing { epochs: [member.epoch, member.previous_epoch], held: held.collect() }
        };
        self.members.iter().map(|member| (member.id.clone(), standing(member))).collect()
    }
}

impl Member {
    fn describe(&self, name: &dyn Fn(TopicId) -> Option<String>) -> told::Member {
        told::Member {
            member_id: self.id.clone(),
            instance_id: self.instance.clone(),
            rack_id: self.rack.clone(),
            member_epoch: self.epoch,
            client_id: self.client_id.clone(),
            client_host: self.client_host.clone(),
            subscribed_topic_names: self.topics.clone(),
            subscribed_topic_regex: None,
            assignment: assignment(&self.shares(), name),
            target_assignment: assignment(&self.target, name),
            member_type: MEMBER_TYPE,
        }
    }
}

fn assignment(shares: &[Share], name: &dyn Fn(TopicId) -> Option<String>) -> told::Assignment {
    let topics = by_topic(shares).into_iter().map(|topic| told::TopicPartitions {
        topic_id: topic.topic_id,
        topic_name: name(topic.topic_id).unwrap_or_default(),
        partitions: topic.partitions,
    });
    told::Assignment { topic_partitions: topics.collect() }
}
