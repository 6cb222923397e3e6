//! What happens to a store on a failing disk, step by step, with what it then shows of itself.

use std::path::Path;
use std::sync::Arc;

use serde_json::Value;

use super::super::effect::Effect;
use super::super::fault::fault;
use super::super::handle::{RedbStore, builder, start};
use super::super::platter::Platter;
use super::super::settings::{RedbSettings, Socket};
use super::disk::Disk;
use crate::order::{DeliveryUpdate, Identity, Order, Source, Status};
use crate::place::TopicId;
use crate::store::{
    ALL_SHARDS, Applied, BackOffice, Batch, DeadLetter, Done, Entry, EventId, Leases, Mark, Operation, Original,
    Overlay, Part, Position, Query, Rehearsal, Reply, Requested, Row, Said, SetAside, Settled, Store, Text, Tidings,
    Topic, Waiting, Work,
};
use crate::{Error, ErrorCode, Result};

/// A table of the handler's own.
const OWN: &str = "bookings";

/// How many records a batch has of each partition.
const RECORDS: u64 = 4;

/// What can be asked of a store.
#[derive(Clone, Copy, Debug)]
pub(super) enum Step {
    /// The n-th batch.
    Batch(u64),
    /// What waits in the outbox is acknowledged.
    Published,
    /// The oldest dead letter is tried again.
    Replayed,
    /// The oldest dead letter is discarded.
    Discarded,
    /// Deliveries move, where there are any: by the n-th batch of updates.
    Moved(u64),
    /// From now on a handler is asked first: replays are requested.
    Handled,
    /// A mended copy of the oldest dead letter is tried.
    Mended,
    /// The handler answers what is requested first, in the n-th way, and is not heard.
    Replied(u64),
    /// All orders of so many batches come once more.
    Copied(u64),
}

/// Batches with operators' work between them.
pub(super) fn steps(batches: u64) -> Vec<Step> {
    let between = |number: u64| match number % 4 {
        1 => Some(Step::Replayed),
        2 => Some(Step::Published),
        3 => Some(Step::Discarded),
        _ => Some(Step::Moved(number / 4)),
    };
    let asked = |number: u64| match number {
        0..4 => [None; 3],
        4 => [Step::Handled, Step::Mended, Step::Mended].map(Some),
        _ => [Step::Replied(number * 2), Step::Mended, Step::Replied(number * 2 + 1)].map(Some),
    };
    let all = |number| [Some(Step::Batch(number)), between(number)].into_iter().chain(asked(number));
    (0..batches).flat_map(all).flatten().chain([Step::Copied(batches)]).collect()
}

pub(super) fn topic() -> Topic {
    Topic::new(TopicId::new([1; 16]), "orders")
}

pub(super) fn open<E: Effect>(disk: &Disk) -> Result<RedbStore<E::Order>> {
    open_at::<E>(disk, None)
}

/// Opens the store of a disk that stands for the file at this path.
pub(super) fn open_at<E: Effect>(disk: &Disk, path: Option<&Path>) -> Result<RedbStore<E::Order>> {
    let settings = RedbSettings { socket: Socket::None, ..RedbSettings::default() };
    let (disk, place) = (disk.clone(), path.map(Path::to_owned));
    let open = move || {
        let platter = Platter::new(disk.clone(), place.as_deref());
        builder(&settings).create_with_backend(platter).map_err(fault)
    };
    let database = open()?;
    start::<E>((database, Box::new(open)), Path::new("disk"), "group", settings, E::Policy::default())
}

/// Orders, refusals, dead letters and copies in two partitions, of which the first has orders that wait.
fn batch<O: Order>(number: u64, order: fn(u64) -> O) -> Batch<O> {
    let at = i64::try_from(number * RECORDS).unwrap();
    let part = |partition: i32| {
        let is_waiting = |offset: i64| partition == 0 && offset % 12 == 1;
        let late = (number % 3 == 1 && partition == 0).then_some(at - 3);
        let offsets = late.into_iter().chain((at..at + 4).filter(|offset| !is_waiting(*offset)));
        let entries: Vec<_> = offsets.map(|offset| entry((partition, offset), number, order)).collect();
        let waits = number.is_multiple_of(3) && partition == 0;
        let (next, settled) = match waits {
            true => (at + 1, (at + 2..at + 4).collect()),
            false => (at + 4, Settled::new()),
        };
        let token = u128::from(number) + 7;
        Part { partition, expected: number, token, next, settled, leader_epoch: 0, entries }
    };
    Batch { topic: topic(), parts: vec![part(0), part(1)] }
}

fn entry<O: Order>((partition, offset): (i32, i64), number: u64, order: fn(u64) -> O) -> Entry<O> {
    let offset_number = u64::try_from(offset).unwrap();
    // Three identities for four records: the fourth is a copy of the next batch's first.
    let index = offset_number / RECORDS * 3 + offset_number % RECORDS;
    let source = Source::of_digest([u8::try_from(partition).unwrap(); 32]);
    let work = match (number + offset_number) % 7 {
        4 => Work::DeadLetter(letter("ORD-JSON")),
        6 => Work::Refuse(letter("SHP-TOO-MANY")),
        _ => Work::Apply(order(index)),
    };
    let identity = (offset % 9 != 5).then(|| Identity::numbered(source, index).unwrap());
    Entry { offset, timestamp: 1_700_000_000_000 + offset, identity, work }
}

/// Every identity of these batches again, as orders that can be applied.
fn copies<O: Order>(batches: u64, order: fn(u64) -> O) -> Batch<O> {
    let at = i64::try_from(batches * RECORDS).unwrap();
    let part = |partition: i32| {
        let again = |offset: i64| {
            let first = entry((partition, offset), 0, order);
            let (offset, timestamp) = (at + offset, first.timestamp + at);
            Entry { offset, timestamp, work: Work::Apply(order(0)), ..first }
        };
        let entries: Vec<_> = (0..at).map(again).collect();
        let (next, settled) = (at + at, Settled::new());
        Part { partition, expected: batches, token: 6, next, settled, leader_epoch: 0, entries }
    };
    Batch { topic: topic(), parts: vec![part(0), part(1)] }
}

fn value<O: Order>(order: &O) -> Vec<u8> {
    let mut value = Vec::new();
    order.encode(&mut value);
    value
}

pub(super) fn letter(code: &'static str) -> DeadLetter {
    let original = Original { value: Some(vec![b'{'; 5_000].into()), ..Original::default() };
    DeadLetter { code: code.into(), reason: "it is of no use".into(), attempts: 1, original }
}

/// Updates of deliveries that are there, and of some that are not yet or never.
fn updates(number: u64) -> Batch<DeliveryUpdate> {
    let source = Source::of_digest([0; 32]);
    let entries = (0..5_u64).map(|at| {
        let identity = Identity::numbered(source, number * 12 + at).unwrap();
        let id = EventId::of(Some(&identity), &topic(), 0, 0);
        let status = if at % 2 == 0 { Status::Cancelled } else { Status::OutForDelivery };
        let update = DeliveryUpdate::new(&id.to_string(), status, "2026-11-24T08:30:00Z").unwrap();
        let offset = i64::try_from(number * 5 + at).unwrap();
        let identity = (at != 3).then_some(identity);
        Entry { offset, timestamp: 1_700_000_000_000 + offset, identity, work: Work::Apply(update) }
    });
    let (next, token) = (i64::try_from(number * 5 + 5).unwrap(), u128::from(number) + 70);
    let (entries, settled) = (entries.collect(), Settled::new());
    let part = Part { partition: 0, expected: number, token, next, settled, leader_epoch: 0, entries };
    Batch { topic: Topic::new(TopicId::new([2; 16]), "updates"), parts: vec![part] }
}

/// Takes a step. The answer, where it tells what became of orders.
pub(super) async fn take<E: Effect>(
    store: &RedbStore<E::Order>,
    step: Step,
    order: fn(u64) -> E::Order,
) -> Result<Option<Applied>> {
    match step {
        Step::Batch(number) => return store.apply(batch(number, order)).await.map(Some),
        Step::Moved(number) => {
            let Some(moves) = office(store).moves() else { return Ok(None) };
            return moves.apply(updates(number)).await.map(Some);
        }
        Step::Copied(batches) => return store.apply(copies(batches, order)).await.map(Some),
        Step::Handled => office(store).replays().unwrap().set_handled(true).await?,
        Step::Mended => {
            let Some(id) = oldest_letter(store).await? else { return Ok(None) };
            let value = Text::of(&value(&order(3_000)));
            office(store).operate(Operation::Fix { id, value }).await?;
        }
        Step::Replied(number) => {
            let replays = office(store).replays().unwrap();
            let Some(row) = replays.requested(&[], 1).await?.pop() else { return Ok(None) };
            replays.settle(reply(number, &row)).await?;
        }
        Step::Published => {
            let Waiting { events, spent, .. } = office(store).waiting(Mark::default(), ALL_SHARDS).await?;
            let numbers = spent.into_iter().chain(events.into_iter().map(|event| event.number));
            let done = |number| [0, 1].map(|part| Done { number, part, shards: ALL_SHARDS });
            office(store).published(numbers.flat_map(done).collect(), Leases::all()).await?;
        }
        Step::Replayed | Step::Discarded => {
            let Some(id) = oldest_letter(store).await? else { return Ok(None) };
            let replay = Operation::Replay { ids: vec![id], rehearsal: Rehearsal::Real };
            let discard = Operation::Discard { id, reason: "nobody wants it".into() };
            let operation = if matches!(step, Step::Replayed) { replay } else { discard };
            office(store).operate(operation).await?;
        }
    }
    Ok(None)
}

fn office<O: Order>(store: &RedbStore<O>) -> Arc<dyn BackOffice> {
    store.back_office().unwrap()
}

/// What a handler says: it is done, with a row and an event of its own, or refuses, or rejects.
fn reply(number: u64, Requested { id, request, .. }: &Requested) -> Reply {
    let said = match number % 4 {
        2 => Said::Refuse("SHP-STILL-NOT".into()),
        3 => Said::SetAside("HND-REJECTED".into(), "no such street".into()),
        _ => {
            let mut overlay = Overlay::default();
            overlay.put(OWN, id.to_string(), number.to_string());
            overlay.emit("carrier_bookings", id.to_string(), number.to_string());
            Said::Done(Box::new(overlay))
        }
    };
    Reply { id: *id, request: *request, tries: 2, said }
}

async fn oldest_letter<O: Order>(store: &RedbStore<O>) -> Result<Option<EventId>> {
    let rows = store.reader().ask(Query::DeadLetters { all: false }).rows().await?;
    Ok(rows.into_iter().find_map(|row| match row {
        Row::DeadLetter(row) if !row.replayed => Some(row.id),
        _ => None,
    }))
}

/// Everything that a store says of itself, but for the wall clock.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Picture {
    pub(super) positions: Vec<(i32, Position)>,
    rows: Vec<Value>,
    outbox: Vec<(u64, String)>,
    requested: Vec<Requested>,
}

impl Picture {
    /// How many rows of a handler's own there are.
    pub(super) fn own_rows(&self) -> usize {
        self.rows.iter().filter(|row| row.get("table").is_some()).count()
    }
}

pub(super) async fn picture<O: Order>(store: &RedbStore<O>) -> Result<Picture> {
    let positions = store.positions(&topic()).await?.into_iter().collect();
    let effect = match O::TYPE {
        "inventory" => Query::Stock { products: Vec::new() },
        _ => Query::Deliveries { orders: Vec::new() },
    };
    let mut rows = Vec::new();
    for query in [
        effect,
        Query::Movements { orders: Vec::new() },
        Query::DeadLetters { all: true },
        Query::Positions,
        Query::Own { table: OWN.into() },
        Query::Verify,
    ] {
        // A store of deliveries has no movements.
        if O::TYPE != "inventory" && matches!(query, Query::Movements { .. }) {
            continue;
        }
        for row in store.reader().ask(query).rows().await? {
            if let Row::Audit(audit) = &row
                && !audit.holds
            {
                return Err(Error::new(ErrorCode::Internal, format!("the audit does not hold: {:?}", audit.problems)));
            }
            rows.push(timeless(row.to_object()));
        }
    }
    let waiting = office(store).waiting(Mark::default(), ALL_SHARDS).await?;
    let outbox = waiting.events.into_iter().map(|event| (event.number, format!("{:?}", timeless_event(event.tidings))));
    let outbox = outbox.collect();
    let requested = office(store).replays().unwrap().requested(&[], usize::MAX).await?;
    // The number of a request is drawn.
    let requested = requested.into_iter().map(|row| Requested { request: 0, ..row }).collect();
    Ok(Picture { positions, rows, outbox, requested })
}

fn timeless_event(tidings: Tidings) -> Tidings {
    match tidings {
        Tidings::Letter(letter) => Tidings::Letter(Box::new(SetAside { first_failed: 0, last_failed: 0, ..*letter })),
        other => other,
    }
}

fn timeless(mut row: Value) -> Value {
    if let Some(fields) = row.as_object_mut() {
        for clock in ["first_failed", "last_failed", "set_at", "since", "outbox_since"] {
            fields.remove(clock);
        }
    }
    row
}
