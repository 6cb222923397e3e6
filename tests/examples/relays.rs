//! Relays that are killed as processes.

use super::killed::{Shop, broker};
use super::support::on_runtime;

#[test]
fn a_relay_that_is_killed_leaves_nothing_untold_and_gives_goods_back_once() {
    on_runtime(async {
        let broker = broker().await;
        let folder = tempfile::tempdir().expect("a folder");
        let stores = ["delivery.redb", "inventory.redb"].map(|name| folder.path().join(name).display().to_string());
        Shop { stores: [&stores[0], &stores[1]], relays: 1, kills: 3 }.run(&broker);
        broker.shutdown().await;
    });
}
