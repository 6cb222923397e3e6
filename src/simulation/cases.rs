//! Single stories of the whole system, which the seeds told first or which none tells.

use std::sync::Arc;
use std::time::Duration;

use super::ledger::{Carrier, PLAIN, Ship};
use super::seat::{Seat, Weather};
use super::senders::{Told, identified, send};
use super::settings::{DELIVERY, DELIVERY_GROUP, INVENTORY, quick};
use crate::ErrorCode;
use crate::broker::{DevBroker, Records};
use crate::config::ClientConfig;
use crate::consumer::{DeliveryConsumer, InventoryConsumer, Summary};
use crate::order::{DeliveryOrder, InventoryOrder};
use crate::store::inline::{GROUP, StockBase};
use crate::testing::Life;
use crate::wire::record_batch::ControlType;

async fn broker() -> (DevBroker, ClientConfig) {
    let broker = DevBroker::builder().in_memory().topic(INVENTORY, 1).topic(DELIVERY, 1).start().await.unwrap();
    let config = quick(broker.config_inside(), &mut fastrand::Rng::with_seed(1));
    (broker, config)
}

fn movements(numbers: std::ops::Range<u32>) -> Vec<InventoryOrder> {
    let order = |n: u32| InventoryOrder::new(&n.to_string(), "p1", 1, "5/30/2023").unwrap();
    identified(1, (0..numbers.end).map(order)).split_off(numbers.start as usize)
}

fn seat(base: &Arc<StockBase>) -> Seat<InventoryOrder> {
    Seat::new(base.clone(), Life::new(), Weather::default())
}

async fn settle_stock(config: &ClientConfig, base: &Arc<StockBase>) -> crate::Result<Summary> {
    let builder = InventoryConsumer::builder(config).group(GROUP).store(seat(base)).until_end();
    builder.build().await.unwrap().run(std::future::pending()).await
}

async fn settle_deliveries(config: &ClientConfig, carrier: &Carrier) -> crate::Result<Summary> {
    let ship = Ship { carrier: carrier.clone(), life: Life::new() };
    let builder = DeliveryConsumer::builder(config).group(DELIVERY_GROUP).handler(ship).until_end();
    builder.build().await.unwrap().run(std::future::pending()).await
}

/// The position stood behind a marker of epoch 1 and named epoch 0, that of the last order before it. The next start asked
/// where epoch 0 ends, was told a lower offset, and took the log for cut: the partition stopped for good.
#[tokio::test(start_paused = true)]
async fn a_transaction_given_up_under_a_newer_leader_is_no_sign_of_a_cut_log() {
    let (broker, config) = broker().await;
    let (base, carrier) = (StockBase::new(), Carrier::default());
    let deliveries = |n: u32| DeliveryOrder::new(&n.to_string(), "02758", PLAIN, "5/30/2023").unwrap();
    for round in 0..2 {
        send(config.clone(), 1, movements(round..round + 1), 0, Told::default()).await;
        let delivery = identified(2, (0..=round).map(deliveries)).split_off(round as usize);
        send(config.clone(), 2, delivery, 0, Told::default()).await;
        for topic in [INVENTORY, DELIVERY] {
            broker.bump_epoch(topic, 0).unwrap();
            broker.append(topic, 0, Records::of(["given up"]).in_transaction(7)).unwrap();
            broker.end_transaction(topic, 0, 7, ControlType::Abort).unwrap();
        }
        assert_eq!(settle_stock(&config, &base).await.unwrap().applied, 1);
        assert_eq!(settle_deliveries(&config, &carrier).await.unwrap().applied, 1);
    }
    broker.shutdown().await;
}

#[tokio::test(start_paused = true)]
async fn a_store_whose_sync_fails_ends_its_run_with_the_reason_and_nobody_is_told_of_more() {
    let (broker, config) = broker().await;
    let base = StockBase::new();
    send(config.clone(), 1, movements(0..5), 0, Told::default()).await;
    assert_eq!(settle_stock(&config, &base).await.unwrap().applied, 5);
    base.fail_sync(1);
    send(config.clone(), 1, movements(5..9), 0, Told::default()).await;
    let builder = InventoryConsumer::builder(&config).group(GROUP).store(seat(&base));
    let consumer = builder.build().await.unwrap();
    let control = consumer.control();
    let run = tokio::spawn(consumer.run(std::future::pending()));
    let ended = tokio::time::timeout(Duration::from_secs(30), run).await.expect("the run ends").unwrap();
    let error = ended.unwrap_err();
    assert_eq!(error.code(), ErrorCode::StoreIo, "{error}");
    assert_eq!((control.summary().applied, control.health().is_ready()), (0, false), "{}", control.health());
    assert_eq!(broker.committed(GROUP, INVENTORY, 0), Some(5), "nobody was told of more");
    // Whoever starts it again with the same disk under it is refused likewise, and changes nothing.
    let again = InventoryConsumer::builder(&config).group(GROUP).store(seat(&base)).build().await.unwrap();
    let again = tokio::time::timeout(Duration::from_secs(30), again.run(std::future::pending())).await;
    assert_eq!(again.expect("this run ends too").unwrap_err().code(), ErrorCode::StoreIo);
    send(config.clone(), 1, movements(9..12), 0, Told::default()).await;
    assert_eq!(broker.committed(GROUP, INVENTORY, 0), Some(5), "nobody was told of more");
    base.restart(7);
    let applied = settle_stock(&config, &base).await.unwrap();
    // The commit in doubt may have been on disk.
    assert_eq!(broker.committed(GROUP, INVENTORY, 0), Some(12), "{applied}");
    let movements = base.rows(crate::store::Query::Movements { orders: Vec::new() }).await.unwrap();
    assert_eq!(movements.len(), 12);
    broker.shutdown().await;
}
