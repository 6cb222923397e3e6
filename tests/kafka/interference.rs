//! What operators do to a running shop from outside: quotas, reset offsets.

use std::time::Instant;

use crate::console::{TOOL, Tool};
use crate::recovery::in_log;
use crate::shop::{self, File};
use crate::support::ndjson;
use crate::{Case, Shared, case};

pub(crate) const CASES: &[Case] = &[
    case!(Java, a_producer_under_a_quota_is_slow_and_repeats_nothing),
    case!(Java, a_group_whose_offsets_are_reset_from_outside_applies_nothing_again),
];

fn a_producer_under_a_quota_is_slow_and_repeats_nothing(shared: &Shared) {
    let (cluster, topic, file) = (shared.cluster(), "quota", File::of(20_000, 200));
    cluster.create_topic(topic, 3);
    let client = ["--entity-type", "clients", "--entity-name", "throttled"];
    let alter = |change: [&str; 2]| cluster.tool(Tool::Configs).arg("--alter").args(change).args(client).run(TOOL).ok();
    alter(["--add-config", "producer_byte_rate=150000"]);
    let begin = Instant::now();
    cluster.send(topic, &file, &["-X", "client.id=throttled"]);
    let took = begin.elapsed();
    alter(["--delete-config", "producer_byte_rate"]);
    // 3 MB in a window of ten samples of a second, at 150 kB a second: the broker must have throttled.
    assert!(took.as_secs() >= 5, "the quota was not felt: {took:?}");
    assert_eq!(in_log(cluster, topic, file.orders), file.orders);
}

fn a_group_whose_offsets_are_reset_from_outside_applies_nothing_again(shared: &Shared) {
    let (cluster, topic, file) = (shared.cluster(), "reset-outside", File::of(600, 50));
    let folder = tempfile::tempdir().expect("a folder");
    let store = folder.path().join("inventory.redb");
    cluster.create_topic(topic, 3);
    // Without identities, so that nothing but the store's own positions keeps them from being applied again.
    cluster.console_produce(topic, &file.keyed_lines(), &[]);
    cluster.consume(topic, &store, &[]);
    for to in ["--to-earliest", "--to-latest"] {
        cluster.console_produce(topic, &file.keyed_lines()[..100], &[]);
        let reset = cluster.tool(Tool::ConsumerGroups).args(["--reset-offsets", "--execute", to]);
        reset.args(["--group", topic, "--topic", topic]).run(TOOL).ok();
        let lines = cluster.consume(topic, &store, &[]);
        assert_eq!(["applied", "duplicates"].map(|name| ndjson::summary(&lines, name)), [100, 0], "{to}");
        assert_eq!(cluster.lag(topic, topic), 0, "{to}");
    }
    let mut stock = file.stock;
    for line in file.ndjson.lines().take(100) {
        let order: serde_json::Value = serde_json::from_str(line).expect("our own order");
        let product = order["product_id"].as_str().expect("a product");
        *stock.get_mut(product).expect("a known product") += 2 * order["quantity"].as_u64().expect("a quantity");
    }
    assert_eq!(shop::audited_stock(&store), stock);
}
