//! The exact set of settled identities, in PostgreSQL.
//!
//! ```text
//!  of1:<source>:<n>  ->  identities (number of the source, n)     any other value  ->  opaque_identities (its key)
//! ```
//! A transaction inserts all that it would settle, sorted and in one statement each; what was there already is not
//! inserted, and its orders are duplicates. Two transactions that insert the same identity meet at its row: the second one
//! waits, and finds a duplicate if the first commits.

use std::collections::{HashMap, HashSet};

use tokio_postgres::types::Type;

use super::link::{Link, count_of, get};
use crate::order::{Identity, Source};
use crate::{Error, ErrorCode, Result};

/// How exactly the age of a source is kept: its row changes once in so many milliseconds of log time.
const SOURCE_STEP: i64 = 86_400_000;

const LOCK_SOURCES: &str = "SELECT source, number, newest FROM sources WHERE source = ANY($1)
                            ORDER BY source FOR KEY SHARE";
const MAKE_SOURCES: &str = "INSERT INTO sources (source, newest) SELECT source, $2 FROM unnest($1) AS new (source)
                            ON CONFLICT DO NOTHING";
const AGE_SOURCES: &str = "UPDATE sources SET newest = $2 WHERE number = ANY($1) AND newest < $2";
/// The rows that were inserted are told only if some were not.
const SETTLE: &str = "WITH fresh AS (
                        INSERT INTO identities (source, entry) SELECT * FROM unnest($1, $2)
                        ON CONFLICT DO NOTHING RETURNING source, entry
                      ), told AS (SELECT count(*) AS count, array_agg(source) AS sources, array_agg(entry) AS entries FROM fresh)
                      SELECT count, CASE WHEN count < $3 THEN sources END, CASE WHEN count < $3 THEN entries END FROM told";
const SETTLE_OPAQUE: &str = "INSERT INTO opaque_identities (key, newest) SELECT key, $2 FROM unnest($1) AS new (key)
                             ON CONFLICT DO NOTHING RETURNING key";
const KNOWN: &str =
    "SELECT source, entry FROM unnest($1, $2) AS asked (source, entry) JOIN identities USING (source, entry)";
const KNOWN_OPAQUE: &str = "SELECT key FROM opaque_identities WHERE key = ANY($1)";

/// A source's number and age.
#[derive(Clone, Copy, Debug)]
struct Known {
    number: i32,
    newest: i64,
}

/// The identities of a transaction, by the place of their record in it.
#[derive(Debug, Default)]
pub(super) struct Wanted<'a> {
    /// What is settled if it is new.
    settled: Vec<(&'a Identity, usize)>,
    /// What is only looked up.
    asked: Vec<&'a Identity>,
    /// The newest record, as the log's time counts it.
    newest: i64,
}

/// What the set says of a transaction's records.
#[derive(Debug, Default)]
pub(super) struct Verdict {
    /// By place: whether the record's identity is settled by it.
    fresh: Vec<bool>,
    /// What was only looked up.
    asked: HashSet<Identity>,
    /// Asked identities that were settled before.
    known: HashSet<Identity>,
    /// How many are new.
    pub(super) count: u64,
}

impl Verdict {
    pub(super) fn is_fresh(&self, place: usize) -> bool {
        self.fresh.get(place).copied().unwrap_or(false)
    }

    pub(super) fn is_known(&self, identity: &Identity) -> bool {
        self.known.contains(identity)
    }

    /// An asked identity was settled by an earlier record of the transaction.
    pub(super) fn settled_now(&mut self, identity: &Identity) {
        if self.asked.contains(identity) {
            self.known.insert(identity.clone());
        }
    }
}

impl<'a> Wanted<'a> {
    pub(super) fn new(newest: i64) -> Self {
        Self { newest, ..Self::default() }
    }

    pub(super) fn settle(&mut self, identity: &'a Identity, place: usize) {
        self.settled.push((identity, place));
    }

    pub(super) fn ask(&mut self, identity: &'a Identity) {
        self.asked.push(identity);
    }

    /// The sources of all identities.
    fn sources(&self) -> Vec<&'a str> {
        let all = self.settled.iter().map(|(identity, _)| *identity).chain(self.asked.iter().copied());
        let mut last: Option<&Source> = None;
        let mut sources = Vec::new();
        for identity in all {
            if let Identity::Numbered { source, .. } = identity
                && last != Some(source)
            {
                last = Some(source);
                sources.push(source.as_str());
            }
        }
        sources.sort_unstable();
        sources.dedup();
        sources
    }

    /// Settles them: `places` is how many records the transaction has.
    pub(super) async fn take(self, link: Link<'_>, places: usize) -> Result<Verdict> {
        let mut verdict = Verdict { fresh: vec![false; places], ..Verdict::default() };
        if self.settled.is_empty() && self.asked.is_empty() {
            return Ok(verdict);
        }
        let sources = self.lock_sources(link).await?;
        let (numbered, opaque) = self.split(&sources)?;
        let (asked, asked_opaque) = self.questions(&sources);
        let newest = self.newest;
        let (known, known_opaque, fresh, fresh_opaque) = futures::try_join!(
            ask(link, &asked),
            ask_opaque(link, &asked_opaque),
            settle(link, &numbered),
            settle_opaque(link, &opaque, newest),
        )?;
        verdict.asked = self.asked.iter().map(|identity| (*identity).clone()).collect();
        self.note(&mut verdict, &sources, (known, known_opaque));
        mark(&mut verdict, &numbered, fresh.as_ref());
        age(link, &sources, &numbered, &verdict, newest).await?;
        mark(&mut verdict, &opaque, Some(&fresh_opaque));
        Ok(verdict)
    }

    /// The rows of all sources, which are made if they are missing. Nobody forgets a source that is locked.
    async fn lock_sources(&self, link: Link<'_>) -> Result<HashMap<&'a str, Known>> {
        let mut names = self.sources();
        let mut known = HashMap::new();
        for is_last in [false, true] {
            if names.is_empty() {
                break;
            }
            let sorted = (&names as _, Type::TEXT_ARRAY);
            for row in link.rows(LOCK_SOURCES, &[sorted]).await? {
                let name: &str = get(&row, 0)?;
                if let Ok(at) = names.binary_search(&name) {
                    known.insert(names.remove(at), Known { number: get(&row, 1)?, newest: get(&row, 2)? });
                }
            }
            if !is_last && !names.is_empty() {
                link.run(MAKE_SOURCES, &[(&names, Type::TEXT_ARRAY), (&self.newest, Type::INT8)]).await?;
            }
        }
        Ok(known)
    }

    /// What is settled, sorted, each identity at the first place that has it.
    #[expect(clippy::type_complexity, reason = "two lists of the same form")]
    fn split(&self, sources: &HashMap<&str, Known>) -> Result<(Vec<((i32, i64), usize)>, Vec<(Vec<u8>, usize)>)> {
        let lost = || Error::new(ErrorCode::StoreIo, "a source of identities was forgotten meanwhile").retriable();
        let (mut numbered, mut opaque) = (Vec::with_capacity(self.settled.len()), Vec::new());
        let mut last: Option<(&Source, i32)> = None;
        for (identity, place) in &self.settled {
            if let Identity::Numbered { source, index } = identity {
                let number = match last {
                    Some((known, number)) if known == source => number,
                    _ => sources.get(source.as_str()).ok_or_else(lost)?.number,
                };
                last = Some((source, number));
                numbered.push(((number, entry_of(*index)), *place));
            } else {
                opaque.push((key_of(identity), *place));
            }
        }
        numbered.sort_unstable();
        numbered.dedup_by(|later, first| later.0 == first.0);
        opaque.sort_unstable();
        opaque.dedup_by(|later, first| later.0 == first.0);
        Ok((numbered, opaque))
    }

    /// What is looked up. What has no source here was never settled.
    fn questions(&self, sources: &HashMap<&str, Known>) -> (Vec<(i32, i64)>, Vec<Vec<u8>>) {
        let (mut numbered, mut opaque) = (Vec::new(), Vec::new());
        for identity in &self.asked {
            match identity {
                Identity::Numbered { source, index } => {
                    numbered.extend(sources.get(source.as_str()).map(|known| (known.number, entry_of(*index))));
                }
                opaque_one => opaque.push(key_of(opaque_one)),
            }
        }
        (numbered, opaque)
    }

    fn note(
        &self,
        verdict: &mut Verdict,
        sources: &HashMap<&str, Known>,
        (numbered, opaque): (HashSet<(i32, i64)>, HashSet<Vec<u8>>),
    ) {
        for identity in &self.asked {
            let is_known = match identity {
                Identity::Numbered { source, index } => {
                    let known = sources.get(source.as_str());
                    known.is_some_and(|known| numbered.contains(&(known.number, entry_of(*index))))
                }
                opaque_one => opaque.contains(&key_of(opaque_one)),
            };
            if is_known {
                verdict.known.insert((*identity).clone());
            }
        }
    }
}

/// Marks the places whose identity was inserted; `None`: all of them.
fn mark<K: Eq + std::hash::Hash>(verdict: &mut Verdict, wanted: &[(K, usize)], fresh: Option<&HashSet<K>>) {
    for (key, place) in wanted {
        if fresh.is_none_or(|fresh| fresh.contains(key))
            && let Some(mark) = verdict.fresh.get_mut(*place)
        {
            *mark = true;
            verdict.count += 1;
        }
    }
}

/// An index is below 2^48.
fn entry_of(index: u64) -> i64 {
    i64::try_from(index).unwrap_or(i64::MAX)
}

fn key_of(identity: &Identity) -> Vec<u8> {
    let mut key = Vec::new();
    identity.write_store_key(&mut key);
    key
}

async fn ask(link: Link<'_>, asked: &[(i32, i64)]) -> Result<HashSet<(i32, i64)>> {
    if asked.is_empty() {
        return Ok(HashSet::new());
    }
    let (sources, entries): (Vec<i32>, Vec<i64>) = asked.iter().copied().unzip();
    let rows = link.rows(KNOWN, &[(&sources, Type::INT4_ARRAY), (&entries, Type::INT8_ARRAY)]).await?;
    rows.iter().map(|row| Ok((get(row, 0)?, get(row, 1)?))).collect()
}

async fn ask_opaque(link: Link<'_>, asked: &[Vec<u8>]) -> Result<HashSet<Vec<u8>>> {
    if asked.is_empty() {
        return Ok(HashSet::new());
    }
    let rows = link.rows(KNOWN_OPAQUE, &[(&asked, Type::BYTEA_ARRAY)]).await?;
    rows.iter().map(|row| get(row, 0)).collect()
}

/// Inserts identities. Which of them were new; `None`: all.
async fn settle(link: Link<'_>, wanted: &[((i32, i64), usize)]) -> Result<Option<HashSet<(i32, i64)>>> {
    if wanted.is_empty() {
        return Ok(None);
    }
    let (sources, entries): (Vec<i32>, Vec<i64>) = wanted.iter().map(|(key, _)| *key).unzip();
    let most = entry_of(wanted.len() as u64);
    let values = [(&sources as _, Type::INT4_ARRAY), (&entries as _, Type::INT8_ARRAY), (&most as _, Type::INT8)];
    let rows = link.rows(SETTLE, &values).await?;
    let row = rows.first().ok_or_else(|| Error::new(ErrorCode::StoreIo, "the database gave no answer"))?;
    if count_of(row, 0)? == wanted.len() as u64 {
        return Ok(None);
    }
    let sources: Vec<i32> = get::<Option<_>>(row, 1)?.unwrap_or_default();
    let entries: Vec<i64> = get::<Option<_>>(row, 2)?.unwrap_or_default();
    Ok(Some(sources.into_iter().zip(entries).collect()))
}

async fn settle_opaque(link: Link<'_>, wanted: &[(Vec<u8>, usize)], newest: i64) -> Result<HashSet<Vec<u8>>> {
    if wanted.is_empty() {
        return Ok(HashSet::new());
    }
    let keys: Vec<&[u8]> = wanted.iter().map(|(key, _)| key.as_slice()).collect();
    let rows = link.rows(SETTLE_OPAQUE, &[(&keys, Type::BYTEA_ARRAY), (&newest, Type::INT8)]).await?;
    rows.iter().map(|row| get(row, 0)).collect()
}

/// Keeps how old the sources of new identities are, a day ahead of their newest record, so that their rows change once a day.
async fn age(
    link: Link<'_>,
    sources: &HashMap<&str, Known>,
    settled: &[((i32, i64), usize)],
    verdict: &Verdict,
    newest: i64,
) -> Result<()> {
    let mut old: Vec<i32> = sources.values().filter(|known| known.newest < newest).map(|known| known.number).collect();
    let is_used =
        |number: i32| settled.iter().any(|((source, _), place)| *source == number && verdict.is_fresh(*place));
    old.retain(|number| is_used(*number));
    old.sort_unstable();
    if old.is_empty() {
        return Ok(());
    }
    link.run(AGE_SOURCES, &[(&old, Type::INT4_ARRAY), (&newest.saturating_add(SOURCE_STEP), Type::INT8)]).await
}
