//! What works beside a consumer's run until its end.
//!
//! Whoever relays a store's events needs a producer, which nothing here may know of. So a run has companions that are
//! given to it: they begin with the run, and end before its store is closed.

use std::sync::Arc;
use std::time::Duration;

use futures::FutureExt;
use futures::future::BoxFuture;

use super::Control;
use crate::Result;
use crate::cluster::Cluster;

/// Works beside a run.
pub(crate) trait Companion: Send {
    /// Begins, once.
    fn begin(&mut self);

    /// Whether a run that is to end by itself may, as far as this work goes.
    fn is_done(&self) -> bool {
        true
    }

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

/// Two that work beside a run. The first one finishes first: what it leaves, the second may have to deal with.
pub(crate) struct Both(pub(crate) Box<dyn Companion>, pub(crate) Box<dyn Companion>);

impl Companion for Both {
    fn begin(&mut self) {
        self.0.begin();
        self.1.begin();
    }

    fn is_done(&self) -> bool {
        self.0.is_done() && self.1.is_done()
    }

    fn ending(&mut self) {
        self.0.ending();
        self.1.ending();
    }

    fn finish(&mut self, within: Duration) -> BoxFuture<'_, Result<()>> {
        async move {
            let deadline = tokio::time::Instant::now() + within;
            let first = self.0.finish(within).await;
            let second = self.1.finish(deadline.saturating_duration_since(tokio::time::Instant::now())).await;
            first.and(second)
        }
        .boxed()
    }
}

/// What a companion has in common with its run.
pub(crate) struct Company {
    pub(crate) cluster: Cluster,
    pub(crate) topic: Arc<str>,
    pub(crate) group: Arc<str>,
    pub(crate) control: Control,
}
