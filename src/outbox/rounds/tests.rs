//! Rounds over an outbox whose topics take what a test lets them take.

use std::collections::BTreeSet;

use proptest::prelude::*;

use super::*;

/// An outbox, and a topic that takes what it is told to take.
#[derive(Debug)]
struct World {
    rounds: Rounds,
    rows: Vec<Row>,
    spent: BTreeSet<u64>,
    page_rows: usize,
    accepted: Vec<u64>,
    written: Vec<u64>,
    /// How often each was tried in this round.
    tried: Vec<u64>,
    waits: Vec<u32>,
    stays: Vec<u64>,
}

/// What becomes of the try to write a row, or to let some go.
type Fate<'f> = &'f mut dyn FnMut(&str, &Row) -> Option<Fault>;

impl World {
    fn of(topics: &[&str], page_rows: usize) -> Self {
        let row = |(topic, number): (&&str, u64)| Row { number, topic: (*topic).to_owned() };
        Self {
            rounds: Rounds::default(),
            rows: topics.iter().zip(1..).map(row).collect(),
            spent: BTreeSet::new(),
            page_rows,
            accepted: Vec::new(),
            written: Vec::new(),
            tried: Vec::new(),
            waits: Vec::new(),
            stays: Vec::new(),
        }
    }

    fn page(&self, after: u64) -> Page {
        let behind: Vec<&Row> = self.rows.iter().filter(|row| row.number > after).collect();
        let looked: Vec<&Row> = behind.iter().copied().take(self.page_rows).collect();
        let (spent, rows): (Vec<&Row>, Vec<&Row>) =
            looked.iter().copied().partition(|row| self.spent.contains(&row.number));
        Page {
            rows: rows.into_iter().cloned().collect(),
            spent: spent.into_iter().map(|row| row.number).collect(),
            until: looked.last().map_or(after, |row| row.number),
            is_last: looked.len() == behind.len(),
        }
    }

    fn row(&self, number: u64) -> Row {
        self.rows.iter().find(|row| row.number == number).cloned().expect("only what is there is published")
    }

    /// One round, until it rests or waits.
    fn round(&mut self, first: Event, fate: Fate<'_>) -> Effect {
        self.tried.clear();
        let mut events = vec![first];
        while !events.is_empty() {
            for event in std::mem::take(&mut events) {
                for effect in self.rounds.step(event) {
                    match effect {
                        Effect::Read(after) => events.push(Event::Page(self.page(after))),
                        Effect::Publish(number) => {
                            assert!(!self.tried.contains(&number), "{number} is tried twice in a round");
                            self.tried.push(number);
                            events.push(match fate("accept", &self.row(number)) {
                                Some(fault) => Event::Unwritten(number, fault),
                                None => {
                                    self.accepted.push(number);
                                    Event::Accepted(number)
                                }
                            });
                        }
                        Effect::Await => {
                            for number in std::mem::take(&mut self.accepted) {
                                events.push(match fate("write", &self.row(number)) {
                                    Some(fault) => Event::Unwritten(number, fault),
                                    None => {
                                        self.written.push(number);
                                        Event::Written(number)
                                    }
                                });
                            }
                        }
                        Effect::LetGo(gone) => {
                            for number in &gone {
                                let may_go = self.written.contains(number) || self.spent.contains(number);
                                assert!(may_go, "{number} is let go before it is written");
                            }
                            match fate("let go", &self.row(gone[0])) {
                                Some(fault) => events.push(Event::Failed(fault)),
                                None => {
                                    self.rows.retain(|row| !gone.contains(&row.number));
                                    events.push(Event::Gone);
                                }
                            }
                        }
                        Effect::Stay(stay) => self.stays.push(stay),
                        Effect::Wait(failures) => {
                            self.waits.push(failures);
                            assert!(events.is_empty());
                            return Effect::Wait(failures);
                        }
                        end @ (Effect::Rest | Effect::End) => {
                            assert!(events.is_empty());
                            return end;
                        }
                    }
                }
            }
        }
        panic!("the machine stands still: {:?}", self.rounds);
    }
}

#[test]
fn all_goes_page_by_page_and_then_it_rests() {
    let mut world = World::of(&["a-dlt", "b-dlt", "a-dlt", "a-dlt", "b-dlt"], 2);
    world.spent.insert(3);
    assert_eq!(world.round(Event::News, &mut |_, _| None), Effect::Rest);
    assert_eq!((world.written.as_slice(), world.rows.len(), world.stays.as_slice()), (&[1, 2, 4, 5][..], 0, &[0][..]));
    assert_eq!(world.rounds.done, 5);
    assert_eq!(world.rounds.step(Event::Stopped), [Effect::End]);
}

#[test]
fn a_topic_that_takes_nothing_holds_up_no_other_and_is_tried_once_a_round() {
    let mut world = World::of(&["a-dlt", "b-dlt", "a-dlt", "b-dlt"], 3);
    let mut away = |what: &str, row: &Row| (what == "accept" && row.topic == "a-dlt").then_some(Fault::Topic);
    for round in 0..3 {
        assert_eq!(world.round(Event::Due, &mut away), Effect::Wait(round));
        assert_eq!(world.tried.iter().filter(|number| [1, 3].contains(*number)).count(), 1);
    }
    assert_eq!((world.written.as_slice(), world.rounds.done, &*world.stays), (&[2, 4][..], 0, &[2, 2, 2][..]));
    assert_eq!(world.round(Event::Due, &mut |_, _| None), Effect::Rest);
    assert_eq!((world.written.as_slice(), world.rounds.failures), (&[2, 4, 1, 3][..], 0));
}

#[test]
fn a_record_that_cannot_be_written_stays_alone() {
    let mut world = World::of(&["a-dlt", "a-dlt", "a-dlt"], 9);
    let mut fate = |what: &str, row: &Row| (what == "write" && row.number == 2).then_some(Fault::Record);
    assert_eq!(world.round(Event::News, &mut fate), Effect::Wait(0));
    assert_eq!((world.written.as_slice(), world.rounds.done), (&[1, 3][..], 1));
    assert_eq!(world.round(Event::Due, &mut |_, _| None), Effect::Rest);
    assert_eq!(world.rounds.done, 2, "what came behind it is gone already");
}

#[test]
fn a_store_that_fails_is_asked_again_and_one_that_is_closed_ends_it() {
    let mut rounds = Rounds::default();
    assert_eq!(rounds.step(Event::News), [Effect::Read(0)]);
    assert_eq!(rounds.step(Event::Failed(Fault::Store)), [Effect::Wait(0)]);
    assert_eq!(rounds.step(Event::Due), [Effect::Read(0)]);
    assert_eq!(rounds.step(Event::Failed(Fault::Store)), [Effect::Wait(1)]);
    assert_eq!(rounds.step(Event::Due), [Effect::Read(0)]);
    assert_eq!(rounds.step(Event::Failed(Fault::Closed)), [Effect::End]);
}

proptest! {
    #[test]
    fn whatever_fails_nothing_is_let_go_unwritten_and_all_is_written_once_nothing_fails(
        topics in prop::collection::vec(prop::sample::select(vec!["a-dlt", "b-dlt", "order_refusals"]), 0..12),
        spent in prop::collection::btree_set(1_u64..12, 0..4),
        page_rows in 1_usize..5,
        fates in prop::collection::vec(0_u8..6, 0..60),
    ) {
        let mut world = World::of(&topics, page_rows);
        world.spent = spent;
        let all: BTreeSet<u64> = world.rows.iter().map(|row| row.number).filter(|n| !world.spent.contains(n)).collect();
        let mut fates = fates.into_iter();
        let mut fate = |what: &str, _: &Row| match (fates.next().unwrap_or(9), what) {
            (0, "let go") => Some(Fault::Store),
            (0, _) => Some(Fault::Topic),
            (1, "accept" | "write") => Some(Fault::Record),
            _ => None,
        };
        let mut next = Event::News;
        // Each round that fails uses up one fate at least.
        for _ in 0..80 {
            match world.round(next.clone(), &mut fate) {
                Effect::Rest => break,
                _ => next = Event::Due,
            }
            let first = world.rows.iter().map(|row| row.number).min();
            prop_assert!(first.is_none_or(|first| world.rounds.done < first), "{world:?}");
        }
        prop_assert!(world.rows.is_empty(), "{:?}", world);
        prop_assert_eq!(world.written.iter().copied().collect::<BTreeSet<_>>(), all);
    }
}
