//! A member of ours as a process of its own: it can be told to end, and killed.
//!
//! The examples hold their positions in a store, which one process has; a group's members share it by a handler. So this
//! test program starts itself again as a member, which prints `{"owns":[...]}` when its share changes and
//! `{"partition":..,"offset":..}` for each order that it is given.

use std::time::Duration;

use orderflow::config::ClientConfig;
use orderflow::consumer::{Delivered, Failure, InventoryConsumer, Outcome};
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
    let told = json!({ "bootstrap": cluster.bootstrap, "topic": topic, "name": name, "settings": settings });
    let own = std::env::current_exe().expect("a test knows its path");
    let member = Program::new(own).env(MEMBER, told.to_string()).start();
    member.await_stdout("the member runs", WORK, |line| line.contains("owns"));
    member
}

/// Is a member, in a process that was started as one, until SIGTERM.
pub(crate) fn join_if_told() {
    if let Ok(told) = std::env::var(MEMBER) {
        on_runtime(join(serde_json::from_str(&told).expect("what a member is told")));
        std::process::exit(0);
    }
}

async fn join(told: Value) {
    let text = |value: &Value| value.as_str().expect("a text").to_owned();
    let topic = text(&told["topic"]);
    let mut config = ClientConfig::new(text(&told["bootstrap"])).client_id(text(&told["name"]));
    let earliest = [json!(["auto.offset.reset", "earliest"]), json!(["auto.commit.interval.ms", "100"])];
    for pair in earliest.iter().chain(told["settings"].as_array().expect("settings")) {
        config = config.set(&text(&pair[0]), text(&pair[1])).expect("a setting");
    }
    let handler = |order: Delivered<InventoryOrder>| async move {
        let place = order.place();
        // Work that takes turns, so that orders are in hand when partitions move.
        for _ in 0..TURNS {
            tokio::task::yield_now().await;
        }
        println!("{}", json!({ "partition": place.partition, "offset": place.offset }));
        Ok::<_, Failure>(Outcome::Done)
    };
    let builder = InventoryConsumer::builder(&config).topic(topic.as_str()).group(topic.as_str());
    let consumer = builder.handler(handler).build().await.expect("a consumer");
    let control = consumer.control();
    let tell = async move {
        let mut told = None;
        let mut look = tokio::time::interval(Duration::from_millis(10));
        loop {
            look.tick().await;
            let owned: Vec<i32> = control.lag().into_iter().map(|lag| lag.partition).collect();
            if told.as_ref() != Some(&owned) {
                println!("{}", json!({ "owns": owned }));
                told = Some(owned);
            }
        }
    };
    let mut term = signal(SignalKind::terminate()).expect("signals can be heard");
    let run = consumer.run(async move {
        term.recv().await;
    });
    tokio::select! {
        ended = run => drop(ended.expect("a run without an error")),
        () = tell => {}
    }
}
