//! Reading updates of deliveries beside the orders of a store that keeps deliveries.
//!
//! Logistics partners write `delivery_updates` (`delivery.updates.topic`). It is read by a second run with a member of its
//! own, whose positions are in the same store: an update is settled as an order is, each once, and what is no update or
//! cannot be is set aside there. It begins when the run has settled what its topic had, because what a partner tells of was
//! ordered before: so a store that is built again from its logs knows the deliveries before it is told what became of them.
//!
//! ```text
//!  delivery_orders  --Run----------------------+--> store: deliveries, days
//!                      \ caught up? is it there? |
//!  delivery_updates --Run, a second member ----+--> store: their lives
//! ```
//! A run until the end reads the updates to their end, too. A topic that is not there is looked for, and nothing is said.

use std::sync::Arc;

use futures::FutureExt;

use super::claim::{Claim, Takeover};
use super::companion::Companion;
use super::config::{ConsumerConfig, Reset};
use super::dispatch::store::StoreDispatch;
use super::dispatch::teller::Teller;
use super::group::configured::Configured;
use super::parts::Parts;
use super::positions::StorePositions;
use super::retry_topic::{Begins, Counts, Make, RetryTopic, Terms};
use super::run::Commits;
use crate::cluster::Cluster;
use crate::config::{ClientConfig, properties};
use crate::order::{DeliveryUpdate, Order};
use crate::store::{DeliveryMoves, Moves, Store};

/// What tells the second member's instance from the first one's.
const SECOND: &str = "-updates";

impl<O: Order> Parts<O> {
    /// What reads the updates beside this consumer, unless they are not to be read.
    pub(super) fn updates(&self, settings: ClientConfig, moves: Arc<dyn Moves>) -> Option<Box<dyn Companion>> {
        let topic: Arc<str> = settings.text(&properties::DELIVERY_UPDATES_TOPIC).into();
        if topic.is_empty() || topic == self.topic {
            return None;
        }
        let config = ConsumerConfig { reset: Reset::Earliest, ..(*self.config).clone() };
        let terms =
            Terms { name: "the topic of updates", begins: Begins::AfterTheRun, counts: Counts::Apart, end: self.end };
        let second = Second {
            settings,
            group: self.offsets.group().to_owned(),
            topic: topic.clone(),
            config: Arc::new(config),
            moves: DeliveryMoves::new(moves),
            flights: self.control.flights().clone(),
            terms,
        };
        let (control, backoff) = (self.control.clone(), self.config.backoff);
        let beside = RetryTopic::new(terms, self.cluster.clone(), topic, (control, backoff), second.make());
        Some(Box::new(beside))
    }
}

/// What the second run is made of.
#[derive(Clone)]
struct Second {
    settings: ClientConfig,
    group: String,
    topic: Arc<str>,
    config: Arc<ConsumerConfig>,
    moves: DeliveryMoves,
    flights: crate::flight::Files,
    terms: Terms,
}

impl Second {
    fn make(self) -> Make {
        Box::new(move || {
            let Self { settings, group, topic, config, moves, flights, terms } = self.clone();
            async move {
                let configured = Configured::read(&settings, &group, topic.clone())?.second(SECOND);
                let cluster = Cluster::connect(&settings).await?;
                let teller = |control| Teller::new(None, control, None);
                let parts = Parts::<DeliveryUpdate>::new(cluster, (topic, config), configured, flights, teller);
                let parts = parts.ending(terms.end);
                let store = Arc::new(moves);
                let (own, takeover) = (store.identity().name.clone(), Takeover::Refused.into());
                let (cluster, offsets) = (parts.cluster.clone(), parts.offsets.clone());
                let claim = Claim { cluster, offsets, topic: parts.topic.clone(), own, takeover };
                let (positions, config) = (Arc::new(StorePositions::new(store.clone(), claim)), parts.config.clone());
                let consumer = parts.consumer(positions, Commits::News, |committer, teller| {
                    Box::new(StoreDispatch::new(store, committer, teller, &config))
                });
                Ok(consumer.into_parts())
            }
            .boxed()
        })
    }
}
