//! The development broker as other clients see it: the Java tools, kafka-python.

use orderflow::broker::DevBroker;

use crate::cluster::Servers;
use crate::console::{TOOL, Tool};
use crate::support::on_runtime;
use crate::{Case, Shared, case};

pub(crate) const CASES: &[Case] = &[
    case!(Java, the_java_tools_write_read_and_commit_on_the_development_broker),
    case!(JavaAndPython, kafka_python_writes_and_reads_on_the_development_broker),
    case!(JavaAndPython, kafka_python_shares_a_group_and_lists_it_on_the_development_broker),
    case!(JavaAndPython, librdkafka_reads_in_a_group_and_lists_it_on_the_development_broker),
    case!(JavaAndPython, librdkafka_shares_a_kip_848_group_on_the_development_broker),
];

/// Runs a body of blocking calls while the broker serves them.
fn beside_a_broker(body: fn(&Servers)) {
    on_runtime(async {
        let broker = DevBroker::start().await.expect("a broker");
        let servers = Servers { bootstrap: broker.bootstrap() };
        tokio::task::spawn_blocking(move || body(&servers)).await.expect("a body that passes");
        broker.shutdown().await;
    });
}

fn lines(count: usize) -> Vec<String> {
    (0..count).map(|index| format!("key-{}\tvalue {index}", index % 7)).collect()
}

fn the_java_tools_write_read_and_commit_on_the_development_broker(_: &Shared) {
    beside_a_broker(|broker| {
        let (topic, group) = ("java", "java-group");
        broker.create_topic(topic, 3);
        for codec in ["none", "gzip", "snappy", "lz4", "zstd"] {
            broker.console_produce(topic, &lines(20), &["--compression-codec", codec]);
        }
        assert_eq!(broker.console_consume(topic, 100).len(), 100);
        assert_eq!(broker.ends(topic).iter().map(|(_, end)| end).sum::<i64>(), 100);
        let consumer = broker.tool(Tool::ConsoleConsumer).args(["--topic", topic, "--group", group]);
        consumer.args(["--from-beginning", "--max-messages", "100", "--timeout-ms", "30000"]).run(TOOL).ok();
        assert_eq!(broker.lag(group, topic), 0);
        assert_eq!(broker.members(group), 0);
    });
}

fn kafka_python_writes_and_reads_on_the_development_broker(_: &Shared) {
    beside_a_broker(|broker| {
        let topic = "python";
        broker.create_topic(topic, 2);
        for codec in ["none", "gzip", "snappy", "lz4", "zstd"] {
            let written = broker.python("produce.py", &[topic, codec], &(lines(20).join("\n") + "\n"));
            assert_eq!(written.len(), 20, "{codec}");
        }
        let read = broker.python("consume.py", &[topic, "100"], "");
        assert!(read.iter().all(|record| record["headers"]["written-by"] == "kafka-python"), "{read:?}");
    });
}

/// A broker that holds fifty records for a group to read.
fn with_fifty_records(body: fn(&Servers, &str)) {
    on_runtime(async move {
        let broker = DevBroker::builder().nodes(2).topic("shared", 4).start().await.expect("a broker");
        let servers = Servers { bootstrap: broker.bootstrap() };
        let filled = tokio::task::spawn_blocking(move || {
            servers.python("produce.py", &["shared", "none"], &(lines(50).join("\n") + "\n"));
            body(&servers, "shared");
        });
        filled.await.expect("a body that passes");
        broker.shutdown().await;
    });
}

fn kafka_python_shares_a_group_and_lists_it_on_the_development_broker(_: &Shared) {
    with_fifty_records(|broker, topic| {
        let told = &broker.python("group.py", &[topic, "python-group", "50"], "")[0];
        assert_eq!((&told["committed"], &told["shares"]), (&50.into(), &serde_json::json!([2, 2])), "{told}");
        assert_eq!(told["listed"], serde_json::json!(["python-group"]), "{told}");
    });
}

fn librdkafka_reads_in_a_group_and_lists_it_on_the_development_broker(_: &Shared) {
    with_fifty_records(|broker, topic| {
        let told = &broker.python("rd_group.py", &[topic, "rd-group", "50"], "")[0];
        assert_eq!((&told["seen"], &told["committed"]), (&50.into(), &50.into()), "{told}");
        assert_eq!(told["listed"], serde_json::json!(["rd-group"]), "{told}");
    });
}

fn librdkafka_shares_a_kip_848_group_on_the_development_broker(_: &Shared) {
    with_fifty_records(|broker, topic| {
        let told = &broker.python("rd_next.py", &[topic, "next-group", "50"], "")[0];
        assert_eq!((&told["seen"], &told["committed"]), (&50.into(), &50.into()), "{told}");
        assert_eq!(
            (&told["shares"], &told["described"]),
            (&serde_json::json!([2, 2]), &serde_json::json!([2, 2])),
            "{told}"
        );
        assert_eq!((&told["state"], &told["listed"]), (&"STABLE".into(), &serde_json::json!(["next-group"])), "{told}");
        assert_eq!((&told["kept"], &told["back"], &told["alone"]), (&2.into(), &2.into(), &4.into()), "{told}");
    });
}
