//! A partition whose records all fail stops, instead of being set aside as a whole.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use orderflow::ErrorCode;
use orderflow::broker::DevBroker;
use orderflow::config::ClientConfig;
use orderflow::consumer::{Concurrency, Control, Delivered, Failure, InventoryConsumer, Outcome, Summary};
use orderflow::order::InventoryOrder;
use tokio::task::JoinHandle;

use crate::consumer_support::{
    Log, SOON, Shop, TOPIC, broker, commit_from_outside, config, entries, settled, write as write_orders,
};
use crate::log::{Raw, read, write};
use crate::support::wait::until_async;

const DEAD: &str = "inventory_orders-dlt";

fn touchy(broker: &DevBroker) -> ClientConfig {
    let settings =
        [("breaker.consecutive", "5"), ("breaker.probe.backoff.ms", "20"), ("breaker.probe.backoff.max.ms", "50")];
    settings.into_iter().fold(config(broker), |config, (key, value)| config.set(key, value).unwrap())
}

fn bad(count: usize) -> Vec<Raw> {
    vec![Raw::of("no order"); count]
}

type Run = JoinHandle<orderflow::Result<Summary>>;

async fn in_store(config: &ClientConfig, shop: &Shop) -> (Control, Run) {
    let consumer = InventoryConsumer::builder(config).store(shop.store()).build().await.unwrap();
    (consumer.control(), tokio::spawn(consumer.run(std::future::pending())))
}

async fn by_handler(config: &ClientConfig, works: &Arc<AtomicBool>, concurrency: Concurrency) -> (Control, Run) {
    let works = works.clone();
    let handler = move |_: Delivered<InventoryOrder>| {
        let works = works.clone();
        async move {
            if works.load(Ordering::SeqCst) { Ok(Outcome::Done) } else { Err(Failure::permanent("a bad deployment")) }
        }
    };
    let builder = InventoryConsumer::builder(config).group("shipping").handler(handler).concurrency(concurrency);
    let consumer = builder.build().await.unwrap();
    (consumer.control(), tokio::spawn(consumer.run(std::future::pending())))
}

async fn tripped(control: &Control) {
    let open = async || control.health().to_string().contains("the breaker is open").then_some(());
    until_async("the breaker is open", SOON, open).await;
}

async fn end((control, run): (Control, Run)) {
    control.drain();
    tokio::time::timeout(SOON, run).await.unwrap().unwrap().unwrap();
}

#[tokio::test]
async fn the_record_that_trips_it_stays_undecided_and_the_other_partitions_go_on() {
    let (broker, shop) = (broker(2).await, Shop::new());
    write_orders(&broker, 0, &entries(0..3));
    write(&broker, TOPIC, 0, &bad(50));
    let (control, run) = in_store(&touchy(&broker), &shop).await;
    tripped(&control).await;
    write_orders(&broker, 1, &entries(10..20));
    settled(&control, 3 + 4 + 10).await;
    let position = control.lag().into_iter().find(|lag| lag.partition == 0).unwrap().position;
    assert_eq!((position, control.summary().dead_letters), (7, 4));
    let probes = control.summary().retried;
    until_async("it is probed", SOON, async || (control.summary().retried > probes + 2).then_some(())).await;
    assert_eq!(control.summary().dead_letters, 4, "a probe that fails sets nothing aside");
    end((control, run)).await;
    shop.assert_holds(13, 0).await;
    broker.shutdown().await;
}

#[tokio::test]
async fn one_that_was_open_is_open_again_after_a_restart_and_sets_nothing_more_aside() {
    let (broker, shop, works) = (broker(1).await, Shop::new(), Arc::new(AtomicBool::new(false)));
    write(&broker, TOPIC, 0, &bad(50));
    for first in [0, 4] {
        let run = in_store(&touchy(&broker), &shop).await;
        if first > 0 {
            tripped(&run.0).await;
            run.0.resume_partition(0);
            settled(&run.0, 4).await;
        }
        tripped(&run.0).await;
        end(run).await;
        let again = in_store(&touchy(&broker), &shop).await;
        tripped(&again.0).await;
        assert_eq!((again.0.summary().dead_letters, again.0.lag()[0].position), (0, first + 4));
        assert!(again.0.health().to_string().contains("last given up"), "{}", again.0.health());
        end(again).await;
    }
    for concurrency in [Concurrency::InOrder, Concurrency::PerKey(8)] {
        for dead_letters in [4, 0] {
            let run = by_handler(&touchy(&broker), &works, concurrency).await;
            tripped(&run.0).await;
            assert_eq!(run.0.summary().dead_letters, dead_letters, "{concurrency:?}");
            run.1.abort();
        }
        commit_from_outside(&broker, "shipping", 0, 10).await;
    }
    broker.shutdown().await;
}

#[tokio::test]
async fn what_tripped_it_goes_through_after_a_restart_once_it_is_mended_and_the_count_begins_anew() {
    let (broker, works) = (broker(1).await, Arc::new(AtomicBool::new(false)));
    write_orders(&broker, 0, &entries(0..10));
    write(&broker, TOPIC, 0, &bad(4));
    let run = by_handler(&touchy(&broker), &works, Concurrency::InOrder).await;
    tripped(&run.0).await;
    end(run).await;
    works.store(true, Ordering::SeqCst);
    let run = by_handler(&touchy(&broker), &works, Concurrency::InOrder).await;
    settled(&run.0, 10).await;
    assert_eq!((run.0.summary().applied, run.0.summary().dead_letters), (6, 4));
    assert!(run.0.health().is_ready(), "{}", run.0.health());
    end(run).await;
    broker.shutdown().await;
}

#[tokio::test]
async fn an_operator_has_them_set_aside() {
    let (broker, shop) = (broker(1).await, Shop::new());
    write(&broker, TOPIC, 0, &bad(5));
    let (control, run) = in_store(&touchy(&broker), &shop).await;
    tripped(&control).await;
    settled(&control, 4).await;
    control.resume_partition(0);
    settled(&control, 5).await;
    until_async("health is well", SOON, async || control.health().is_ready().then_some(())).await;
    end((control, run)).await;
    assert_eq!(read(&broker, DEAD, 0).len(), 5);
    broker.shutdown().await;
}

#[tokio::test]
async fn a_run_until_the_end_fails_and_names_the_partition() {
    let (broker, shop) = (broker(3).await, Shop::new());
    write(&broker, TOPIC, 2, &bad(9));
    let error = shop.settle(&touchy(&broker), &Log::default()).await.unwrap_err();
    assert_eq!((error.code(), error.place().partition, error.place().offset), (ErrorCode::Breaker, Some(2), Some(4)));
    assert!(error.to_string().contains("orders resume inventory_orders/2"), "{error}");
    broker.shutdown().await;
}

#[tokio::test]
async fn it_closes_by_itself_when_the_probe_goes_through_and_no_order_was_lost() {
    for concurrency in [Concurrency::InOrder, Concurrency::PerKey(8)] {
        let (broker, works) = (broker(1).await, Arc::new(AtomicBool::new(false)));
        write_orders(&broker, 0, &entries(0..200));
        let (control, run) = by_handler(&touchy(&broker), &works, concurrency).await;
        tripped(&control).await;
        works.store(true, Ordering::SeqCst);
        settled(&control, 200).await;
        let summary = control.summary();
        assert_eq!((summary.applied, summary.dead_letters), (196, 4), "{concurrency:?}");
        until_async("health is well", SOON, async || control.health().is_ready().then_some(())).await;
        end((control, run)).await;
        assert_eq!((broker.committed("shipping", TOPIC, 0), read(&broker, DEAD, 0).len()), (Some(200), 4));
        broker.shutdown().await;
    }
}

#[tokio::test]
async fn refusals_never_trip_it() {
    let (broker, shop) = (broker(1).await, Shop::new());
    let issue = |n: usize| {
        Raw::of(&format!(
            r#"{{"order_id":"{n}","product_id":"1","quantity":5,"type":"inventory","timestamp":"5/30/2023","movement":"issue"}}"#
        ))
    };
    write(&broker, TOPIC, 0, &(0..20).map(issue).collect::<Vec<_>>());
    assert_eq!(shop.settle(&touchy(&broker), &Log::default()).await.unwrap().refused, 20);
    let consumer = InventoryConsumer::builder(&touchy(&broker)).group("shipping").until_end();
    let refuse = |_: Delivered<InventoryOrder>| async { Ok(Outcome::Refuse("SHP-NO".into())) };
    let summary = consumer.handler(refuse).build().await.unwrap().run(std::future::pending()).await.unwrap();
    assert_eq!(summary.refused, 20);
    broker.shutdown().await;
}

#[tokio::test]
async fn a_paused_partition_takes_nothing_while_the_others_go_on() {
    let (broker, shop, works) = (broker(2).await, Shop::new(), Arc::new(AtomicBool::new(true)));
    let running =
        [in_store(&touchy(&broker), &shop).await, by_handler(&touchy(&broker), &works, Concurrency::PerKey(4)).await];
    for (control, _) in &running {
        until_async("it reads", SOON, async || {
            (control.lag().iter().filter(|l| l.end.is_some()).count() == 2).then_some(())
        })
        .await;
        control.pause_partition(0);
        let told = async || control.health().to_string().contains("paused partitions: [0]").then_some(());
        until_async("health tells of it", SOON, told).await;
    }
    write_orders(&broker, 0, &entries(0..10));
    write_orders(&broker, 1, &entries(10..20));
    for (control, _) in &running {
        settled(control, 10).await;
        assert!(control.lag()[0].position == 0 && control.lag()[1].position == 10, "{:?}", control.lag());
        control.resume_partition(0);
        settled(control, 20).await;
    }
    for run in running {
        end(run).await;
    }
    broker.shutdown().await;
}
