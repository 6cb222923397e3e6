//! The shop under siege: our four programs, three nodes, a fault every few seconds, and the reckoning.

use std::collections::BTreeMap;
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use orderflow::order::generate::{Generate, Generator};
use orderflow::order::{DeliveryOrder, InventoryOrder};
use serde_json::Value;

use super::faults::{About, Fault, PROGRAMS, Schedule};
use super::nodes::{CLIENT, Nodes};
use crate::cluster::Servers;
use crate::shop;
use crate::support::player::{Memory, Player};
use crate::support::program::Program;
use crate::support::{example, wait};
use crate::{install, support::ndjson};

/// What one siege is.
#[derive(Clone, Debug)]
pub(super) struct Siege {
    pub(super) seed: u64,
    /// Inventory orders and delivery orders.
    pub(super) orders: [usize; 2],
    /// Into how many files they are split. A producer that was killed sends the whole file again.
    pub(super) files: [usize; 2],
    /// Orders a second of each producer; 0 has no limit.
    pub(super) rate: usize,
    /// Milliseconds between two faults.
    pub(super) gap: Range<u64>,
    /// Which programs are killed: producers, then consumers. The others are only stopped for a while.
    pub(super) mortal: [bool; PROGRAMS],
    pub(super) compression: &'static str,
    /// How long the whole may take.
    pub(super) within: Duration,
}

const TOPICS: [&str; 2] = ["inventory_orders", "delivery_orders"];
const GROUPS: [&str; 2] = ["inventory", "delivery"];

/// Megabytes that a consumer may take, however many orders there are.
const MOST_MEMORY: u64 = 100;

/// How long everything may take to be settled when nothing goes wrong any more.
const RECOVERY: Duration = Duration::from_secs(90);

/// Orders and their quantity, by product.
type Count = BTreeMap<String, [u64; 2]>;

/// What a siege came to.
#[derive(Debug)]
pub(super) struct Reckoning {
    pub(super) faults: BTreeMap<&'static str, u32>,
    pub(super) took: Duration,
    pub(super) recovered: Duration,
    /// Records in the logs, and copies among them that files sent again have left.
    pub(super) records: u64,
    pub(super) copies: u64,
}

struct Shop {
    siege: Siege,
    nodes: Nodes,
    players: Vec<Player>,
    stores: [PathBuf; 2],
    faults: BTreeMap<&'static str, u32>,
    since: Instant,
    tenths: usize,
    told: Instant,
}

impl Siege {
    /// Lets it happen, and reckons up.
    pub(super) fn run(self) -> Reckoning {
        let folder = tempfile::tempdir().expect("a folder");
        let mut shop = Shop::open(self, folder.path());
        shop.suffer();
        let took = shop.since.elapsed();
        shop.heal();
        let recovered = shop.settle();
        shop.players.iter_mut().for_each(Player::end);
        let (records, copies) = shop.reckon();
        Reckoning { faults: shop.faults, took, recovered, records, copies }
    }

    fn producer(&self, kind: usize, servers: &Servers) -> Player {
        let name = ["inventory_producer", "delivery_producer"][kind];
        let (siege, bootstrap) = (self.clone(), servers.bootstrap.clone());
        Player::new(name, self.files[kind], move |file| {
            let producer = quiet(name).args(["-b", &bootstrap, "--generate", "--topic", TOPICS[kind]]);
            let producer = producer.args(["--rate", &siege.rate.to_string()]);
            let producer = producer.args(["--count", &siege.in_file(kind, file).to_string()]);
            let producer = producer.args(["--seed", &siege.seed_of(file).to_string()]);
            let source = format!("siege-{kind}-{}-{file}", siege.seed);
            let compression = format!("compression.type={}", siege.compression);
            producer.args(["--source", &source, "-X", &compression, "-X", &format!("client.id={CLIENT}")])
        })
    }

    fn consumer(&self, kind: usize, servers: &Servers, store: &Path) -> Player {
        let name = ["inventory_consumer", "delivery_consumer"][kind];
        let protocols = Servers::group_protocols();
        let protocol = protocols[(self.seed as usize + kind) % protocols.len()];
        let (bootstrap, store) = (servers.bootstrap.clone(), store.to_owned());
        Player::new(name, usize::MAX, move |_| {
            let consumer = quiet(name).args(["-b", &bootstrap, "--topic", TOPICS[kind], "-g", GROUPS[kind]]);
            let consumer =
                consumer.args(["-X", &format!("group.protocol={protocol}"), "-X", "session.timeout.ms=6000"]);
            consumer.args(["-X", &format!("client.id={CLIENT}")]).arg("--store").arg(&store)
        })
    }

    fn in_file(&self, kind: usize, file: usize) -> usize {
        let (orders, files) = (self.orders[kind], self.files[kind]);
        orders / files + usize::from(file < orders % files)
    }

    fn seed_of(&self, file: usize) -> u64 {
        self.seed * 1_000 + file as u64
    }

    /// What the orders come to, as the generator gives them.
    fn sent<O: Generate>(&self, kind: usize) -> Count {
        let mut count = Count::new();
        for file in 0..self.files[kind] {
            for order in Generator::<O>::new(self.seed_of(file)).take(self.in_file(kind, file)) {
                let mut value = Vec::new();
                order.encode(&mut value);
                let order: Value = serde_json::from_slice(&value).expect("our own order");
                let of_product = count.entry(order["product_id"].as_str().expect("a product").to_owned()).or_default();
                of_product[0] += 1;
                of_product[1] += order["quantity"].as_u64().expect("a quantity");
            }
        }
        count
    }
}

/// An example whose stdout goes nowhere: nobody wants millions of lines. It is still the process that is started.
fn quiet(name: &str) -> Program {
    Program::new("sh").args(["-c", "exec \"$0\" \"$@\" >/dev/null"]).arg(example::path(name))
}

impl Shop {
    fn open(siege: Siege, folder: &Path) -> Self {
        // Built before the clock starts.
        drop(example::path("orders"));
        let nodes = Nodes::start();
        TOPICS.iter().for_each(|topic| nodes.cluster.create_topic(topic, 6));
        let stores = GROUPS.map(|group| folder.join(format!("{group}.redb")));
        let servers: &Servers = &nodes.cluster;
        let producers = [0, 1].map(|kind| siege.producer(kind, servers));
        let consumers = [0, 1].map(|kind| siege.consumer(kind, servers, &stores[kind]));
        let players = producers.into_iter().chain(consumers).collect();
        Self {
            siege,
            nodes,
            players,
            stores,
            faults: BTreeMap::new(),
            since: Instant::now(),
            tenths: 0,
            told: Instant::now(),
        }
    }

    fn are_sent(&self) -> bool {
        self.players.iter().take(2).all(Player::is_done)
    }

    /// Until all is sent.
    fn suffer(&mut self) {
        let Siege { seed, gap, mortal, within, .. } = self.siege.clone();
        let mut schedules =
            [About::Programs(mortal), About::Nodes].map(|about| Schedule::new(seed, about, gap.clone()));
        let mut next = schedules.each_mut().map(|schedule| schedule.next().expect("an endless schedule"));
        let mut since = [self.since; 2];
        wait::until("all is sent", within, || {
            self.go_on();
            for index in 0..schedules.len() {
                let (gap, fault) = next[index];
                if since[index].elapsed() > gap && self.befall(fault) {
                    next[index] = schedules[index].next().expect("an endless schedule");
                    since[index] = Instant::now();
                }
            }
            self.are_sent().then_some(())
        });
    }

    fn go_on(&mut self) {
        self.nodes.go_on();
        self.players.iter_mut().for_each(Player::go_on);
        self.show_memory();
    }

    /// Whether it has happened; one of the nodes waits until they are well. A program that sleeps is spared.
    fn befall(&mut self, fault: Fault) -> bool {
        match fault {
            Fault::KillProgram(program, _) | Fault::StopProgram(program, _) if !self.players[program].is_awake() => {
                return true;
            }
            Fault::KillProgram(program, away) => self.players[program].kill(away),
            Fault::StopProgram(program, pause) => self.players[program].stop_for(pause),
            _ if !self.nodes.are_well() => return false,
            _ => self.nodes.suffer(fault),
        }
        println!("  {:7.1} s: {fault:?}", self.since.elapsed().as_secs_f64());
        *self.faults.entry(fault.kind()).or_default() += 1;
        true
    }

    fn heal(&mut self) {
        self.players.iter_mut().for_each(Player::wake);
        self.nodes.heal();
    }

    /// Waits until the groups have read everything, by themselves. Programs that were killed last are started again.
    fn settle(&mut self) -> Duration {
        let (begun, within) = (Instant::now(), RECOVERY.max(self.siege.within / 2));
        let mut lags = [0, 0];
        let settled = wait::until_or(within, || {
            self.go_on();
            let lag = |kind: usize| {
                let committed = self.nodes.cluster.committed(GROUPS[kind], TOPICS[kind]);
                // A partition without a commit has no line with numbers.
                if committed.len() == 6 { committed.iter().map(|(_, _, lag)| lag).sum() } else { i64::MAX / 2 }
            };
            lags = [lag(0), lag(1)];
            (lags == [0, 0]).then(|| begun.elapsed())
        });
        settled.unwrap_or_else(|| panic!("not settled within {within:?}: {lags:?}"))
    }

    /// At each tenth of the inventory orders: how long it took, and what the programs hold in memory.
    fn show_memory(&mut self) {
        if self.siege.mortal[2] || self.tenths >= 10 || self.told.elapsed() < Duration::from_secs(1) {
            return;
        }
        self.told = Instant::now();
        let wanted = self.siege.orders[0] as u64 * (self.tenths as u64 + 1) / 10;
        let (sent, settled) = (self.players[0].told("sent"), self.players[2].told("settled"));
        if settled < wanted {
            if self.since.elapsed().as_secs() % 5 == 0 {
                println!("  {:7.1} s: sent {sent}, settled {settled}", self.since.elapsed().as_secs_f64());
            }
            return;
        }
        self.tenths += 1;
        let consumer = self.players[2].memory();
        assert!(consumer.peak < MOST_MEMORY, "the consumer took {} MB after {settled} orders", consumer.peak);
        let seconds = self.since.elapsed().as_secs_f64();
        let line: Vec<_> =
            self.players.iter().map(|player| (player.name, player.memory(), player.complaints())).collect();
        let line = line.iter().map(|(name, Memory { resident, peak }, complaints)| {
            format!("{name} {resident} MB (peak {peak} MB, {complaints} lines of log)")
        });
        let faults: u32 = self.faults.values().sum();
        println!("{:3} % {seconds:7.1} s, {faults} faults: {}", self.tenths * 10, line.collect::<Vec<_>>().join(", "));
    }

    /// The logs, the stores and the generator must agree. Gives the records, and the copies among them.
    fn reckon(&self) -> (u64, u64) {
        let sent = [self.siege.sent::<InventoryOrder>(0), self.siege.sent::<DeliveryOrder>(1)];
        let mut in_all = (0, 0);
        for (kind, sent) in sent.iter().enumerate() {
            let topic = TOPICS[kind];
            let (records, orders, counted) =
                counted(&self.nodes.cluster.python_within("count.py", &[topic], RECOVERY * 40));
            assert_eq!(orders, self.siege.orders[kind] as u64, "{topic}: in the log");
            assert_eq!(&counted, sent, "{topic}: in the log");
            if self.players[kind].kills == 0 {
                assert_eq!(records, orders, "{topic}: no producer was killed, and the log has orders twice");
            }
            let audit = shop::orders(&["verify"], &self.stores[kind]).pop().expect("an audit");
            println!("  {topic}: {records} records by librdkafka, {audit}");
            let number = |name: &str| audit[name].as_u64().expect("a number");
            assert_eq!((&audit["holds"], number("applied")), (&Value::Bool(true), orders), "{topic}: {audit}");
            assert_eq!(number("applied") + number("duplicates"), records, "{topic}: {audit}");
            in_all = (in_all.0 + records, in_all.1 + records - orders);
        }
        let stock: BTreeMap<_, _> =
            sent[0].iter().map(|(product, [_, quantity])| (product.clone(), *quantity)).collect();
        assert_eq!(shop::audited_stock(&self.stores[0]), stock);
        assert_eq!(deliveries(&self.stores[1]), sent[1], "deliveries");
        in_all
    }
}

/// The deliveries of a store, by product; there may be millions, so they pass through a script.
fn deliveries(store: &Path) -> Count {
    let python = install::python().unwrap_or_else(|lacking| panic!("{lacking}"));
    let pipe = "\"$0\" deliveries --json --store \"$1\" | \"$2\" \"$3\" -";
    let pipe = Program::new("sh").args(["-c", pipe]).arg(example::path("orders")).arg(store).arg(python);
    let said = pipe.arg(install::here("python/count.py")).run(RECOVERY * 10).ok();
    let (rows, orders, count) = counted(&ndjson::parse(said.stdout.lines()));
    assert_eq!(rows, orders, "two deliveries of one order");
    count
}

/// What `count.py` has said: records, orders, and the count by product.
fn counted(lines: &[Value]) -> (u64, u64, Count) {
    let line = lines.last().expect("a line");
    let products = serde_json::from_value(line["products"].clone()).expect("a count by product");
    (line["records"].as_u64().expect("a number"), line["orders"].as_u64().expect("a number"), products)
}
