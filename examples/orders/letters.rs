//! `orders dlq --topic`: the dead letters of a consumer without a store, on their topic.

use std::time::Duration;

use clap::Args;
use orderflow::config::{ClientConfig, properties};
use orderflow::outbox::DeadLetterTopic;
use orderflow::store::{EventId, Rehearsal, Replayed, Row};
use orderflow::{Error, ErrorCode, Result};
use tokio_util::sync::CancellationToken;

use crate::dlq::{Wanted, listed, picked, show_row, tell};
use crate::face::Flags;
use crate::face::finish::Ending;
use crate::face::output::{Lines, complain};
use crate::table::Table;

/// How many records are published before it is told what became of them.
const AT_ONCE: usize = 256;

/// Where dead letters are: in a store, or on the topic of a consumer that has none.
#[derive(Args, Debug)]
pub(crate) struct Where {
    /// The store
    #[arg(long, required_unless_present = "topic", conflicts_with = "topic")]
    pub(crate) store: Option<String>,
    /// The dead-letter topic of consumers without a store; replays go to the retry topic beside it
    #[arg(long, value_name = "T-dlt")]
    pub(crate) topic: Option<String>,
    /// The group of these consumers
    #[arg(short, long, requires = "topic")]
    pub(crate) group: Option<String>,
}

impl Where {
    /// Opens the topic, unless there is a store.
    pub(crate) async fn letters(&self, config: &ClientConfig) -> Result<Option<DeadLetterTopic>> {
        let Some(topic) = &self.topic else { return Ok(None) };
        let configured = Some(config.text(&properties::GROUP_ID)).filter(|group| !group.is_empty());
        let Some(group) = self.group.as_deref().or(configured) else {
            return Err(Error::new(ErrorCode::ConfigValue, "no group is named").remedy("name one with -g GROUP"));
        };
        DeadLetterTopic::open(config, topic, group).await.map(Some)
    }

    /// The store, where there is no topic.
    pub(crate) fn store(&self) -> &str {
        self.store.as_deref().unwrap_or_default()
    }
}

/// Lists those that were not replayed, or all.
pub(crate) async fn list(flags: &Flags, lines: &Lines, letters: DeadLetterTopic, all: bool) -> Result<Ending> {
    let rows = letters.letters().await;
    letters.close().await;
    let mut table = Table::new(flags, lines);
    rows?.iter().filter(|row| all || !row.replayed).for_each(|row| table.row(listed(row)));
    table.finish();
    Ok(Ending::Done)
}

/// Shows one with its record.
pub(crate) async fn show(flags: &Flags, lines: &Lines, letters: DeadLetterTopic, id: EventId) -> Result<Ending> {
    let row = letters.letter(id).await;
    letters.close().await;
    show_row(flags, lines, row?);
    Ok(Ending::Done)
}

/// Publishes them to the retry topic.
pub(crate) async fn replay(
    flags: &Flags,
    lines: &Lines,
    letters: DeadLetterTopic,
    wanted: &Wanted,
    stop: &CancellationToken,
) -> Result<Ending> {
    let ended = publish(flags, lines, &letters, wanted, stop).await;
    letters.close().await;
    ended
}

async fn publish(
    flags: &Flags,
    lines: &Lines,
    letters: &DeadLetterTopic,
    wanted: &Wanted,
    stop: &CancellationToken,
) -> Result<Ending> {
    let ids = match wanted.code.is_none() && !wanted.ids.is_empty() {
        true => wanted.ids.clone(),
        false => {
            let open = letters.letters().await?.into_iter().filter(|row| !row.replayed);
            picked(wanted, open.collect())
        }
    };
    let (rehearsal, name) = if wanted.plan { (Rehearsal::Plan, "would") } else { (Rehearsal::Real, "did") };
    let (at_once, pause) = match wanted.rate {
        Some(rate) => (1, Duration::from_secs(1) / rate),
        None => (AT_ONCE, Duration::ZERO),
    };
    let mut replay = letters.replay(&ids, rehearsal).await?;
    let (mut ending, mut tried, mut published) = (Ending::Done, 0, 0);
    loop {
        let rows = replay.next(at_once).await?;
        if rows.is_empty() {
            break;
        }
        tried += rows.len();
        published += rows.iter().filter(|row| row.did == Replayed::Apply).count();
        let rows: Vec<Row> = rows.into_iter().map(Row::Replayed).collect();
        if tell(flags, lines, &rows, name) != Ending::Done {
            ending = Ending::Undone;
        }
        if tried < ids.len() && stop.run_until_cancelled(tokio::time::sleep(pause)).await.is_none() {
            ending = Ending::Undone;
            break;
        }
    }
    replay.close().await?;
    let retry = letters.retry_topic();
    complain(&match wanted.plan {
        true => format!("looked at {tried} of {} dead letters: {published} would go to {retry}", ids.len()),
        false => format!(
            "published {published} of {} dead letters to {retry}, which the group's consumers by handler read within 10 s; \
             each after its key's later orders",
            ids.len()
        ),
    });
    Ok(ending)
}
