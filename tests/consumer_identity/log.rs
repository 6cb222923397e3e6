//! The log as a witness of a store that was fed from it.

use orderflow::audit::{LogAudit, against_log};
use orderflow::broker::DevBroker;
use orderflow::cluster::{Cluster, Missing};
use orderflow::order::{Identity, InventoryOrder};
use orderflow::store::{self, Store, StoreReader};
use orderflow::wire::record_batch::ControlType;

use crate::consumer_support::*;
use crate::{of_file, with_key};

#[tokio::test]
async fn the_log_agrees_with_a_store_that_was_fed_from_it() {
    let (broker, shop, log) = (broker(2).await, Shop::new(), Log::default());
    write(&broker, 0, &of_file(1, 0..5));
    write(&broker, 1, &of_file(1, 3..8));
    write(&broker, 1, &nameless(20..22));
    let broken = Entry { value: Some(b"{".to_vec()), ..with_key(9, b"broken") };
    write(&broker, 0, &[broken, with_key(10, b"")]);
    write_in_transaction(&broker, 0, 9, &entries(30..32));
    end_transaction(&broker, 0, 9, ControlType::Abort);
    assert_eq!(shop.settle(&config(&broker), &log).await.unwrap().settled(), 14);
    // What came afterwards is not the store's concern.
    write(&broker, 0, &of_file(1, 8..9));
    let found = against_log(&config(&broker), &StoreReader::open(shop.path()).await.unwrap()).await.unwrap();
    assert_eq!(found, LogAudit { records: 14, ..LogAudit::default() });
    broker.compact(TOPIC, 0, |offset| offset > 1).unwrap();
    let found = against_log(&config(&broker), &StoreReader::open(shop.path()).await.unwrap()).await.unwrap();
    assert_eq!((found.records, found.problems), (12, Vec::new()));
    broker.shutdown().await;
}

/// A store that went over the only batch of the log, having applied `entries` of it.
async fn passed(broker: &DevBroker, shop: &Shop, entries: Vec<store::Entry<InventoryOrder>>) -> LogAudit {
    let cluster = Cluster::connect(&config(broker)).await.unwrap();
    let topic = store::Topic::new(cluster.topic(TOPIC, Missing::Refuse, SOON).await.unwrap().id, TOPIC);
    cluster.close().await;
    let part = store::Part {
        partition: 0,
        expected: 0,
        token: 1,
        next: 2,
        settled: store::Settled::new(),
        leader_epoch: 0,
        entries,
    };
    let held = shop.store();
    held.apply(store::Batch { topic, parts: vec![part] }).await.unwrap();
    held.close().await.unwrap();
    against_log(&config(broker), &StoreReader::open(shop.path()).await.unwrap()).await.unwrap()
}

fn applied(offset: i64, n: usize, quantity: u32) -> store::Entry<InventoryOrder> {
    let order = InventoryOrder::new(&n.to_string(), &format!("p{}", n % 7), quantity, "5/30/2023").unwrap();
    let identity = Some(Identity::opaque(format!("test:{n}")).unwrap());
    store::Entry { offset, timestamp: 1_700_000_000_000, identity, work: store::Work::Apply(order) }
}

#[tokio::test]
async fn a_record_that_a_store_passed_over_is_found_in_the_log() {
    let (broker, shop) = (broker(1).await, Shop::new());
    write(&broker, 0, &entries(0..2));
    let found = passed(&broker, &shop, vec![applied(0, 0, 1)]).await;
    let [problem] = &*found.problems else { panic!("{found:?}") };
    assert!(problem.contains("passed over") && problem.contains("partition 0, offset 1"), "{problem}");
    shop.assert_holds(1, 0).await;
    broker.shutdown().await;
}

#[tokio::test]
async fn an_order_that_was_applied_otherwise_than_its_record_says_is_found_in_the_log() {
    let (broker, shop) = (broker(1).await, Shop::new());
    write(&broker, 0, &entries(0..2));
    let found = passed(&broker, &shop, vec![applied(0, 0, 1), applied(1, 1, 7)]).await;
    assert_eq!(found.problems, ["what was applied of order 1 is not what its record says"]);
    shop.assert_holds(2, 0).await;
    broker.shutdown().await;
}
