//! A member of ours as a process of its own: it can be told to end, stopped, and killed.
//!
//! The examples hold their positions in a store, which one process has; a group's members share it by a handler. So this
//! test program starts itself again as a member, which prints
//! - `{"owns":[...]}` when its share changes,
//! - `{"health":"..."}` when that changes,
//! - `{"slow":{"partition":..,"offset":..}}` when it begins with the order that takes it long,
//! - `{"partition":..,"offset":..,"key":..,"appended":..,"begun":..,"ended":..}` for each order that it has dealt with,
//! - `{"failed":"..."}` when its run ends with an error; then it ends with 1.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use orderflow::config::ClientConfig;
use orderflow::consumer::{Control, Delivered, Failure, InventoryConsumer, Outcome};
use orderflow::order::InventoryOrder;
use serde_json::{Value, json};
use tokio::signal::unix::{SignalKind, signal};

use crate::cluster::Servers;
use crate::shop::WORK;
use crate::support::on_runtime;
use crate::support::program::{Program, Running};

/// How often an order's handler lets the rest of the member have its turn.
const TURNS: usize = 200;

/// Set in a process that is a member: its bootstrap servers, topic and settings.
const MEMBER: &str = "ORDERFLOW_TEST_MEMBER";

/// Starts a member of the group that is named as the topic, with a client id, and waits until it runs.
pub(crate) fn member(cluster: &Servers, topic: &str, name: &str, settings: &[(&str, &str)]) -> Running {
    slow_member(cluster, topic, name, settings, Duration::ZERO)
}

/// As [`member`]. One order takes this long, unless that is no time: the hundredth that it is given.
pub(crate) fn slow_member(
    cluster: &Servers,
    topic: &str,
    name: &str,
    settings: &[(&str, &str)],
    once: Duration,
) -> Running {
    let once = u64::try_from(once.as_millis()).expect("a short time");
    let told =
        json!({ "bootstrap": cluster.bootstrap, "topic": topic, "name": name, "settings": settings, "once": once });
    let own = std::env::current_exe().expect("a test knows its path");
    let member = Program::new(own).env(MEMBER, told.to_string()).start();
    member.await_stdout("the member runs", WORK, |line| line.contains("owns"));
    member
}

/// Is a member, in a process that was started as one, until SIGTERM.
pub(crate) fn join_if_told() {
    if let Ok(told) = std::env::var(MEMBER) {
        std::process::exit(on_runtime(join(serde_json::from_str(&told).expect("what a member is told"))));
    }
}

async fn join(told: Value) -> i32 {
    let text = |value: &Value| value.as_str().expect("a text").to_owned();
    let topic = text(&told["topic"]);
    let mut config = ClientConfig::new(text(&told["bootstrap"])).client_id(text(&told["name"]));
    let earliest = [json!(["auto.offset.reset", "earliest"]), json!(["auto.commit.interval.ms", "100"])];
    for pair in earliest.iter().chain(told["settings"].as_array().expect("settings")) {
        config = config.set(&text(&pair[0]), text(&pair[1])).expect("a setting");
    }
    let once = Duration::from_millis(told["once"].as_u64().expect("a time"));
    let work = Arc::new(Work { once, given: AtomicU64::new(0) });
    let handler = move |order| deal_with(Arc::clone(&work), order);
    let builder = InventoryConsumer::builder(&config).topic(topic.as_str()).group(topic.as_str());
    let consumer = builder.handler(handler).build().await.expect("a consumer");
    let control = consumer.control();
    let mut term = signal(SignalKind::terminate()).expect("signals can be heard");
    let run = consumer.run(async move {
        term.recv().await;
    });
    tokio::select! {
        ended = run => ended.map_or_else(|error| {
            println!("{}", json!({ "failed": error.to_string() }));
            1
        }, |_| 0),
        () = tell(control) => 0,
    }
}

/// What a member does with its orders.
struct Work {
    once: Duration,
    given: AtomicU64,
}

async fn deal_with(work: Arc<Work>, order: Delivered<InventoryOrder>) -> Result<Outcome, Failure> {
    let (place, begun) = (order.place(), now());
    if work.given.fetch_add(1, Ordering::Relaxed) == 99 && !work.once.is_zero() {
        println!("{}", json!({ "slow": { "partition": place.partition, "offset": place.offset } }));
        tokio::time::sleep(work.once).await;
    }
    // Work that takes turns, so that orders are in hand when partitions move.
    for _ in 0..TURNS {
        tokio::task::yield_now().await;
    }
    let key = String::from_utf8_lossy(order.key().unwrap_or_default()).into_owned();
    let (appended, ended) = (order.timestamp() * 1000, now());
    let (partition, offset) = (place.partition, place.offset);
    let line = json!({ "partition": partition, "offset": offset, "key": key, "appended": appended, "begun": begun,
        "ended": ended });
    println!("{line}");
    Ok(Outcome::Done)
}

/// Microseconds since 1970, which processes of one machine agree on.
fn now() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).expect("a time after 1970");
    u64::try_from(since.as_micros()).expect("a time before the year 500000")
}

/// Tells of the member's share and health, for ever.
async fn tell(control: Control) {
    let (mut share, mut health) = (None, String::new());
    let mut look = tokio::time::interval(Duration::from_millis(10));
    loop {
        look.tick().await;
        let owned: Vec<i32> = control.lag().into_iter().map(|lag| lag.partition).collect();
        if share.as_ref() != Some(&owned) {
            println!("{}", json!({ "owns": owned }));
            share = Some(owned);
        }
        let healthy = control.health().to_string();
        if health != healthy {
            println!("{}", json!({ "health": healthy }));
            health = healthy;
        }
    }
}
