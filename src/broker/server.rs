//! Accepts connections for each node.

use std::net::SocketAddr;

use tokio::net::TcpListener;

use crate::shutdown::Tasks;
use crate::{Error, ErrorCode, Result};

/// Listens on `address` and serves it until the tasks are told to stop. Returns the address that was taken.
pub(super) async fn listen(address: &str, tasks: &Tasks) -> Result<SocketAddr> {
    let refused = |error: std::io::Error| {
        Error::new(ErrorCode::Connect, format!("the development broker cannot listen on {address}")).caused_by(error)
    };
    let listener = TcpListener::bind(address).await.map_err(refused)?;
    let taken = listener.local_addr().map_err(refused)?;
    let stop = tasks.stop_signal();
    tasks.spawn(async move {
        while let Some(accepted) = stop.run_until_cancelled(listener.accept()).await {
            drop(accepted);
        }
    });
    Ok(taken)
}
