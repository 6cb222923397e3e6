//! The life of a process that a test may kill.
//!
//! A real process that is killed is gone at once with all its connections. One that is simulated is a task, so everything
//! that it reaches goes through its life, which is cut: nothing leaves it any more, and nothing is told to it.

use tokio::io::{copy, duplex, split};
use tokio_util::sync::CancellationToken;

use crate::config::{Address, ClientConfig, Inside};
use crate::{Error, ErrorCode};

/// Bytes on their way between a process and its broker.
const PIPE: usize = 64 << 10;

/// One process. Clones are of the same one.
#[derive(Clone, Debug, Default)]
pub(crate) struct Life(CancellationToken);

impl Life {
    pub(crate) fn new() -> Self {
        Self::default()
    }

    /// Cuts everything off.
    pub(crate) fn kill(&self) {
        self.0.cancel();
    }

    pub(crate) fn is_over(&self) -> bool {
        self.0.is_cancelled()
    }

    /// Waits until it is killed.
    pub(crate) async fn over(&self) {
        self.0.cancelled().await;
    }

    /// A process that was killed goes no further than this.
    pub(crate) async fn goes_on(&self) {
        if self.is_over() {
            std::future::pending::<()>().await;
        }
    }

    /// The settings of a client within this process, of a broker that is reached by `config`.
    pub(crate) fn config(&self, config: &ClientConfig) -> ClientConfig {
        let (life, inside) = (self.clone(), config.inside().cloned());
        config.clone().through(Inside::new(move |address: &Address| {
            let gone = || Error::new(ErrorCode::Connect, "the process was killed").retriable();
            let inside = inside.as_ref().filter(|_| !life.is_over()).ok_or_else(gone)?;
            let (there, (here, near)) = (inside.dial(address)?, duplex(PIPE));
            let life = life.clone();
            tokio::spawn(async move {
                let ((mut from_us, mut to_us), (mut from_them, mut to_them)) = (split(near), split(there));
                tokio::select! {
                    biased;
                    () = life.over() => {}
                    _ = copy(&mut from_us, &mut to_them) => {}
                    _ = copy(&mut from_them, &mut to_us) => {}
                }
            });
            Ok(here)
        }))
    }
}
