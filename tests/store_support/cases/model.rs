//! Any store against a plain model in memory: same outcomes, same stock, whatever comes.

use std::collections::{BTreeMap, HashSet};

use orderflow::order::{Identity, InventoryOrder};
use orderflow::store::{
    Applied, Audit, Batch, Entry, Outcome, Part, Position, Query, Row, Settled, Store, StoreReader, Work,
};
use orderflow::{Error, ErrorCode};
use proptest::prelude::*;

use super::super::{Home, dead_letter, entry, movement, numbered, topic};

/// What one partition is given: identities with what is to be done.
pub type Share = (i32, Vec<(Option<u64>, Kind)>);

/// Something that happens.
#[derive(Clone, Debug)]
pub enum Step {
    /// Parts, each of a partition with records; some are left waiting.
    Batch(Vec<Share>),
    /// The last batch once more: its answer was lost.
    Repeat,
    /// A batch of somebody who does not know the newest version.
    Zombie,
    Restart,
    /// The process is gone without a word.
    Kill,
}

/// What a record is.
#[derive(Clone, Copy, Debug)]
pub enum Kind {
    Move(u8, i32),
    Broken,
    /// No record at this offset.
    Hole,
    /// Another order of the key is waited for; this one is settled ahead.
    Waits,
}

#[derive(Default)]
struct Model {
    stock: BTreeMap<String, (i64, u64)>,
    settled: HashSet<Identity>,
    positions: BTreeMap<i32, Position>,
    counts: [u64; 5],
}

impl Model {
    fn outcome(&mut self, entry: &Entry<InventoryOrder>) -> &'static str {
        let known = entry.identity.as_ref().is_some_and(|identity| self.settled.contains(identity));
        if known {
            return "duplicate";
        }
        let Work::Apply(order) = &entry.work else { return "dead letter" };
        self.settled.extend(entry.identity.clone());
        let sign = if order.movement().as_str() == "issue" { -1 } else { 1 };
        let (stock, movements) = self.stock.entry(order.product_id().to_owned()).or_default();
        let after = *stock + sign * i64::from(order.quantity());
        if after < 0 {
            return "refused";
        }
        (*stock, *movements) = (after, *movements + 1);
        "applied"
    }

    fn apply(&mut self, batch: &Batch<InventoryOrder>) -> Vec<Vec<&'static str>> {
        let parts = batch.parts.iter().map(|part| {
            let outcomes: Vec<_> = part.entries.iter().map(|entry| self.outcome(entry)).collect();
            for outcome in &outcomes {
                let kinds = ["applied", "duplicate", "refused", "dead letter"];
                self.counts[kinds.iter().position(|kind| kind == outcome).unwrap()] += 1;
            }
            outcomes
        });
        parts.collect()
    }
}

fn names(applied: &Applied) -> Vec<Vec<&'static str>> {
    let name = |outcome: &Outcome| match outcome {
        Outcome::Applied => "applied",
        Outcome::Duplicate => "duplicate",
        Outcome::Refused { .. } => "refused",
        Outcome::DeadLetter { .. } => "dead letter",
    };
    applied.parts.iter().map(|part| part.outcomes.iter().map(name).collect()).collect()
}

fn build(model: &mut Model, parts: &[Share], token: u128) -> Batch<InventoryOrder> {
    let mut batch = Batch { topic: topic(), parts: Vec::new() };
    for (partition, records) in parts {
        if batch.parts.iter().any(|part: &Part<InventoryOrder>| part.partition == *partition) {
            continue;
        }
        let at = model.positions.get(partition).cloned().unwrap_or_default();
        let mut settled = at.settled.clone();
        let mut offset = settled.ranges().last().map_or(at.next, |(_, end)| end);
        // A partition that was never written begins at its first record.
        let mut entries = Vec::new();
        let mut holes = 0;
        // What waited is done first.
        if !settled.is_empty() && matches!(records.first(), Some((_, Kind::Move(..)))) {
            entries.push(entry(at.next, None, movement("9", 1)));
            settled.insert(at.next);
        }
        for (index, kind) in records {
            let identity = index.and_then(|index| numbered((index % 2) as u8, index));
            match kind {
                Kind::Move(product, quantity) => {
                    entries.push(entry(offset, identity, movement(&format!("{product:02}"), *quantity)));
                }
                Kind::Broken => entries.push(entry(offset, identity, dead_letter())),
                Kind::Hole if at.version > 0 || !entries.is_empty() => holes += 1,
                Kind::Waits if at.version > 0 && settled.is_empty() => {
                    offset += 1;
                    continue;
                }
                Kind::Hole | Kind::Waits => continue,
            }
            settled.insert(offset);
            offset += 1;
        }
        let next = settled.advance(at.next);
        model.counts[4] += holes;
        let expected = at.version;
        batch.parts.push(Part { partition: *partition, expected, token, next, settled, leader_epoch: 0, entries });
    }
    batch
}

async fn stock_of(reader: &StoreReader) -> BTreeMap<String, (i64, u64)> {
    let rows = reader.ask(Query::Stock { products: Vec::new() }).rows().await.unwrap();
    let stock = rows.into_iter().map(|row| match row {
        Row::Stock(row) => (row.product_id, (row.stock, row.movements)),
        other => panic!("{other:?}"),
    });
    stock.collect()
}

async fn audit_of(reader: &StoreReader) -> Audit {
    match reader.ask(Query::Verify).rows().await.unwrap().as_slice() {
        [Row::Audit(audit)] => audit.clone(),
        other => panic!("{other:?}"),
    }
}

/// Takes the steps.
pub async fn run<H: Home>(steps: Vec<Step>) {
    let home = H::new().await;
    let mut store = home.open().await;
    let mut model = Model::default();
    let mut last: Option<(Batch<InventoryOrder>, Applied)> = None;
    for (number, step) in steps.into_iter().enumerate() {
        match step {
            Step::Batch(parts) => {
                let batch = build(&mut model, &parts, number as u128 + 1);
                let expected = model.apply(&batch);
                let applied = store.apply(batch.clone()).await.unwrap();
                assert_eq!(names(&applied), expected, "step {number}: {batch:#?}");
                model.positions.extend(applied.parts.iter().map(|part| (part.partition, part.position.clone())));
                last = Some((batch, applied));
            }
            Step::Repeat => {
                if let Some((batch, answer)) = &last {
                    assert_eq!(&store.apply(batch.clone()).await.unwrap(), answer, "step {number}");
                }
            }
            Step::Zombie => {
                if let Some((batch, _)) = last.as_ref().filter(|(batch, _)| !batch.parts.is_empty()) {
                    let mut stale = batch.clone();
                    stale.parts[0].token += 1_000_000;
                    let refused: Result<Applied, Error> = store.apply(stale).await;
                    assert_eq!(refused.unwrap_err().code(), ErrorCode::StoreConflict, "step {number}");
                }
            }
            Step::Restart => {
                store.close().await.unwrap();
                store = home.open().await;
            }
            Step::Kill => {
                drop(store);
                store = home.open().await;
            }
        }
    }
    assert_eq!(store.positions(&topic()).await.unwrap(), model.positions);
    model.stock.retain(|_, (_, movements)| *movements > 0);
    assert_eq!(stock_of(&home.reader(&store).await).await, model.stock);
    let audit = audit_of(&home.reader(&store).await).await;
    assert_eq!(audit.problems, Vec::<String>::new());
    let counts = audit.counts;
    assert_eq!(
        [counts.applied, counts.duplicates, counts.refused, counts.dead_letters, counts.no_record],
        model.counts
    );
    store.close().await.unwrap();
}

/// What may happen to a store.
pub fn steps() -> impl Strategy<Value = Vec<Step>> {
    let kind = prop_oneof![
        8 => (0_u8..6, -9_i32..20).prop_map(|(product, quantity)| {
            Kind::Move(product, if quantity == 0 { 1 } else { quantity })
        }),
        1 => Just(Kind::Broken),
        1 => Just(Kind::Hole),
        1 => Just(Kind::Waits),
    ];
    let record = (prop::option::weighted(0.8, 0_u64..60), kind);
    let part = (0_i32..4, prop::collection::vec(record, 0..12));
    let step = prop_oneof![
        8 => prop::collection::vec(part, 0..4).prop_map(Step::Batch),
        2 => Just(Step::Repeat),
        1 => Just(Step::Zombie),
        1 => Just(Step::Restart),
        1 => Just(Step::Kill),
    ];
    prop::collection::vec(step, 1..14)
}

pub async fn settled_sets_stay_empty_while_nothing_waits<H: Home>() {
    let home = H::new().await;
    let store = home.open().await;
    let mut model = Model::default();
    let batch = build(&mut model, &[(0, vec![(Some(1), Kind::Move(1, 5)), (Some(2), Kind::Move(1, 5))])], 1);
    let applied = store.apply(batch).await.unwrap();
    assert_eq!(applied.parts[0].position.settled, Settled::new());
}
