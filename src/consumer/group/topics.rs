//! What a member knows of topics: names, identities, how many partitions.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::member::{Partition, Seen, Topic};
use crate::gather::Gather;
use crate::place::TopicId;

/// The last metadata, by identity or by name.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Topics {
    seen: BTreeMap<Arc<str>, (TopicId, i32)>,
}

impl Topics {
    /// Puts fresh metadata in place of the old ones.
    pub(super) fn replace(&mut self, seen: Vec<Seen>) {
        self.seen = seen.into_iter().map(|seen| (seen.topic.name, (seen.topic.id, seen.partitions))).gather();
    }

    /// How many partitions the topic has.
    pub(super) fn count(&self, name: &str) -> Option<i32> {
        self.seen.get(name).map(|(_, count)| *count)
    }

    /// The partition of a topic that is known by its name, if the metadata have it.
    pub(super) fn named(&self, name: &str, number: i32) -> Option<Partition> {
        let (name, (id, count)) = self.seen.get_key_value(name)?;
        let topic = Topic { id: *id, name: name.clone() };
        (0..*count).contains(&number).then_some(Partition { topic, number })
    }

    /// The topics by their identities, for one pass over an assignment.
    pub(super) fn by_id(&self) -> BTreeMap<TopicId, (&Arc<str>, i32)> {
        self.seen.iter().map(|(name, (id, count))| (*id, (name, *count))).gather()
    }

    /// The counts of those of these topics that exist.
    pub(super) fn counts(&self, names: &BTreeSet<Arc<str>>) -> BTreeMap<Arc<str>, i32> {
        names.iter().filter_map(|name| self.count(name).map(|count| (name.clone(), count))).gather()
    }
}
