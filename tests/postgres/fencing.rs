//! Fencing of relays: whoever has lost a shard changes nothing of it, whatever it says was published.
//!
//! ```text
//!  seed --> shop: schedules, moves | relays: lease, read and publish, let go | the lease of one ends, it draws a new name or wakes late
//!                                       |                                  |
//!                  what was published, by key               rows before and after, tokens by SQL
//! ```
//! The same with processes: two that are killed, stopped and woken while deliveries are scheduled and moved.
//! `FENCING_SEEDS="1 2 3" FENCING_STEPS=5000 FENCING_SECONDS=120` makes both longer.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use orderflow::broker::DevBroker;
use orderflow::outbox::{CUSTOMER_NOTIFICATIONS, DELIVERY_STATUS};
use orderflow::store::{
    BackOffice, Backlog, DeliveryPolicy, DeliveryTold, Done, EventId, Leases, Position, PostgresDeliveries, Status,
    Store, Tidings,
};

use crate::home::Postgres;
use crate::relays::told;
use crate::store_support::cases::events::{all_of, deliveries, everything};
use crate::store_support::{Home, numbered, topic};
use crate::support::example;
use crate::support::player::Player;
use crate::support::program::Program;
use crate::support::wait::until_async;
use crate::{Case, block_on, server};

pub(crate) fn cases() -> Vec<Case> {
    macro_rules! fencing {
        ($($case:ident),* $(,)?) => {
            vec![$({
                let body: fn() = || block_on($case());
                (concat!("fencing::", stringify!($case)).to_owned(), body)
            }),*]
        };
    }
    fencing![
        a_relay_that_lost_a_shard_changes_none_of_its_rows_and_everything_is_told_in_order,
        relays_killed_stopped_and_woken_tell_every_change_of_a_delivery_in_order,
    ]
}

const LONG: Duration = Duration::from_secs(600);
const RELAYS: usize = 3;
/// A delivery leaves and arrives: it has as many versions.
const MOVES: [Status; 2] = [Status::OutForDelivery, Status::Delivered];

fn setting(name: &str, default: u64) -> u64 {
    std::env::var(name).ok().map_or(default, |value| value.parse().expect("a number"))
}

fn seeds() -> Vec<u64> {
    let seeds = std::env::var("FENCING_SEEDS").unwrap_or_else(|_| fastrand::u64(..1 << 20).to_string());
    seeds.split_whitespace().map(|seed| seed.parse().expect("a seed is a number")).collect()
}

/// Orders that come, and deliveries that move.
struct Shop {
    store: PostgresDeliveries,
    at: Position,
    versions: Vec<usize>,
}

impl Shop {
    async fn open(home: &Postgres) -> Self {
        let store = home.open_deliveries(DeliveryPolicy::default()).await;
        Self { store, at: Position::default(), versions: Vec::new() }
    }

    fn delivery(index: usize) -> EventId {
        EventId::of(numbered(2, index as u64).as_ref(), &topic(), 0, 0)
    }

    async fn go_on(&mut self, chance: &mut fastrand::Rng) {
        if self.versions.is_empty() || chance.u8(..4) == 0 {
            let more = chance.usize(1..6);
            let applied = self.store.apply(deliveries(&self.at, more as i64)).await.unwrap();
            self.at = applied.parts[0].position.clone();
            self.versions.resize(self.versions.len() + more, 1);
            return;
        }
        let index = chance.usize(..self.versions.len());
        let Some(to) = MOVES.get(self.versions[index] - 1) else { return };
        assert!(self.store.move_delivery(Self::delivery(index), *to, None).await.unwrap().moved);
        self.versions[index] += 1;
    }

    /// Every version of every delivery was told, first sendings in their order.
    fn reckon(&self, told: &BTreeMap<String, Vec<u32>>, seed: u64) {
        assert_eq!(told.len(), self.versions.len(), "seed {seed}");
        for (index, version) in self.versions.iter().enumerate() {
            let id = Self::delivery(index).to_string();
            let mut first: Vec<u32> = Vec::new();
            for version in &told[&id] {
                if !first.contains(version) {
                    first.push(*version);
                }
            }
            assert_eq!(first, (1..=*version as u32).collect::<Vec<_>>(), "seed {seed}: delivery {id}: {:?}", told[&id]);
        }
    }
}

/// A relay, with the page that it has published and not let go yet.
struct Relay {
    name: u128,
    office: Arc<dyn BackOffice>,
    page: Option<(Vec<Done>, Leases)>,
}

fn shard_of(id: EventId) -> u8 {
    let mix = |hash: u64, byte: &u8| (hash ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3);
    let hash = id.as_bytes().iter().fold(0xcbf2_9ce4_8422_2325, mix);
    ((hash ^ hash >> 32) % 64) as u8
}

impl Relay {
    /// Leases, reads what waits, and publishes it.
    async fn publish(&mut self, log: &mut BTreeMap<String, Vec<u32>>) {
        let leases = self.office.lease(self.name, LONG, true).await.unwrap();
        let events = everything(&*self.office, leases.mask()).await;
        for event in &events {
            let mut tell = |told: &DeliveryTold| {
                if event.left[0] & leases.mask() & 1 << shard_of(told.id) != 0 {
                    log.entry(told.id.to_string()).or_default().push(told.version);
                }
            };
            match &event.tidings {
                Tidings::Scheduled(several) => several.iter().for_each(tell),
                Tidings::Moved(told) => tell(told),
                other => panic!("{other:?}"),
            }
        }
        self.page = Some((events.iter().flat_map(all_of).collect(), leases));
    }
}

/// What waits in the database: each row with the shards that are told.
fn rows(schema: &str) -> BTreeMap<String, Vec<u64>> {
    let rows = format!(
        "SELECT 's' || id, -1, status_told, customers_told FROM {schema}.scheduled
         UNION ALL SELECT 'e' || event, shard, told, told FROM {schema}.outbox"
    );
    let row = |line: &str| {
        let mut columns = line.split('|');
        let name = columns.next().unwrap().to_owned();
        (name, columns.map(|column| column.parse::<i64>().unwrap() as u64).collect())
    };
    server().sql(&rows).lines().map(row).collect()
}

/// Whether a row has changed in shards that were lost.
fn has_changed(before: &[u64], after: Option<&Vec<u64>>, lost: u64) -> bool {
    let is_scheduled = before[0] == u64::MAX;
    match after {
        None if is_scheduled => !before[1] & lost != 0 || !before[2] & lost != 0,
        Some(after) if is_scheduled => ((before[1] ^ after[1]) | (before[2] ^ after[2])) & lost != 0,
        after => lost >> before[0] & 1 == 1 && after.is_none_or(|after| after != before),
    }
}

async fn a_relay_that_lost_a_shard_changes_none_of_its_rows_and_everything_is_told_in_order() {
    let steps = setting("FENCING_STEPS", 250);
    for seed in seeds() {
        println!("FENCING_SEEDS={seed} FENCING_STEPS={steps} runs it again");
        let mut chance = fastrand::Rng::with_seed(seed);
        let home = Postgres::next();
        let schema = home.schema("delivery");
        let (mut shop, mut relays, mut log) = (Shop::open(&home).await, Vec::new(), BTreeMap::new());
        let mut stores = Vec::new();
        for name in 1..=RELAYS as u128 {
            let store = home.open_deliveries(DeliveryPolicy::default()).await;
            relays.push(Relay { name, office: store.back_office().unwrap(), page: None });
            stores.push(store);
        }
        let mut late = 0;
        // Few steps may have none that comes late.
        for step in 0..steps * 10 {
            if step >= steps && late > 0 {
                break;
            }
            let number = chance.usize(..RELAYS);
            let relay = &mut relays[number];
            match chance.u8(..10) {
                0..3 => shop.go_on(&mut chance).await,
                // It stands still: its lease is over, and it will go on with what it has. Or it dies.
                3..5 => {
                    if relay.page.is_none() {
                        relay.publish(&mut log).await;
                    }
                    let silent = format!("UPDATE {schema}.relays SET until = 0 WHERE name = '\\x{:032x}'", relay.name);
                    server().sql(&silent);
                    if chance.u8(..3) == 0 {
                        (relay.name, relay.page) = (u128::from(step) + 1_000, None);
                    }
                    let heir = &mut relays[(number + 1) % RELAYS];
                    if heir.page.is_none() {
                        heir.publish(&mut log).await;
                    }
                }
                _ => match relay.page.take() {
                    None => relay.publish(&mut log).await,
                    Some((done, leases)) => late += let_go(relay, done, leases, (&schema, seed)).await,
                },
            }
        }
        for relay in &relays {
            relay.office.leave(relay.name).await.unwrap();
        }
        server().sql(&format!("DELETE FROM {schema}.relays"));
        let heir = &mut relays[0];
        while heir.office.backlog().await.unwrap() != Backlog::default() {
            heir.publish(&mut log).await;
            let (done, leases) = heir.page.take().unwrap();
            assert_eq!(heir.office.published(done, leases).await.unwrap(), 0);
        }
        println!("seed {seed}: {} deliveries, {late} pages came late", shop.versions.len());
        assert!(late > 0, "seed {seed}: no page came late");
        shop.reckon(&log, seed);
        for store in stores.into_iter().chain([shop.store]) {
            store.close().await.unwrap();
        }
    }
}

/// Lets a page go. Whether shards of it had been lost: then their rows must be what they were.
async fn let_go(relay: &Relay, done: Vec<Done>, leases: Leases, (schema, seed): (&str, u64)) -> u32 {
    let tokens = server().sql(&format!("SELECT shard, token FROM {schema}.shards"));
    let token = |line: &str| {
        let (shard, token) = line.split_once('|').unwrap();
        (shard.parse::<u8>().unwrap(), token.parse::<u64>().unwrap())
    };
    let tokens: BTreeMap<u8, u64> = tokens.lines().map(token).collect();
    let lost = leases.shards.iter().filter(|lease| tokens[&lease.shard] != lease.token);
    let lost = lost.fold(0, |mask, lease| mask | 1_u64 << lease.shard);
    let before = rows(schema);
    let answer = relay.office.published(done, leases).await.unwrap();
    let after = rows(schema);
    for (name, row) in &before {
        let now = after.get(name);
        assert!(!has_changed(row, now, lost), "seed {seed}: {name} was {row:x?} and is {now:x?}; lost were {lost:x}");
    }
    assert_eq!(answer, lost, "seed {seed}: what was lost is told");
    u32::from(lost != 0)
}

fn relay(number: usize, home: &Postgres, broker: &DevBroker) -> Player {
    let (bootstrap, store) = (broker.bootstrap(), home.url_of("delivery"));
    Player::new("delivery_consumer", usize::MAX, move |_| {
        // A connection that the server ends while a program opens its store would end the program.
        let settings = [
            "outbox.lease.ms=1000",
            "outbox.poll.ms=50",
            "session.timeout.ms=3000",
            "heartbeat.interval.ms=500",
            "store.idle.timeout.ms=5000",
        ];
        let quiet =
            Program::new("sh").args(["-c", "exec \"$0\" \"$@\" >/dev/null"]).arg(example::path("delivery_consumer"));
        let consumer = quiet.args(["-b", &bootstrap, "-g", "delivery", "--store", &store]);
        let consumer = consumer.args(["-X", &format!("client.id=relay-{number}")]);
        settings.iter().fold(consumer, |consumer, setting| consumer.args(["-X", setting]))
    })
}

/// What a topic tells of each delivery, as versions.
fn versions(broker: &DevBroker, topic: &str) -> BTreeMap<String, Vec<u32>> {
    let version = |identity: &String| identity.rsplit(':').next().unwrap().parse().unwrap();
    told(broker, topic).into_iter().map(|(key, identities)| (key, identities.iter().map(version).collect())).collect()
}

async fn relays_killed_stopped_and_woken_tell_every_change_of_a_delivery_in_order() {
    drop(example::path("delivery_consumer"));
    let lasts = Duration::from_secs(setting("FENCING_SECONDS", 9));
    for seed in seeds() {
        println!("FENCING_SEEDS={seed} FENCING_SECONDS={} runs it again", lasts.as_secs());
        let mut chance = fastrand::Rng::with_seed(seed);
        let home = Postgres::next();
        let mut shop = Shop::open(&home).await;
        let broker = DevBroker::builder().group_session(Duration::from_secs(3)).topic("delivery_orders", 2);
        let broker = broker.start().await.unwrap();
        let mut relays = [0, 1].map(|number| relay(number, &home, &broker));
        let (begun, mut faults, mut next) = (Instant::now(), 0, Duration::from_millis(1_500));
        while begun.elapsed() < lasts {
            relays.iter_mut().for_each(Player::go_on);
            shop.go_on(&mut chance).await;
            let player = &mut relays[chance.usize(..2)];
            if begun.elapsed() > next && player.is_awake() {
                let millis = chance.u64(200..2_500);
                match chance.bool() {
                    true => player.kill(Duration::from_millis(millis / 4)),
                    false => player.stop_for(Duration::from_millis(millis)),
                }
                faults += 1;
                next += Duration::from_millis(chance.u64(200..900));
            }
        }
        relays.iter_mut().for_each(Player::wake);
        let office = shop.store.back_office().unwrap();
        let all = || {
            relays.iter_mut().for_each(Player::go_on);
            let office = &office;
            async move { (office.backlog().await.ok() == Some(Backlog::default())).then_some(()) }
        };
        until_async("everything is told", Duration::from_secs(60), all).await;
        relays.iter_mut().for_each(Player::end);
        let kills: u32 = relays.iter().map(|relay| relay.kills).sum();
        let status = versions(&broker, DELIVERY_STATUS);
        let sent: usize = status.values().map(Vec::len).sum();
        let once: usize = shop.versions.iter().sum();
        println!(
            "seed {seed}: {faults} faults, {kills} of them deaths, {once} changes told, {} of them again",
            sent - once
        );
        shop.reckon(&status, seed);
        shop.reckon(&versions(&broker, CUSTOMER_NOTIFICATIONS), seed);
        shop.store.close().await.unwrap();
        broker.shutdown().await;
    }
}
