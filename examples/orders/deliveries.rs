//! `orders deliveries`: list them, move one.

use clap::{Args, Subcommand};
use orderflow::Result;
use orderflow::store::{EventId, MoveRow, Operation, Query, Row, Status, StoreOperator};

use crate::face::Flags;
use crate::face::finish::Ending;
use crate::face::output::{Lines, complain};
use crate::stores;
use crate::table::Table;

#[derive(Args, Debug)]
#[command(args_conflicts_with_subcommands = true, subcommand_negates_reqs = true)]
pub(crate) struct Wanted {
    #[command(subcommand)]
    act: Option<Act>,
    /// Only these orders' deliveries
    orders: Vec<String>,
    /// The store
    #[arg(long, required = true)]
    store: Option<String>,
}

#[derive(Subcommand, Debug)]
enum Act {
    /// Move a delivery; a move that cannot be is refused and changes nothing
    Set {
        /// Its name, as the listing has it
        delivery: EventId,
        /// What it has become: out_for_delivery, delivered, failed or cancelled
        status: Status,
        /// Why
        #[arg(long)]
        reason: Option<String>,
        /// The store
        #[arg(long)]
        store: String,
    },
}

pub(crate) async fn deliveries(flags: &Flags, lines: &Lines, wanted: Wanted) -> Result<Ending> {
    match wanted.act {
        Some(Act::Set { delivery, status, reason, store }) => {
            let operation = Operation::Move { delivery, to: status, reason };
            set(flags, lines, &store, operation).await
        }
        None => {
            let store = wanted.store.unwrap_or_default();
            stores::show(flags, lines, &store, Query::Deliveries { orders: wanted.orders }).await
        }
    }
}

async fn set(flags: &Flags, lines: &Lines, store: &str, operation: Operation) -> Result<Ending> {
    let operator = StoreOperator::open(store).await?;
    let done = operator.operate(operation).await;
    operator.close().await?;
    let mut table = Table::new(flags, lines);
    let mut ending = Ending::Done;
    for row in done? {
        if let Row::Moved(MoveRow { moved: false, code, reason, .. }) = &row {
            complain(&format!("{}: {}", code.as_deref().unwrap_or("?"), reason.as_deref().unwrap_or("refused")));
            ending = Ending::Undone;
        }
        table.row(row.to_object());
    }
    table.finish();
    Ok(ending)
}
