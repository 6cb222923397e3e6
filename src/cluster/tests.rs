//! A cluster that moves under its clients: by name, by address.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use super::*;
use crate::broker::DevBroker;
use crate::config::Names;

#[tokio::test]
async fn a_cluster_whose_name_leads_elsewhere_is_found_there() {
    let (first, second) = (DevBroker::start().await.unwrap(), DevBroker::start().await.unwrap());
    let host = |broker: &DevBroker| broker.bootstrap().parse::<SocketAddr>().unwrap();
    let answer = Arc::new(Mutex::new(vec![host(&first)]));
    let told = answer.clone();
    let names = Names::new(move |address| {
        let numbers = (&*address.host, address.port);
        if &*address.host == "kafka.shop" { Ok(told.lock().unwrap().clone()) } else { Ok(vec![numbers_of(numbers)]) }
    });
    let cluster = Cluster::connect(&ClientConfig::new("kafka.shop").naming(names)).await.unwrap();
    *answer.lock().unwrap() = vec![host(&first), host(&second)];
    let second_address = second.bootstrap();
    first.shutdown().await;
    let mut views = cluster.views();
    let found = async {
        while cluster.view().brokers().values().all(|address| address.to_string() != second_address) {
            cluster.refresh();
            views.changed().await.unwrap();
        }
    };
    tokio::time::timeout(Duration::from_secs(20), found).await.expect("the cluster is found at its new place");
    assert!(cluster.any_connection().await.is_ok());
    cluster.close().await;
    second.shutdown().await;
}

fn numbers_of((host, port): (&str, u16)) -> SocketAddr {
    SocketAddr::new(host.parse().unwrap(), port)
}
