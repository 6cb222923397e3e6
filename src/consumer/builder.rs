//! Putting a consumer together.

use std::fmt;
use std::marker::PhantomData;
use std::path::Path;
use std::sync::Arc;

use futures::FutureExt;

use super::claim::{Claim, Takeover};
use super::commit::Committer;
use super::companion::{Both, Companion, Company};
use super::config::ConsumerConfig;
use super::dispatch::Dispatch;
use super::dispatch::handler::HandlerDispatch;
use super::dispatch::handler::within::{Backing, Settler, Settles};
use super::dispatch::store::StoreDispatch;
use super::dispatch::teller::Teller;
use super::group::configured::Configured;
use super::letterbox::Letterbox;
use super::parts::Parts;
use super::positions::{KafkaPositions, StorePositions};
use super::replays::{Asking, MakeAsking, Source, Terms};
use super::retry_topic::{self, DEAD, Make, RETRY, RetryTopic};
use super::run::Commits;
use super::wheel::Wheel;
use super::{Concurrency, Delivered, Handler, OrderConsumer, Settled, StoreHandler};
use crate::cluster::Cluster;
use crate::config::{ClientConfig, properties};
use crate::flight::{Files, FlightConfig};
use crate::order::Order;
use crate::store::{BackOffice, Overlay, Steering, Store};
use crate::{Error, ErrorCode, Result};

/// Is told of each order that is settled.
pub(crate) type Observer<O> = Box<dyn FnMut(&Settled<'_, O>) + Send>;

/// Makes what asks a handler about orders before a store applies them.
struct Handled<O> {
    dispatch: Asks<O>,
    /// Makes what asks about dead letters whose replay is requested.
    asking: MakeAsking,
}

/// Makes what asks about the orders that are read.
type Asks<O> = Box<
    dyn FnOnce(Arc<dyn Settles<O>>, Concurrency, &ConsumerConfig, Arc<Committer>, Teller<O>) -> Box<dyn Dispatch>
        + Send,
>;

/// A consumer that is being put together: `W` says where its effects go, once that is known.
#[must_use = "a builder does nothing until `build`"]
pub struct ConsumerBuilder<O, W = Undecided> {
    pub(crate) options: Options<O>,
    pub(crate) work: W,
}

/// What is common to all consumers.
pub(crate) struct Options<O> {
    pub(crate) config: ClientConfig,
    pub(crate) topic: Option<String>,
    pub(crate) group: Option<String>,
    pub(crate) end: End,
    pub(crate) limit: Option<u64>,
    pub(crate) observer: Option<Observer<O>>,
    /// What asks a handler before the store applies.
    handled: Option<Handled<O>>,
    order: PhantomData<fn() -> O>,
}

/// When a run ends by itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum End {
    /// Never.
    Never,
    /// When each partition is settled up to the end that it had at the start.
    AtStartsEnd,
}

/// Neither a store nor a handler is given yet.
#[derive(Debug)]
pub struct Undecided;

/// Effects and positions go into a store, in one transaction: each effect once.
#[derive(Debug)]
pub struct InStore<S> {
    pub(crate) store: S,
    takeover: Takeover,
    concurrency: Concurrency,
}

/// Orders go to a handler, positions to Kafka: at least once.
#[derive(Debug)]
pub struct ByHandler<H> {
    pub(crate) handler: H,
    pub(crate) concurrency: Concurrency,
}

impl<O: Order> ConsumerBuilder<O> {
    pub(crate) fn new(config: &ClientConfig) -> Self {
        let options = Options {
            config: config.clone(),
            topic: None,
            group: None,
            end: End::Never,
            limit: None,
            observer: None,
            handled: None,
            order: PhantomData,
        };
        Self { options, work: Undecided }
    }

    /// Applies the orders to this store, where each takes effect once. It is closed when the run ends.
    pub fn store<S: Store<O>>(self, store: S) -> ConsumerBuilder<O, InStore<S>> {
        ConsumerBuilder {
            options: self.options,
            work: InStore { store, takeover: Takeover::Refused, concurrency: Concurrency::default() },
        }
    }

    /// Gives the orders to this handler, each at least once. A run without an end also gives it those of `<topic>-retry`, where
    /// dead letters are replayed, once that topic exists.
    pub fn handler<H: Handler<O>>(self, handler: H) -> ConsumerBuilder<O, ByHandler<H>> {
        let work = ByHandler { handler, concurrency: Concurrency::default() };
        ConsumerBuilder { options: self.options, work }
    }
}

impl<O: Order, W> ConsumerBuilder<O, W> {
    /// The topic to read. Default: the order type's own, `inventory_orders` or `delivery_orders`.
    pub fn topic(mut self, name: impl Into<String>) -> Self {
        self.options.topic = Some(name.into());
        self
    }

    /// The consumer group. Default: `group.id` of the configuration, then the store's own group.
    pub fn group(mut self, name: impl Into<String>) -> Self {
        self.options.group = Some(name.into());
        self
    }

    /// Ends the run when each partition is settled up to the end that it had at the start: the last stable offset, so
    /// that an open transaction does not hold it up. A partition that stops, or a topic that does not exist, is then
    /// an error.
    pub fn until_end(mut self) -> Self {
        self.options.end = End::AtStartsEnd;
        self
    }

    /// Ends the run when exactly this many records are settled; none beyond them is applied.
    pub fn limit(mut self, records: u64) -> Self {
        self.options.limit = Some(records);
        self
    }

    /// Is told of each order that is settled. It is called between two batches, so it should be quick.
    pub fn observe(mut self, observer: impl FnMut(&Settled<'_, O>) + Send + 'static) -> Self {
        self.options.observer = Some(Box::new(observer));
        self
    }
}

impl<O: Order, H: Handler<O>> ConsumerBuilder<O, ByHandler<H>> {
    /// How many orders the handler is given at once. Default: one of each partition.
    pub fn concurrency(mut self, concurrency: Concurrency) -> Self {
        self.work.concurrency = concurrency;
        self
    }
}

impl<O: Order, S: Store<O>> ConsumerBuilder<O, InStore<S>> {
    /// Asks this handler about each order before the store applies it. What it adds enters the store in the transaction of
    /// the order's effect, once; what it refuses or rejects is recorded there with the position.
    ///
    /// A dead letter that is [replayed](crate::store::Operation::Replay) takes the same way: it is marked as requested, and this
    /// consumer asks the handler about it beside the orders of its topic, in any order with them. A run with a
    /// [limit](ConsumerBuilder::limit) leaves such rows to the next one. The store remembers that its consumer has a handler,
    /// until one without a handler is built on it.
    pub fn handler<H: StoreHandler<O>>(mut self, handler: H) -> Self {
        let handler = Arc::new(handler);
        let call = move |order: Delivered<O>| {
            let handler = handler.clone();
            async move {
                let mut overlay = Overlay::default();
                let outcome = handler.handle(order, &mut overlay).await?;
                Ok((outcome, (!overlay.is_empty()).then(|| Box::new(overlay))))
            }
        };
        let again = call.clone();
        self.options.handled = Some(Handled {
            dispatch: Box::new(|store, concurrency, config, committer, teller| {
                Box::new(HandlerDispatch::new(call, concurrency, config, Backing::Store(store), committer, teller))
            }),
            asking: Box::new(|source, terms, control| Box::new(Asking::new(source, again, terms, control))),
        });
        self
    }

    /// How many orders the [handler](ConsumerBuilder::handler) is given at once. Default: one of each partition.
    pub fn concurrency(mut self, concurrency: Concurrency) -> Self {
        self.work.concurrency = concurrency;
        self
    }

    /// Takes the group over when its commits name another store, or none: every commit then names this one, which goes on
    /// from the group's committed offsets, and from its own positions where it has any. What lies before is not in this
    /// store, and its [position rows](crate::store::PositionRow::adopted) say so.
    ///
    /// A group that has members is not taken over: the run waits until they are gone.
    pub fn adopt(mut self) -> Self {
        self.work.takeover = Takeover::Adopt;
        self
    }

    /// Takes the group over for this store, which must be empty, and builds it from the log's beginning. The run fails
    /// with [`ErrorCode::OffsetOutOfRange`] if the log does not begin at offset 0 any more, with
    /// [`ErrorCode::ConfigUnsupported`] if the store has positions. It waits for the group's members, as
    /// [`ConsumerBuilder::adopt`] does.
    pub fn rebuild(mut self) -> Self {
        self.work.takeover = Takeover::Rebuild;
        self
    }

    /// Checks the settings and reaches the cluster. `relay` makes what relays the store's events, if it has any.
    pub(crate) async fn build_with(
        mut self,
        relay: impl FnOnce(Arc<dyn BackOffice>, Company) -> Box<dyn Companion>,
    ) -> Result<OrderConsumer<O>> {
        let owner = self.work.store.identity();
        let group = self.options.group_or(Some(&owner.group))?;
        owner.check(&group, O::TYPE)?;
        let (own, takeover) = (owner.name.clone(), self.work.takeover.into());
        let (handled, concurrency) = (self.options.handled.take(), self.work.concurrency);
        let store = Arc::new(self.work.store);
        let office = store.back_office();
        let path = office.as_ref().and_then(|office| office.path());
        // A run that ends after so many records of its topic reads no other one.
        let settings = self.options.limit.is_none().then(|| self.options.config.clone());
        let (dispatch, asking) = handled.map(|handled| (handled.dispatch, handled.asking)).unzip();
        let mut parts = self.options.parts(group, path.as_deref()).await?;
        if let Some(office) = office {
            let wheel: Arc<dyn Steering> =
                Arc::new(Wheel { topic: parts.topic.clone(), control: parts.control.clone() });
            office.obey(Arc::downgrade(&wheel));
            parts.wheel = Some(wheel);
            let moves = office.moves();
            let asking = match office.replays() {
                Some(replays) => {
                    replays.set_handled(dispatch.is_some()).await?;
                    let asks = settings.as_ref().zip(asking);
                    asks.map(|(settings, asking)| {
                        let terms = Terms::read(settings, &parts.config, concurrency);
                        asking(Source { replays, news: office.news() }, terms, parts.control.clone())
                    })
                }
                None => None,
            };
            let relay = relay(office, parts.company());
            let relay = match asking {
                Some(asking) => Box::new(Both(asking, relay)),
                None => relay,
            };
            let updates = moves.zip(settings).and_then(|(moves, settings)| parts.updates(settings, moves));
            parts.companion = Some(match updates {
                Some(updates) => Box::new(Both(updates, relay)),
                None => relay,
            });
        }
        let (cluster, offsets, topic) = (parts.cluster.clone(), parts.offsets.clone(), parts.topic.clone());
        let positions = Arc::new(StorePositions::new(store.clone(), Claim { cluster, offsets, topic, own, takeover }));
        let config = parts.config.clone();
        Ok(parts.consumer(positions, Commits::News, |committer, teller| match dispatch {
            Some(dispatch) => dispatch(Arc::new(Settler(store)), concurrency, &config, committer, teller),
            None => Box::new(StoreDispatch::new(store, committer, teller, &config)),
        }))
    }
}

impl<O: Order, H: Handler<O>> ConsumerBuilder<O, ByHandler<H>> {
    /// Checks the settings and reaches the cluster. `letterbox` makes what writes dead letters.
    pub(crate) async fn build_with(
        self,
        letterbox: impl FnOnce(Company) -> Arc<dyn Letterbox>,
    ) -> Result<OrderConsumer<O>> {
        let group = self.options.group_or(None)?;
        let settings = self.options.config.clone();
        let has_retry_topic = self.options.end == End::Never && self.options.limit.is_none();
        let mut parts = self.options.parts(group, None).await?;
        let letterbox = letterbox(parts.company());
        let (handler, concurrency) = (Arc::new(self.work.handler), self.work.concurrency);
        let call = move |order: Delivered<O>| {
            let handler = handler.clone();
            async move { handler.handle(order).await.map(|outcome| (outcome, None)) }
        };
        let consumer = move |parts: Parts<O>| {
            let positions = Arc::new(KafkaPositions::new(parts.offsets.clone()));
            let (call, letterbox, config) = (call.clone(), letterbox.clone(), parts.config.clone());
            parts.consumer(positions, Commits::Positions, move |committer, teller| {
                Box::new(HandlerDispatch::new(
                    call,
                    concurrency,
                    &config,
                    Backing::Topics(letterbox),
                    committer,
                    teller,
                ))
            })
        };
        if has_retry_topic && !parts.topic.ends_with(RETRY) && !parts.topic.ends_with(DEAD) {
            let (retry, topic) = (parts.retry_parts(settings), format!("{}{RETRY}", parts.topic).into());
            let consumer = consumer.clone();
            let make: Make = Box::new(move || {
                let (parts, consumer) = (retry(), consumer.clone());
                async move { Ok(consumer(parts.await?).into_parts()) }.boxed()
            });
            let (cluster, control, backoff) = (parts.cluster.clone(), parts.control.clone(), parts.config.backoff);
            let beside = RetryTopic::new(retry_topic::Terms::RETRY, cluster, topic, (control, backoff), make);
            parts.companion = Some(Box::new(beside));
        }
        Ok(consumer(parts))
    }
}

impl<O: Order> Options<O> {
    /// The group that was asked for, by the builder or by `group.id`, else `default`.
    fn group_or(&self, default: Option<&str>) -> Result<String> {
        let configured = Some(self.config.text(&properties::GROUP_ID)).filter(|group| !group.is_empty());
        let group = self.group.as_deref().or(configured).or(default).unwrap_or_default();
        if group.is_empty() {
            return Err(Error::new(ErrorCode::ConfigValue, "the consumer has no group")
                .remedy("name one: `group(..)` or group.id"));
        }
        Ok(group.to_owned())
    }

    /// Reaches the cluster and lays out what every consumer needs.
    async fn parts(self, group: String, store: Option<&Path>) -> Result<Parts<O>> {
        let config = Arc::new(ConsumerConfig::read(&self.config)?);
        let topic: Arc<str> = self.topic.as_deref().unwrap_or(O::TOPIC).into();
        let configured = Configured::read(&self.config, &group, topic.clone())?;
        let cluster = Cluster::connect(&self.config).await?;
        let flights = Files::new(FlightConfig::read(&self.config), &group, store);
        let teller = |control| Teller::new(self.observer, control, self.limit);
        Ok(Parts::new(cluster, (topic, config), configured, flights, teller).ending(self.end))
    }
}

impl<O: Order, W> fmt::Debug for ConsumerBuilder<O, W> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Options { topic, group, end, limit, .. } = &self.options;
        let mut shown = f.debug_struct("ConsumerBuilder");
        shown.field("type", &O::TYPE).field("topic", topic).field("group", group).field("end", end);
        shown.field("limit", limit).finish_non_exhaustive()
    }
}
