//! What is requested of dead letters, until a consumer's handler has been asked.
//!
//! Requests and replays lock the position of the replays first, so there is one of them at a time; letters are locked where a
//! request is written, so that a copy which closes one takes the request with it.

use std::collections::BTreeMap;
use std::ops::ControlFlow;

use futures::FutureExt;
use futures::future::BoxFuture;
use tokio_postgres::Row as DatabaseRow;
use tokio_postgres::types::Type;

use super::effect::Effect;
use super::keeper::{Keeper, within};
use super::letters::id_of;
use super::link::{Link, get};
use super::replay::Wish;
use super::topics::Topics;
use super::transaction::Told;
use crate::order::Identity;
use crate::store::dead_letter::{About, Letter, decode_original};
use crate::store::replays::{ASKED_BEFORE, who_does_it};
use crate::store::{EventId, Rehearsal, ReplayRow, Replayed, Replays, Reply, Requested};
use crate::{Error, ErrorCode, Result};

/// With so many bytes of records a page takes no further row.
const PAGE_BYTES: u64 = 1 << 20;

const HANDLED: &str = "SELECT value <> 0 FROM counters WHERE name = 'handled'";
const SET_HANDLED: &str = "UPDATE counters SET value = $1 WHERE name = 'handled' AND value <> $1";
const FIND: &str = "SELECT mended FROM requested WHERE id = $1 AND request = $2";
const LETTERS: &str =
    "SELECT id, letter, record IS NOT NULL FROM dead_letters WHERE id = ANY($1) ORDER BY id FOR UPDATE";
const EARLIER: &str = "SELECT id, mended FROM requested WHERE id = ANY($1)";
const REQUEST: &str = "INSERT INTO requested (id, request, mended) SELECT * FROM unnest($1, $2, $3)
                       ON CONFLICT (id) DO UPDATE SET request = excluded.request, mended = excluded.mended";
const PAGE: &str = "SELECT id, letter, record, request, mended FROM requested JOIN dead_letters USING (id)
                    WHERE state = 0 AND record IS NOT NULL AND id <> ALL($1) ORDER BY id LIMIT $2";

/// Whether a handler is asked before the store applies an order.
pub(super) async fn is_handled(link: Link<'_>) -> Result<bool> {
    let rows = link.rows(HANDLED, &[]).await?;
    rows.first().map_or(Ok(false), |row| get(row, 0))
}

/// The mended value of a request, if it is there.
pub(super) async fn requested(link: Link<'_>, reply: &Reply) -> Result<Option<Option<Vec<u8>>>> {
    let (id, request) = (reply.id.as_bytes().as_slice(), reply.request as i64);
    let rows = link.rows(FIND, &[(&id, Type::BYTEA), (&request, Type::INT8)]).await?;
    rows.first().map(|row| get(row, 0)).transpose()
}

/// Marks rows about orders as requested.
pub(super) async fn request(link: Link<'_>, wish: &Wish, runs_here: bool) -> Result<Told<Vec<ReplayRow>>> {
    let names: Vec<&[u8]> = wish.ids.iter().map(|id| id.as_bytes().as_slice()).collect();
    let names = [(&names as _, Type::BYTEA_ARRAY)];
    let (letters, earlier) = futures::try_join!(link.rows(LETTERS, &names), link.rows(EARLIER, &names))?;
    let letter = |row: &DatabaseRow| Ok((id_of(get(row, 0)?)?, (Letter::decode(get(row, 1)?)?, get(row, 2)?)));
    let letters = letters.iter().map(letter).collect::<Result<BTreeMap<EventId, (Letter, bool)>>>()?;
    let earlier = earlier.iter().map(|row| Ok((id_of(get(row, 0)?)?, get(row, 1)?)));
    let mut requests = earlier.collect::<Result<BTreeMap<EventId, Option<Vec<u8>>>>>()?;
    let (mut rows, mut new) = (Vec::new(), Vec::new());
    for id in wish.ids.iter().copied() {
        let (did, reason) = match letters.get(&id) {
            None => (Replayed::Fail, "there is no such dead letter".to_owned()),
            Some((letter, _)) if letter.about == About::Update => continue,
            Some((letter, _)) if !letter.is_open() => (Replayed::Duplicate, format!("it is {} already", letter.state)),
            Some((_, false)) => (Replayed::Fail, "its record is not kept any more".to_owned()),
            Some(_) if requests.get(&id).is_some_and(|before| wish.value.is_none() || *before == wish.value) => {
                (Replayed::Request, ASKED_BEFORE.to_owned())
            }
            Some(_) => {
                new.push(id);
                requests.insert(id, wish.value.clone());
                (Replayed::Request, who_does_it(runs_here).to_owned())
            }
        };
        rows.push(ReplayRow { id, did, reason });
    }
    let names: Vec<&[u8]> = new.iter().map(|id| id.as_bytes().as_slice()).collect();
    let drawn: Vec<i64> = new.iter().map(|_| fastrand::i64(..)).collect();
    let mended: Vec<Option<&[u8]>> = new.iter().map(|_| wish.value.as_deref()).collect();
    let values = [(&names as _, Type::BYTEA_ARRAY), (&drawn as _, Type::INT8_ARRAY), (&mended as _, Type::BYTEA_ARRAY)];
    futures::try_join!(link.run(REQUEST, &values), link.plain("COMMIT"))?;
    Ok((rows, None))
}

impl<E: Effect> Replays for Keeper<E> {
    fn set_handled(&self, is_handled: bool) -> BoxFuture<'_, Result<()>> {
        let work = async move {
            let lease = self.base.lease().await?;
            let link = Link { client: lease.client()? };
            let value = i64::from(is_handled);
            let values = [(&value as _, Type::INT8)];
            let set =
                futures::try_join!(link.plain(self.base.begin()), link.run(SET_HANDLED, &values), link.plain("COMMIT"));
            self.base.end(lease, set.map(drop)).await
        };
        async move { within(&self.base, work).await }.boxed()
    }

    fn requested<'a>(&'a self, except: &'a [EventId], most: usize) -> BoxFuture<'a, Result<Vec<Requested>>> {
        let work = async move {
            let lease = self.base.lease().await?;
            let link = Link { client: lease.client()? };
            let names: Vec<&[u8]> = except.iter().map(|id| id.as_bytes().as_slice()).collect();
            let most = i64::try_from(most).unwrap_or(i64::MAX);
            let asked = [(&names as _, Type::BYTEA_ARRAY), (&most as _, Type::INT8)];
            let read = async {
                futures::try_join!(
                    link.plain(self.base.look()),
                    Topics::load(link),
                    link.rows(PAGE, &asked),
                    link.plain("COMMIT")
                )
            };
            let read = read.await;
            let ((), topics, rows, ()) = self.base.end(lease, read).await?;
            page(&topics, &rows)
        };
        async move { within(&self.base, work).await }.boxed()
    }

    fn settle(&self, reply: Reply) -> BoxFuture<'_, Result<ReplayRow>> {
        let work = async move {
            let mut tries = self.base.tries();
            let (rows, told) = loop {
                let (ids, reply) = (vec![reply.id], Some(reply.clone()));
                let wish = Wish { ids, value: None, rehearsal: Rehearsal::Real, reply };
                let tried = within(&self.base, self.try_wish(wish)).await;
                if let ControlFlow::Break(done) = tries.judge(tried).await {
                    break done?;
                }
            };
            self.tell(told);
            if E::ANNOUNCED {
                self.base.news.send_modify(|_| {});
            }
            let lost = || Error::new(ErrorCode::Internal, "a reply was not answered");
            rows.into_iter().next().ok_or_else(lost)
        };
        work.boxed()
    }
}

fn page(topics: &Topics, rows: &[DatabaseRow]) -> Result<Vec<Requested>> {
    let (mut page, mut bytes) = (Vec::new(), 0_u64);
    for row in rows {
        let letter = Letter::decode(get(row, 1)?)?;
        bytes = bytes.saturating_add(letter.bytes);
        page.push(Requested {
            id: id_of(get(row, 0)?)?,
            request: get::<i64>(row, 3)? as u64,
            topic: topics.get(letter.first.topic)?.clone(),
            partition: letter.first.partition,
            offset: letter.first.offset,
            timestamp: letter.timestamp,
            identity: letter.identity.as_deref().and_then(|header| Identity::from_header(header).ok()),
            original: decode_original(get(row, 2)?)?,
            mended: get(row, 4)?,
        });
        if bytes >= PAGE_BYTES {
            break;
        }
    }
    Requested::sort(&mut page);
    Ok(page)
}
