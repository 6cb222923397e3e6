//! The consumers' program: orders of one topic into a store, a line on stdout for each.

use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use clap::Parser;
use orderflow::Result;
use orderflow::config::{ClientConfig, properties};
use orderflow::consumer::{Control, OrderConsumer, Settled, Summary};
use orderflow::order::{DeliveryOrder, InventoryOrder, Order};
use orderflow::store::{BackfillSummary, Backfilled, DeliveryPolicy, Outcome, RedbDeliveries, RedbInventory, Store};
use serde::Serialize;
use serde_json::value::RawValue;
use tokio_util::sync::CancellationToken;

use super::backfill::Backfilling;
use super::finish::{Ending, complain, ending_of, main_of};
use super::flags::Flags;
use super::flights;
use super::output::{self, Lines};
use super::progress::Progress;
#[cfg(feature = "postgres")]
use super::store_settings::database_settings;
use super::store_settings::{levels, store_settings};

/// Applies orders from Kafka to a store, each once.
#[derive(Parser, Debug)]
#[command(version, about)]
struct Arguments {
    #[command(flatten)]
    flags: Flags,
    /// The consumer group
    #[arg(short, long)]
    group: Option<String>,
    /// The topic; default: the order type's own
    #[arg(short, long)]
    topic: Option<String>,
    /// Where the effects are kept: a path, or postgres://user@host/database (feature `postgres`)
    #[arg(long)]
    store: Option<String>,
    /// Take the group over from another store, from the group's committed offsets; the store is not complete then
    #[arg(long, conflicts_with = "rebuild")]
    adopt: bool,
    /// Take the group over with an empty store, built from the beginning of the log
    #[arg(long, conflicts_with = "backfill")]
    rebuild: bool,
    /// With --rebuild: tell customers and other systems again what was told before
    #[arg(long, requires = "rebuild")]
    resend: bool,
    /// Stop at the end that the topic has now
    #[arg(short, long)]
    exit_at_end: bool,
    /// Stop after exactly this many records are settled
    #[arg(short = 'c', long)]
    max_messages: Option<u64>,
    /// First apply this order file straight to the store (its entries are not among those of -c)
    #[arg(long, value_name = "FILE")]
    backfill: Option<PathBuf>,
}

/// What a rebuilt store lacks.
const LOST_TO_A_LOG: &str = "building the store from the beginning of the log, which cannot give back: backfilled files, \
                             moves by command, fixed and discarded dead letters";

/// An order type with a built-in effect.
pub trait Effect: Order {
    /// The group when nobody names one.
    const GROUP: &'static str;
    /// The store's file when nobody names one.
    const STORE: &'static str;
    /// What the line of an applied order begins with.
    const LINE: &'static str;
    /// Where the effect is kept.
    type Store: Store<Self>;

    /// Opens the store's file, or makes it.
    ///
    /// # Errors
    /// As the store's own `open`.
    fn open(path: PathBuf, group: &str, config: &ClientConfig) -> Result<Self::Store>;

    /// The store in a database.
    #[cfg(feature = "postgres")]
    type Database: Store<Self>;

    /// Connects to the store in a database, or makes it.
    ///
    /// # Errors
    /// As the store's own `connect`.
    #[cfg(feature = "postgres")]
    fn connect(url: &str, group: &str, config: &ClientConfig) -> impl Future<Output = Result<Self::Database>> + Send;
}

impl Effect for InventoryOrder {
    const GROUP: &'static str = "inventory";
    const STORE: &'static str = "inventory.redb";
    const LINE: &'static str = "Updating inventory for order: ";
    type Store = RedbInventory;

    fn open(path: PathBuf, group: &str, config: &ClientConfig) -> Result<Self::Store> {
        RedbInventory::open_with_levels(path, group, store_settings(config), levels(config)?)
    }

    #[cfg(feature = "postgres")]
    type Database = orderflow::store::PostgresInventory;

    #[cfg(feature = "postgres")]
    async fn connect(url: &str, group: &str, config: &ClientConfig) -> Result<Self::Database> {
        Self::Database::connect_with_levels(url, group, database_settings(config), levels(config)?).await
    }
}

impl Effect for DeliveryOrder {
    const GROUP: &'static str = "delivery";
    const STORE: &'static str = "delivery.redb";
    const LINE: &'static str = "Processing delivery order: ";
    type Store = RedbDeliveries;

    fn open(path: PathBuf, group: &str, config: &ClientConfig) -> Result<Self::Store> {
        RedbDeliveries::open_with(path, group, store_settings(config), DeliveryPolicy::of_settings(config)?)
    }

    #[cfg(feature = "postgres")]
    type Database = orderflow::store::PostgresDeliveries;

    #[cfg(feature = "postgres")]
    async fn connect(url: &str, group: &str, config: &ClientConfig) -> Result<Self::Database> {
        let policy = DeliveryPolicy::of_settings(config)?;
        Self::Database::connect_with(url, group, database_settings(config), policy).await
    }
}

/// Runs the consumer of one order type.
pub fn main<O: Effect>() -> ExitCode {
    let arguments = Arguments::parse();
    arguments.flags.start_log();
    let patience = arguments.flags.patience();
    main_of(patience, |stop| run::<O>(arguments, stop))
}

async fn run<O: Effect>(arguments: Arguments, stop: CancellationToken) -> Result<Ending> {
    let lines = Lines::new(stop.clone());
    let Some(config) = arguments.flags.settings(&lines)? else { return Ok(Ending::Done) };
    let config = if arguments.rebuild && !arguments.resend { untold_before_now(config)? } else { config };
    let configured = Some(config.text(&properties::GROUP_ID)).filter(|group| !group.is_empty());
    let group = arguments.group.as_deref().or(configured).unwrap_or(O::GROUP);
    let backfill = match &arguments.backfill {
        Some(path) => Some(Backfilling::of(path, &arguments.flags).await?),
        None => None,
    };
    let group = group.to_owned();
    match arguments.store.as_deref().filter(|store| is_url(store)) {
        #[cfg(feature = "postgres")]
        Some(url) => {
            let store = O::connect(url, &group, &config).await?;
            consume::<O, _>((&arguments, &config, &group), backfill, (lines, stop), store).await
        }
        #[cfg(not(feature = "postgres"))]
        Some(_) => {
            let sentence = "a store in PostgreSQL needs the feature `postgres`";
            Err(orderflow::Error::new(orderflow::ErrorCode::ConfigUnsupported, sentence)
                .remedy("build with --all-features, or give a path"))
        }
        None => {
            let path = arguments.store.as_deref().unwrap_or(O::STORE);
            let store = O::open(path.into(), &group, &config)?;
            consume::<O, _>((&arguments, &config, &group), backfill, (lines, stop), store).await
        }
    }
}

/// What a log tells again was told before: nothing of it is relayed, unless somebody says from when on it is to be.
fn untold_before_now(config: ClientConfig) -> Result<ClientConfig> {
    if config.number(&properties::OUTBOX_SINCE) > 0 {
        return Ok(config);
    }
    let now = std::time::SystemTime::UNIX_EPOCH.elapsed().unwrap_or_default();
    config.set("outbox.since", now.as_millis().to_string())
}

async fn consume<O: Effect, S: Store<O>>(
    (arguments, config, group): (&Arguments, &ClientConfig, &str),
    backfill: Option<Backfilling>,
    (lines, stop): (Lines, CancellationToken),
    store: S,
) -> Result<Ending> {
    let topic = arguments.topic.as_deref().unwrap_or(O::TOPIC);
    let mut teller = Teller::new::<O>(&arguments.flags, lines.clone());
    let backfilled = match backfill {
        Some(backfill) => backfill.run::<O>(&store, &mut teller, &stop).await?,
        None => BackfillSummary::default(),
    };
    lines.flush();
    if stop.is_cancelled() {
        store.close().await?;
        return Ok(conclude(&arguments.flags, &lines, &backfilled, Summary::default(), None));
    }
    let mut builder = OrderConsumer::<O>::builder(config)
        .topic(topic)
        .group(group)
        .store(store)
        .observe(move |settled| teller.tell(settled));
    if arguments.adopt {
        builder = builder.adopt();
    }
    if arguments.rebuild {
        output::complain(LOST_TO_A_LOG);
        builder = builder.rebuild();
    }
    if arguments.exit_at_end {
        builder = builder.until_end();
    }
    if let Some(records) = arguments.max_messages {
        builder = builder.limit(records);
    }
    let consumer = builder.build().await?;
    if !arguments.flags.quiet {
        output::complain(&format!("group {group} shares {topic} with its other members; positions are in the store"));
    }
    let control = consumer.control();
    let progress = Progress::new(arguments.flags.quiet, "settled");
    let (at_a_panic, at_a_signal) = (control.clone(), control.clone());
    flights::at_a_panic(move || at_a_panic.write_flight(None));
    let (outcome, took) = tokio::select! {
        ended = watched(consumer.run(stop.cancelled_owned()), &control, progress, &lines) => ended,
        never = flights::at_each_signal(move || at_a_signal.write_flight_at_signal()) => match never {},
    };
    Ok(conclude(&arguments.flags, &lines, &backfilled, control.summary(), Some((outcome, took))))
}

/// Whether `--store` names a database.
fn is_url(given: &str) -> bool {
    given.starts_with("postgres://") || given.starts_with("postgresql://")
}

/// Runs to the end while the progress is told.
async fn watched(
    run: impl Future<Output = Result<Summary>>,
    control: &Control,
    mut progress: Progress,
    lines: &Lines,
) -> (Result<Summary>, String) {
    let mut tick = tokio::time::interval(Duration::from_millis(200));
    let mut run = std::pin::pin!(run);
    loop {
        tokio::select! {
            outcome = &mut run => return (outcome, progress.finish()),
            _ = tick.tick() => {
                lines.flush();
                let summary = control.summary();
                progress.tell(|| format!("settled {}", summary.settled()));
            }
        }
    }
}

/// The summary of everything that was settled, and how the run ended. `ran` is missing where it did not begin.
fn conclude(
    flags: &Flags,
    lines: &Lines,
    backfilled: &BackfillSummary,
    consumed: Summary,
    ran: Option<(Result<Summary>, String)>,
) -> Ending {
    let summary = Summary {
        applied: consumed.applied.saturating_add(backfilled.applied),
        duplicates: consumed.duplicates.saturating_add(backfilled.duplicates),
        refused: consumed.refused.saturating_add(backfilled.refused),
        dead_letters: consumed.dead_letters.saturating_add(backfilled.dead_letters),
        retried: consumed.retried,
    };
    if flags.json {
        lines.object(&serde_json::json!({ "summary": summary }));
    }
    lines.flush();
    let (outcome, took) = ran.unzip();
    output::complain(&format!("{summary} in {}", took.as_deref().unwrap_or("0.0 s")));
    match outcome {
        Some(Err(error)) => {
            complain(&error);
            ending_of(&error)
        }
        _ if backfilled.stopped => Ending::Undone,
        _ => Ending::Done,
    }
}

/// Writes the line of each order that is settled.
#[derive(Clone)]
pub struct Teller {
    lines: Lines,
    form: Form,
    line: &'static str,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Form {
    Nothing,
    People,
    Json,
}

/// Where an order was; a backfilled one has no place in a log.
#[derive(Clone, Copy, Serialize)]
struct Told<'a> {
    topic: Option<&'a str>,
    partition: Option<i32>,
    offset: Option<i64>,
    idempotency_key: Option<&'a str>,
}

#[derive(Serialize)]
struct Cause<'a> {
    code: &'a str,
    reason: &'a str,
}

impl Teller {
    /// Lines in the form that the flags ask for.
    pub fn new<O: Effect>(flags: &Flags, lines: Lines) -> Self {
        let form = match (flags.json, flags.quiet) {
            (true, _) => Form::Json,
            (false, true) => Form::Nothing,
            (false, false) => Form::People,
        };
        Self { lines, form, line: O::LINE }
    }

    /// Tells of one order.
    pub fn tell<O: Order>(&mut self, settled: &Settled<'_, O>) {
        let key = settled.idempotency_key();
        let told = Told {
            topic: Some(settled.topic()),
            partition: Some(settled.partition()),
            offset: Some(settled.offset()),
            idempotency_key: key.as_deref(),
        };
        self.tell_as(settled.outcome(), settled.value(), &told);
    }

    /// Tells of one order that came from a file.
    pub fn tell_backfilled(&mut self, backfilled: &Backfilled<'_>) {
        let key = backfilled.identity.to_string();
        let told = Told { topic: None, partition: None, offset: None, idempotency_key: Some(&key) };
        self.tell_as(backfilled.outcome, Some(backfilled.value), &told);
    }

    fn tell_as(&self, outcome: &Outcome, value: Option<&[u8]>, told: &Told<'_>) {
        match (self.form, outcome, value) {
            (Form::People, Outcome::Applied, Some(value)) => self.lines.line(&[self.line.as_bytes(), value]),
            (Form::Nothing | Form::People, ..) => {}
            (Form::Json, ..) => self.tell_json(outcome, value, told),
        }
    }

    fn tell_json(&self, outcome: &Outcome, value: Option<&[u8]>, told: &Told<'_>) {
        let order = value.and_then(|value| serde_json::from_slice::<&RawValue>(value).ok());
        match outcome {
            Outcome::Applied => self.object("applied", &order, told),
            Outcome::Duplicate => self.object("duplicate", &order, told),
            Outcome::Refused { code, reason } => self.object("refused", &Cause { code, reason }, told),
            Outcome::DeadLetter { code, reason } => self.object("dead_letter", &Cause { code, reason }, told),
        }
    }

    /// `{"<name>":<what>,"topic":...}`: the outcome first, then where.
    fn object(&self, name: &str, what: &impl Serialize, told: &Told<'_>) {
        let (Ok(what), Ok(told)) = (serde_json::to_vec(what), serde_json::to_vec(told)) else { return };
        let told = told.get(1..).unwrap_or_default();
        self.lines.line(&[b"{\"", name.as_bytes(), b"\":", &what, b",", told]);
    }
}
