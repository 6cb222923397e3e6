//! A future that ends inside the runtime that it belongs to, wherever it is dropped.
//!
//! The protocol layer finishes a half-written request in a task of its own when its future is dropped. Starting a task
//! outside a runtime panics, and a caller may well drop a future after its `block_on` has returned.

use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll};

use tokio::runtime::Handle;

/// See the module.
pub(super) struct AtHome<F> {
    /// Taken only when this is dropped.
    future: Option<Pin<Box<F>>>,
    home: Handle,
}

impl<F> AtHome<F> {
    pub(super) fn new(future: F, home: &Handle) -> Self {
        Self { future: Some(Box::pin(future)), home: home.clone() }
    }
}

impl<F: Future> Future for AtHome<F> {
    type Output = F::Output;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<F::Output> {
        match &mut self.future {
            Some(future) => future.as_mut().poll(cx),
            None => Poll::Pending,
        }
    }
}

impl<F> Drop for AtHome<F> {
    fn drop(&mut self) {
        let _inside = self.home.enter();
        drop(self.future.take());
    }
}
