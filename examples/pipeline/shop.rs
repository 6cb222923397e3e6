//! What a shop does with its orders: publish, apply, show.

use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};

use orderflow::config::ClientConfig;
use orderflow::consumer::{OrderConsumer, Summary};
use orderflow::order::generate::{Generate, Generator};
use orderflow::order::{DeliveryOrder, Entry, Identity, InventoryOrder, OrderReader, Source, digest_of};
use orderflow::producer::{OrderProducer, Pending};
use orderflow::store::{Query, Row, StoreReader};
use orderflow::{Error, ErrorCode, Result};
use tokio_util::sync::CancellationToken;

use crate::face::Flags;
use crate::face::consume::{Effect, Teller};
use crate::face::output::{Lines, complain};
use crate::face::produce::rejected;
use crate::shaky::Temper;

/// What runs through when nothing is named, also where no file is at hand.
const FIXTURE: &[u8] = include_bytes!("../../fixtures/orders.json");
/// How many rows of stock and of deliveries people are shown.
const SHOWN: usize = 40;
/// How many receipts may be awaited at once.
const UNACKNOWLEDGED: usize = 10_000;

/// Where the shop's orders come from.
pub(crate) enum Orders {
    Fixture,
    File(PathBuf),
    MadeUp { count: u64, seed: u64 },
}

/// A shop on one broker.
pub(crate) struct Shop {
    pub(crate) config: ClientConfig,
    pub(crate) folder: PathBuf,
    pub(crate) flags: Flags,
    pub(crate) lines: Lines,
    pub(crate) temper: Temper,
}

/// What came of a run, for inventory orders and for delivery orders.
pub(crate) struct Ran {
    pub(crate) published: (u64, u64),
    /// Applied or refused now: duplicates and dead letters are neither.
    pub(crate) settled: (u64, u64),
    /// Whether both audits hold, and nothing was left behind.
    pub(crate) holds: bool,
}

impl Shop {
    /// Publishes the orders, applies them, shows what came of it.
    pub(crate) async fn run(&self, orders: Orders, stop: &CancellationToken) -> Result<Ran> {
        let (inventory, deliveries) = tokio::try_join!(
            self.publish::<InventoryOrder>(&orders, Share::First, stop),
            self.publish::<DeliveryOrder>(&orders, Share::Second, stop),
        )?;
        complain(&format!("published {inventory} inventory orders and {deliveries} delivery orders"));
        let (stock, scheduled) =
            tokio::try_join!(self.apply::<InventoryOrder>(stop.clone()), self.apply::<DeliveryOrder>(stop.clone()),)?;
        self.lines.flush();
        complain(&format!("inventory: {stock}"));
        complain(&format!("deliveries: {scheduled}"));
        let stock_holds = self.show::<InventoryOrder>(Query::Stock { products: Vec::new() }).await?;
        let deliveries_hold = self.show::<DeliveryOrder>(Query::Deliveries { orders: Vec::new() }).await?;
        let complete = stock.settled() >= inventory && scheduled.settled() >= deliveries;
        Ok(Ran {
            published: (inventory, deliveries),
            settled: (stock.applied + stock.refused, scheduled.applied + scheduled.refused),
            holds: stock_holds && deliveries_hold && complete,
        })
    }

    async fn publish<O: Effect + Generate>(
        &self,
        orders: &Orders,
        share: Share,
        stop: &CancellationToken,
    ) -> Result<u64> {
        let producer = OrderProducer::<O>::connect(&self.config).await?;
        let mut sent = Sent::default();
        match orders {
            Orders::Fixture => {
                let source = Source::of_digest(digest_of(FIXTURE).map_err(unreadable)?);
                sent.send_file(&producer, Path::new("fixtures/orders.json"), source, Box::new(FIXTURE)).await?;
            }
            Orders::File(path) => {
                let digest = File::open(path).and_then(digest_of).map_err(unreadable)?;
                let file = File::open(path).map_err(unreadable)?;
                sent.send_file(&producer, path, Source::of_digest(digest), Box::new(file)).await?;
            }
            Orders::MadeUp { count, seed } => {
                let source = Source::named(&format!("made-up {} {seed}", O::TYPE), None);
                for (mut order, index) in Generator::<O>::new(*seed).zip(0..share.of(*count)) {
                    order.set_identity(Identity::numbered(source, index)?);
                    sent.send(&producer, &order).await?;
                    if stop.is_cancelled() {
                        break;
                    }
                }
            }
        }
        let count = sent.finish().await?;
        producer.close().await?;
        Ok(count)
    }

    async fn apply<O: Effect>(&self, stop: CancellationToken) -> Result<Summary> {
        let store = O::open(self.folder.join(O::STORE), O::GROUP, &self.config)?;
        let mut teller = Teller::new::<O>(&self.flags, self.lines.clone());
        let consumer = OrderConsumer::<O>::builder(&self.config)
            .group(O::GROUP)
            .store(self.temper.of(store))
            .until_end()
            .observe(move |settled| teller.tell(settled))
            .build()
            .await?;
        let control = consumer.control();
        let summary = consumer.run(stop.cancelled_owned()).await?;
        let relayed = control.relayed();
        if !relayed.is_empty() {
            let told: Vec<String> = relayed.iter().map(|(topic, events)| format!("{topic} {events}")).collect();
            complain(&format!("relayed: {}", told.join(", ")));
        }
        Ok(summary)
    }

    /// Shows what a store holds, then its audit. Returns whether the audit holds.
    async fn show<O: Effect>(&self, query: Query) -> Result<bool> {
        let reader = StoreReader::open(self.folder.join(O::STORE)).await?;
        let mut answer = reader.ask(query);
        let mut count = 0;
        while let Some(page) = answer.page().await? {
            page.iter().take(SHOWN.saturating_sub(count)).for_each(|row| self.tell(row));
            count += page.len();
        }
        if count > SHOWN && !self.flags.json && !self.flags.quiet {
            self.lines.line(&[format!("... {} rows more", count - SHOWN).as_bytes()]);
        }
        let rows = reader.ask(Query::Verify).rows().await?;
        rows.iter().for_each(|row| self.tell(row));
        Ok(rows.iter().any(|row| matches!(row, Row::Audit(audit) if audit.holds)))
    }

    fn tell(&self, row: &Row) {
        if self.flags.json {
            self.lines.object(&row.to_object());
        } else if !self.flags.quiet {
            self.lines.line(&[sentence(row).as_bytes()]);
        }
    }
}

/// Which half of made-up orders.
#[derive(Clone, Copy)]
enum Share {
    First,
    Second,
}

impl Share {
    fn of(self, count: u64) -> u64 {
        match self {
            Self::First => count.div_ceil(2),
            Self::Second => count / 2,
        }
    }
}

/// Receipts that are awaited.
#[derive(Default)]
struct Sent {
    pending: std::collections::VecDeque<Pending>,
    count: u64,
}

impl Sent {
    async fn send<O: Effect>(&mut self, producer: &OrderProducer<O>, order: &O) -> Result<()> {
        self.pending.push_back(producer.enqueue(order).await?);
        if self.pending.len() > UNACKNOWLEDGED {
            self.await_one().await?;
        }
        Ok(())
    }

    async fn send_file<O: Effect>(
        &mut self,
        producer: &OrderProducer<O>,
        path: &Path,
        source: Source,
        input: Box<dyn Read + Send>,
    ) -> Result<()> {
        for entry in OrderReader::<O, _>::new(input).with_source(source) {
            match entry? {
                Entry::Order(located) => self.send(producer, &located.order).await?,
                Entry::Filtered { .. } => {}
                Entry::Rejected(rejection) => complain(&rejected(path, &rejection)),
            }
        }
        Ok(())
    }

    async fn await_one(&mut self) -> Result<()> {
        if let Some(pending) = self.pending.pop_front() {
            pending.await?;
            self.count += 1;
        }
        Ok(())
    }

    async fn finish(mut self) -> Result<u64> {
        while !self.pending.is_empty() {
            self.await_one().await?;
        }
        Ok(self.count)
    }
}

fn unreadable(cause: std::io::Error) -> Error {
    Error::new(ErrorCode::Input, "the order file cannot be read").caused_by(cause)
}

fn sentence(row: &Row) -> String {
    match row {
        Row::Stock(stock) => {
            let movements = if stock.movements == 1 { "movement" } else { "movements" };
            format!("stock of {}: {} after {} {movements}", stock.product_id, stock.stock, stock.movements)
        }
        Row::Delivery(delivery) => format!(
            "delivery of {} x {} for order {}: {} for {}",
            delivery.quantity, delivery.product_id, delivery.order_id, delivery.status, delivery.scheduled_for
        ),
        Row::Audit(audit) => {
            let verdict = if audit.holds { "audit holds" } else { "AUDIT FAILS" };
            let counts = audit.counts;
            format!(
                "{verdict}: {} applied, {} duplicates, {} refused, {} dead letters, {} without a record{}",
                counts.applied,
                counts.duplicates,
                counts.refused,
                counts.dead_letters,
                counts.no_record,
                audit.problems.iter().map(|problem| format!("\n  {problem}")).collect::<String>()
            )
        }
        other => other.to_object().to_string(),
    }
}
