//! Rounds of one relay over an outbox whose topics take what a test lets them take.

mod hands;
mod relays;

use std::collections::{BTreeMap, BTreeSet};

use proptest::prelude::*;

use super::*;
use crate::store::ALL_SHARDS;

/// How long a lease lasts, and after how long it is renewed, in milliseconds.
const LEASE: u64 = 300;
const RENEWAL: u64 = 100;

/// A row of the outbox: of one key, or of many keys for the first time.
#[derive(Clone, Debug)]
struct Kept {
    number: u64,
    topic: &'static str,
    key: Option<u64>,
    /// The shards in which it is to be told.
    left: u64,
}

/// A shard as the store keeps it.
#[derive(Clone, Copy, Debug, Default)]
struct Shard {
    relay: Option<usize>,
    token: u64,
}

/// What relays share: the rows, the leases, and the topics.
#[derive(Debug, Default)]
struct Store {
    now: u64,
    rows: Vec<Kept>,
    spent: BTreeSet<u64>,
    shards: BTreeMap<u8, Shard>,
    alive: BTreeMap<usize, u64>,
    /// What was written, in its order: row, shard, by whom.
    written: Vec<(u64, u8, usize)>,
}

fn shards_of(mask: u64) -> impl Iterator<Item = u8> {
    (0..64_u8).filter(move |shard| mask >> shard & 1 == 1)
}

impl Store {
    fn of(topics: &[&'static str]) -> Self {
        let row = |(topic, number): (&&'static str, u64)| Kept { number, topic, key: Some(number), left: 1 };
        Self { rows: topics.iter().zip(1..).map(row).collect(), ..Self::default() }
    }

    fn page(&self, after: u64, shards: u64, page_rows: usize) -> Page {
        let behind: Vec<&Kept> = self.rows.iter().filter(|row| row.number > after && row.left & shards != 0).collect();
        let looked: Vec<&Kept> = behind.iter().copied().take(page_rows).collect();
        let (spent, rows): (Vec<&Kept>, Vec<&Kept>) =
            looked.iter().copied().partition(|row| self.spent.contains(&row.number));
        let row = |row: &Kept| Row {
            number: row.number,
            part: 0,
            topic: row.topic.to_owned(),
            shards: row.left & shards,
            key: row.key,
        };
        Page {
            rows: rows.into_iter().map(row).collect(),
            spent: spent.into_iter().map(|row| Done { number: row.number, part: 0, shards: ALL_SHARDS }).collect(),
            until: Mark { event: looked.last().map_or(after, |row| row.number), scheduled: 0 },
            is_last: looked.len() == behind.len(),
            is_held: false,
            bytes: looked.len() as u64,
        }
    }

    /// As the database does it: who is alive, whose is what, a fair share of what is free.
    fn lease(&mut self, relay: usize, balance: bool) -> BTreeMap<u8, u64> {
        self.alive.insert(relay, self.now + LEASE);
        self.alive.retain(|_, until| *until >= self.now);
        let fair = 64_usize.div_ceil(self.alive.len());
        let mut mine: Vec<u8> =
            (0..64).filter(|shard| self.shards.get(shard).is_some_and(|shard| shard.relay == Some(relay))).collect();
        if balance {
            for shard in mine.split_off(mine.len().min(fair)) {
                self.shards.entry(shard).or_default().relay = None;
            }
            for shard in 0..64 {
                let kept = self.shards.entry(shard).or_default();
                let is_free = kept.relay.is_none_or(|owner| !self.alive.contains_key(&owner));
                if is_free && mine.len() < fair {
                    *kept = Shard { relay: Some(relay), token: kept.token + 1 };
                    mine.push(shard);
                }
            }
        }
        mine.iter().map(|shard| (*shard, self.shards[shard].token)).collect()
    }

    /// Lets rows go in the shards whose token is still that of the lease. Returns the others.
    fn let_go(&mut self, gone: &[Done], under: &BTreeMap<u8, u64>) -> u64 {
        let is_ours = |shard: &u8| self.shards.get(shard).map(|kept| kept.token) == under.get(shard).copied();
        let ours = (0..64).filter(is_ours).fold(0, |mask, shard| mask | 1_u64 << shard);
        for done in gone {
            for row in self.rows.iter_mut().filter(|row| row.number == done.number) {
                row.left &= !(done.shards & ours);
            }
        }
        self.rows.retain(|row| row.left != 0);
        under.keys().fold(0, |mask, shard| mask | 1 << shard) & !ours
    }
}

/// One relay, driven step by step.
#[derive(Debug)]
struct Relay {
    name: usize,
    rounds: Rounds,
    page_rows: usize,
    events: std::collections::VecDeque<Event>,
    leases: BTreeMap<u8, u64>,
    under: BTreeMap<u8, u64>,
    accepted: Vec<(u64, u8, u64)>,
    /// How often each was tried in this round.
    tried: Vec<(u64, u8)>,
    waits: Vec<u32>,
    stays: Vec<u64>,
    at_rest: Option<Effect>,
}

/// What becomes of the try to write a row, or to let some go.
type Fate<'f> = &'f mut dyn FnMut(&str, &Row) -> Option<Fault>;

impl Relay {
    fn new(name: usize, page_rows: usize) -> Self {
        Self {
            name,
            rounds: Rounds::of(2 * page_rows as u64),
            page_rows,
            events: [Event::News].into(),
            leases: BTreeMap::new(),
            under: BTreeMap::new(),
            accepted: Vec::new(),
            tried: Vec::new(),
            waits: Vec::new(),
            stays: Vec::new(),
            at_rest: None,
        }
    }

    /// One event and what follows from it.
    fn step(&mut self, store: &mut Store, fate: Fate<'_>) {
        let Some(event) = self.events.pop_front() else { return };
        if matches!(event, Event::News | Event::Due) {
            self.tried.clear();
        }
        for effect in self.rounds.step(Seen { at: store.now, event }) {
            self.act(effect, store, fate);
        }
    }

    fn act(&mut self, effect: Effect, store: &mut Store, fate: Fate<'_>) {
        match effect {
            Effect::Lease(balance) => {
                let leased = self.lease(balance, store);
                self.events.push_back(Event::Leased(leased));
            }
            Effect::Read(after, shards, hand) => {
                if hand == Hand::New {
                    self.under = self.leases.clone();
                }
                self.events.push_back(Event::Page(store.page(after.event, shards, self.page_rows)));
            }
            Effect::Publish(number, part, shards) => {
                assert!(!self.tried.contains(&(number, part)), "{number} is tried twice in a round");
                self.tried.push((number, part));
                let ours = self.leases.keys().fold(0, |mask, shard| mask | 1_u64 << shard);
                assert_eq!(shards & !ours, 0, "{number} is told of in a shard that is known to be another's");
                let row = self.row(number, part).expect("only what is there is published");
                self.events.push_back(match fate("accept", &row) {
                    Some(fault) => Event::Unwritten(number, part, fault),
                    None => {
                        self.accepted.push((number, part, shards));
                        Event::Accepted(number, part)
                    }
                });
            }
            Effect::Await => {
                for (number, part, shards) in std::mem::take(&mut self.accepted) {
                    let row = self.row(number, part).expect("only what is there is awaited");
                    self.events.push_back(match fate("write", &row) {
                        Some(fault) => Event::Unwritten(number, part, fault),
                        None => {
                            store.written.extend(shards_of(shards).map(|shard| (number, shard, self.name)));
                            Event::Written(number, part)
                        }
                    });
                }
            }
            Effect::Linger(until) => {
                let mark = self.rounds.hand.until.event;
                let ours = self.leases.keys().fold(0, |mask, shard| mask | 1_u64 << shard);
                let has_news = store.rows.iter().any(|row| row.number > mark && row.left & ours != 0);
                store.now = if has_news { store.now } else { store.now.max(until) };
                self.events.push_back(if has_news { Event::News } else { Event::Due });
            }
            Effect::LetGo(gone) => {
                for done in &gone {
                    let is_written = |shard| store.written.contains(&(done.number, shard, self.name));
                    let may_go = store.spent.contains(&done.number) || shards_of(done.shards).all(is_written);
                    assert!(may_go, "{done:?} is let go before it is written");
                }
                let row = Row { number: gone[0].number, part: 0, topic: String::new(), shards: 0, key: None };
                self.events.push_back(match fate("let go", &row) {
                    Some(fault) => Event::Failed(fault),
                    None => Event::Gone(store.let_go(&gone, &self.under)),
                });
            }
            Effect::Stay(stay) => self.stays.push(stay),
            Effect::Wait(failures) => {
                self.waits.push(failures);
                self.at_rest = Some(Effect::Wait(failures));
            }
            end @ (Effect::Rest | Effect::End) => self.at_rest = Some(end),
        }
    }

    fn lease(&mut self, balance: bool, store: &mut Store) -> Leased {
        let leases = store.lease(self.name, balance);
        let mask = |of: &dyn Fn(&u8, &u64) -> bool| {
            leases.iter().filter(|(shard, token)| of(shard, token)).fold(0, |mask, (shard, _)| mask | 1 << shard)
        };
        let kept = mask(&|shard, token| self.leases.get(shard) == Some(token));
        let leased = Leased { shards: mask(&|_, _| true), kept, renew_at: store.now + RENEWAL };
        self.leases = leases;
        leased
    }

    fn row(&self, number: u64, part: u8) -> Option<Row> {
        self.rounds.hand.rows.iter().find(|row| (row.number, row.part) == (number, part)).cloned()
    }

    /// One round, until it rests or waits.
    fn round(&mut self, first: Event, store: &mut Store, fate: Fate<'_>) -> Effect {
        self.events = [first].into();
        self.at_rest = None;
        while !self.events.is_empty() {
            self.step(store, fate);
        }
        self.at_rest.clone().unwrap_or_else(|| panic!("the machine stands still: {:?}", self.rounds))
    }
}

fn numbers(store: &Store) -> Vec<u64> {
    store.written.iter().map(|(number, ..)| *number).collect()
}

#[test]
fn all_goes_page_by_page_and_then_it_rests() {
    let (mut store, mut relay) = (Store::of(&["a-dlt", "b-dlt", "a-dlt", "a-dlt", "b-dlt"]), Relay::new(0, 2));
    store.spent.insert(3);
    assert_eq!(relay.round(Event::News, &mut store, &mut |_, _| None), Effect::Rest);
    assert_eq!((numbers(&store).as_slice(), store.rows.len()), (&[1, 2, 4, 5][..], 0));
    assert_eq!(relay.stays, [0]);
    assert_eq!(relay.rounds.step(Seen { at: 0, event: Event::Stopped }), [Effect::End]);
}

#[test]
fn a_topic_that_takes_nothing_holds_up_no_other_and_is_tried_once_a_round() {
    let (mut store, mut relay) = (Store::of(&["a-dlt", "b-dlt", "a-dlt", "b-dlt"]), Relay::new(0, 3));
    let mut away = |what: &str, row: &Row| (what == "accept" && row.topic == "a-dlt").then_some(Fault::Topic);
    for round in 0..3 {
        assert_eq!(relay.round(Event::Due, &mut store, &mut away), Effect::Wait(round));
        assert_eq!(relay.tried.iter().filter(|(number, _)| [1, 3].contains(number)).count(), 1);
    }
    assert_eq!((numbers(&store).as_slice(), &*relay.stays), (&[2, 4][..], &[2, 2, 2][..]));
    assert_eq!(relay.round(Event::Due, &mut store, &mut |_, _| None), Effect::Rest);
    assert_eq!((numbers(&store).as_slice(), relay.rounds.failures), (&[2, 4, 1, 3][..], 0));
}

#[test]
fn a_record_that_cannot_be_written_stays_alone_but_for_what_its_key_has_to_tell_later() {
    let (mut store, mut relay) = (Store::of(&["a-dlt", "a-dlt", "a-dlt", "a-dlt"]), Relay::new(0, 9));
    store.rows[3].key = Some(2);
    let mut fate = |what: &str, row: &Row| (what == "write" && row.number == 2).then_some(Fault::Record);
    assert_eq!(relay.round(Event::News, &mut store, &mut fate), Effect::Wait(0));
    assert_eq!((numbers(&store), &*relay.stays), (vec![1, 3], &[2][..]));
    assert_eq!(relay.round(Event::Due, &mut store, &mut |_, _| None), Effect::Rest);
    assert_eq!(numbers(&store), [1, 3, 2, 4]);
}

#[test]
fn a_later_event_of_a_key_is_sent_when_the_earlier_one_is_written() {
    let (mut store, mut relay) = (Store::of(&["status"; 3]), Relay::new(0, 9));
    // Deliveries are scheduled, then one of them moves twice.
    store.rows[0] = Kept { number: 1, topic: "status", key: None, left: 0b111 };
    (store.rows[1].key, store.rows[2].key) = (Some(9), Some(9));
    let mut sent = Vec::new();
    let mut fate = |what: &str, row: &Row| {
        sent.push(format!("{what} {}", row.number));
        None
    };
    assert_eq!(relay.round(Event::News, &mut store, &mut fate), Effect::Rest);
    sent.retain(|what| !what.starts_with("let go"));
    assert_eq!(sent, ["accept 1", "write 1", "accept 2", "write 2", "accept 3", "write 3"]);
}

#[test]
fn a_store_that_fails_is_asked_again_and_one_that_is_closed_ends_it() {
    let mut rounds = Rounds::default();
    let mut step = |event| rounds.step(Seen { at: 0, event });
    let lease = Leased { shards: ALL_SHARDS, kept: 0, renew_at: u64::MAX };
    assert_eq!(step(Event::News), [Effect::Lease(true)]);
    assert_eq!(step(Event::Failed(Fault::Store)), [Effect::Wait(0)]);
    assert_eq!(step(Event::Due), [Effect::Lease(true)]);
    assert_eq!(step(Event::Leased(lease)), [Effect::Read(Mark::default(), ALL_SHARDS, Hand::New)]);
    assert_eq!(step(Event::Failed(Fault::Store)), [Effect::Wait(1)]);
    assert_eq!(step(Event::Due), [Effect::Read(Mark::default(), ALL_SHARDS, Hand::New)]);
    assert_eq!(step(Event::Failed(Fault::Closed)), [Effect::End]);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    #[test]
    fn whatever_fails_nothing_is_let_go_unwritten_and_all_is_written_once_nothing_fails(
        topics in prop::collection::vec(prop::sample::select(vec!["a-dlt", "b-dlt", "order_refusals"]), 0..12),
        spent in prop::collection::btree_set(1_u64..12, 0..4),
        page_rows in 1_usize..5,
        fates in prop::collection::vec(0_u8..6, 0..60),
    ) {
        let (mut store, mut relay) = (Store::of(&topics), Relay::new(0, page_rows));
        store.spent = spent;
        let all: BTreeSet<u64> = store.rows.iter().map(|row| row.number).filter(|n| !store.spent.contains(n)).collect();
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
            match relay.round(next.clone(), &mut store, &mut fate) {
                Effect::Rest => break,
                _ => next = Event::Due,
            }
        }
        prop_assert!(store.rows.is_empty(), "{:?}", store);
        prop_assert_eq!(numbers(&store).into_iter().collect::<BTreeSet<_>>(), all);
    }
}
