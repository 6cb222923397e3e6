//! `orders dlq`, `pause`, `resume`, `backup`: operating a store, also while a consumer holds it.

use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, Subcommand};
use orderflow::config::ClientConfig;
use orderflow::store::{
    DeadLetterRow, EventId, Operation, OriginalRow, Query, Rehearsal, ReplayRow, Replayed, Row, SteeredRow,
    StoreOperator, StoreReader, Text,
};
use orderflow::{Error, ErrorCode, Result};
use serde_json::{Map, Value, json};
use tokio_util::sync::CancellationToken;

use crate::face::Flags;
use crate::face::finish::Ending;
use crate::face::output::{Lines, complain};
use crate::letters::{self, Where};
use crate::table::Table;

#[derive(Subcommand, Debug)]
pub(crate) enum Act {
    /// Dead letters and refusals that wait for somebody
    List {
        /// Closed ones too
        #[arg(long)]
        all: bool,
        #[command(flatten)]
        at: Where,
    },
    /// One of them, with the record that it came from
    Show {
        /// Its name, as `list` has it
        id: EventId,
        #[command(flatten)]
        at: Where,
    },
    /// Try them again: in a store through validator, handler, identity and effect, no position changes; with --topic on the retry topic
    Replay(Wanted),
    /// Replay a mended copy of one under the same identity
    Fix(Mended),
    /// Close one for good
    Discard {
        /// Its name
        id: EventId,
        /// Why
        #[arg(long)]
        reason: String,
        /// The store
        #[arg(long)]
        store: String,
    },
}

#[derive(Args, Debug)]
pub(crate) struct Wanted {
    /// Their names; none: all that are open
    pub(crate) ids: Vec<EventId>,
    /// Only say what it would do
    #[arg(long)]
    pub(crate) plan: bool,
    /// Only those with this code
    #[arg(long)]
    pub(crate) code: Option<String>,
    /// At most so many a second
    #[arg(long, value_parser = clap::value_parser!(u32).range(1..))]
    pub(crate) rate: Option<u32>,
    #[command(flatten)]
    at: Where,
}

#[derive(Args, Debug)]
pub(crate) struct Mended {
    /// Its name
    id: EventId,
    /// A file with the value that takes the place of the record's
    #[arg(long, value_name = "FILE", required_unless_present = "set", conflicts_with = "set")]
    value: Option<PathBuf>,
    /// A field of the order and its value, as JSON or as text (repeatable)
    #[arg(long, value_name = "FIELD=VALUE", value_parser = assignment)]
    set: Vec<(String, Value)>,
    /// The store
    #[arg(long)]
    store: String,
}

fn assignment(text: &str) -> Result<(String, Value), String> {
    let (field, value) = text.split_once('=').ok_or("not field=value")?;
    let value = match serde_json::from_str(value) {
        // `02758` and `true` are texts where the order has texts; numbers are the only other scalars that it has.
        Ok(Value::Number(number)) => Value::Number(number),
        Ok(Value::Object(object)) => Value::Object(object),
        Ok(Value::String(text)) => Value::String(text),
        _ => Value::String(value.to_owned()),
    };
    Ok((field.to_owned(), value))
}

/// Lists, shows, replays, fixes or discards.
pub(crate) async fn dlq(
    flags: &Flags,
    lines: &Lines,
    config: &ClientConfig,
    act: Act,
    stop: &CancellationToken,
) -> Result<Ending> {
    match act {
        Act::List { all, at } => match at.letters(config).await? {
            Some(letters) => letters::list(flags, lines, letters, all).await,
            None => list(flags, lines, at.store(), all).await,
        },
        Act::Show { id, at } => match at.letters(config).await? {
            Some(letters) => letters::show(flags, lines, letters, id).await,
            None => {
                show_row(flags, lines, original(at.store(), id).await?);
                Ok(Ending::Done)
            }
        },
        Act::Replay(wanted) => match wanted.at.letters(config).await? {
            Some(letters) => letters::replay(flags, lines, letters, &wanted, stop).await,
            None => replay(flags, lines, &wanted, stop).await,
        },
        Act::Fix(mended) => {
            let value = mended_value(&mended).await?;
            let rows = once(&mended.store, Operation::Fix { id: mended.id, value }).await?;
            Ok(tell(flags, lines, &rows, "did"))
        }
        Act::Discard { id, reason, store } => {
            let rows = once(&store, Operation::Discard { id, reason }).await?;
            Ok(tell(flags, lines, &rows, "did"))
        }
    }
}

/// The fields that the command promises; `show` has the others.
pub(crate) fn listed(row: &DeadLetterRow) -> Value {
    json!({
        "id": row.id, "kind": row.kind, "code": row.code, "reason": row.reason, "topic": row.topic,
        "partition": row.partition, "offset": row.offset, "attempts": row.attempts,
        "first_failed": row.first_failed, "last_failed": row.last_failed, "replayed": row.replayed,
    })
}

async fn list(flags: &Flags, lines: &Lines, store: &str, all: bool) -> Result<Ending> {
    let mut table = Table::new(flags, lines);
    let mut answer = StoreReader::open(store).await?.ask(Query::DeadLetters { all });
    while let Some(page) = answer.page().await? {
        for row in page {
            if let Row::DeadLetter(row) = row {
                table.row(listed(&row));
            }
        }
    }
    table.finish();
    Ok(Ending::Done)
}

async fn original(store: &str, id: EventId) -> Result<OriginalRow> {
    let rows = StoreReader::open(store).await?.ask(Query::DeadLetter { id }).rows().await?;
    let found = rows.into_iter().find_map(|row| if let Row::Original(row) = row { Some(row) } else { None });
    found.ok_or_else(|| Error::new(ErrorCode::Input, format!("there is no dead letter {id}")))
}

pub(crate) fn show_row(flags: &Flags, lines: &Lines, row: OriginalRow) {
    let row = Row::Original(row).to_object();
    if flags.json {
        lines.object(&row);
    } else if let Value::Object(fields) = row {
        for (name, value) in fields {
            let text = value.as_str().map_or_else(|| value.to_string(), ToOwned::to_owned);
            lines.line(&[format!("{name}: {text}").as_bytes()]);
        }
    }
}

async fn replay(flags: &Flags, lines: &Lines, wanted: &Wanted, stop: &CancellationToken) -> Result<Ending> {
    let ids = chosen(wanted).await?;
    let rehearsal = if wanted.plan { Rehearsal::Plan } else { Rehearsal::Real };
    let name = if wanted.plan { "would" } else { "did" };
    let (at_once, pause) = match wanted.rate {
        Some(rate) => (1, Duration::from_secs(1) / rate),
        None => (Operation::MOST, Duration::ZERO),
    };
    let (operator, mut ending) = (StoreOperator::open(wanted.at.store()).await?, Ending::Done);
    let (mut replayed, mut requested) = (0, 0);
    for chunk in ids.chunks(at_once) {
        let rows = operator.operate(Operation::Replay { ids: chunk.to_vec(), rehearsal }).await;
        let rows = match rows {
            Ok(rows) => rows,
            Err(error) => {
                operator.close().await?;
                return Err(error);
            }
        };
        replayed += rows.len();
        requested += rows.iter().filter(|row| is_requested(row)).count();
        if tell(flags, lines, &rows, name) != Ending::Done {
            ending = Ending::Undone;
        }
        if stop.run_until_cancelled(tokio::time::sleep(pause)).await.is_none() {
            ending = Ending::Undone;
            break;
        }
    }
    operator.close().await?;
    let done = if wanted.plan { "looked at" } else { "tried" };
    complain(&format!("{done} {replayed} of {} dead letters and refusals{}", ids.len(), of_which(requested)));
    Ok(ending)
}

fn is_requested(row: &Row) -> bool {
    matches!(row, Row::Replayed(ReplayRow { did: Replayed::Request, .. }))
}

/// What is said of rows that wait for the consumer that has a handler.
fn of_which(requested: usize) -> String {
    match requested {
        0 => String::new(),
        rows => format!(
            ": {rows} are requested, and the consumer applies them once its handler was asked, now or when it runs"
        ),
    }
}

/// The ones that are named, or all that are open; of these the ones with the code.
async fn chosen(wanted: &Wanted) -> Result<Vec<EventId>> {
    if wanted.code.is_none() && !wanted.ids.is_empty() {
        return Ok(wanted.ids.clone());
    }
    let rows = StoreReader::open(wanted.at.store()).await?.ask(Query::DeadLetters { all: false }).rows().await?;
    let open = rows.into_iter().filter_map(|row| if let Row::DeadLetter(row) = row { Some(row) } else { None });
    Ok(picked(wanted, open.collect()))
}

/// Of the open ones those that are wanted, in the order of the log as far as there is one.
pub(crate) fn picked(wanted: &Wanted, mut open: Vec<DeadLetterRow>) -> Vec<EventId> {
    let is_wanted = |row: &DeadLetterRow| {
        (wanted.ids.is_empty() || wanted.ids.contains(&row.id))
            && wanted.code.as_ref().is_none_or(|code| *code == row.code)
    };
    open.retain(is_wanted);
    open.sort_by(|one, next| {
        let place = |row: &DeadLetterRow| (row.topic.clone(), row.partition, row.offset);
        place(one).cmp(&place(next))
    });
    open.into_iter().map(|row| row.id).collect()
}

async fn mended_value(mended: &Mended) -> Result<Text> {
    if let Some(path) = &mended.value {
        let read = tokio::fs::read(path).await;
        let unreadable =
            |cause| Error::new(ErrorCode::Input, format!("{} cannot be read", path.display())).caused_by(cause);
        return Ok(Text::of(&read.map_err(unreadable)?));
    }
    let value = original(&mended.store, mended.id).await?.value;
    let object = match &value {
        Some(Text::Plain(text)) => serde_json::from_str::<Map<String, Value>>(text).ok(),
        _ => None,
    };
    let mut object = object.ok_or_else(|| {
        Error::new(ErrorCode::Input, "the record's value is no JSON object").remedy("give a whole value: --value FILE")
    })?;
    for (field, value) in &mended.set {
        object.insert(field.clone(), value.clone());
    }
    Ok(Text::Plain(Value::Object(object).to_string()))
}

pub(crate) async fn once(store: &str, operation: Operation) -> Result<Vec<Row>> {
    let operator = StoreOperator::open(store).await?;
    let rows = operator.operate(operation).await;
    operator.close().await?;
    rows
}

/// Prints what was done. What fails, or still stands, is left undone.
pub(crate) fn tell(flags: &Flags, lines: &Lines, rows: &[Row], name: &str) -> Ending {
    let (mut table, mut ending) = (Table::new(flags, lines), Ending::Done);
    for row in rows {
        if let Row::Replayed(ReplayRow { id, did, reason }) = row {
            if *did == Replayed::Fail {
                ending = Ending::Undone;
            }
            let mut object = Map::new();
            object.insert("id".to_owned(), json!(id));
            object.insert(name.to_owned(), json!(did));
            object.insert("reason".to_owned(), json!(reason));
            table.row(Value::Object(object));
        } else {
            if matches!(row, Row::Steered(SteeredRow { reason: Some(_), .. })) {
                ending = Ending::Undone;
            }
            table.row(row.to_object());
        }
    }
    table.finish();
    ending
}

/// `TOPIC` or `TOPIC/PARTITION`.
fn place(text: &str) -> Result<(String, Option<i32>)> {
    let Some((topic, partition)) = text.split_once('/') else { return Ok((text.to_owned(), None)) };
    match partition.parse() {
        Ok(partition) if partition >= 0 => Ok((topic.to_owned(), Some(partition))),
        _ => Err(Error::new(ErrorCode::ConfigValue, format!("`{text}` is not TOPIC or TOPIC/PARTITION"))),
    }
}

/// Pauses the consumer that holds the store.
pub(crate) async fn pause(flags: &Flags, lines: &Lines, at: &str, store: &str) -> Result<Ending> {
    let (topic, partition) = place(at)?;
    Ok(tell(flags, lines, &once(store, Operation::Pause { topic, partition }).await?, "did"))
}

/// Lets it go on.
pub(crate) async fn resume(flags: &Flags, lines: &Lines, at: &str, store: &str) -> Result<Ending> {
    let (topic, partition) = place(at)?;
    Ok(tell(flags, lines, &once(store, Operation::Resume { topic, partition }).await?, "did"))
}

/// Copies the store.
pub(crate) async fn backup(flags: &Flags, lines: &Lines, to: &std::path::Path, store: &str) -> Result<Ending> {
    let unknown = |cause| Error::new(ErrorCode::Input, format!("{} names no file", to.display())).caused_by(cause);
    let to = std::path::absolute(to).map_err(unknown)?;
    Ok(tell(flags, lines, &once(store, Operation::Backup { to }).await?, "did"))
}
