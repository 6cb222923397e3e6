//! Ends sessions, or rebalances, whose time is up.

use std::sync::Arc;

use tokio_util::sync::CancellationToken;

use crate::broker::state::Shared;

/// Runs until it is told to stop.
pub(in crate::broker) async fn run(shared: Arc<Shared>, stop: CancellationToken) {
    let changed = shared.state().groups.clock.clone();
    while !stop.is_cancelled() {
        let next = shared.state().groups.tick(shared.now());
        let look_again = async {
            match next {
                Some(time) => tokio::time::sleep_until(shared.time(time)).await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            () = look_again => {}
            () = changed.notified() => {}
            () = stop.cancelled() => {}
        }
    }
}
