//! The settings of the simulated clients: short waits, so that much happens in little time.

use crate::config::ClientConfig;

pub(super) const INVENTORY: &str = "inventory_orders";
pub(super) const DELIVERY: &str = "delivery_orders";
pub(super) const DELIVERY_LETTERS: &str = "delivery_orders-dlt";
pub(super) const INVENTORY_LETTERS: &str = "inventory_orders-dlt";
pub(super) const DELIVERY_GROUP: &str = "shipping";
pub(super) const NODES: u16 = 3;

const QUICK: [(&str, &str); 20] = [
    ("retry.backoff.ms", "20"),
    ("retry.backoff.max.ms", "200"),
    ("reconnect.backoff.ms", "20"),
    ("reconnect.backoff.max.ms", "200"),
    ("request.timeout.ms", "1500"),
    ("socket.connection.setup.timeout.ms", "1000"),
    ("metadata.max.age.ms", "2000"),
    ("delivery.timeout.ms", "4000"),
    ("fetch.max.wait.ms", "400"),
    ("auto.commit.interval.ms", "200"),
    ("session.timeout.ms", "6000"),
    ("heartbeat.interval.ms", "500"),
    ("default.api.timeout.ms", "5000"),
    ("shutdown.timeout.ms", "5000"),
    ("max.poll.interval.ms", "60000"),
    ("handler.retry.attempts", "1000000"),
    ("handler.retry.total.ms", "864000000"),
    ("handler.retry.backoff.ms", "10"),
    ("handler.retry.backoff.max.ms", "100"),
    ("max.block.ms", "4000"),
];

/// The base's settings, with some that the seed chooses.
pub(super) fn quick(base: ClientConfig, chance: &mut fastrand::Rng) -> ClientConfig {
    let mut one_of = |values: [&'static str; 3]| values[chance.usize(0..values.len())];
    let chosen = [
        ("linger.ms", one_of(["0", "0", "5"])),
        ("compression.type", one_of(["none", "lz4", "gzip"])),
        ("max.in.flight.requests.per.connection", one_of(["5", "5", "2"])),
        ("group.protocol", one_of(["auto", "consumer", "classic"])),
        ("batch.size", one_of(["1024", "2048", "16384"])),
    ];
    QUICK.into_iter().chain(chosen).fold(base, |config, (key, value)| config.set(key, value).unwrap())
}
