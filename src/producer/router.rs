//! The task that follows the topic's leaders, starts a sender for each, keeps the deadlines.

use std::collections::BTreeSet;
use std::sync::Arc;

use tokio::sync::watch;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::brokers::Brokers;
use super::core::Core;
use super::sender::Sender;
use crate::cluster::{Node, TopicState, View};
use crate::shutdown::Tasks;

/// The router of one producer.
pub(super) struct Router<B: Brokers> {
    core: Arc<Core>,
    brokers: B,
    tasks: Arc<Tasks>,
    /// Leaders that have a sender. Brokers are few and come back, so a sender stays until the producer ends.
    known: BTreeSet<Node>,
}

impl<B: Brokers> Router<B> {
    pub(super) fn new(core: Arc<Core>, brokers: B, tasks: Arc<Tasks>) -> Self {
        Self { core, brokers, tasks, known: BTreeSet::new() }
    }

    /// Follows the latest view. Called once before the producer takes orders, then by [`Router::run`].
    pub(super) fn follow(&mut self, view: &View) {
        let Some(TopicState::Known(topic)) = view.topic(&self.core.topic) else { return };
        let leaders = self.core.with(|state| state.follow(topic));
        for node in leaders {
            if self.known.insert(node) {
                let sender = Sender::new(self.core.clone(), self.brokers.clone(), node);
                self.tasks.spawn(sender.run(self.tasks.stop_signal()));
            }
            self.core.wake(node);
        }
    }

    /// Works until told to stop, then gives up what is left.
    pub(super) async fn run(mut self, mut views: watch::Receiver<Arc<View>>, stop: CancellationToken) {
        tokio::select! {
            () = stop.cancelled() => {}
            () = self.work(&mut views) => {}
        }
        let done = self.core.with(|state| state.abandon(Instant::now()));
        self.core.finish(done);
    }

    /// Ends only with the cluster's handle.
    async fn work(&mut self, views: &mut watch::Receiver<Arc<View>>) {
        let mut deadline = None;
        loop {
            let lacking = self.core.with(|state| state.lacks_leaders());
            let ask_again = lacking.then(|| Instant::now() + self.core.settings.backoff.delay(0, fastrand::f64()));
            tokio::select! {
                changed = views.changed() => match changed {
                    Ok(()) => {
                        let view = views.borrow_and_update().clone();
                        self.follow(&view);
                    }
                    Err(_) => return,
                },
                () = self.core.deadlines.notified() => deadline = self.expire(),
                () = until(deadline) => deadline = self.expire(),
                () = until(ask_again) => self.brokers.refresh(),
            }
        }
    }

    fn expire(&self) -> Option<Instant> {
        let (done, next) = self.core.with(|state| state.expire(Instant::now()));
        self.core.finish(done);
        next
    }
}

async fn until(at: Option<Instant>) {
    match at {
        Some(at) => tokio::time::sleep_until(at).await,
        None => std::future::pending().await,
    }
}
