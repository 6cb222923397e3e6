//! Partitions that change hands: a process that was succeeded is refused before its successor has moved anything.

use std::time::Duration;

use orderflow::ErrorCode;
use orderflow::broker::DevBroker;
use orderflow::consumer::InventoryConsumer;
use orderflow::order::InventoryOrder;
use orderflow::producer::InventoryProducer;
use orderflow::store::{Position, Store};

use crate::home::Postgres;
use crate::store_support::{Home, batch, entry, movement, numbered, part, topic};
use crate::wait::until_async;
use crate::{Case, block_on, server};

/// No partition stays with another process.
const NONE: [i32; 0] = [];

pub(crate) fn cases() -> Vec<Case> {
    macro_rules! claims {
        ($($case:ident),* $(,)?) => {
            vec![$({
                let body: fn() = || block_on($case());
                (concat!("claims::", stringify!($case)).to_owned(), body)
            }),*]
        };
    }
    claims![
        a_process_that_was_succeeded_is_refused_before_its_position_has_moved,
        a_member_takes_its_partitions_back_from_a_late_claim_and_from_a_group_that_was_made_anew,
    ]
}

async fn a_process_that_was_succeeded_is_refused_before_its_position_has_moved() {
    let home = Postgres::new().await;
    let (zombie, heir) = (home.open().await, home.open().await);
    let order = |offset: i64| vec![entry(offset, numbered(1, offset as u64), movement("1", 5))];
    assert_eq!(zombie.claim(&topic(), &[0, 1], 5, false).await.unwrap(), NONE);
    let first = batch(part(0, &Position::default(), order(0)));
    let answer = zombie.apply(first.clone()).await.unwrap();
    let at = answer.parts[0].position.clone();
    assert_eq!(heir.claim(&topic(), &[0], 6, false).await.unwrap(), NONE);

    // It knows the version, and still.
    let refused = zombie.apply(batch(part(0, &at, order(1)))).await.unwrap_err();
    assert_eq!((refused.code(), refused.place().partition), (ErrorCode::StoreConflict, Some(0)));
    assert!(refused.to_string().contains("in epoch 6"), "{refused}");
    assert_eq!(zombie.apply(first).await.unwrap(), answer, "what was done before is answered");
    zombie.apply(batch(part(1, &Position::default(), order(2)))).await.unwrap();
    for stale in [5, 6] {
        assert_eq!(zombie.claim(&topic(), &[0, 1], stale, false).await.unwrap(), [0], "epoch {stale}");
    }
    let applied = heir.apply(batch(part(0, &at, order(1)))).await.unwrap();
    assert_eq!(applied.parts[0].position.version, at.version + 1, "nobody was in its way");

    // Given back, in a later epoch; or in a group whose epochs begin anew.
    let at = &applied.parts[0].position;
    assert_eq!(zombie.claim(&topic(), &[0], 7, false).await.unwrap(), NONE);
    let applied = zombie.apply(batch(part(0, at, order(3)))).await.unwrap();
    assert_eq!(heir.claim(&topic(), &[0], 1, false).await.unwrap(), [0]);
    assert_eq!(heir.claim(&topic(), &[0], 1, true).await.unwrap(), NONE);
    heir.apply(batch(part(0, &applied.parts[0].position, order(4)))).await.unwrap();
    zombie.close().await.unwrap();
    heir.close().await.unwrap();
}

async fn publish(producer: &InventoryProducer, orders: u32) {
    for number in 0..orders {
        let order = InventoryOrder::new(&number.to_string(), &number.to_string(), 1, "5/30/2023").unwrap();
        drop(producer.enqueue(&order).await.unwrap());
    }
    producer.flush().await.unwrap();
}

async fn a_member_takes_its_partitions_back_from_a_late_claim_and_from_a_group_that_was_made_anew() {
    const ORDERS: u32 = 300;
    let home = Postgres::new().await;
    let schema = home.schema("inventory");
    let broker = DevBroker::builder().topic("inventory_orders", 3).start().await.unwrap();
    let config = broker.config();
    let producer = InventoryProducer::connect(&config).await.unwrap();
    let applied = async |wanted: u32| {
        let sum = format!("SELECT sum(applied) FROM {schema}.positions");
        let look = async || (server().sql(&sum).trim() == wanted.to_string()).then_some(());
        until_async("all is applied", Duration::from_secs(60), look).await;
    };
    let claimed = || {
        let late = "owner = decode(repeat('07', 16), 'hex'), claim_epoch = 1000";
        server().sql(&format!("UPDATE {schema}.positions SET {late}"));
    };
    for round in 0..2 {
        let consumer = InventoryConsumer::builder(&config).store(home.open().await).build().await.unwrap();
        let (stop, stopped) = tokio::sync::oneshot::channel::<()>();
        let control = consumer.control();
        let run = tokio::spawn(consumer.run(async { drop(stopped.await) }));
        publish(&producer, ORDERS).await;
        applied((2 * round + 1) * ORDERS).await;
        assert_eq!(control.summary().retried, 0, "a claim that is confirmed costs no try");
        claimed();
        publish(&producer, ORDERS).await;
        applied((2 * round + 2) * ORDERS).await;
        assert!(control.summary().retried > 0, "nothing was refused");
        let epochs = format!("SELECT count(*) FROM {schema}.positions WHERE claim_epoch < 1000");
        assert_eq!(server().sql(&epochs).trim(), "3", "all were claimed again");
        stop.send(()).unwrap();
        run.await.unwrap().unwrap();
        // The next round's epochs are below this one, as after the group was deleted.
        claimed();
    }
    producer.close().await.unwrap();
    broker.shutdown().await;
}
