//! The harness itself: what it starts works, breaks as told, leaves nothing behind.

use std::path::Path;
use std::time::Duration;

use crate::cluster::Cluster;
use crate::console::{TOOL, Tool};
use crate::support::program::{Program, Signal};
use crate::support::wait;
use crate::{Case, Shared, case};

pub(crate) const CASES: &[Case] = &[
    case!(Java, what_the_console_producer_writes_the_console_consumer_reads),
    case!(Java, the_group_tool_tells_what_the_console_consumer_has_read),
    case!(JavaAndPython, what_kafka_python_writes_kafka_python_reads),
    case!(Java, a_cluster_of_three_survives_the_death_of_one_and_takes_it_back),
    case!(Java, no_process_outlives_its_owner),
];

fn lines(count: usize) -> Vec<String> {
    (0..count).map(|index| format!("key-{}\tvalue {index}", index % 7)).collect()
}

fn what_the_console_producer_writes_the_console_consumer_reads(shared: &Shared) {
    let (cluster, topic) = (shared.cluster(), "harness-console");
    cluster.create_topic(topic, 3);
    cluster.console_produce(topic, &lines(20), &[]);
    let mut read = cluster.console_consume(topic, 20);
    read.sort_by_key(|record| record.value.trim_start_matches("value ").parse::<u32>().expect("our own value"));
    let read: Vec<_> = read.iter().map(|record| format!("{}\t{}", record.key, record.value)).collect();
    assert_eq!(read, lines(20));
    assert_eq!(cluster.ends(topic).iter().map(|(_, end)| end).sum::<i64>(), 20);
}

fn the_group_tool_tells_what_the_console_consumer_has_read(shared: &Shared) {
    let (cluster, topic, group) = (shared.cluster(), "harness-group", "harness");
    cluster.create_topic(topic, 1);
    cluster.console_produce(topic, &lines(20), &[]);
    let consumer = cluster.tool(Tool::ConsoleConsumer).args(["--topic", topic, "--group", group, "--from-beginning"]);
    consumer.args(["--max-messages", "15", "--timeout-ms", "30000"]).run(TOOL).ok();
    assert_eq!(cluster.committed(group, topic), [(0, 15, 5)]);
}

fn what_kafka_python_writes_kafka_python_reads(shared: &Shared) {
    let (cluster, topic) = (shared.cluster(), "harness-python");
    cluster.create_topic(topic, 2);
    for codec in ["none", "gzip", "snappy", "lz4", "zstd"] {
        let written = cluster.python("produce.py", &[topic, codec], &(lines(20).join("\n") + "\n"));
        assert_eq!(written.len(), 20, "{codec}");
    }
    let read = cluster.python("consume.py", &[topic, "100"], "");
    assert_eq!(read.len(), 100);
    assert!(read.iter().all(|record| record["headers"]["written-by"] == "kafka-python"), "{read:?}");
    // The Java consumer shows headers, too.
    let printed = cluster.console_consume(topic, 100);
    assert!(printed.iter().all(|record| record.header("written-by") == Some("kafka-python")), "{printed:?}");
}

fn a_cluster_of_three_survives_the_death_of_one_and_takes_it_back(_: &Shared) {
    let mut cluster = Cluster::start(3, &[]);
    let topic = "harness-three";
    cluster.create_topic(topic, 3);
    cluster.console_produce(topic, &lines(10), &[]);
    cluster.node(1).kill();
    cluster.console_produce(topic, &lines(10), &[]);
    cluster.node(1).restart();
    cluster.node(2).pause();
    cluster.node(2).resume();
    cluster.node(3).term();
    let values = cluster.console_consume(topic, 20);
    assert_eq!(values.len(), 20);
}

/// Set in a second process of this program: it starts a program, tells its number, and waits to be killed.
const OWNER: &str = "ORDERFLOW_TEST_OWNER";

pub(crate) fn own_if_told() {
    if std::env::var_os(OWNER).is_some() {
        let owned = Program::new("sleep").arg("600").start();
        println!("{}", owned.id());
        owned.finish(Duration::from_secs(600));
    }
}

fn no_process_outlives_its_owner(_: &Shared) {
    let gone = |id: u32| (!Path::new(&format!("/proc/{id}")).exists()).then_some(());
    let owned = Program::new("sleep").arg("600").start();
    let id = owned.id();
    assert!(gone(id).is_none());
    drop(owned);
    assert!(gone(id).is_some(), "a dropped program goes on");

    let own = std::env::current_exe().expect("a test knows its path");
    let owner = Program::new(own).env(OWNER, "1").start();
    let told = owner.await_stdout("the owner tells what it owns", Duration::from_secs(20), |_| true);
    let id = told.parse().expect("a number");
    assert!(gone(id).is_none());
    owner.signal(Signal::Kill);
    wait::until("what the killed owner owned is gone", Duration::from_secs(20), || gone(id));
}
