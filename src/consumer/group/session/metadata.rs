//! The topics that a member has to know, as the cluster's metadata show them.

use std::collections::BTreeSet;
use std::sync::Arc;

use tokio::sync::watch;

use super::super::member::{Seen, Topic};
use crate::cluster::{Cluster, TopicState, View};

/// Watches the topics of one member.
pub(super) struct Watched {
    cluster: Cluster,
    views: watch::Receiver<Arc<View>>,
    names: BTreeSet<Arc<str>>,
    told: Vec<Seen>,
    /// The member waits for an answer, even if it is the one that it has.
    is_asked: bool,
}

impl Watched {
    pub(super) fn new(cluster: Cluster, names: BTreeSet<Arc<str>>) -> Self {
        let views = cluster.views();
        Self { cluster, views, names, told: Vec::new(), is_asked: false }
    }

    /// Wants to know of these, too, and of all of them anew. Identities without a name are those of topics that the
    /// member subscribes to, made anew: their names are asked for already.
    pub(super) fn want(&mut self, names: BTreeSet<Arc<str>>) {
        self.names.extend(names);
        for name in &self.names {
            if let Err(error) = self.cluster.watch(name) {
                tracing::warn!(%error, topic = name.as_ref(), "a topic of the group cannot be watched");
            }
        }
        self.is_asked = true;
        self.cluster.refresh();
    }

    /// What is known now.
    pub(super) fn seen(&mut self) -> Vec<Seen> {
        let view = self.views.borrow_and_update();
        let seen = self.names.iter().filter_map(|name| match view.topic(name)? {
            TopicState::Known(topic) => {
                let partitions = topic.partition_count();
                Some(Seen { topic: Topic { id: topic.id, name: topic.name.clone() }, partitions })
            }
            TopicState::Failed(_) => None,
        });
        let seen: Vec<Seen> = seen.collect();
        drop(view);
        self.told.clone_from(&seen);
        seen
    }

    /// Waits for metadata that the member wants to know of.
    ///
    /// # Cancel safety
    /// Nothing is lost when the future is dropped.
    pub(super) async fn changed(&mut self) -> Vec<Seen> {
        loop {
            if self.views.changed().await.is_err() {
                // The cluster is closed, and nothing will be known any more.
                std::future::pending::<()>().await;
            }
            let before = std::mem::take(&mut self.told);
            let seen = self.seen();
            if std::mem::take(&mut self.is_asked) || seen != before {
                return seen;
            }
        }
    }
}
