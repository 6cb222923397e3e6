//! The embedded store against a plain model in memory: same outcomes, same stock, whatever comes.
#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing, reason = "a test fails by panicking")]

mod store_support;

use proptest::prelude::*;
use store_support::cases::model::{run, steps};
use store_support::{Redb, model_cases, on_redb};

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    #[test]
    fn the_store_does_what_a_plain_model_does(steps in steps()) {
        tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(run::<Redb>(steps));
    }
}

model_cases!(on_redb);
