//! What an order type does to its store, behind one seam.

use std::fmt;
use std::future::Future;

use super::keeper::Keeper;
use super::link::Link;
use super::moves::Moving;
use crate::Result;
use crate::order::Order;
use crate::store::OutboxRow;
use crate::store::dead_letter::About;
use crate::store::decision::{At, Decision};
use crate::store::ledger::{LedgerWriter, Lines};
use crate::store::pack::Unpack;

/// The effect of one order type in one transaction: what it touches is locked and read at once, decided order by order in
/// memory, and written at once.
pub(super) trait Effect: fmt::Debug + Send + Sync + Sized + 'static {
    /// The orders.
    type Order: Order;
    /// How the effect is to be decided.
    type Policy: Clone + fmt::Debug + Default + Send + Sync + 'static;
    /// Whether what is applied is an event for the outbox.
    const ANNOUNCED: bool;
    /// What its letters and the ledger's lines are about.
    const ABOUT: About = About::Order;

    /// Locks and reads what these orders touch, in one order for all transactions.
    fn load(
        link: Link<'_>,
        policy: &Self::Policy,
        orders: &[(&Self::Order, Option<i64>)],
    ) -> impl Future<Output = Result<Self>> + Send;

    /// Passes over what the effect added to a line of the ledger.
    fn skip(line: &mut Unpack<'_>) -> Result<()>;

    /// Another row of the ledger begins.
    fn begin_row(&mut self);

    /// Decides one order: applied, with its line in the ledger, or refused.
    fn decide(&mut self, order: &Self::Order, at: At<'_>, row: &mut LedgerWriter) -> Result<Decision>;

    /// What the transaction has to tell beside its ledger.
    fn take_tidings(&mut self) -> Vec<OutboxRow> {
        Vec::new()
    }

    /// Whether something was refused because it is not there, so that [`Effect::confirm`] is to be asked.
    fn is_to_be_confirmed(&self) -> bool {
        false
    }

    /// Looks once more for what was not there, and keeps others from adding it until the transaction ends. Fails if it has
    /// come, so that the transaction is done again. The commit is to follow.
    fn confirm(&mut self, _link: Link<'_>) -> impl Future<Output = Result<()>> + Send {
        std::future::ready(Ok(()))
    }

    /// Writes what changed.
    fn write(&mut self, link: Link<'_>) -> impl Future<Output = Result<()>> + Send;

    /// The keeper of the moves of what is kept here. `None`, which is the default: nothing moves.
    fn moves(_keeper: &Keeper<Self>) -> Option<Keeper<Moving>> {
        None
    }
}

/// What the lines of the ledger are that an effect writes.
pub(super) fn lines_of<E: Effect>() -> Lines {
    match E::ABOUT {
        About::Order => Lines::Orders,
        About::Update => Lines::Moves,
    }
}
