//! Backfilling: an order file's orders applied to a store without Kafka.
//!
//! Each entry has the identity that a producer gives it when it sends the same file, so that the topic's same orders
//! are duplicates afterwards, and so is a second backfill. What a producer would reject is a dead letter here.
//!
//! ```text
//!  file -- read twice --> digest --> Source
//!       \--> OrderReader --> chunk (bounded) --> Batch of partition -1 --> Store::apply --> observer
//! ```
//! Offsets of that partition count the entries that were backfilled. Its orders have the time of the backfill, as if a
//! producer sent them now: by it their identities are forgotten one day. Deliveries are scheduled by the orders' dates.

use std::fs::File;
use std::future::Future;
use std::path::{Path, PathBuf};
use std::time::{SystemTime, UNIX_EPOCH};

use bytes::Bytes;
use futures::FutureExt;

use super::{BACKFILL, Batch, DeadLetter, Entry, Original, Outcome, Part, Position, Settled, Store, Topic, Work};
use crate::order::{
    DigestReader, Entry as FileEntry, IDENTITY_HEADER, Identity, Order, OrderReader, Rejection, Source, digest_of,
};
use crate::place::TopicId;
use crate::{Error, ErrorCode, Result};

/// No topic of Kafka can have this name, so that no topic's positions are among those of backfilled files.
const TOPIC: &str = "(backfill)";
/// How many entries a transaction takes at most.
const CHUNK_ENTRIES: usize = 2_000;
/// With so many bytes a transaction takes no further entry.
const CHUNK_BYTES: usize = 1 << 20;

/// An order file that is to be applied to a store.
///
/// ```
/// # let folder = tempfile::tempdir()?;
/// # let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
/// # runtime.block_on(async {
/// use orderflow::store::{Backfill, RedbInventory, Store};
/// let store = RedbInventory::open(folder.path().join("inventory.redb"), "inventory")?;
/// let file = Backfill::of_file("fixtures/orders.json").await?;
/// let first = file.apply(&store, std::future::pending(), |_| {}).await?;
/// assert_eq!((first.applied, first.filtered), (13, 21));
/// let again = file.apply(&store, std::future::pending(), |_| {}).await?;
/// assert_eq!((again.applied, again.duplicates), (0, 13));
/// store.close().await
/// # })?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug)]
pub struct Backfill {
    path: PathBuf,
    source: Source,
}

/// What was done with one entry of the file: told after its transaction is committed, in the file's order.
#[derive(Clone, Copy, Debug)]
pub struct Backfilled<'a> {
    /// What became of it.
    pub outcome: &'a Outcome,
    /// The value that a producer would give the record; a bad entry's bytes as they stand in the file.
    pub value: &'a [u8],
    /// The entry's identity.
    pub identity: &'a Identity,
    /// Where and why it is no order.
    pub rejection: Option<&'a Rejection>,
}

/// What a backfill did.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct BackfillSummary {
    /// Orders whose effect was committed now.
    pub applied: u64,
    /// Orders that were applied before.
    pub duplicates: u64,
    /// Orders that the business refused.
    pub refused: u64,
    /// Entries that are no orders.
    pub dead_letters: u64,
    /// Orders of other types.
    pub filtered: u64,
    /// Whether it was stopped before the file's end. Another backfill of the file goes on from there.
    pub stopped: bool,
}

impl Backfill {
    /// Reads the file once, for its digest.
    ///
    /// # Errors
    /// [`ErrorCode::Input`]: the file cannot be read.
    ///
    /// # Cancel safety
    /// Nothing has begun.
    pub async fn of_file(path: impl Into<PathBuf>) -> Result<Self> {
        let path = path.into();
        let digested = aside(move || {
            let digest = File::open(&path).and_then(digest_of).map_err(|cause| unreadable(&path).caused_by(cause))?;
            Ok(Self { path, source: Source::of_digest(digest) })
        });
        digested.await?
    }

    /// The source of the entries' identities.
    #[must_use]
    pub fn source(&self) -> Source {
        self.source
    }

    /// Applies the file's orders of type `O` to the store, until its end or until `stop` completes.
    ///
    /// # Errors
    /// [`ErrorCode::Input`]: the file cannot be read, or is not the one whose digest was taken; what was applied before
    /// stays. Otherwise as [`Store::apply`].
    ///
    /// # Cancel safety
    /// A transaction may be committed that the observer was not told of. Another backfill of the file goes on from there.
    pub async fn apply<O: Order, S: Store<O>>(
        &self,
        store: &S,
        stop: impl Future<Output = ()>,
        mut observer: impl FnMut(&Backfilled<'_>),
    ) -> Result<BackfillSummary> {
        let mut stop = std::pin::pin!(stop.fuse());
        let topic = Topic::new(TopicId::NONE, TOPIC);
        let mut position = store.positions(&topic).await?.remove(&BACKFILL).unwrap_or_default();
        let mut summary = BackfillSummary::default();
        let mut reading = Reading::<O>::open(self)?;
        loop {
            let chunk;
            (reading, chunk) = aside(move || reading.next_chunk()).await??;
            if !chunk.entries.is_empty() {
                position = settle(store, &topic, &position, chunk.entries, &chunk.tales, &mut |told| {
                    summary.count(told.outcome);
                    observer(told);
                })
                .await?;
            }
            summary.filtered = reading.filtered;
            if chunk.is_last {
                return Ok(summary);
            }
            if (&mut stop).now_or_never().is_some() {
                summary.stopped = true;
                return Ok(summary);
            }
        }
    }
}

/// Settles a chunk in one transaction, and tells of it.
async fn settle<O: Order, S: Store<O>>(
    store: &S,
    topic: &Topic,
    at: &Position,
    mut entries: Vec<Entry<O>>,
    tales: &[Tale],
    tell: &mut impl FnMut(&Backfilled<'_>),
) -> Result<Position> {
    let timestamp = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_millis() as i64);
    for (entry, offset) in entries.iter_mut().zip(at.next..) {
        (entry.offset, entry.timestamp) = (offset, timestamp);
    }
    let part = Part {
        partition: BACKFILL,
        expected: at.version,
        token: fastrand::u128(..),
        next: at.next.saturating_add_unsigned(entries.len() as u64),
        settled: Settled::new(),
        leader_epoch: -1,
        entries,
    };
    let applied = store.apply(Batch { topic: topic.clone(), parts: vec![part] }).await?;
    let missing = || Error::new(ErrorCode::Internal, "the store did not answer for the backfilled part");
    let part = applied.parts.into_iter().next().ok_or_else(missing)?;
    for (tale, outcome) in tales.iter().zip(&part.outcomes) {
        tell(&tale.told(outcome));
    }
    Ok(part.position)
}

impl BackfillSummary {
    fn count(&mut self, outcome: &Outcome) {
        let counter = match outcome {
            Outcome::Applied => &mut self.applied,
            Outcome::Duplicate => &mut self.duplicates,
            Outcome::Refused { .. } => &mut self.refused,
            Outcome::DeadLetter { .. } => &mut self.dead_letters,
        };
        *counter = counter.saturating_add(1);
    }
}

/// What the observer is told of an entry once it belongs to the store.
#[derive(Debug)]
struct Tale {
    value: Bytes,
    identity: Identity,
    rejection: Option<Rejection>,
}

impl Tale {
    fn told<'a>(&'a self, outcome: &'a Outcome) -> Backfilled<'a> {
        Backfilled { outcome, value: &self.value, identity: &self.identity, rejection: self.rejection.as_ref() }
    }
}

/// What one transaction takes.
struct Chunk<O> {
    entries: Vec<Entry<O>>,
    tales: Vec<Tale>,
    is_last: bool,
}

/// The file while it is read a second time.
struct Reading<O> {
    orders: OrderReader<O, DigestReader<File>>,
    path: PathBuf,
    source: Source,
    filtered: u64,
}

impl<O: Order> Reading<O> {
    fn open(file: &Backfill) -> Result<Self> {
        let opened = File::open(&file.path).map_err(|cause| unreadable(&file.path).caused_by(cause))?;
        let orders = OrderReader::new(DigestReader::new(opened)).with_source(file.source);
        Ok(Self { orders, path: file.path.clone(), source: file.source, filtered: 0 })
    }

    fn next_chunk(mut self) -> Result<(Self, Chunk<O>)> {
        let mut chunk = Chunk { entries: Vec::new(), tales: Vec::new(), is_last: false };
        let mut bytes = 0;
        while chunk.entries.len() < CHUNK_ENTRIES && bytes < CHUNK_BYTES {
            let Some(entry) =
                self.orders.next().transpose().map_err(|cause| unreadable(&self.path).caused_by(cause))?
            else {
                chunk.is_last = true;
                self.check_digest()?;
                break;
            };
            let Some((work, tale)) = self.work_of(entry)? else { continue };
            bytes += tale.value.len();
            chunk.entries.push(Entry { offset: 0, timestamp: 0, identity: Some(tale.identity.clone()), work });
            chunk.tales.push(tale);
        }
        Ok((self, chunk))
    }

    fn work_of(&mut self, entry: FileEntry<O>) -> Result<Option<(Work<O>, Tale)>> {
        match entry {
            FileEntry::Filtered { .. } => {
                self.filtered += 1;
                Ok(None)
            }
            FileEntry::Order(located) => {
                let mut value = Vec::with_capacity(located.order.encoded_len());
                located.order.encode(&mut value);
                let identity = Identity::numbered(self.source, located.index)?;
                let tale = Tale { value: value.into(), identity, rejection: None };
                Ok(Some((Work::Apply(located.order), tale)))
            }
            FileEntry::Rejected(rejection) => {
                let identity = Identity::numbered(self.source, rejection.index)?;
                let tale = Tale { value: rejection.bytes.clone().into(), identity, rejection: Some(rejection) };
                Ok(Some((Work::DeadLetter(tale.dead_letter()), tale)))
            }
        }
    }

    fn check_digest(&self) -> Result<()> {
        if Source::of_digest(self.orders.entries().input().digest()) == self.source {
            return Ok(());
        }
        let sentence = format!("{} changed while it was backfilled", self.path.display());
        Err(Error::new(ErrorCode::Input, sentence).remedy("what it held before is applied; do not send it once more"))
    }
}

impl Tale {
    /// The cause of a bad entry, with the record that a producer would have made of it.
    fn dead_letter(&self) -> DeadLetter {
        let mut header = Vec::new();
        self.identity.write_header(&mut header);
        let header = (Bytes::from_static(IDENTITY_HEADER.as_bytes()), Some(header.into()));
        let original = Original { key: None, value: Some(self.value.clone()), headers: vec![header] };
        let (code, reason) = match &self.rejection {
            Some(rejection) => (rejection.violation.code().as_str(), rejection.to_string()),
            None => ("", String::new()),
        };
        DeadLetter { code: code.into(), reason, attempts: 1, original }
    }
}

fn unreadable(path: &Path) -> Error {
    Error::new(ErrorCode::Input, format!("{} cannot be read", path.display()))
}

/// Runs what waits for a disk on a thread for that.
async fn aside<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> Result<T> {
    let done = tokio::task::spawn_blocking(work).await;
    done.map_err(|cause| Error::new(ErrorCode::Internal, "reading the file ended").caused_by(cause))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::{Query, RedbInventory};

    const ORDER: &str = r#"{"order_id":"1","product_id":"2","quantity":1,"type":"inventory","timestamp":"5/30/2023"}"#;

    fn file(entries: usize) -> (tempfile::TempDir, PathBuf, RedbInventory) {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("orders.ndjson");
        std::fs::write(&path, format!("{ORDER}\nnot json\n").repeat(entries / 2)).unwrap();
        let store = RedbInventory::open(folder.path().join("inventory.redb"), "inventory").unwrap();
        (folder, path, store)
    }

    #[tokio::test]
    async fn entries_are_told_in_order_over_many_transactions() {
        let (_folder, path, store) = file(2 * CHUNK_ENTRIES + 10);
        let backfill = Backfill::of_file(&path).await.unwrap();
        let mut told = Vec::new();
        let tell = |one: &Backfilled<'_>| told.push((one.identity.to_string(), one.rejection.is_some()));
        let summary = backfill.apply(&store, std::future::pending(), tell).await.unwrap();
        let half = CHUNK_ENTRIES as u64 + 5;
        assert_eq!((summary.applied, summary.dead_letters, summary.stopped), (half, half, false));
        let expected = (0..2 * half).map(|index| (format!("of1:{}:{index}", backfill.source()), index % 2 == 1));
        assert!(told.into_iter().eq(expected));
        let audit = store.reader().ask(Query::Verify).rows().await.unwrap();
        assert_eq!(audit[0].to_object()["holds"], true, "{audit:?}");
        store.close().await.unwrap();
    }

    #[tokio::test]
    async fn a_stop_ends_between_two_transactions_and_the_next_backfill_goes_on() {
        let (_folder, path, store) = file(2 * CHUNK_ENTRIES);
        let backfill = Backfill::of_file(&path).await.unwrap();
        let stopped = backfill.apply(&store, std::future::ready(()), |_| {}).await.unwrap();
        assert_eq!((stopped.applied, stopped.stopped), (CHUNK_ENTRIES as u64 / 2, true));
        let ended = backfill.apply(&store, std::future::pending(), |_| {}).await.unwrap();
        assert_eq!((ended.applied, ended.duplicates), (CHUNK_ENTRIES as u64 / 2, CHUNK_ENTRIES as u64 / 2));
        store.close().await.unwrap();
    }

    #[tokio::test]
    async fn a_file_that_changed_since_its_digest_is_an_error() {
        let (_folder, path, store) = file(10);
        let backfill = Backfill::of_file(&path).await.unwrap();
        std::fs::write(&path, "\n").unwrap();
        let error = backfill.apply(&store, std::future::pending(), |_| {}).await.unwrap_err();
        assert_eq!(error.code(), ErrorCode::Input);
        assert!(Backfill::of_file("no such file").await.is_err_and(|error| error.code() == ErrorCode::Input));
        store.close().await.unwrap();
    }
}
