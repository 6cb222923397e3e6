//! A broker for foreign clients that a person runs.

use orderflow::broker::DevBroker;

/// `BROKER_LISTEN=127.0.0.1:29092 BROKER_NODES=3 cargo test --test broker -- --ignored serves_foreign_clients --nocapture`
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "serves foreign clients until the process is ended"]
async fn serves_foreign_clients_until_it_is_ended() {
    tracing_subscriber::fmt().with_env_filter(tracing_subscriber::EnvFilter::from_default_env()).init();
    let listen = std::env::var("BROKER_LISTEN").unwrap_or_else(|_| "127.0.0.1:29092".into());
    let nodes = std::env::var("BROKER_NODES").ok().and_then(|nodes| nodes.parse().ok()).unwrap_or(1);
    let broker = DevBroker::builder().listen(listen).nodes(nodes).start().await.unwrap();
    println!("{}", broker.bootstrap());
    tokio::signal::ctrl_c().await.unwrap();
    broker.shutdown().await;
}
