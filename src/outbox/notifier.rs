//! How customers are told: by a topic unless somebody else does it.
//!
//! The topic `customer_notifications` is the default. A [`Notifier`] takes its place: it is given each notification at least
//! once, those of one delivery in their order, and several of different deliveries at the same time
//! (`outbox.notify.concurrency`). One that fails is given again later, with the same idempotency key, until it succeeds; one
//! that takes longer than `outbox.notify.timeout.ms` has failed.
//!
//! A webhook needs a deadline for each call, and the idempotency key as a header, by which its receiver drops repeats:
//! ```
//! use std::net::SocketAddr;
//! use orderflow::BoxError;
//! use orderflow::outbox::{Notification, Notifier};
//! use tokio::io::{AsyncReadExt, AsyncWriteExt};
//! use tokio::net::TcpStream;
//!
//! /// Posts each notification to a server beside us, over plain HTTP; one that leaves the machine wants TLS.
//! struct Webhook {
//!     server: SocketAddr,
//! }
//!
//! impl Notifier for Webhook {
//!     async fn notify(&self, notification: &Notification) -> Result<(), BoxError> {
//!         // `outbox.notify.timeout.ms` bounds the whole call; whatever fails is an error, and comes again.
//!         let mut connection = TcpStream::connect(self.server).await?;
//!         let head = format!(
//!             "POST /notifications HTTP/1.1\r\nHost: {}\r\nIdempotency-Key: {}\r\nContent-Type: application/json\r\n\
//!              Content-Length: {}\r\nConnection: close\r\n\r\n",
//!             self.server, notification.idempotency_key, notification.value.len(),
//!         );
//!         connection.write_all(head.as_bytes()).await?;
//!         connection.write_all(&notification.value).await?;
//!         let mut status = [0; 12];
//!         connection.read_exact(&mut status).await?;
//!         match &status[9..] {
//!             // 409: the receiver has it already.
//!             [b'2', ..] | b"409" => Ok(()),
//!             other => Err(format!("the webhook answered {}", String::from_utf8_lossy(other)).into()),
//!         }
//!     }
//! }
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), BoxError> {
//! # let folder = tempfile::tempdir()?;
//! # let broker = orderflow::broker::DevBroker::builder().start().await?;
//! # let (config, server) = (broker.config(), "127.0.0.1:8080".parse()?);
//! use orderflow::consumer::DeliveryConsumer;
//! use orderflow::store::RedbDeliveries;
//! let store = RedbDeliveries::open(folder.path().join("delivery.redb"), "delivery")?;
//! let consumer = DeliveryConsumer::builder(&config).store(store).notifier(Webhook { server }).build().await?;
//! # drop(consumer);
//! # Ok(())
//! # }
//! ```

use std::fmt;
use std::future::Future;

use bytes::Bytes;
use futures::FutureExt;
use futures::future::BoxFuture;

use crate::BoxError;
use crate::store::{EventId, Status};

/// Tells customers what became of their deliveries.
pub trait Notifier: Send + Sync + 'static {
    /// Tells one customer. When it returns without an error the notification is done, and is not given again.
    ///
    /// # Errors
    /// Any: the notification comes again, with later ones of its delivery behind it.
    ///
    /// # Cancel safety
    /// The future is dropped at its deadline, and the notification comes again.
    fn notify(&self, notification: &Notification) -> impl Future<Output = Result<(), BoxError>> + Send;
}

/// One customer is to be told of one delivery's status.
#[derive(Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Notification {
    /// The delivery's name.
    pub delivery: EventId,
    /// Counts the changes of the delivery, from 1.
    pub version: u32,
    /// The order.
    pub order_id: String,
    /// What the delivery is now.
    pub status: Status,
    /// The same for each repeat of this notification, and for no other.
    pub idempotency_key: String,
    /// All of it, as on the topic `customer_notifications`: JSON, with the customer and the address.
    pub value: Bytes,
}

impl fmt::Debug for Notification {
    /// The value is left out: it names the customer.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Notification")
            .field("idempotency_key", &self.idempotency_key)
            .field("order_id", &self.order_id)
            .field("status", &self.status)
            .finish_non_exhaustive()
    }
}

/// Writes a line to the log for each notification, without who the customer is.
#[derive(Clone, Copy, Debug, Default)]
pub struct LogNotifier;

impl Notifier for LogNotifier {
    async fn notify(&self, notification: &Notification) -> Result<(), BoxError> {
        let Notification { delivery, version, order_id, status, .. } = notification;
        tracing::info!(%delivery, version, order_id, %status, "the customer is told");
        Ok(())
    }
}

/// A notifier of any type.
pub(super) trait AnyNotifier: Send + Sync {
    fn notify<'a>(&'a self, notification: &'a Notification) -> BoxFuture<'a, Result<(), BoxError>>;
}

impl<N: Notifier> AnyNotifier for N {
    fn notify<'a>(&'a self, notification: &'a Notification) -> BoxFuture<'a, Result<(), BoxError>> {
        Notifier::notify(self, notification).boxed()
    }
}
