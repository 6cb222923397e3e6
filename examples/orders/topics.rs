//! `orders topics`: the shop's topics.

use std::collections::BTreeMap;
use std::time::Duration;

use clap::{Args, Subcommand};
use orderflow::cluster::Cluster;
use orderflow::cluster::admin::{Creation, NewTopic, create_topics, describe_topic};
use orderflow::config::ClientConfig;
use orderflow::{ErrorCode, Result};
use serde_json::json;

use crate::face::Flags;
use crate::face::finish::Ending;
use crate::face::output::{Lines, complain};
use crate::table::Table;

/// The topics that a shop has.
const TOPICS: [&str; 8] = [
    "inventory_orders",
    "inventory_orders-dlt",
    "delivery_orders",
    "delivery_orders-dlt",
    "delivery_updates",
    "delivery_status",
    "customer_notifications",
    "stock_alerts",
];

/// How long a topic that was just made may take to have its leaders.
const SETTLE: Duration = Duration::from_secs(10);

#[derive(Subcommand, Debug)]
pub(crate) enum Act {
    /// Make those that do not exist; those that exist stay as they are
    Create(Shape),
    /// Tell what they are like
    Describe,
}

#[derive(Args, Debug)]
pub(crate) struct Shape {
    /// Partitions of each topic; default: the broker's
    #[arg(long)]
    partitions: Option<i32>,
    /// Replicas of each partition; default: the broker's
    #[arg(long)]
    replication: Option<i16>,
    /// How long records are kept: 7d, 12h, 30m, 45s, or milliseconds; -1 is for ever
    #[arg(long, value_parser = retention, allow_hyphen_values = true)]
    retention: Option<i64>,
}

fn retention(text: &str) -> Result<i64, String> {
    let (number, unit) = match text.char_indices().find(|(_, letter)| letter.is_ascii_alphabetic()) {
        Some((at, _)) => text.split_at(at),
        None => (text, "ms"),
    };
    let number: i64 = number.trim().parse().map_err(|_| format!("`{text}` is no span of time"))?;
    let factor = match unit {
        "ms" => 1,
        "s" => 1000,
        "m" => 60_000,
        "h" => 3_600_000,
        "d" => 86_400_000,
        _ => return Err(format!("`{unit}` is none of ms, s, m, h, d")),
    };
    let scaled = if number < 0 { Some(-1) } else { number.checked_mul(factor) };
    scaled.ok_or_else(|| format!("`{text}` is too long"))
}

/// Makes or describes them, then prints each.
pub(crate) async fn topics(flags: &Flags, lines: &Lines, config: &ClientConfig, act: Act) -> Result<Ending> {
    let cluster = Cluster::connect(config).await?;
    if let Act::Create(shape) = &act {
        create(&cluster, shape).await?;
    }
    let described = describe(flags, lines, &cluster, matches!(act, Act::Create(_))).await;
    cluster.close().await;
    described
}

async fn create(cluster: &Cluster, shape: &Shape) -> Result<()> {
    let configs: BTreeMap<String, String> =
        shape.retention.iter().map(|ms| ("retention.ms".to_owned(), ms.to_string())).collect();
    let topics: Vec<NewTopic> = TOPICS
        .iter()
        .map(|name| NewTopic {
            partitions: shape.partitions,
            replication: shape.replication,
            configs: configs.clone(),
            ..NewTopic::named(*name)
        })
        .collect();
    let created = create_topics(cluster, &topics).await?;
    let new = created.iter().filter(|creation| **creation == Creation::Created).count();
    complain(&format!("made {new} topics, {} existed", created.len() - new));
    Ok(())
}

async fn describe(flags: &Flags, lines: &Lines, cluster: &Cluster, wait: bool) -> Result<Ending> {
    let within = if wait { SETTLE } else { Duration::from_secs(2) };
    let mut table = Table::new(flags, lines);
    for name in TOPICS {
        match describe_topic(cluster, name, within).await {
            Ok(topic) => table.row(json!({
                "topic": topic.name, "partitions": topic.partitions, "replication": topic.replication,
                "records": topic.records, "configs": topic.configs,
            })),
            Err(error) if error.code() == ErrorCode::UnknownTopic && !wait => {
                complain(&format!("{name} does not exist"));
            }
            Err(error) => return Err(error),
        }
    }
    table.finish();
    Ok(Ending::Done)
}
