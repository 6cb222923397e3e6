//! What only a database can do: several processes at once.

use orderflow::ErrorCode;
use orderflow::store::{Position, PostgresInventory, Query, Row, Store, StoreReader};

use crate::home::Postgres;
use crate::store_support::{Home, batch, entry, movement, numbered, part, topic};
use crate::{Case, block_on, server};

pub(crate) fn cases() -> Vec<Case> {
    let cases: [(&str, fn()); 2] = [
        ("own::another_group_is_refused_and_a_second_process_is_not", || block_on(another_group_is_refused())),
        ("own::a_store_is_found_by_its_database_where_it_is_the_only_one", || block_on(found_by_its_database())),
    ];
    cases.into_iter().map(|(name, body)| (name.to_owned(), body)).collect()
}

async fn another_group_is_refused() {
    let home = Postgres::new().await;
    let (first, second) = (home.open().await, home.open().await);
    let foreign = PostgresInventory::connect(&home.url(), "shipping").await.unwrap_err();
    assert_eq!(foreign.code(), ErrorCode::StoreForeign);
    assert_eq!(first.identity(), second.identity());
    let entries = vec![entry(0, numbered(1, 0), movement("1", 5))];
    let at = first.apply(batch(part(0, &Position::default(), entries))).await.unwrap().parts[0].position.clone();
    assert_eq!(second.positions(&topic()).await.unwrap()[&0], at);
    first.close().await.unwrap();
    assert_eq!(first.positions(&topic()).await.unwrap_err().code(), ErrorCode::Closed);
    second.close().await.unwrap();
}

async fn found_by_its_database() {
    let missing = StoreReader::open(server().url("nowhere")).await.unwrap_err();
    assert_eq!(missing.code(), ErrorCode::StoreMissing);
    let home = Postgres::new().await;
    let store = home.open().await;
    let rows = home.reader(&store).await.ask(Query::Identity).rows().await.unwrap();
    assert!(matches!(&rows[..], [Row::Identity(row)] if row.store.starts_with("postgres:")), "{rows:?}");
    store.close().await.unwrap();
}
