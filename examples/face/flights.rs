//! Recordings on demand: at SIGUSR1, or when a panic is about to end the process.

use std::convert::Infallible;

use orderflow::Result;
use orderflow::flight::Written;
use tokio::signal::unix::{SignalKind, signal};

use super::output;

/// Has a recording written at each SIGUSR1.
pub async fn at_each_signal(write: impl Fn() -> Result<Written> + Clone + Send + 'static) -> Infallible {
    let Ok(mut asked) = signal(SignalKind::user_defined1()) else { return std::future::pending().await };
    loop {
        // Signals end with the process only.
        let _ = asked.recv().await;
        if let Ok(written) = tokio::task::spawn_blocking(write.clone()).await {
            tell(written);
        }
    }
}

/// Has a recording written when something panics, before the process ends.
pub fn at_a_panic(write: impl Fn() -> Result<Written> + Send + Sync + 'static) {
    let before = std::panic::take_hook();
    std::panic::set_hook(Box::new(move |panic| {
        before(panic);
        tell(write());
    }));
}

fn tell(written: Result<Written>) {
    match written {
        Ok(Written { file, .. }) => {
            let file = file.display();
            output::complain(&format!("recorded in {file}; `orders flight replay {file}` shows it"));
        }
        Err(error) => output::complain(&format!("no recording was written: {error}")),
    }
}
