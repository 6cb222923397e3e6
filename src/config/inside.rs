//! Connections that stay within the process: a client of the development broker then needs no socket.
//!
//! On tokio's paused clock everything between such a client and its broker passes in virtual time.

use std::fmt;
use std::sync::Arc;

use tokio::io::DuplexStream;

use super::Address;
use crate::Result;

type Dial = dyn Fn(&Address) -> Result<DuplexStream> + Send + Sync;

/// Opens connections to brokers of this process.
#[derive(Clone)]
pub(crate) struct Inside(Arc<Dial>);

impl Inside {
    pub(crate) fn new(dial: impl Fn(&Address) -> Result<DuplexStream> + Send + Sync + 'static) -> Self {
        Self(Arc::new(dial))
    }

    /// A connection to the broker that has this address.
    pub(crate) fn dial(&self, address: &Address) -> Result<DuplexStream> {
        (self.0)(address)
    }
}

impl fmt::Debug for Inside {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Inside")
    }
}
