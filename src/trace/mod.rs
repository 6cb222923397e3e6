//! Telling one order's life, from stores that have it to topics that tell of it.
//!
//! Each store says what it knows ([`Query::Trace`]); with brokers, the topics say where the order was written, which copies
//! there are, and which events of it are really there. Nothing of it changes anything.
//!
//! ```text
//!  stores: applied, scheduled, moved, refused, dead letter, announced, notified --+
//!                                                                                  +--> steps in order of time
//!  topics: written, duplicates, where events are ---------------------------------+
//! ```

mod log;
mod stand;

use serde_json::Value;

use crate::Result;
use crate::config::ClientConfig;
use crate::store::{Query, Row, Step, StepRow, StoreReader};

/// An order's life.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Life {
    /// What happened, in order of time. What has no time of its own stands behind its cause.
    pub steps: Vec<StepRow>,
    /// Where was looked, a phrase each.
    pub looked: Vec<String>,
}

/// A store, as the commands call it that are told.
#[derive(Clone, Debug)]
pub struct NamedStore {
    /// What stands behind `--store`.
    pub name: String,
    /// The way to it.
    pub reader: StoreReader,
}

/// Steps before they are in order: those of one chain, as a store tells them, follow each other.
#[derive(Default)]
struct Steps {
    steps: Vec<(i64, StepRow)>,
}

impl Steps {
    /// Takes steps that follow from each other. Clocks differ, so none is before the one that it follows from.
    fn chain(&mut self, steps: impl IntoIterator<Item = StepRow>) {
        let mut time = i64::MIN;
        for step in steps {
            let begins = matches!(step.step, Step::Written | Step::Applied | Step::Refused | Step::DeadLetter);
            time = match step.at.as_deref().and_then(millis) {
                Some(at) if begins => at,
                Some(at) => time.max(at),
                None => time,
            };
            self.steps.push((time, step));
        }
    }

    fn iter_mut(&mut self) -> impl Iterator<Item = &mut StepRow> {
        self.steps.iter_mut().map(|(_, step)| step)
    }

    fn in_order(mut self) -> Vec<StepRow> {
        for (time, step) in &mut self.steps {
            // An event that was found in its topic has a time of its own.
            *time = step.at.as_deref().and_then(millis).map_or(*time, |at| at.max(*time));
        }
        // A record is written before anything comes of it in the same millisecond.
        self.steps.sort_by_key(|(time, step)| (step.step == Step::LeftOut, *time, step.step != Step::Written));
        self.steps.into_iter().map(|(_, step)| step).collect()
    }
}

/// Tells an order's life: what these stores know, and with brokers what the topics have.
///
/// It reads each store's ledger once; with brokers also the topics of orders, updates, dead letters and deliveries' events,
/// each whole. The number of steps is bounded, for each store and for the topics.
///
/// # Errors
/// As [`StoreReader::ask`] and [`Cluster::connect`](crate::cluster::Cluster::connect); what keeps a topic from being read.
///
/// # Cancel safety
/// It only reads.
pub async fn trace(order: &str, stores: &[NamedStore], brokers: Option<&ClientConfig>) -> Result<Life> {
    let (mut steps, mut looked) = (Steps::default(), Vec::new());
    let mut written = match brokers {
        Some(config) => Some(log::Log::open(config, order, stores).await?),
        None => None,
    };
    for NamedStore { name, reader } in stores {
        let rows = reader.ask(Query::Trace { order: order.to_owned() }).rows().await?;
        let told: Vec<StepRow> = rows.into_iter().filter_map(|row| named(row, name)).collect();
        if let Some(log) = &mut written {
            log.known(name, &told);
        }
        steps.chain(told);
        looked.push(format!("the store {}", shown(name)));
    }
    if let Some(log) = written {
        looked.extend(log.read(&mut steps).await?);
    }
    Ok(Life { steps: steps.in_order(), looked })
}

/// The step, with the store's name in its commands.
fn named(row: Row, store: &str) -> Option<StepRow> {
    let Row::Step(mut step) = row else { return None };
    if let Value::Object(detail) = &mut step.detail {
        for field in ["next", "replay"] {
            if let Some(Value::String(text)) = detail.get_mut(field) {
                *text = text.replace("--store W", &format!("--store {}", quoted(&shown(store))));
            }
        }
        detail.insert("store".to_owned(), Value::String(shown(store)));
    }
    Some(step)
}

/// A store's name as people may see it: a URL's password is left out.
#[must_use]
pub fn shown(store: &str) -> String {
    let masked = || {
        let (scheme, rest) = store.split_once("://")?;
        let (login, server) = rest.split_once('@').filter(|(login, _)| !login.contains('/'))?;
        let (user, _) = login.split_once(':')?;
        Some(format!("{scheme}://{user}@{server}"))
    };
    masked().unwrap_or_else(|| store.to_owned())
}

/// A word as a shell takes it for one.
fn quoted(word: &str) -> String {
    let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-_./:@,=+".contains(&byte);
    if !word.is_empty() && word.bytes().all(is_plain) {
        return word.to_owned();
    }
    format!("'{}'", word.replace('\'', r"'\''"))
}

fn millis(instant: &str) -> Option<i64> {
    chrono::DateTime::parse_from_rfc3339(instant).ok().map(|instant| instant.timestamp_millis())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn step(step: Step, at: Option<&str>) -> StepRow {
        let (at, detail) = (at.map(ToOwned::to_owned), json!({"next": "orders dlq replay x --store W"}));
        StepRow { order_id: "9".into(), step, at, topic: None, partition: None, offset: None, detail }
    }

    #[test]
    fn steps_are_in_order_of_time_and_none_is_before_what_it_follows_from() {
        let mut steps = Steps::default();
        let (early, late) = (Some("2026-11-24T08:00:00Z"), Some("2026-11-24T09:00:00Z"));
        steps.chain([step(Step::LeftOut, None)]);
        steps.chain([
            step(Step::Applied, late),
            step(Step::Scheduled, late),
            step(Step::Notified, None),
            step(Step::Moved, early),
        ]);
        steps.chain([step(Step::Written, early), step(Step::Written, late)]);
        let kinds: Vec<Step> = steps.in_order().iter().map(|step| step.step).collect();
        let expected =
            [Step::Written, Step::Written, Step::Applied, Step::Scheduled, Step::Notified, Step::Moved, Step::LeftOut];
        assert_eq!(kinds, expected);
    }

    #[test]
    fn a_command_names_the_store_as_a_shell_takes_it_and_without_its_password() {
        let next = |store: &str| {
            let step = named(Row::Step(step(Step::DeadLetter, None)), store).unwrap();
            step.detail["next"].as_str().unwrap().to_owned()
        };
        assert_eq!(next("shop/inventory.redb"), "orders dlq replay x --store shop/inventory.redb");
        assert_eq!(next("my shop's"), r"orders dlq replay x --store 'my shop'\''s'");
        let url = "postgres://joe:secret@localhost/shop?schema=a";
        assert_eq!(next(url), "orders dlq replay x --store 'postgres://joe@localhost/shop?schema=a'");
        assert_eq!(shown("postgres://localhost/shop"), "postgres://localhost/shop");
    }
}
