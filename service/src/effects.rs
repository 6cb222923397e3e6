//! What a delivery order does to the service's own tables.

use orderflow::order::{Customer, DeliveryOrder};
use orderflow::store::Due;
use sqlx::PgConnection;

/// The code of an order for which not enough is left.
pub const SOLD_OUT: &str = "SHOP-SOLD-OUT";

/// Locks what the orders will change, in one order for all processes, so that none waits for another in a circle.
pub async fn lock(tx: &mut PgConnection, due: &[Due<'_, DeliveryOrder>]) -> sqlx::Result<()> {
    let products: Vec<&str> = due.iter().map(|due| due.order.product_id()).collect();
    sqlx::query("SELECT FROM stock WHERE product = ANY($1) ORDER BY product FOR UPDATE")
        .bind(products)
        .execute(&mut *tx)
        .await?;
    // The days are booked by one transaction at a time.
    sqlx::query("SELECT pg_advisory_xact_lock(hashtext('days'))").execute(tx).await.map(drop)
}

/// Reserves, schedules and notes. `false` if not enough is left: then nothing was changed.
pub async fn ship(tx: &mut PgConnection, due: &Due<'_, DeliveryOrder>) -> sqlx::Result<bool> {
    if !reserve(tx, due.order).await? {
        return Ok(false);
    }
    let (delivery, order) = (due.id.to_string(), due.order);
    sqlx::query("INSERT INTO deliveries VALUES ($1, $2, $3, $4, $5::date)")
        .bind(&delivery)
        .bind(order.order_id())
        .bind(order.product_id())
        .bind(i64::from(order.quantity()))
        .bind(book(tx).await?)
        .execute(&mut *tx)
        .await?;
    let email = order.customer().and_then(Customer::email);
    let note = "INSERT INTO notifications (delivery, email) VALUES ($1, $2)";
    sqlx::query(note).bind(&delivery).bind(email).execute(tx).await?;
    Ok(true)
}

async fn reserve(tx: &mut PgConnection, order: &DeliveryOrder) -> sqlx::Result<bool> {
    let reserve = "UPDATE stock SET pieces = pieces - $2 WHERE product = $1 AND pieces >= $2";
    let reserved = sqlx::query(reserve).bind(order.product_id()).bind(i64::from(order.quantity())).execute(tx).await?;
    Ok(reserved.rows_affected() == 1)
}

/// The first day that has room for one more, which then has one more.
async fn book(tx: &mut PgConnection) -> sqlx::Result<String> {
    let first = "UPDATE days SET deliveries = deliveries + 1
      WHERE day = (SELECT min(day) FROM days WHERE deliveries < 100 AND day >= current_date + 2) RETURNING day::text";
    if let Some(day) = sqlx::query_scalar(first).fetch_optional(&mut *tx).await? {
        return Ok(day);
    }
    let next = "INSERT INTO days SELECT greatest(max(day) + 1, current_date + 2), 1 FROM days RETURNING day::text";
    sqlx::query_scalar(next).fetch_one(tx).await
}
