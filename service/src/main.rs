//! A shipping service: for each delivery order it reserves stock, books a day and notes a notification, in one transaction.
//!
//! ```text
//!  delivery_orders --DeliveryConsumer--> Shop (a Store) --one transaction--> positions | stock, days, deliveries, notifications
//! ```
//! `DATABASE_URL` names the database, `KAFKA_BOOTSTRAP_SERVERS` and other `KAFKA_...` variables the brokers. Start as many as
//! you like: they share the topic's partitions, and whichever of them dies, each order has its effects once.

mod effects;
mod shop;

use orderflow::config::ClientConfig;
use orderflow::consumer::DeliveryConsumer;
use tokio::signal::unix::{SignalKind, signal};

use crate::shop::Shop;

/// The group, whose positions are in the database.
const GROUP: &str = "shipping";

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    tracing_subscriber::fmt().with_writer(std::io::stderr).init();
    let database = std::env::var("DATABASE_URL").map_err(|_| "DATABASE_URL says which database: postgres://...")?;
    let shop = Shop::open(&database, GROUP).await?;
    let config = ClientConfig::from_env()?.client_id("shipping");
    let consumer = DeliveryConsumer::builder(&config).group(GROUP).store(shop).build().await?;
    let mut terminate = signal(SignalKind::terminate())?;
    let stop = async move {
        tokio::select! {
            _ = terminate.recv() => {}
            _ = tokio::signal::ctrl_c() => {}
        }
    };
    let summary = consumer.run(stop).await?;
    eprintln!("{summary}");
    Ok(())
}
