//! What a person runs: a broker for foreign clients, a pump that measures it.

use std::time::Instant;

use orderflow::broker::DevBroker;
use orderflow::wire::message::FetchRequest;

use crate::client::{Client, batch};
use crate::requests::{fetch_request, fetched, produce};

fn address() -> String {
    std::env::var("BROKER_LISTEN").unwrap_or_else(|_| "127.0.0.1:29092".into())
}

fn number(name: &str, default: usize) -> usize {
    std::env::var(name).ok().and_then(|text| text.parse().ok()).unwrap_or(default)
}

/// `BROKER_LISTEN=127.0.0.1:29092 BROKER_NODES=3 cargo test --test broker -- --ignored serves_foreign_clients --nocapture`
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "serves foreign clients until the process is ended"]
async fn serves_foreign_clients_until_it_is_ended() {
    tracing_subscriber::fmt().with_env_filter(tracing_subscriber::EnvFilter::from_default_env()).init();
    let nodes = u16::try_from(number("BROKER_NODES", 1)).unwrap();
    let broker = DevBroker::builder().listen(address()).nodes(nodes).topic("pump", 6).start().await.unwrap();
    println!("{} process {}", broker.bootstrap(), std::process::id());
    tokio::signal::ctrl_c().await.unwrap();
    broker.shutdown().await;
}

/// Clock ticks of 10 ms that a process has used.
fn ticks(process: usize) -> u64 {
    let stat = std::fs::read_to_string(format!("/proc/{process}/stat")).unwrap_or_default();
    stat.split(' ').skip(13).take(2).filter_map(|ticks| ticks.parse::<u64>().ok()).sum()
}

/// Run in release beside `serves_foreign_clients`, whose process `BROKER_PROCESS` names.
#[tokio::test]
#[ignore = "measures a broker that runs beside it"]
async fn what_an_order_costs_the_broker() {
    let process = number("BROKER_PROCESS", 0);
    let mut client = Client::at(&address()).await;
    for (orders, batches) in [(8000, 500), (100, 10_000), (1, 50_000)] {
        let value = "x".repeat(100);
        let records = batch(&vec![value.as_str(); orders]);
        let (before, begun) = (ticks(process), Instant::now());
        let mut last = 0;
        for _ in 0..batches {
            last = produce(&mut client, "pump", 0, records.clone()).await.base_offset;
        }
        report("produce", orders, batches, ticks(process) - before, begun);
        let mut offset = last + i64::try_from(orders).unwrap() - i64::try_from(orders * batches).unwrap();
        let (before, begun) = (ticks(process), Instant::now());
        while offset < last {
            let mut request = FetchRequest { max_bytes: 16 << 20, ..fetch_request("pump", &[(0, offset)]) };
            request.topics[0].partitions[0].partition_max_bytes = 2 << 20;
            let answer = client.call(12, &request).await;
            let bytes = fetched(&answer)[0].records.clone().unwrap();
            offset = orderflow::wire::record_batch::BatchReader::new(bytes).last().unwrap().unwrap().last_offset() + 1;
        }
        report("fetch", orders, batches, ticks(process) - before, begun);
    }
}

fn report(what: &str, orders: usize, batches: usize, ticks: u64, begun: Instant) {
    let each = ticks as f64 * 10_000.0 / (orders * batches) as f64;
    let wall = begun.elapsed().as_secs_f64();
    println!("{what} {batches} batches of {orders}: {each:.4} us of broker CPU an order, {wall:.2} s");
}
