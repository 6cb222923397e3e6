//! A cluster of Apache Kafka nodes on loopback, with faults by name.
//!
//! Each node is broker and controller (KRaft). Ports are free ones; logs and settings are in a folder of the cluster's
//! own below `target/tmp`, which is removed with the cluster unless the test has failed.

use std::net::{TcpListener, TcpStream};
use std::ops::Deref;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use crate::install;
use crate::support::program::{Program, Running, Signal};
use crate::support::wait;

/// A node is up in 5 s alone, in 11 s among three; a machine that does other things needs longer.
const START: Duration = Duration::from_secs(120);
const STOP: Duration = Duration::from_secs(60);

/// Brokers by their addresses, whoever runs them: what clients are told.
#[derive(Clone, Debug)]
pub(crate) struct Servers {
    /// `127.0.0.1:PORT,...`
    pub(crate) bootstrap: String,
}

/// Running nodes. Dropped, they are killed.
#[derive(Debug)]
pub(crate) struct Cluster {
    servers: Servers,
    folder: PathBuf,
    nodes: Vec<Node>,
    keep: bool,
}

/// One broker of the cluster.
#[derive(Debug)]
pub(crate) struct Node {
    folder: PathBuf,
    port: u16,
    process: Option<Running>,
}

impl Cluster {
    /// Starts `nodes` (1 or 3), each with the `settings` beside its own.
    ///
    /// # Panics
    /// If they are not up within two minutes; the message has what they logged.
    pub(crate) fn start(nodes: usize, settings: &[&str]) -> Self {
        static STARTED: AtomicU32 = AtomicU32::new(0);
        let number = STARTED.fetch_add(1, Ordering::Relaxed);
        let folder = install::scratch().join(format!("kafka-{}-{number}", std::process::id()));
        let ports = Ports::free(nodes);
        let made = (0..nodes).map(|index| Node::make(&folder, index, &ports, settings)).collect();
        let mut cluster = Self::of(folder, made);
        let formatting: Vec<_> = cluster.nodes.iter().map(|node| node.format().start()).collect();
        formatting.into_iter().for_each(|format| drop(format.finish(START).ok()));
        drop(ports);
        cluster.nodes.iter_mut().for_each(Node::launch);
        cluster.nodes.iter_mut().for_each(Node::await_port);
        cluster
    }

    fn of(folder: PathBuf, nodes: Vec<Node>) -> Self {
        let addresses: Vec<_> = nodes.iter().map(Node::address).collect();
        Self { servers: Servers { bootstrap: addresses.join(",") }, folder, nodes, keep: false }
    }

    /// Ends it; what it logged is kept where it matters.
    pub(crate) fn end(mut self, failed: bool) {
        self.keep = failed;
    }

    /// Node `number`, from 1 as Kafka counts.
    pub(crate) fn node(&mut self, number: usize) -> &mut Node {
        self.nodes.get_mut(number - 1).expect("a node of the cluster")
    }
}

impl Deref for Cluster {
    type Target = Servers;

    fn deref(&self) -> &Servers {
        &self.servers
    }
}

impl Drop for Cluster {
    fn drop(&mut self) {
        self.nodes.iter_mut().for_each(Node::kill);
        if !self.keep && !std::thread::panicking() {
            // What cannot be removed lies below `target/tmp`, where it harms nobody.
            drop(std::fs::remove_dir_all(&self.folder));
        }
    }
}

impl Node {
    fn make(cluster: &Path, index: usize, ports: &Ports, settings: &[&str]) -> Self {
        let folder = cluster.join(format!("node{}", index + 1));
        std::fs::create_dir_all(folder.join("data")).expect("a folder for the node");
        let text = properties(index, ports, &folder.join("data"), settings);
        std::fs::write(folder.join("server.properties"), text).expect("a file for the node's settings");
        Self { folder, port: ports.client(index), process: None }
    }

    fn address(&self) -> String {
        format!("127.0.0.1:{}", self.port)
    }

    fn format(&self) -> Program {
        let format = java(&["-Xmx128m"], Some(&self.folder)).args(["kafka.tools.StorageTool", "format"]);
        format.args(["-t", "b3JkZXJmbG93LXRlc3RzMQ", "-c"]).arg(self.folder.join("server.properties"))
    }

    /// Starts it, and does not wait until it is up.
    pub(crate) fn launch(&mut self) {
        let node = java(&["-Xms256m", "-Xmx768m"], Some(&self.folder)).arg("kafka.Kafka");
        self.process = Some(node.arg(self.folder.join("server.properties")).start());
    }

    fn await_port(&mut self) {
        let up = wait::until_or(START, || (self.is_open() || !self.runs()).then(|| self.runs()));
        if up != Some(true) {
            let said = self.process.as_ref().map(|process| process.stderr().join("\n")).unwrap_or_default();
            panic!("Kafka is not up: {up:?}\n{said}\n{}", self.log());
        }
    }

    fn runs(&mut self) -> bool {
        self.process.as_mut().is_some_and(Running::is_running)
    }

    /// SIGKILL: gone at once, nothing flushed, nobody told.
    pub(crate) fn kill(&mut self) {
        self.process = None;
    }

    /// SIGTERM, and waits for the end: leadership moves first.
    pub(crate) fn term(&mut self) {
        if let Some(process) = self.process.take() {
            process.signal(Signal::Terminate);
            process.finish(STOP);
        }
    }

    /// SIGTERM, and does not wait for the end.
    pub(crate) fn leave(&self) {
        self.signal(Signal::Terminate);
    }

    /// Whether it has ended after [`Node::leave`].
    pub(crate) fn has_left(&mut self) -> bool {
        let left = !self.runs();
        if left {
            self.process = None;
        }
        left
    }

    /// Whether it takes connections.
    pub(crate) fn is_open(&self) -> bool {
        let address = self.address().parse().expect("an address");
        TcpStream::connect_timeout(&address, Duration::from_secs(1)).is_ok()
    }

    /// What it has logged.
    pub(crate) fn log(&self) -> String {
        std::fs::read_to_string(self.folder.join("log")).unwrap_or_default()
    }

    /// SIGSTOP: connections stay open, nothing is answered.
    pub(crate) fn pause(&mut self) {
        self.signal(Signal::Stop);
    }

    /// SIGCONT after [`Node::pause`].
    pub(crate) fn resume(&mut self) {
        self.signal(Signal::Continue);
    }

    fn signal(&self, signal: Signal) {
        self.process.as_ref().expect("a node that runs").signal(signal);
    }

    /// It listens elsewhere from its next start on; whoever was told of it before finds nobody there.
    pub(crate) fn move_port(&mut self) {
        assert!(self.process.is_none(), "a node that runs cannot be moved");
        let port = TcpListener::bind("127.0.0.1:0").expect("a free port").local_addr().expect("a bound port").port();
        let (file, old) = (self.folder.join("server.properties"), format!("PLAINTEXT://{}", self.address()));
        self.port = port;
        let text = std::fs::read_to_string(&file).expect("the node's settings");
        let moved = text.replace(&old, &format!("PLAINTEXT://{}", self.address()));
        assert_ne!(text, moved, "the settings name the port");
        std::fs::write(file, moved).expect("the node's new settings");
    }

    /// Starts again after [`Node::kill`] or [`Node::term`], with the same logs and port.
    pub(crate) fn restart(&mut self) {
        assert!(self.process.is_none(), "a node that runs cannot be started");
        self.launch();
        self.await_port();
    }
}

/// A Java program with Kafka's jars. Its warnings go to `log` in `folder`, or nowhere.
pub(crate) fn java(heap: &[&str], folder: Option<&Path>) -> Program {
    let jars = install::jars().unwrap_or_else(|lacking| panic!("{lacking}"));
    let log = folder.map_or_else(|| PathBuf::from("/dev/null"), |folder| folder.join("log"));
    let java = Program::new("java").args(heap).args(["-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1"]);
    let java =
        java.arg("-Dorg.slf4j.simpleLogger.defaultLogLevel=warn").arg("-Dorg.slf4j.simpleLogger.showDateTime=true");
    let java = java.arg(format!("-Dorg.slf4j.simpleLogger.logFile={}", log.display()));
    java.arg("-cp").arg(jars.join("*"))
}

fn properties(index: usize, ports: &Ports, data: &Path, settings: &[&str]) -> String {
    let nodes = ports.held.len();
    let (copies, insync) = if nodes >= 3 { (3, 2) } else { (1, 1) };
    let voters: Vec<_> = (0..nodes).map(|node| format!("{}@127.0.0.1:{}", node + 1, ports.control(node))).collect();
    let (client, control) = (ports.client(index), ports.control(index));
    let own = [
        "process.roles=broker,controller".to_owned(),
        format!("node.id={}", index + 1),
        format!("controller.quorum.voters={}", voters.join(",")),
        "controller.listener.names=CONTROLLER".to_owned(),
        format!("listeners=PLAINTEXT://127.0.0.1:{client},CONTROLLER://127.0.0.1:{control}"),
        format!("advertised.listeners=PLAINTEXT://127.0.0.1:{client}"),
        format!("log.dirs={}", data.display()),
        format!("default.replication.factor={copies}"),
        format!("min.insync.replicas={insync}"),
        format!("offsets.topic.replication.factor={copies}"),
        "offsets.topic.num.partitions=3".to_owned(),
        format!("transaction.state.log.replication.factor={copies}"),
        format!("transaction.state.log.min.isr={insync}"),
        "transaction.state.log.num.partitions=3".to_owned(),
        format!("share.coordinator.state.topic.replication.factor={copies}"),
        "share.coordinator.state.topic.min.isr=1".to_owned(),
        // A test that kills a member waits for its session to end, so sessions may be short.
        "group.initial.rebalance.delay.ms=0".to_owned(),
        "group.min.session.timeout.ms=1000".to_owned(),
        "group.consumer.min.session.timeout.ms=1000".to_owned(),
        "group.consumer.session.timeout.ms=6000".to_owned(),
        "group.consumer.min.heartbeat.interval.ms=100".to_owned(),
        "group.consumer.heartbeat.interval.ms=1000".to_owned(),
    ];
    own.iter().map(String::as_str).chain(settings.iter().copied()).fold(String::new(), |text, line| text + line + "\n")
}

/// Free ports, held until the nodes are about to bind them: one for clients and one for controllers each.
struct Ports {
    held: Vec<[TcpListener; 2]>,
}

impl Ports {
    fn free(nodes: usize) -> Self {
        let free = || TcpListener::bind("127.0.0.1:0").expect("a free port");
        Self { held: (0..nodes).map(|_| [free(), free()]).collect() }
    }

    fn port(&self, node: usize, which: usize) -> u16 {
        let listener = self.held.get(node).and_then(|pair| pair.get(which)).expect("a node of the cluster");
        listener.local_addr().expect("a bound port").port()
    }

    fn client(&self, node: usize) -> u16 {
        self.port(node, 0)
    }

    fn control(&self, node: usize) -> u16 {
        self.port(node, 1)
    }
}
