//! Opening a store while its connections are lost.

use std::sync::mpsc;
use std::time::Duration;

use orderflow::store::{PostgresInventory, Store};

use crate::home::Postgres;
use crate::store_support::Home;
use crate::{Case, block_on, server, wait};

/// How long anything here may take.
const LONG: Duration = Duration::from_secs(20);

pub(crate) fn cases() -> Vec<Case> {
    let name = "opening::a_connection_that_is_lost_while_a_store_is_opened_is_replaced";
    vec![(name.to_owned(), || block_on(a_lost_connection_is_replaced()))]
}

/// A process that was stopped for too long while it opened its store had ended with STO-IO when it was woken.
async fn a_lost_connection_is_replaced() {
    let home = Postgres::new().await;
    let store = PostgresInventory::connect(&home.url(), "inventory").await.unwrap();
    store.close().await.unwrap();
    let schema = home.schema("inventory");
    let (release, released) = mpsc::channel();
    let statement = format!("BEGIN; LOCK TABLE {schema}.store IN ACCESS EXCLUSIVE MODE");
    let holder = std::thread::spawn(move || server().held(&statement, &released));
    let held = format!("SELECT count(*) FROM pg_locks WHERE granted AND relation = '{schema}.store'::regclass");
    wait::until("the table is locked", LONG, || (server().sql(&held).trim() == "1").then_some(()));

    let url = home.url();
    let opening = tokio::spawn(async move { PostgresInventory::connect(&url, "inventory").await });
    let waits = format!("SELECT pid FROM pg_locks WHERE NOT granted AND relation = '{schema}.store'::regclass");
    let look = async || Some(server().sql(&waits).trim().to_owned()).filter(|pid| !pid.is_empty());
    let pid = wait::until_async("the store is being opened", LONG, look).await;
    server().sql(&format!("SELECT pg_terminate_backend({pid})"));
    release.send(()).unwrap();
    holder.join().unwrap();

    let store = tokio::time::timeout(LONG, opening).await.unwrap().unwrap().unwrap();
    store.close().await.unwrap();
}
