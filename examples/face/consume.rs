//! The consumers' program: orders of one topic into a store, a line on stdout for each.

use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use clap::Parser;
use orderflow::config::{ClientConfig, Property, properties};
use orderflow::consumer::{Control, OrderConsumer, Settled, Summary};
use orderflow::order::{DeliveryOrder, InventoryOrder, Order};
use orderflow::store::{DeliveryPolicy, Outcome, RedbDeliveries, RedbInventory, RedbSettings, Retention, Store};
use orderflow::{Error, ErrorCode, Result};
use serde::Serialize;
use serde_json::value::RawValue;
use tokio_util::sync::CancellationToken;

use super::finish::{Ending, complain, ending_of, main_of};
use super::flags::Flags;
use super::output::{self, Lines};
use super::progress::Progress;

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
    /// Where the effects are kept: a path, or postgres://... in a later release
    #[arg(long)]
    store: Option<String>,
    /// Stop at the end that the topic has now
    #[arg(short, long)]
    exit_at_end: bool,
    /// Stop after exactly this many records are settled
    #[arg(short = 'c', long)]
    max_messages: Option<u64>,
}

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
    fn open(path: PathBuf, group: &str, settings: RedbSettings) -> Result<Self::Store>;
}

impl Effect for InventoryOrder {
    const GROUP: &'static str = "inventory";
    const STORE: &'static str = "inventory.redb";
    const LINE: &'static str = "Updating inventory for order: ";
    type Store = RedbInventory;

    fn open(path: PathBuf, group: &str, settings: RedbSettings) -> Result<Self::Store> {
        RedbInventory::open_with(path, group, settings)
    }
}

impl Effect for DeliveryOrder {
    const GROUP: &'static str = "delivery";
    const STORE: &'static str = "delivery.redb";
    const LINE: &'static str = "Processing delivery order: ";
    type Store = RedbDeliveries;

    fn open(path: PathBuf, group: &str, settings: RedbSettings) -> Result<Self::Store> {
        RedbDeliveries::open_with(path, group, settings, DeliveryPolicy::default())
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
    let configured = Some(config.text(&properties::GROUP_ID)).filter(|group| !group.is_empty());
    let group = arguments.group.as_deref().or(configured).unwrap_or(O::GROUP);
    let store = O::open(store_path(arguments.store.as_deref(), O::STORE)?, group, store_settings(&config))?;
    let topic = arguments.topic.as_deref().unwrap_or(O::TOPIC);
    let mut teller = Teller::new::<O>(&arguments.flags, lines.clone());
    let mut builder = OrderConsumer::<O>::builder(&config)
        .topic(topic)
        .group(group)
        .store(store)
        .observe(move |settled| teller.tell(settled));
    if arguments.exit_at_end {
        builder = builder.until_end();
    }
    if let Some(records) = arguments.max_messages {
        builder = builder.limit(records);
    }
    let consumer = builder.build().await?;
    if !arguments.flags.quiet {
        output::complain(&format!(
            "group {group} reads all partitions of {topic}: sharing them with other members comes with a later release"
        ));
    }
    let control = consumer.control();
    let progress = Progress::new(arguments.flags.quiet, "settled");
    let outcome = watched(consumer.run(stop.cancelled_owned()), &control, progress, &lines).await;
    Ok(conclude(&arguments.flags, &lines, &control, outcome))
}

/// The path of `--store`, or the default.
fn store_path(given: Option<&str>, default: &str) -> Result<PathBuf> {
    let given = given.unwrap_or(default);
    if given.starts_with("postgres://") || given.starts_with("postgresql://") {
        return Err(Error::new(ErrorCode::ConfigUnsupported, "a store in PostgreSQL comes with a later release")
            .remedy("give a path"));
    }
    Ok(given.into())
}

/// The store's part of the settings.
pub fn store_settings(config: &ClientConfig) -> RedbSettings {
    let mut settings = RedbSettings::default();
    settings.cache_bytes = config.bytes(&properties::STORE_CACHE_BYTES);
    settings.retention = Retention {
        numbered: days(config, &properties::DEDUP_RETENTION),
        opaque: days(config, &properties::DEDUP_OPAQUE_RETENTION),
        max_opaque: config.number(&properties::DEDUP_MAX_KEYS),
        log: None,
    };
    settings
}

fn days(config: &ClientConfig, property: &Property) -> Duration {
    Duration::from_secs(config.number(property).saturating_mul(24 * 60 * 60))
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

fn conclude(flags: &Flags, lines: &Lines, control: &Control, (outcome, took): (Result<Summary>, String)) -> Ending {
    let summary = control.summary();
    if flags.json {
        lines.object(&serde_json::json!({ "summary": summary }));
    }
    lines.flush();
    output::complain(&format!("{summary} in {took}"));
    match outcome {
        Ok(_) => Ending::Done,
        Err(error) => {
            complain(&error);
            ending_of(&error)
        }
    }
}

/// Writes the line of each order that is settled.
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

#[derive(Serialize)]
struct Told<'a> {
    topic: &'a str,
    partition: i32,
    offset: i64,
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
        match self.form {
            Form::Nothing => {}
            Form::People => self.tell_people(settled),
            Form::Json => self.tell_json(settled),
        }
    }

    fn tell_people<O: Order>(&self, settled: &Settled<'_, O>) {
        if let (Outcome::Applied, Some(value)) = (settled.outcome(), settled.value()) {
            self.lines.line(&[self.line.as_bytes(), value]);
        }
    }

    fn tell_json<O: Order>(&self, settled: &Settled<'_, O>) {
        let key = settled.idempotency_key();
        let told = Told {
            topic: settled.topic(),
            partition: settled.partition(),
            offset: settled.offset(),
            idempotency_key: key.as_deref(),
        };
        let order = settled.value().and_then(|value| serde_json::from_slice::<&RawValue>(value).ok());
        match settled.outcome() {
            Outcome::Applied => self.object("applied", &order, &told),
            Outcome::Duplicate => self.object("duplicate", &order, &told),
            Outcome::Refused { code, reason } => self.object("refused", &Cause { code, reason }, &told),
            Outcome::DeadLetter { code, reason } => self.object("dead_letter", &Cause { code, reason }, &told),
        }
    }

    /// `{"<name>":<what>,"topic":...}`: the outcome first, then where.
    fn object(&self, name: &str, what: &impl Serialize, told: &Told<'_>) {
        let (Ok(what), Ok(told)) = (serde_json::to_vec(what), serde_json::to_vec(told)) else { return };
        let told = told.get(1..).unwrap_or_default();
        self.lines.line(&[b"{\"", name.as_bytes(), b"\":", &what, b",", told]);
    }
}
