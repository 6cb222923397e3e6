//! What every consumer is made of, whatever settles its orders.

use std::marker::PhantomData;
use std::sync::Arc;

use futures::FutureExt;
use futures::future::BoxFuture;

use super::builder::End;
use super::commit::{Committer, GroupOffsets};
use super::companion::{Companion, Company};
use super::config::{ConsumerConfig, Reset};
use super::dispatch::Dispatch;
use super::dispatch::teller::{Teller, shared};
use super::group::configured::Configured;
use super::group::session::{Membership, Session};
use super::positions::Positions;
use super::retry_topic::RETRY;
use super::run::{Commits, Run};
use super::{Control, OrderConsumer};
use crate::Result;
use crate::cluster::{Cluster, GroupCoordinator};
use crate::config::ClientConfig;
use crate::flight::Files;
use crate::order::Order;
use crate::store::Steering;

/// What every consumer is made of.
pub(super) struct Parts<O> {
    pub(super) cluster: Cluster,
    pub(super) topic: Arc<str>,
    pub(super) config: Arc<ConsumerConfig>,
    pub(super) offsets: Arc<GroupOffsets>,
    membership: (Membership, Session),
    pub(super) control: Control,
    teller: Teller<O>,
    pub(super) companion: Option<Box<dyn Companion>>,
    pub(super) wheel: Option<Arc<dyn Steering>>,
    pub(super) end: End,
}

impl<O: Order> Parts<O> {
    pub(super) fn new(
        cluster: Cluster,
        (topic, config): (Arc<str>, Arc<ConsumerConfig>),
        configured: Configured,
        flights: Files,
        teller: impl FnOnce(Control) -> Teller<O>,
    ) -> Self {
        let coordinator = Arc::new(GroupCoordinator::new(cluster.clone(), configured.settings.group.clone()));
        let (membership, session, authority) = Membership::pair(configured, coordinator.clone(), &flights);
        let offsets = Arc::new(GroupOffsets::new(coordinator, authority, membership.voice().clone()));
        let control = Control::new(flights);
        let teller = teller(control.clone());
        let membership = (membership, session);
        let (companion, wheel, end) = (None, None, End::Never);
        Self { cluster, topic, config, offsets, membership, control, teller, companion, wheel, end }
    }

    /// What makes the parts of the consumer that reads the retry topic beside this one. They share an observer.
    pub(super) fn retry_parts(
        &mut self,
        settings: ClientConfig,
    ) -> impl Fn() -> BoxFuture<'static, Result<Self>> + Send + Sync + 'static {
        let observer = self.teller.share_observer();
        let config = Arc::new(ConsumerConfig { reset: Reset::Earliest, ..(*self.config).clone() });
        let topic: Arc<str> = format!("{}{RETRY}", self.topic).into();
        let (group, flights) = (self.offsets.group().to_owned(), self.control.flights().clone());
        move || {
            let (settings, group, topic) = (settings.clone(), group.clone(), topic.clone());
            let (config, flights, observer) = (config.clone(), flights.clone(), observer.as_ref().map(shared));
            async move {
                let configured = Configured::read(&settings, &group, topic.clone())?.second(RETRY);
                let cluster = Cluster::connect(&settings).await?;
                let teller = |control| Teller::new(observer, control, None);
                Ok(Self::new(cluster, (topic, config), configured, flights, teller))
            }
            .boxed()
        }
    }

    /// The same with a run that ends by itself, or does not.
    pub(super) fn ending(self, end: End) -> Self {
        Self { end, ..self }
    }

    pub(super) fn company(&self) -> Company {
        let (cluster, control) = (self.cluster.clone(), self.control.clone());
        Company { cluster, topic: self.topic.clone(), group: self.offsets.group().into(), control }
    }

    pub(super) fn consumer(
        self,
        positions: Arc<dyn Positions>,
        commits: Commits,
        dispatch: impl FnOnce(Arc<Committer>, Teller<O>) -> Box<dyn Dispatch>,
    ) -> OrderConsumer<O> {
        let Self { cluster, topic, config, offsets, membership, control, teller, companion, wheel, end } = self;
        let (interval, backoff) = (config.commit_interval, config.backoff);
        let committer = Committer::start(offsets.clone(), topic.clone(), control.clone(), interval, backoff);
        let committer = Arc::new(committer);
        let dispatch = dispatch(committer.clone(), teller);
        let _witness = control.flights().witness();
        let (shown, membership) = (control.clone(), Some(membership));
        let run = Run {
            cluster,
            topic,
            config,
            control,
            positions,
            offsets,
            committer,
            membership,
            dispatch,
            companion,
            _wheel: wheel,
            end,
            commits,
            _witness,
        };
        OrderConsumer { engine: Box::new(run), control: shown, order: PhantomData }
    }
}
