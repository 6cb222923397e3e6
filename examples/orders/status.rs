//! `orders status`: how a group stands, whoever its members are.

use std::time::Duration;

use clap::Args;
use orderflow::Result;
use orderflow::cluster::Cluster;
use orderflow::cluster::admin::groups::{Group, GroupKind, GroupStatus, Member, PartitionStatus, group_status};
use orderflow::config::{ClientConfig, properties};
use orderflow::{Error, ErrorCode};
use serde_json::{Value, json};

use crate::face::Flags;
use crate::face::finish::Ending;
use crate::face::output::{Lines, complain};
use crate::stores::tell_outbox;
use crate::table::Table;

#[derive(Args, Debug)]
pub(crate) struct Wanted {
    /// The consumer group
    #[arg(short, long)]
    group: Option<String>,
    /// A store of the group, of whose outbox is told on stderr
    #[arg(long)]
    store: Option<String>,
    /// How long commits are watched where something lags; the default is two of a consumer with Kafka's defaults
    #[arg(long, value_name = "SECONDS", default_value_t = 11)]
    within: u32,
}

/// Looks at the group and tells.
pub(crate) async fn status(flags: &Flags, lines: &Lines, config: &ClientConfig, wanted: &Wanted) -> Result<Ending> {
    let configured = Some(config.text(&properties::GROUP_ID)).filter(|group| !group.is_empty());
    let Some(group) = wanted.group.as_deref().or(configured) else {
        return Err(Error::new(ErrorCode::ConfigValue, "no group is named").remedy("name one with -g GROUP"));
    };
    let cluster = Cluster::connect(config).await?;
    let looked = group_status(&cluster, group, Duration::from_secs(wanted.within.into())).await;
    cluster.close().await;
    tell(flags, lines, &looked?);
    if let Some(store) = &wanted.store {
        tell_outbox(store).await?;
    }
    Ok(Ending::Done)
}

fn tell(flags: &Flags, lines: &Lines, status: &GroupStatus) {
    if !flags.quiet {
        complain(&headline(&status.group));
        status.group.members.iter().for_each(|member| complain(&line(member)));
    }
    let mut table = Table::new(flags, lines);
    status.partitions.iter().for_each(|part| table.row(row(status, part)));
    table.finish();
    status.warnings.iter().for_each(|warning| complain(&format!("warning: {warning}")));
}

fn row(status: &GroupStatus, part: &PartitionStatus) -> Value {
    let owner = status.owner(part);
    json!({
        "group": &*status.group.name, "state": status.group.state, "topic": &*part.at.topic, "partition": part.at.partition,
        "member": owner.map(|member| &member.id), "client_id": owner.map(|member| &member.client_id),
        "host": owner.map(|member| &member.host), "position": part.position, "end": part.end, "lag": part.lag,
        "lag_seconds": part.lag_seconds.map(tenths), "drain_seconds": part.drain_seconds.map(tenths),
        "verdict": part.verdict.as_str(),
    })
}

fn headline(group: &Group) -> String {
    let kind = match group.kind {
        GroupKind::Classic => "classic",
        GroupKind::Consumer => "KIP-848",
    };
    let assignor = if group.assignor.is_empty() { String::new() } else { format!(", assignor {}", group.assignor) };
    format!("group {}: {kind}, {}{assignor}, {} members", group.name, group.state, group.members.len())
}

fn line(member: &Member) -> String {
    let kind = member.instance.as_ref().map_or_else(|| "dynamic".to_owned(), |instance| format!("static {instance}"));
    let (id, client, host) = (&member.id, &member.client_id, &member.host);
    let (version, owned) = (member.version(), member.partitions.len());
    format!("member {id}: {kind}, {version}, client {client}, host {host}, owns {owned} partitions")
}

/// Seconds are told to a tenth.
fn tenths(seconds: f64) -> f64 {
    (seconds * 10.0).round() / 10.0
}
