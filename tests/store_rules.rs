//! The rules that make an order take effect once (R1 to R5), on the embedded store.
#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing, reason = "a test fails by panicking")]

mod store_support;

use orderflow::ErrorCode;
use orderflow::store::{RedbInventory, Store};
use store_support::{on_redb, overlay_cases, place, rule_cases, topic};

rule_cases!(on_redb);
overlay_cases!(on_redb);

#[tokio::test]
async fn a_store_of_another_group_or_order_type_is_refused_and_a_second_holder_is_told_who_has_it() {
    let (_folder, path) = place();
    let store = RedbInventory::open(&path, "inventory").unwrap();
    let locked = RedbInventory::open(&path, "inventory").unwrap_err();
    assert_eq!(locked.code(), ErrorCode::StoreLocked);
    assert!(locked.to_string().contains("this process holds"), "{locked}");
    store.close().await.unwrap();
    assert_eq!(store.positions(&topic()).await.unwrap_err().code(), ErrorCode::Closed);

    let foreign = RedbInventory::open(&path, "shipping").unwrap_err();
    assert_eq!(foreign.code(), ErrorCode::StoreForeign);
    assert!(foreign.to_string().contains("`inventory`") && foreign.to_string().contains("`shipping`"), "{foreign}");
    let foreign = orderflow::store::RedbDeliveries::open(&path, "inventory").unwrap_err();
    assert_eq!(foreign.code(), ErrorCode::StoreForeign);
    assert!(RedbInventory::open(&path, "inventory").is_ok());
}
