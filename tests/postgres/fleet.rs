//! A fleet: processes of one group on one database, killed, stopped and woken at random while orders come.
//!
//! ```text
//!  seed --> faults --> three processes of each consumer --> PostgreSQL
//!                             ^                                |  all is settled and told
//!  producers --> development broker                            v
//!  generator (what was sent) = `orders verify` with the log, stock, deliveries = SQL that knows nothing of ours
//! ```
//! The short form is one of the cases; `FLEET_ORDERS=200000 FLEET_SEEDS="1 2 3"` makes it the long one, and
//! `FLEET_POOLED=1` puts a pgbouncer before the database.

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use orderflow::broker::DevBroker;
use orderflow::order::generate::{Generate, Generator};
use orderflow::order::{DeliveryOrder, InventoryOrder};
use orderflow::outbox::{CUSTOMER_NOTIFICATIONS, DELIVERY_STATUS};
use serde_json::Value;

use crate::home::Postgres;
use crate::pooler::pooler;
use crate::relays::told;
use crate::support::player::Player;
use crate::support::program::Program;
use crate::support::{example, ndjson, wait};
use crate::{Case, block_on, server};

pub(crate) fn cases() -> Vec<Case> {
    let name = "fleet::processes_killed_stopped_and_woken_at_any_moment_leave_each_order_with_one_effect";
    vec![(name.to_owned(), || block_on(processes_killed_stopped_and_woken()))]
}

/// Processes of one group.
const PROCESSES: usize = 3;

/// How long a member may be silent.
const SESSION: Duration = Duration::from_secs(3);

/// Into how many files the orders of a type are split. The first is sent once more in the end.
const FILES: usize = 4;

/// How long everything may take to be settled when nothing goes wrong any more.
const RECOVERY: Duration = Duration::from_secs(90);

/// The programs and names of one order type.
struct Branch {
    kind: &'static str,
    topic: &'static str,
    programs: [&'static str; 2],
}

const BRANCHES: [Branch; 2] = [
    Branch { kind: "inventory", topic: "inventory_orders", programs: ["inventory_producer", "inventory_consumer"] },
    Branch { kind: "delivery", topic: "delivery_orders", programs: ["delivery_producer", "delivery_consumer"] },
];

/// Orders and their quantity, by product.
type Count = BTreeMap<String, [u64; 2]>;

/// One thing that goes wrong with a process, and for how long.
#[derive(Clone, Copy, Debug)]
enum Fault {
    /// SIGKILL, and how long until it is started again.
    Kill(usize, Duration),
    /// SIGSTOP until SIGCONT.
    Stop(usize, Duration),
}

/// The faults of a seed, each with the pause before it: first a death, and a sleep that outlasts the session.
fn faults(seed: u64) -> impl Iterator<Item = (Duration, Fault)> {
    let mut chance = fastrand::Rng::with_seed(seed);
    let certain = [Fault::Kill(0, Duration::from_millis(500)), Fault::Stop(PROCESSES + 1, SESSION * 2)];
    let certain = certain.map(|fault| (Duration::from_millis(700), fault));
    certain.into_iter().chain(std::iter::repeat_with(move || {
        let process = chance.usize(0..2 * PROCESSES);
        let mut millis = |range| Duration::from_millis(chance.u64(range));
        let (gap, away, pause) = (millis(200..1_200), millis(0..1_000), millis(200..7_000));
        (gap, if chance.bool() { Fault::Kill(process, away) } else { Fault::Stop(process, pause) })
    }))
}

struct Fleet {
    seed: u64,
    /// Orders of one type.
    orders: usize,
    rate: usize,
    home: Postgres,
    broker: DevBroker,
    producers: Vec<Player>,
    /// Those of the first branch, then those of the second.
    consumers: Vec<Player>,
    looked: Instant,
}

fn setting(name: &str, default: usize) -> usize {
    std::env::var(name).ok().map_or(default, |value| value.parse().expect("a number"))
}

async fn processes_killed_stopped_and_woken() {
    let orders = setting("FLEET_ORDERS", 6_000);
    let seeds = std::env::var("FLEET_SEEDS").unwrap_or_else(|_| fastrand::u64(..1 << 20).to_string());
    for seed in seeds.split_whitespace().map(|seed| seed.parse().expect("a seed is a number")) {
        println!("FLEET_SEEDS={seed} FLEET_ORDERS={orders} runs it again");
        let mut fleet = Fleet::start(seed, orders).await;
        let (suffered, took) = fleet.suffer();
        let recovered = fleet.settle();
        let share: Vec<u64> = fleet.consumers.iter().map(|player| player.told("settled")).collect();
        fleet.consumers.iter_mut().for_each(Player::end);
        fleet.reckon();
        println!(
            "seed {seed}: {orders} orders, {suffered:?}, sent in {took:.1?}, settled {recovered:.1?} later; \
             the last processes settled {share:?}"
        );
        fleet.broker.shutdown().await;
    }
}

impl Fleet {
    async fn start(seed: u64, orders: usize) -> Self {
        // Built before the clock starts.
        drop(example::path("orders"));
        let mut builder = DevBroker::builder().group_session(SESSION);
        for branch in &BRANCHES {
            builder = builder.topic(branch.topic, 6);
        }
        let broker = builder.start().await.unwrap();
        let home = Postgres::next();
        let (orders, rate) = (orders / 2, if orders > 50_000 { 2_500 } else { 300 });
        let mut fleet = Self {
            seed,
            orders,
            rate,
            home,
            broker,
            producers: Vec::new(),
            consumers: Vec::new(),
            looked: Instant::now(),
        };
        for branch in &BRANCHES {
            let consumers = [(); PROCESSES].map(|()| fleet.consumer(branch));
            fleet.consumers.extend(consumers);
            fleet.producers.push(fleet.producer(branch));
        }
        fleet
    }

    fn producer(&self, branch: &'static Branch) -> Player {
        let [name, _] = branch.programs;
        let (bootstrap, rate) = (self.broker.bootstrap(), self.rate.to_string());
        let files: Vec<_> = (0..FILES).map(|file| (self.in_file(file).to_string(), self.seed_of(file))).collect();
        Player::new(name, FILES + 1, move |part| {
            let (count, seed) = &files[part % FILES];
            let producer = quiet(name).args(["-b", &bootstrap, "--generate", "--topic", branch.topic]);
            let source = format!("fleet-{seed}");
            producer.args(["--rate", &rate, "--count", count, "--seed", &seed.to_string(), "--source", &source])
        })
    }

    fn consumer(&self, branch: &'static Branch) -> Player {
        let [_, name] = branch.programs;
        let (bootstrap, store) = (self.broker.bootstrap(), self.store(branch));
        let protocol = ["classic", "consumer"][self.seed as usize % 2];
        Player::new(name, usize::MAX, move |_| {
            let session = SESSION.as_millis();
            let settings = [
                format!("group.protocol={protocol}"),
                format!("session.timeout.ms={session}"),
                "heartbeat.interval.ms=500".to_owned(),
                // A few orders at a time, so that there are many transactions to be killed in.
                "fetch.max.bytes=8192".to_owned(),
                "max.partition.fetch.bytes=2048".to_owned(),
                "outbox.lease.ms=2000".to_owned(),
                "store.idle.timeout.ms=2000".to_owned(),
            ];
            let consumer = quiet(name).args(["-b", &bootstrap, "-g", branch.kind, "--topic", branch.topic]);
            let consumer = consumer.args(["--store", &store]);
            settings.iter().fold(consumer, |consumer, setting| consumer.args(["-X", setting]))
        })
    }

    fn store(&self, branch: &Branch) -> String {
        let schema = self.home.schema(branch.kind);
        let is_pooled = std::env::var_os("FLEET_POOLED").is_some();
        if is_pooled { pooler().url(&schema) } else { server().url(&schema) }
    }

    fn in_file(&self, file: usize) -> usize {
        self.orders / FILES + usize::from(file < self.orders % FILES)
    }

    fn seed_of(&self, file: usize) -> u64 {
        self.seed * 1_000 + file as u64
    }

    /// Records of one topic: the first file is there twice.
    fn records(&self) -> usize {
        self.orders + self.in_file(0)
    }

    fn go_on(&mut self) {
        self.producers.iter_mut().chain(&mut self.consumers).for_each(Player::go_on);
    }

    /// Until all is sent. Gives how often which fault came.
    fn suffer(&mut self) -> (BTreeMap<&'static str, u32>, Duration) {
        let begun = Instant::now();
        let (mut suffered, mut faults, mut since) = (BTreeMap::new(), faults(self.seed), begun);
        let mut next = faults.next().expect("an endless schedule");
        let within = RECOVERY + Duration::from_secs((self.records() / self.rate) as u64 * 4);
        wait::until("all is sent", within, || {
            self.go_on();
            if since.elapsed() > next.0 {
                if let Some(name) = self.befall(next.1) {
                    println!("  {:7.1} s: {:?}", begun.elapsed().as_secs_f64(), next.1);
                    *suffered.entry(name).or_default() += 1;
                }
                (next, since) = (faults.next().expect("an endless schedule"), Instant::now());
            }
            self.producers.iter().all(Player::is_done).then_some(())
        });
        for wanted in ["killed", "stopped beyond the session"] {
            assert!(suffered.contains_key(wanted), "{suffered:?}");
        }
        (suffered, begun.elapsed())
    }

    /// What has happened; nothing to a process that sleeps.
    fn befall(&mut self, fault: Fault) -> Option<&'static str> {
        let (Fault::Kill(process, _) | Fault::Stop(process, _)) = fault;
        let player = &mut self.consumers[process];
        if !player.is_awake() {
            return None;
        }
        match fault {
            Fault::Kill(_, away) => player.kill(away),
            Fault::Stop(_, pause) => player.stop_for(pause),
        }
        Some(match fault {
            Fault::Kill(..) => "killed",
            Fault::Stop(_, pause) if pause > SESSION => "stopped beyond the session",
            Fault::Stop(..) => "stopped",
        })
    }

    /// Waits until everything is settled and told, by itself.
    fn settle(&mut self) -> Duration {
        let begun = Instant::now();
        self.consumers.iter_mut().for_each(Player::wake);
        let (records, mut left) = (self.records() as i64, [0, 0, 0]);
        let settled = wait::until_or(RECOVERY.max(begun.elapsed() * 2), || {
            self.go_on();
            if self.looked.elapsed() < Duration::from_millis(250) {
                return None;
            }
            self.looked = Instant::now();
            let lag = |branch: usize| records - self.number(branch, "SELECT sum(next_offset) FROM positions");
            let untold = "SELECT (SELECT count(*) FROM outbox) + (SELECT count(*) FROM scheduled)";
            left = [lag(0), lag(1), self.number(1, untold)];
            (left == [0, 0, 0]).then(|| begun.elapsed())
        });
        settled.unwrap_or_else(|| panic!("seed {}: still to be settled, settled and told: {left:?}", self.seed))
    }

    /// What the database says; 0 where there is nothing yet.
    fn number(&self, branch: usize, question: &str) -> i64 {
        let schema = self.home.schema(BRANCHES[branch].kind);
        let there = format!("SELECT to_regclass('{schema}.positions') IS NOT NULL");
        if server().sql(&there).trim() != "t" {
            return 0;
        }
        server().sql(&format!("SET search_path TO {schema}; {question}")).trim().parse().unwrap_or(0)
    }

    fn orders(&self, branch: usize, arguments: &[&str]) -> Vec<Value> {
        let orders =
            example::example("orders").args(arguments).args(["--json", "--store", &self.store(&BRANCHES[branch])]);
        ndjson::parse(orders.run(RECOVERY * 4).ok().stdout.lines())
    }

    /// What the orders come to, as the generator gives them.
    fn sent<O: Generate>(&self) -> Count {
        let mut count = Count::new();
        for file in 0..FILES {
            for order in Generator::<O>::new(self.seed_of(file)).take(self.in_file(file)) {
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

    /// The generator, our own tools and SQL must agree.
    fn reckon(&self) {
        let (orders, copies) = (self.orders as u64, self.in_file(0) as u64);
        for branch in 0..2 {
            let audit = self.orders(branch, &["verify", "-b", &self.broker.bootstrap()]).pop().expect("an audit");
            let numbers = ["applied", "duplicates", "refused", "dead_letters"].map(|name| audit[name].as_u64());
            assert_eq!(audit["holds"], true, "seed {}: {audit}", self.seed);
            assert_eq!(numbers, [orders, copies, 0, 0].map(Some), "seed {}: {audit}", self.seed);
            let identities = self.number(branch, "SELECT count(*) FROM identities");
            assert_eq!(identities, orders as i64, "seed {}", self.seed);
        }
        self.reckon_stock();
        self.reckon_deliveries();
    }

    fn reckon_stock(&self) {
        let schema = self.home.schema("inventory");
        let rows = server().sql(&format!("SELECT product, movements, pieces FROM {schema}.stock"));
        let counted: Count = rows
            .lines()
            .map(|row| {
                let mut columns = row.split('|');
                let mut column = || columns.next().expect("a column");
                (column().to_owned(), [column().parse().unwrap(), column().parse().unwrap()])
            })
            .collect();
        assert_eq!(counted, self.sent::<InventoryOrder>(), "seed {}: by SQL", self.seed);
    }

    fn reckon_deliveries(&self) {
        let (mut counted, mut names) = (Count::new(), BTreeSet::new());
        for row in self.orders(1, &["deliveries"]) {
            let of_product = counted.entry(row["product_id"].as_str().expect("a product").to_owned()).or_default();
            of_product[0] += 1;
            of_product[1] += row["quantity"].as_u64().expect("a quantity");
            assert!(names.insert(row["delivery_id"].to_string()), "seed {}: twice: {row}", self.seed);
        }
        assert_eq!(counted, self.sent::<DeliveryOrder>(), "seed {}: deliveries", self.seed);
        let by_day = self.number(1, "SELECT sum(deliveries) FROM days");
        assert_eq!(by_day, self.orders as i64, "seed {}: by day", self.seed);
        for topic in [DELIVERY_STATUS, CUSTOMER_NOTIFICATIONS] {
            let told = told(&self.broker, topic);
            assert_eq!(told.len(), self.orders, "seed {}: {topic}", self.seed);
            let names = told.values().map(|names| names.iter().collect::<BTreeSet<_>>().len());
            assert!(
                names.into_iter().all(|names| names == 1),
                "seed {}: {topic}: two events of one delivery",
                self.seed
            );
        }
    }
}

/// An example whose stdout goes nowhere. It is still the process that is started.
fn quiet(name: &str) -> Program {
    Program::new("sh").args(["-c", "exec \"$0\" \"$@\" >/dev/null"]).arg(example::path(name))
}
