//! Nothing is lost or doubled while our programs, or the brokers, are killed or stopped at any moment.
//!
//! ```text
//! seed --> faults (when, what) --> players (four programs) + nodes (three brokers)
//!                                        |  all healed, groups at their ends
//!   generator (what was sent) = count.py (librdkafka, the log) = orders verify, stock, deliveries (the stores)
//! ```
//! `make soak` runs it with more orders and seeds; `docs/soak.md` has what came of it.

mod faults;
mod nodes;
mod shop;

use std::time::Duration;

use self::shop::{Reckoning, Siege};
use crate::{Case, Shared, case};

pub(crate) const CASES: &[Case] =
    &[case!(JavaAndPython, programs_and_nodes_killed_at_any_moment_leave_each_order_with_one_effect)];

/// Only when it is asked for by `SOAK_ORDERS`.
pub(crate) fn long_cases() -> &'static [Case] {
    const SOAK: &[Case] = &[case!(JavaAndPython, millions_of_orders_under_faults_take_effect_once_in_flat_memory)];
    if std::env::var_os("SOAK_ORDERS").is_some() { SOAK } else { &[] }
}

/// A number from the environment, where the short form is not meant.
fn setting(name: &str, default: usize) -> usize {
    std::env::var(name).ok().map_or(default, |value| value.parse().unwrap_or_else(|_| panic!("{name} is a number")))
}

fn report(name: &str, orders: usize, reckoning: &Reckoning) {
    let Reckoning { faults, took, recovered, records, copies } = reckoning;
    let number: u32 = faults.values().sum();
    println!(
        "{name}: {orders} orders, {number} faults {faults:?}, sent in {took:.1?}, settled {recovered:.1?} later, \
         {records} records of which {copies} are copies"
    );
}

fn programs_and_nodes_killed_at_any_moment_leave_each_order_with_one_effect(_: &Shared) {
    let seeds = std::env::var("SIEGE_SEEDS").unwrap_or_else(|_| "1".to_owned());
    let orders = setting("SIEGE_ORDERS", 20_000);
    for seed in seeds.split_whitespace().map(|seed| seed.parse().expect("a seed is a number")) {
        println!("SIEGE_SEED {seed}; SIEGE_SEEDS={seed} SIEGE_ORDERS={orders} runs it alone");
        let rate = if orders > 50_000 { 2_500 } else { 900 };
        let siege = Siege {
            seed,
            orders: [orders / 2, orders - orders / 2],
            files: [5, 5],
            rate,
            gap: 600..2_200,
            mortal: [true; 4],
            compression: ["none", "lz4", "gzip"][seed as usize % 3],
            within: Duration::from_secs(600),
        };
        report(&format!("seed {seed}"), orders, &siege.run());
    }
}

/// Inventory producer and consumer live through it, so that their memory tells; those of deliveries are killed.
fn millions_of_orders_under_faults_take_effect_once_in_flat_memory(_: &Shared) {
    let (orders, seed) = (setting("SOAK_ORDERS", 10_000_000), setting("SOAK_SEED", 1) as u64);
    println!("SOAK_SEED={seed} SOAK_ORDERS={orders}");
    let deliveries = orders / 10;
    let siege = Siege {
        seed,
        orders: [orders - deliveries, deliveries],
        files: [1, 50],
        rate: setting("SOAK_RATE", 0),
        gap: 2_000..5_000,
        mortal: [false, true, false, true],
        compression: "lz4",
        within: Duration::from_secs(4 * 3_600),
    };
    report(&format!("seed {seed}"), orders, &siege.run());
}
