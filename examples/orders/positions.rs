//! `orders positions`: where a store stands, and moving it on purpose.

use std::time::Duration;

use clap::{Args, Subcommand};
use orderflow::cluster::admin::{OffsetSpec, list_offsets};
use orderflow::cluster::{Cluster, Missing};
use orderflow::config::ClientConfig;
use orderflow::store::{Destination, PositionPlan, PositionSetter, Query, Row, Topic};
use orderflow::{Error, ErrorCode, Result};

use crate::face::Flags;
use crate::face::finish::Ending;
use crate::face::output::{Lines, complain};
use crate::stores;
use crate::table::Table;

/// How long the topic is looked for.
const PATIENCE: Duration = Duration::from_secs(10);

#[derive(Subcommand, Debug)]
pub(crate) enum Act {
    /// Where the store stands, also while a consumer holds it
    List {
        /// The store
        #[arg(long)]
        store: String,
    },
    /// Go on elsewhere in a partition; kept in the audit with the reason, refused while a consumer holds the store
    Set(Move),
}

#[derive(Args, Debug)]
pub(crate) struct Move {
    /// The topic
    topic: String,
    /// The partition
    partition: i32,
    /// An offset, `earliest`, `latest`, or a time such as 2026-11-24 or 2026-11-24T08:00:00Z
    #[arg(value_name = "OFFSET|earliest|latest|TIME")]
    to: Destination,
    /// Why, for the audit
    #[arg(long, value_parser = reason)]
    reason: String,
    /// The store
    #[arg(long)]
    store: String,
    /// Go on although orders without identity are applied again
    #[arg(long)]
    yes: bool,
}

fn reason(text: &str) -> Result<String, String> {
    if text.trim().is_empty() { Err("say why".to_owned()) } else { Ok(text.to_owned()) }
}

/// Lists positions, or moves one.
pub(crate) async fn positions(flags: &Flags, lines: &Lines, config: &ClientConfig, act: Act) -> Result<Ending> {
    match act {
        Act::List { store } => stores::show(flags, lines, &store, Query::Positions).await,
        Act::Set(wanted) => {
            let setter = PositionSetter::open(&wanted.store).await?;
            let ending = set(flags, lines, config, &setter, &wanted).await;
            setter.close().await?;
            ending
        }
    }
}

async fn set(
    flags: &Flags,
    lines: &Lines,
    config: &ClientConfig,
    setter: &PositionSetter,
    wanted: &Move,
) -> Result<Ending> {
    let cluster = Cluster::connect(config).await?;
    let found = find(&cluster, wanted).await;
    cluster.close().await;
    let (topic, next) = found?;
    let plan = setter.plan(&topic, wanted.partition, next).await?;
    tell(&plan);
    if plan.again.without_identity > 0 && !wanted.yes {
        complain("nothing was changed: --yes has them applied again");
        return Ok(Ending::Undone);
    }
    let row = setter.set(&plan, &wanted.reason).await?;
    let mut table = Table::new(flags, lines);
    table.row(Row::Position(row).to_object());
    table.finish();
    Ok(Ending::Done)
}

/// The topic as it is now, and the offset that is meant, which must be in its log.
async fn find(cluster: &Cluster, wanted: &Move) -> Result<(Topic, i64)> {
    let topic = cluster.topic(&wanted.topic, Missing::Refuse, PATIENCE).await?;
    let Move { topic: name, partition, .. } = wanted;
    let at = async |spec| {
        let unknown = || Error::new(ErrorCode::UnknownTopic, format!("{name} has no partition {partition}"));
        list_offsets(cluster, &topic, spec).await?.remove(partition).ok_or_else(unknown)
    };
    let next = match wanted.to {
        Destination::Offset(offset) => {
            let log = at(OffsetSpec::Earliest).await?..=at(OffsetSpec::Latest).await?;
            if !log.contains(&offset) {
                let sentence = format!("{name}/{partition} has the offsets {} to {}", log.start(), log.end());
                return Err(Error::new(
                    ErrorCode::OffsetOutOfRange,
                    format!("{offset} is outside the log: {sentence}"),
                ));
            }
            offset
        }
        Destination::Earliest => at(OffsetSpec::Earliest).await?,
        Destination::Latest => at(OffsetSpec::LatestStable).await?,
        Destination::Time(time) => at(OffsetSpec::AtTime(time)).await?,
    };
    Ok((Topic::new(topic.id, topic.name.clone()), next))
}

/// Says on stderr what the move means.
fn tell(plan: &PositionPlan) {
    let at = format!("{}/{}", plan.topic.name, plan.partition);
    match &plan.before {
        Some(before) => complain(&format!("{at}: from {} to {}", before.next, plan.next)),
        None => complain(&format!("{at}: the store has no position there yet; it will begin at {}", plan.next)),
    }
    if plan.left_out() > 0 {
        complain(&format!("{} offsets in between are never read", plan.left_out()));
    }
    if plan.again.with_identity > 0 {
        complain(&format!("{} orders come again and are found to be duplicates", plan.again.with_identity));
    }
    if plan.again.without_identity > 0 {
        complain(&format!("{} orders without identity would be applied again", plan.again.without_identity));
    }
}
