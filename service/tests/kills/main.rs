//! Processes of the service that are killed and stopped at any moment, on a database and a broker that live on.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

#[path = "../../../tests/postgres/server.rs"]
#[allow(dead_code, reason = "the database's own tests use the rest")]
mod server;
#[path = "../../../tests/support/wait.rs"]
#[allow(dead_code, reason = "other tests use the rest")]
mod wait;

use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::Duration;

use orderflow::broker::DevBroker;
use orderflow::order::{DeliveryOrder, Identity, Order, Source};
use orderflow::producer::DeliveryProducer;

use crate::server::{Server, programs};

const PRODUCTS: [&str; 3] = ["02758", "49466", "77777"];
/// Two processes, and the way to one more.
const PROCESSES: usize = 2;
/// How long nothing may happen.
const PATIENCE: Duration = Duration::from_secs(60);

/// A process of the service, which does not outlive the test.
struct Process {
    child: Child,
}

impl Process {
    fn start(database: &str, brokers: &str) -> Self {
        let mut command = Command::new(env!("CARGO_BIN_EXE_shipping"));
        command
            // Some ten orders at a time, so that there are many transactions to be killed in.
            .env("KAFKA_MAX_PARTITION_FETCH_BYTES", "1024")
            .env("KAFKA_FETCH_MAX_BYTES", "4096")
            .env("DATABASE_URL", database)
            .env("KAFKA_BOOTSTRAP_SERVERS", brokers)
            .env("KAFKA_SESSION_TIMEOUT_MS", "6000");
        Self { child: command.stdout(Stdio::null()).spawn().unwrap() }
    }

    fn signal(&self, name: &str) {
        let sent = Command::new("kill").args([format!("-{name}"), self.child.id().to_string()]).status().unwrap();
        assert!(sent.success());
    }

    fn end(mut self) -> ExitStatus {
        self.signal("TERM");
        wait::until("the process ends", PATIENCE, || self.child.try_wait().unwrap())
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

async fn publish(broker: &DevBroker, orders: u64) {
    let producer = DeliveryProducer::connect(&broker.config().set("batch.size", "1024").unwrap()).await.unwrap();
    let source = Source::of_digest([7; 32]);
    // The second round is a copy of the first: all of it is known.
    for _ in 0..2 {
        for index in 0..orders {
            let product = PRODUCTS[index as usize % PRODUCTS.len()];
            let quantity = u32::try_from(index % 7 + 1).unwrap();
            let mut order = DeliveryOrder::new(&index.to_string(), product, quantity, "5/30/2023").unwrap();
            order.set_identity(Identity::numbered(source, index).unwrap());
            drop(producer.enqueue(&order).await.unwrap());
        }
        producer.flush().await.unwrap();
    }
    producer.close().await.unwrap();
}

fn number(server: &Server, question: &str) -> i64 {
    server.sql(question).trim().parse().unwrap_or(0)
}

/// How many records the processes have settled. The first of them to come up makes the table.
fn settled(server: &Server) -> i64 {
    if number(server, "SELECT count(to_regclass('orderflow_positions'))") == 0 {
        return 0;
    }
    number(server, "SELECT coalesce(sum(next_offset), 0) FROM orderflow_positions")
}

/// Kills and stops processes as orders go through, until all have.
fn torment(server: &Server, start: impl Fn() -> Process, (records, seed): (i64, u64)) -> Vec<Process> {
    let mut random = fastrand::Rng::with_seed(seed);
    let mut processes: Vec<Process> = (0..PROCESSES).map(|_| start()).collect();
    let mut until = 0;
    loop {
        until = records.min(until + random.i64(1..records / 6));
        wait::until("orders go through", PATIENCE, || (settled(server) >= until).then_some(()));
        if until == records {
            return processes;
        }
        let struck = random.usize(0..PROCESSES);
        if random.bool() {
            // It is dead from one moment to the next.
            processes[struck] = start();
        } else {
            let more = until + random.i64(0..records / 8);
            processes[struck].signal("STOP");
            let _others_went_on = wait::until_or(Duration::from_secs(3), || (settled(server) >= more).then_some(()));
            processes[struck].signal("CONT");
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn processes_killed_and_stopped_at_any_moment_reserve_schedule_and_notify_once_for_each_order() {
    let setting = |name: &str, default: u64| std::env::var(name).map_or(default, |text| text.parse().unwrap());
    let (orders, seed) = (setting("ORDERS", 4_000), setting("SEED", 1));
    println!("SEED={seed} ORDERS={orders}");
    let server = Server::start(&programs().unwrap(), &["fsync=off"]);
    server.sql(include_str!("../../src/schema.sql"));
    // Four pieces are ordered at a time, by and by: not enough of any product for all that is ordered of it.
    let stock = orders as i64;
    for product in PRODUCTS {
        server.sql(&format!("INSERT INTO stock VALUES ('{product}', {stock})"));
    }
    let session = Duration::from_secs(2);
    let broker = DevBroker::builder().topic("delivery_orders", 6).group_session(session).start().await.unwrap();
    publish(&broker, orders).await;
    let (database, brokers) = (server.url("public"), broker.bootstrap());
    let database = database.split_once("?schema=").unwrap().0.to_owned();
    let processes = torment(&server, || Process::start(&database, &brokers), (2 * orders as i64, seed));
    for process in processes {
        assert!(process.end().success());
    }
    audit(&server, orders as i64, PRODUCTS.len() as i64 * stock);
    server.stop();
    broker.shutdown().await;
}

/// Each order is shipped or refused once, and what is reserved has left the shelves.
fn audit(server: &Server, orders: i64, stock: i64) {
    let sum = |question: &str| number(server, question);
    let shipped = sum("SELECT count(*) FROM deliveries");
    let refused = sum("SELECT count(*) FROM orderflow_dead_letters WHERE code = 'SHOP-SOLD-OUT'");
    assert!(shipped > 0 && refused > 0, "{shipped} and {refused}");
    assert_eq!(shipped + refused, orders);
    assert_eq!(sum("SELECT count(DISTINCT order_id) FROM deliveries"), shipped);
    assert_eq!(sum("SELECT count(*) FROM notifications"), shipped);
    assert_eq!(sum("SELECT sum(deliveries) FROM days"), shipped);
    assert_eq!(sum("SELECT sum(quantity) FROM deliveries"), stock - sum("SELECT sum(pieces) FROM stock"));
    assert_eq!(sum("SELECT count(*) FROM orderflow_identities"), orders);
}
