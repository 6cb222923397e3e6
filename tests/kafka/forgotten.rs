//! What comes of a batch whose producer the broker forgets before the batch is repeated.
//!
//! ```text
//! producer <--> relay (drops answers for a while) <--> node (forgets producers after 1.5 s)
//! ```
//! The broker then cannot know the repeat for one, and Apache Kafka writes it (KIP-360): twice in the log, once in effect.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use orderflow::config::ClientConfig;
use orderflow::order::InventoryOrder;
use orderflow::producer::InventoryProducer;
use tokio::io::{AsyncReadExt, AsyncWriteExt, copy};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;

use crate::cluster::Cluster;
use crate::shop::{self, WORK};
use crate::support::{ndjson, on_runtime, wait};
use crate::{Case, Shared, case};

pub(crate) const CASES: &[Case] = &[case!(Java, a_batch_repeated_after_its_producer_was_forgotten_takes_effect_once)];

/// Until nothing of a producer is known any more, and until somebody looks.
const FORGETFUL: [&str; 2] = ["producer.id.expiration.ms=1500", "producer.id.expiration.check.interval.ms=300"];
const FORGOTTEN: Duration = Duration::from_millis(3_000);

/// Longer than that: when the producer repeats what was not answered.
const REQUEST_TIMEOUT_MS: &str = "5000";

fn a_batch_repeated_after_its_producer_was_forgotten_takes_effect_once(_: &Shared) {
    // The relay works on the runtime's other threads while this one waits for programs.
    on_runtime(async {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let relay = listener.local_addr().expect("a bound port");
        let (topic, silent) = ("forgotten", Arc::new(AtomicBool::new(false)));
        let (tell, node) = watch::channel(String::new());
        let relaying = tokio::spawn(serve(listener, node, silent.clone()));
        let advertised = format!("advertised.listeners=PLAINTEXT://{relay}");
        let cluster = Cluster::start(1, &[FORGETFUL[0], FORGETFUL[1], &advertised]);
        tell.send_replace(cluster.bootstrap.clone());
        cluster.create_topic(topic, 1);
        send_twice(&cluster, topic, &silent).await;
        reckon(&cluster, topic);
        relaying.abort();
    });
}

fn reckon(cluster: &Cluster, topic: &str) {
    assert_eq!(cluster.ends(topic), [(0, 3)], "one order is in the log twice");
    let folder = tempfile::tempdir().expect("a folder");
    let store = folder.path().join("inventory.redb");
    let lines = cluster.consume(topic, &store, &[]);
    assert_eq!(["applied", "duplicates"].map(|name| ndjson::summary(&lines, name)), [2, 1]);
    assert_eq!(shop::audited_stock(&store).into_values().sum::<u64>(), 1 + 10);
}

/// An order that is answered, and one whose answer is lost until the broker has forgotten who wrote it.
async fn send_twice(cluster: &Cluster, topic: &str, silent: &AtomicBool) {
    let config =
        ClientConfig::new(&cluster.bootstrap).set("request.timeout.ms", REQUEST_TIMEOUT_MS).expect("a setting");
    let producer = InventoryProducer::builder(&config).topic(topic).connect().await.expect("a producer");
    let order = |id: &str, quantity| InventoryOrder::new(id, "02758", quantity, "5/30/2023").expect("an order");
    producer.send(&order("answered", 1)).await.expect("a receipt");
    silent.store(true, Ordering::Relaxed);
    let begun = Instant::now();
    let late = order("repeated", 10);
    let sending = producer.send(&late);
    let forgetting = async {
        let is_over = async || (begun.elapsed() > FORGOTTEN).then_some(());
        wait::until_async("the broker has forgotten the producer", WORK, is_over).await;
        silent.store(false, Ordering::Relaxed);
    };
    let (receipt, ()) = tokio::join!(sending, forgetting);
    assert_eq!(receipt.expect("a receipt").offset, Some(2), "of the repeat");
    producer.close().await.expect("a clean end");
}

async fn serve(listener: TcpListener, node: watch::Receiver<String>, silent: Arc<AtomicBool>) {
    while let Ok((client, _)) = listener.accept().await {
        let (mut node, silent) = (node.clone(), silent.clone());
        tokio::spawn(async move {
            let address = node.wait_for(|address| !address.is_empty()).await.expect("a node").clone();
            let Ok(broker) = TcpStream::connect(address).await else { return };
            let ((mut asked, answers), (from, mut to)) = (client.into_split(), broker.into_split());
            tokio::select! {
                _ = copy(&mut asked, &mut to) => {}
                _ = answer(from, answers, &silent) => {}
            }
        });
    }
}

/// Passes answers on, and drops those that come while it is silent.
async fn answer(mut from: OwnedReadHalf, mut to: OwnedWriteHalf, silent: &AtomicBool) -> std::io::Result<()> {
    let mut bytes = vec![0; 16 << 10];
    loop {
        let read = from.read(&mut bytes).await?;
        if read == 0 {
            return Ok(());
        }
        if !silent.load(Ordering::Relaxed) {
            to.write_all(&bytes[..read]).await?;
        }
    }
}
