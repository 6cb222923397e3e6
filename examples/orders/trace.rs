//! `orders trace`: one order's life, from stores and topics.

use clap::Args;
use orderflow::config::ClientConfig;
use orderflow::store::{StepRow, StoreReader};
use orderflow::trace::{NamedStore, trace};
use orderflow::{Error, ErrorCode, Result};
use serde_json::{Value, json};

use crate::face::Flags;
use crate::face::finish::Ending;
use crate::face::output::Lines;
use crate::table::Table;

#[derive(Args, Debug)]
pub(crate) struct Wanted {
    /// The order
    order: String,
    /// A store (repeatable)
    #[arg(long = "store", value_name = "STORE", required = true)]
    stores: Vec<String>,
}

/// Prints each step. An order of which nothing is known is an input that does not exist.
pub(crate) async fn tell(flags: &Flags, lines: &Lines, config: &ClientConfig, wanted: &Wanted) -> Result<Ending> {
    let mut stores = Vec::new();
    for name in &wanted.stores {
        stores.push(NamedStore { name: name.clone(), reader: StoreReader::open(name).await? });
    }
    let life = trace(&wanted.order, &stores, flags.names_brokers().then_some(config)).await?;
    if life.steps.is_empty() {
        let sentence = format!("nothing is known of order {}: looked in {}", wanted.order, life.looked.join(", "));
        let error = Error::new(ErrorCode::Input, sentence);
        return Err(match flags.names_brokers() {
            true => error
                .remedy("is it the number of an order, and not of a product? does the producer say that it was sent?"),
            false => error.remedy("with -b HOST:PORT the topics are looked through as well"),
        });
    }
    let mut table = Table::new(flags, lines);
    for step in &life.steps {
        table.row(row(flags, step));
        if let Some(next) = step.detail.get("next").and_then(Value::as_str).filter(|_| !flags.json) {
            table.row(json!({"at": "", "step": "", "what_happened": format!("-> {next}")}));
        }
    }
    table.finish();
    Ok(Ending::Done)
}

/// The whole step for programs; for people the time, the kind and the sentence; what is to be done is a line of its own.
fn row(flags: &Flags, step: &StepRow) -> Value {
    if flags.json {
        return json!({
            "order_id": step.order_id, "step": step.step, "at": step.at, "topic": step.topic, "partition": step.partition,
            "offset": step.offset, "detail": step.detail,
        });
    }
    json!({"at": step.at, "step": step.step, "what_happened": step.detail.get("says")})
}
