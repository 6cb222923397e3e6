//! Waiting for what needs real time while the clock of a test is paused.
//!
//! A paused clock jumps to the next deadline whenever no task can go on, so a thread that takes a millisecond would be waited for
//! in vain for hours of it. While a blocking task is under way the clock stands.

use std::pin::pin;
use std::sync::mpsc::channel;
use std::time::{Duration, Instant};

use crate::{ErrorCode, Result};

/// How long the clock stands, and how far it then goes.
const MOMENT: Duration = Duration::from_millis(1);

/// How long the thread of a store may hold its file after its process has died.
const LET_GO: Duration = Duration::from_secs(30);

/// Waits for `work`, during which the test's clock is no faster than the world's.
pub(super) async fn in_real_time<T>(work: impl Future<Output = T>) -> T {
    let mut work = pin!(work);
    loop {
        let moment = async {
            stand().await;
            tokio::time::sleep(MOMENT).await;
        };
        tokio::select! {
            biased;
            done = &mut work => return done,
            () = moment => {}
        }
    }
}

/// Has the clock stand for a moment, or until this is dropped.
async fn stand() {
    let (waiting, gone) = channel::<()>();
    let stands = tokio::task::spawn_blocking(move || gone.recv_timeout(MOMENT).is_ok());
    // However it ends, the moment is over.
    drop(stands.await);
    drop(waiting);
}

/// Opens what the thread of a process that has died may hold for a moment.
pub(super) async fn opened<T>(mut open: impl AsyncFnMut() -> Result<T>) -> Result<T> {
    let begun = Instant::now();
    loop {
        match open().await {
            Err(error) if error.code() == ErrorCode::StoreLocked && begun.elapsed() < LET_GO => stand().await,
            opened => return opened,
        }
    }
}
