//! What works beside a consumer's run until its end.
//!
//! Whoever relays a store's events needs a producer, which nothing here may know of. So a run has companions that are
//! given to it: they begin with the run, and end before its store is closed.

use std::sync::Arc;
use std::time::Duration;

use futures::future::BoxFuture;

use super::Control;
use crate::Result;
use crate::cluster::Cluster;

/// Works beside a run.
pub(crate) trait Companion: Send {
    /// Begins, once.
    fn begin(&mut self);

    /// The run is about to end: nothing new need be begun. [`Companion::finish`] follows.
    fn ending(&mut self) {}

    /// Finishes what there is to do, at most `within`.
    ///
    /// # Errors
    /// What was left undone.
    ///
    /// # Cancel safety
    /// It has been told to end.
    fn finish(&mut self, within: Duration) -> BoxFuture<'_, Result<()>>;
}

/// What a companion has in common with its run.
pub(crate) struct Company {
    pub(crate) cluster: Cluster,
    pub(crate) topic: Arc<str>,
    pub(crate) group: Arc<str>,
    pub(crate) control: Control,
}
