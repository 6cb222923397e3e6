//! Kafka's own console tools, as an operator runs them.

use std::time::Duration;

use serde_json::Value;

use crate::cluster::{self, Servers};
use crate::install;
use crate::support::program::{Finished, Program};

/// A tool of Kafka's distribution.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Tool {
    Topics,
    ConsumerGroups,
    ConsoleProducer,
    ConsoleConsumer,
    GetOffsets,
    Configs,
}

/// A JVM starts in a second; a busy machine and a broker that elects leaders take longer.
pub(crate) const TOOL: Duration = Duration::from_secs(90);

/// A record as the console consumer prints it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Printed {
    pub(crate) partition: i32,
    pub(crate) offset: i64,
    pub(crate) headers: Vec<(String, String)>,
    pub(crate) key: String,
    pub(crate) value: String,
}

/// An offset that a group has committed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Commit {
    pub(crate) group: String,
    pub(crate) partition: i32,
    pub(crate) offset: i64,
}

impl Tool {
    fn class(self) -> &'static str {
        match self {
            Self::Topics => "org.apache.kafka.tools.TopicCommand",
            Self::ConsumerGroups => "org.apache.kafka.tools.consumer.group.ConsumerGroupCommand",
            Self::ConsoleProducer if before_4() => "kafka.tools.ConsoleProducer",
            Self::ConsoleProducer => "org.apache.kafka.tools.ConsoleProducer",
            Self::ConsoleConsumer => "org.apache.kafka.tools.consumer.ConsoleConsumer",
            Self::GetOffsets => "org.apache.kafka.tools.GetOffsetShell",
            Self::Configs => "kafka.admin.ConfigCommand",
        }
    }
}

fn before_4() -> bool {
    install::kafka_version().starts_with("3.")
}

impl Servers {
    /// The group protocols that the brokers speak, by the values of `group.protocol`.
    pub(crate) fn group_protocols() -> &'static [&'static str] {
        if before_4() { &["classic"] } else { &["classic", "consumer"] }
    }

    /// A console tool that talks to this cluster.
    pub(crate) fn tool(&self, tool: Tool) -> Program {
        cluster::java(&["-Xmx256m"], None).arg(tool.class()).arg("--bootstrap-server").arg(&self.bootstrap)
    }

    /// Makes a topic, with as many copies as the cluster has by default.
    pub(crate) fn create_topic(&self, topic: &str, partitions: u32) {
        let create = self.tool(Tool::Topics).args(["--create", "--topic", topic]);
        create.arg("--partitions").arg(partitions.to_string()).run(TOOL).ok();
    }

    /// Writes `key<TAB>value` lines with the Java producer.
    pub(crate) fn console_produce(&self, topic: &str, lines: &[String], flags: &[&str]) -> Finished {
        let property = if before_4() { "--property" } else { "--reader-property" };
        let producer = self.tool(Tool::ConsoleProducer).args(["--topic", topic, property, "parse.key=true"]);
        producer.args(flags).input(lines.join("\n") + "\n").run(TOOL).ok()
    }

    /// The Java consumer that prints each record from the beginning as [`Printed`] has it. In a group it is heard of soon.
    pub(crate) fn printing_consumer(&self, topic: &str) -> Program {
        let property = if before_4() { "--property" } else { "--formatter-property" };
        let consumer = self.tool(Tool::ConsoleConsumer).args(["--topic", topic, "--from-beginning"]);
        let setting = if before_4() { "--consumer-property" } else { "--command-property" };
        let consumer = consumer.args([setting, "heartbeat.interval.ms=500"]);
        let shown = ["partition", "offset", "headers", "key"].map(|part| format!("print.{part}=true"));
        shown.iter().fold(consumer, |consumer, show| consumer.args([property, show]))
    }

    /// Reads `count` records from the beginning with the Java consumer.
    ///
    /// # Panics
    /// If there are fewer within the deadline.
    pub(crate) fn console_consume(&self, topic: &str, count: usize) -> Vec<Printed> {
        let consumer = self.printing_consumer(topic);
        let read = consumer.arg("--max-messages").arg(count.to_string()).args(["--timeout-ms", "30000"]).run(TOOL).ok();
        let printed: Vec<_> = read.stdout.lines().filter_map(Printed::parse).collect();
        assert_eq!(printed.len(), count, "{read}");
        printed
    }

    /// The end of each partition of a topic.
    pub(crate) fn ends(&self, topic: &str) -> Vec<(i32, i64)> {
        let said = self.tool(Tool::GetOffsets).args(["--topic", topic]).run(TOOL).ok();
        let parse = |line: &str| {
            let (rest, end) = line.rsplit_once(':')?;
            let (_, partition) = rest.rsplit_once(':')?;
            Some((partition.parse().ok()?, end.parse().ok()?))
        };
        let mut ends: Vec<_> = said.stdout.lines().filter_map(parse).collect();
        ends.sort_unstable();
        assert!(!ends.is_empty(), "{said}");
        ends
    }

    /// How far a group's committed offsets are behind the end of a topic.
    pub(crate) fn lag(&self, group: &str, topic: &str) -> i64 {
        let committed = self.committed(group, topic);
        assert!(!committed.is_empty(), "{group} has committed nothing of {topic}");
        committed.iter().map(|(_, _, lag)| lag).sum()
    }

    /// How many members a group has.
    pub(crate) fn members(&self, group: &str) -> usize {
        let describe = self.tool(Tool::ConsumerGroups).args(["--describe", "--members", "--group", group]);
        let said = describe.run(TOOL).ok();
        said.stdout.lines().filter(|line| line.split_whitespace().next() == Some(group)).count()
    }

    /// What `kafka-consumer-groups --describe` says of a group: partition, committed offset, lag.
    pub(crate) fn committed(&self, group: &str, topic: &str) -> Vec<(i32, i64, i64)> {
        let said = self.tool(Tool::ConsumerGroups).args(["--describe", "--group", group]).run(TOOL).ok();
        let parse = |line: &str| {
            let columns: Vec<_> = line.split_whitespace().collect();
            let of_topic = columns.first() == Some(&group) && columns.get(1) == Some(&topic);
            let number = |index: usize| columns.get(index).and_then(|column| column.parse::<i64>().ok());
            Some((i32::try_from(number(2)?).ok()?, number(3)?, number(5)?)).filter(|_| of_topic)
        };
        let mut committed: Vec<_> = said.stdout.lines().filter_map(parse).collect();
        committed.sort_unstable();
        committed
    }

    /// All that groups have ever committed, those of a group in the order in which the coordinator took them.
    pub(crate) fn commits(&self) -> Vec<Commit> {
        let formatter = "org.apache.kafka.tools.consumer.OffsetsMessageFormatter";
        let read = self.tool(Tool::ConsoleConsumer).args(["--topic", "__consumer_offsets", "--from-beginning"]);
        let read = read.args(["--formatter", formatter, "--timeout-ms", "4000"]).run(TOOL).ok();
        // The formatter ends no lines.
        let values = serde_json::Deserializer::from_str(&read.stdout).into_iter::<Value>();
        let values = values.map(|value| value.unwrap_or_else(|error| panic!("{error}: {read}")));
        let commits: Vec<_> = values.filter_map(|value| Commit::parse(&value)).collect();
        assert!(!commits.is_empty(), "{read}");
        commits
    }

    /// The node that coordinates a group, from 1 as Kafka counts.
    pub(crate) fn coordinator(&self, group: &str) -> usize {
        let describe = self.tool(Tool::ConsumerGroups).args(["--describe", "--state", "--group", group]);
        let said = describe.run(TOOL).ok();
        let line = said.stdout.lines().find(|line| line.starts_with(group)).unwrap_or_else(|| panic!("{said}"));
        let node =
            line.split_once('(').and_then(|(_, rest)| rest.split_once(')')).and_then(|(node, _)| node.parse().ok());
        node.unwrap_or_else(|| panic!("{said}"))
    }

    /// Whether each copy of each partition is in step with its leader.
    pub(crate) fn is_in_step(&self) -> bool {
        let behind = self.tool(Tool::Topics).args(["--describe", "--under-replicated-partitions"]).run(TOOL);
        behind.code() == Some(0) && behind.stdout.trim().is_empty()
    }
}

impl Commit {
    /// `{"key":{"data":{"group":..,"topic":..,"partition":..}},"value":{"data":{"offset":..}}}`; without a value the commit
    /// was deleted.
    fn parse(line: &Value) -> Option<Self> {
        let (key, value) = (&line["key"]["data"], &line["value"]["data"]);
        let partition = i32::try_from(key["partition"].as_i64()?).ok()?;
        Some(Self { group: key["group"].as_str()?.to_owned(), partition, offset: value["offset"].as_i64()? })
    }
}

impl Printed {
    /// `Partition:0<TAB>Offset:5<TAB>name:value,name:value<TAB>key<TAB>value`.
    pub(crate) fn parse(line: &str) -> Option<Self> {
        let mut columns = line.splitn(5, '\t');
        let partition = columns.next()?.strip_prefix("Partition:")?.parse().ok()?;
        let offset = columns.next()?.strip_prefix("Offset:")?.parse().ok()?;
        let headers = columns.next()?.split(',').filter_map(|header| header.split_once(':'));
        let headers = headers.map(|(name, value)| (name.to_owned(), value.to_owned())).collect();
        Some(Self { partition, offset, headers, key: columns.next()?.to_owned(), value: columns.next()?.to_owned() })
    }

    /// The value of the header `name`.
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(header, _)| header == name).map(|(_, value)| value.as_str())
    }
}
