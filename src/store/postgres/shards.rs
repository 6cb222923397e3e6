//! Which process tells of which events: leases on shards, with tokens that fence whoever lost one.
//!
//! ```text
//!  relays: name, until      a relay is alive until then, by the database's clock; renewed with every lease
//!  shards: relay, token     whose shard it is; the token grows with every change of hands
//!
//!  lease:   lock -> I am alive -> whose is what -> take what is free, up to a fair share; give back what is more
//!  let go:  tokens still the same? -> what is told is noted, what is told to all is deleted
//! ```
//! A shard is free when its relay is no longer alive. Leases change under one lock, so two relays never take the same shard.
//! Nothing outlives a transaction, so connections may be pooled by transaction.

use std::time::Duration;

use tokio_postgres::types::Type;

use super::link::{Link, count_of, get, stored};
use crate::store::tidings::bit;
use crate::store::{Done, Leases, ShardLease};
use crate::{Error, ErrorCode, Result};

/// Marks the number of a row of scheduled deliveries.
pub(super) const SCHEDULED: u64 = 1 << 62;
/// Marks the number of an event that goes to two topics.
pub(super) const MOVES: u64 = 1 << 61;

const LOCK: &str = "SELECT 1 FROM counters WHERE name = 'relays' FOR UPDATE";
const ALIVE: &str = "INSERT INTO relays (name, until)
                     VALUES ($1, (extract(epoch FROM clock_timestamp()) * 1000)::bigint + $2)
                     ON CONFLICT (name) DO UPDATE SET until = excluded.until";
const DEAD: &str = "DELETE FROM relays WHERE until < (extract(epoch FROM clock_timestamp()) * 1000)::bigint";
const WHOSE: &str = "SELECT shard, token, coalesce(shards.relay = $1, false), relays.name IS NULL,
                            (SELECT count(*) FROM relays)
                     FROM shards LEFT JOIN relays ON relays.name = shards.relay ORDER BY shard";
const TAKE: &str = "UPDATE shards SET relay = $1, token = token + 1 WHERE shard = ANY($2)";
const GIVE_BACK: &str = "UPDATE shards SET relay = NULL WHERE shard = ANY($1)";
const LEAVE: &str = "DELETE FROM relays WHERE name = $1";

/// Leases do not change until the end of the transaction.
const HOLD: &str = "SELECT 1 FROM counters WHERE name = 'relays' FOR SHARE";
const TOKENS: &str = "SELECT shard, token FROM shards";
const TOLD: &str = "UPDATE scheduled
    SET status_told = status_told | new.status, customers_told = customers_told | new.customers
    FROM unnest($1, $2, $3) AS new (id, status, customers) WHERE scheduled.id = new.id";
/// A statement of its own, which sees what two processes noted side by side.
const TOLD_TO_ALL: &str = "DELETE FROM scheduled WHERE id = ANY($1) AND status_told = -1 AND customers_told = -1";
const GONE: &str = "DELETE FROM outbox USING unnest($1, $2, $3) AS new (event, told, parts)
                    WHERE outbox.event = new.event AND (outbox.told | new.told) & new.parts = new.parts";
const TOLD_IN_PART: &str = "UPDATE outbox SET told = outbox.told | new.told
                            FROM unnest($1, $2) AS new (event, told) WHERE outbox.event = new.event";

/// Renews the lease of a relay.
pub(super) async fn lease(
    link: Link<'_>,
    begin: &str,
    (relay, time): (u128, Duration),
    balance: bool,
) -> Result<Leases> {
    let (name, millis) = (relay.to_be_bytes(), i64::try_from(time.as_millis()).unwrap_or(i64::MAX / 2));
    let name = name.as_slice();
    let me = [(&name as _, Type::BYTEA)];
    let alive = [(&name as _, Type::BYTEA), (&millis as _, Type::INT8)];
    let ((), _, (), (), rows) = futures::try_join!(
        link.plain(begin),
        link.rows(LOCK, &[]),
        link.run(ALIVE, &alive),
        link.run(DEAD, &[]),
        link.rows(WHOSE, &me)
    )?;
    let (mut mine, mut free, mut relays) = (Vec::new(), Vec::new(), 1);
    for row in &rows {
        let broken = |_| Error::new(ErrorCode::StoreCorrupt, "a shard has a number that cannot be");
        let shard = ShardLease { shard: u8::try_from(get::<i16>(row, 0)?).map_err(broken)?, token: count_of(row, 1)? };
        relays = count_of(row, 4)?;
        match (get::<bool>(row, 2)?, get::<bool>(row, 3)?) {
            (true, _) => mine.push(shard),
            (false, true) => free.push(shard),
            (false, false) => {}
        }
    }
    if !balance {
        link.plain("COMMIT").await?;
        return Ok(Leases { shards: mine, within: Some(time) });
    }
    let (taken, given) = share(&mut mine, &free, relays);
    let (take, give_back) =
        ([(&name as _, Type::BYTEA), (&taken as _, Type::INT2_ARRAY)], [(&given as _, Type::INT2_ARRAY)]);
    futures::try_join!(link.run(TAKE, &take), link.run(GIVE_BACK, &give_back), link.plain("COMMIT"))?;
    Ok(Leases { shards: mine, within: Some(time) })
}

/// Takes what is free, up to a fair share, or gives back what is more. Returns the numbers that change.
fn share(mine: &mut Vec<ShardLease>, free: &[ShardLease], alive: u64) -> (Vec<i16>, Vec<i16>) {
    let fair = usize::try_from(64_u64.div_ceil(alive.max(1))).unwrap_or(64);
    let given = mine.split_off(mine.len().min(fair));
    let taken = free.iter().take(fair.saturating_sub(mine.len()));
    let taken: Vec<_> = taken.map(|lease| ShardLease { token: lease.token.saturating_add(1), ..*lease }).collect();
    let numbers = |leases: &[ShardLease]| leases.iter().map(|lease| i16::from(lease.shard)).collect();
    let changes = (numbers(&taken), numbers(&given));
    mine.extend(taken);
    changes
}

/// Gives back all shards of a relay: it is not alive any more.
pub(super) async fn leave(link: Link<'_>, begin: &str, relay: u128) -> Result<()> {
    let name = relay.to_be_bytes();
    let name = name.as_slice();
    let me = [(&name as _, Type::BYTEA)];
    futures::try_join!(link.plain(begin), link.rows(LOCK, &[]), link.run(LEAVE, &me), link.plain("COMMIT")).map(drop)
}

/// What is let go, as the statements take it.
#[derive(Debug, Default)]
struct Going {
    ids: Vec<i64>,
    statuses: Vec<i64>,
    customers: Vec<i64>,
    events: Vec<i64>,
    told: Vec<i16>,
    parts: Vec<i16>,
}

impl Going {
    /// Adds up what is done of each row, in these shards.
    fn of(done: &[Done], ours: u64) -> Self {
        let mut done: Vec<Done> = done.iter().map(|done| Done { shards: done.shards & ours, ..*done }).collect();
        done.retain(|done| done.shards != 0);
        done.sort_unstable();
        let mut going = Self::default();
        for same in done.chunk_by(|before, after| before.number == after.number) {
            let Some(number) = same.first().map(|done| done.number) else { continue };
            let of = |part| same.iter().filter(|done| done.part == part).fold(0, |shards, done| shards | done.shards);
            let (first, second) = (of(0), of(1));
            let row = stored(number & !(SCHEDULED | MOVES));
            if number & SCHEDULED != 0 {
                going.ids.push(row);
                going.statuses.push(first as i64);
                going.customers.push(second as i64);
            } else {
                going.events.push(row);
                going.told.push(i16::from(first != 0) | i16::from(second != 0) << 1);
                going.parts.push(if number & MOVES == 0 { 0b01 } else { 0b11 });
            }
        }
        going
    }
}

/// Lets events go in the shards whose token is still that of the leases. Returns the others.
pub(super) async fn let_go(link: Link<'_>, begin: &str, done: &[Done], leases: &Leases) -> Result<u64> {
    let ((), _, rows) = futures::try_join!(link.plain(begin), link.rows(HOLD, &[]), link.rows(TOKENS, &[]))?;
    let mut ours = 0;
    for row in &rows {
        let (shard, token) = (u8::try_from(get::<i16>(row, 0)?).unwrap_or(u8::MAX), count_of(row, 1)?);
        if leases.shards.contains(&ShardLease { shard, token }) {
            ours |= bit(shard);
        }
    }
    let Going { ids, statuses, customers, events, told, parts } = Going::of(done, ours);
    let numbers = [(&ids as _, Type::INT8_ARRAY)];
    let masks = [numbers[0].clone(), (&statuses as _, Type::INT8_ARRAY), (&customers as _, Type::INT8_ARRAY)];
    let rows = [(&events as _, Type::INT8_ARRAY), (&told as _, Type::INT2_ARRAY), (&parts as _, Type::INT2_ARRAY)];
    let bits = [rows[0].clone(), rows[1].clone()];
    if !ids.is_empty() {
        futures::try_join!(link.run(TOLD, &masks), link.run(TOLD_TO_ALL, &numbers))?;
    }
    if !events.is_empty() {
        futures::try_join!(link.run(GONE, &rows), link.run(TOLD_IN_PART, &bits))?;
    }
    link.plain("COMMIT").await?;
    Ok(leases.mask() & !ours)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shards(of: std::ops::Range<u8>) -> Vec<ShardLease> {
        of.map(|shard| ShardLease { shard, token: 7 }).collect()
    }

    #[test]
    fn relays_share_the_shards_and_the_first_gives_back_what_is_more_than_its_share() {
        let (mut first, mut second) = (Vec::new(), Vec::new());
        assert_eq!(share(&mut first, &shards(0..64), 1).0.len(), 64);
        assert!(first.iter().all(|lease| lease.token == 8), "the token grows with the change of hands");
        assert_eq!(share(&mut second, &[], 2), (vec![], vec![]));
        let (taken, given) = share(&mut first, &[], 2);
        assert_eq!((taken.len(), given.len(), first.len()), (0, 32, 32));
        assert_eq!(share(&mut second, &shards(32..64), 2).0, given);
        assert_eq!(share(&mut second, &[], 2), (vec![], vec![]));
    }

    #[test]
    fn what_is_done_adds_up_for_each_row_and_only_in_our_shards() {
        let done = |number, part, shards| Done { number, part, shards };
        let going = Going::of(
            &[
                done(5 | SCHEDULED, 0, 0b0011),
                done(5 | SCHEDULED, 1, 0b0001),
                done(5 | SCHEDULED, 0, 0b0100),
                done(9, 0, 0b0010),
                done(9 | MOVES, 1, 0b0001),
                done(10, 0, 0b1000),
            ],
            0b0111,
        );
        assert_eq!((going.ids, going.statuses, going.customers), (vec![5], vec![0b111], vec![0b001]));
        assert_eq!((going.events, going.told, going.parts), (vec![9, 9], vec![0b01, 0b10], vec![0b01, 0b11]));
    }
}
