//! The library's lower layers against the broker itself: topics, offsets, batches.

use std::collections::BTreeMap;
use std::time::Duration;

use bytes::Bytes;
use orderflow::cluster::admin::{self, Creation, NewTopic, OffsetSpec};
use orderflow::cluster::{Cluster as Client, Missing, Purpose, TopicView};
use orderflow::config::ClientConfig;
use orderflow::wire::compression::{Compression, Compressor, Decompressor};
use orderflow::wire::message::{
    FetchPartition, FetchRequest, FetchTopic, PartitionProduceData, ProduceRequest, TopicProduceData,
};
use orderflow::wire::record_batch::{BatchBuilder, BatchReader, Header, RecordParts};

use crate::cluster::{Cluster, Servers};
use crate::support::on_runtime;
use crate::{Case, Shared, case};

pub(crate) const CASES: &[Case] = &[
    case!(Java, a_topic_that_we_make_is_there_for_others_with_its_settings),
    case!(Java, our_offsets_are_those_of_the_java_tool),
    case!(Java, batches_that_we_build_are_read_by_the_java_consumer_in_each_codec),
    case!(JavaAndPython, batches_that_others_build_are_read_by_us_in_each_codec),
    case!(Java, metadata_follows_a_leader_that_dies),
];

const SOON: Duration = Duration::from_secs(30);

async fn connect(cluster: &Servers) -> Client {
    Client::connect(&ClientConfig::new(cluster.bootstrap.as_str())).await.expect("a connection")
}

fn a_topic_that_we_make_is_there_for_others_with_its_settings(shared: &Shared) {
    let (cluster, name) = (shared.cluster(), "library-made");
    let configs = BTreeMap::from([("retention.ms".to_owned(), "86400000".to_owned())]);
    let topic = NewTopic { partitions: Some(5), replication: Some(1), configs, ..NewTopic::named(name) };
    on_runtime(async {
        let client = connect(cluster).await;
        for expected in [Creation::Created, Creation::Existed] {
            let made = admin::create_topics(&client, std::slice::from_ref(&topic)).await.expect("topics can be made");
            assert_eq!(made, [expected]);
        }
        let described = admin::describe_topic(&client, name, SOON).await.expect("a description");
        assert_eq!((described.partitions, described.replication, described.records), (5, 1, 0));
        assert_eq!(described.configs, topic.configs);
        client.close().await;
    });
    assert_eq!(cluster.ends(name), [(0, 0), (1, 0), (2, 0), (3, 0), (4, 0)]);
}

fn our_offsets_are_those_of_the_java_tool(shared: &Shared) {
    let (cluster, name) = (shared.cluster(), "library-offsets");
    cluster.create_topic(name, 4);
    let lines: Vec<_> = (0..100).map(|index| format!("key-{index}\tvalue")).collect();
    cluster.console_produce(name, &lines, &[]);
    let ours = on_runtime(async {
        let client = connect(cluster).await;
        let topic = client.topic(name, Missing::Refuse, SOON).await.expect("the topic");
        let at = async |spec| admin::list_offsets(&client, &topic, spec).await.expect("offsets");
        let (first, end) = (at(OffsetSpec::Earliest).await, at(OffsetSpec::Latest).await);
        assert_eq!(at(OffsetSpec::LatestStable).await, end);
        assert_eq!(at(OffsetSpec::AtTime(0)).await, first);
        client.close().await;
        end
    });
    assert_eq!(ours.into_iter().collect::<Vec<_>>(), cluster.ends(name));
}

fn batches_that_we_build_are_read_by_the_java_consumer_in_each_codec(shared: &Shared) {
    let (cluster, name) = (shared.cluster(), "library-built");
    cluster.create_topic(name, 1);
    let codecs = [Compression::None, Compression::Gzip, Compression::Snappy, Compression::Lz4];
    on_runtime(async {
        let client = connect(cluster).await;
        let topic = client.topic(name, Missing::Refuse, SOON).await.expect("the topic");
        for codec in codecs {
            let answer = produce(&client, &topic, build(codec, 500)).await;
            assert_eq!(answer, 0, "{codec:?}");
        }
        client.close().await;
    });
    let read = cluster.console_consume(name, 500 * codecs.len());
    for (index, record) in read.iter().enumerate() {
        let number = index % 500;
        assert_eq!((record.key.as_str(), &record.value), ("a key", &format!("the value of record {number}")));
        assert_eq!(record.header("codec"), Some(codecs[index / 500].as_str()));
    }
}

fn build(codec: Compression, records: usize) -> Bytes {
    let mut batch = BatchBuilder::new(codec, Vec::new());
    let headers = [Header { key: b"codec", value: Some(codec.as_str().as_bytes()) }];
    for number in 0..records {
        let value = format!("the value of record {number}");
        let parts = RecordParts { key: Some(b"a key"), headers: &headers, value_len: Some(value.len()) };
        let written = batch.append(1_685_000_000_000, &parts, |out| out.extend_from_slice(value.as_bytes()));
        written.expect("a small record");
    }
    batch.close(&mut Compressor::new()).bytes()
}

/// Writes a batch to partition 0, and gives the broker's error code.
async fn produce(client: &Client, topic: &TopicView, batch: Bytes) -> i16 {
    let leader = topic.leader(0).expect("a leader");
    let partition_data = vec![PartitionProduceData { index: 0, records: Some(batch) }];
    let topic_data = vec![TopicProduceData { name: topic.name.to_string(), partition_data }];
    let request = ProduceRequest { acks: -1, timeout_ms: 10_000, topic_data, ..Default::default() };
    let connection = client.connection(leader.node, Purpose::Produce).await.expect("a connection");
    let answer = connection.call(request).await.expect("an answer");
    answer.responses[0].partition_responses[0].error_code
}

fn batches_that_others_build_are_read_by_us_in_each_codec(shared: &Shared) {
    let cluster = shared.cluster();
    let lines: Vec<_> = (0..300).map(|index| format!("key-{index}\tthe value of record {index}")).collect();
    for codec in ["none", "gzip", "snappy", "lz4", "zstd"] {
        let name = format!("library-read-{codec}");
        cluster.create_topic(&name, 1);
        cluster.console_produce(&name, &lines, &["--compression-codec", codec]);
        cluster.python("produce.py", &[&name, codec], &(lines.join("\n") + "\n"));
        let (codecs, read) = on_runtime(read(cluster, &name, 600));
        assert!(codecs.iter().all(|found| found.as_str() == codec), "{codec}: {codecs:?}");
        assert!(read.chunks(300).all(|half| half == lines), "{codec}: {read:?}");
    }
}

/// Reads partition 0 from its beginning: the batches' codecs, the records as `key<TAB>value`.
async fn read(cluster: &Servers, name: &str, count: usize) -> (Vec<Compression>, Vec<String>) {
    let client = connect(cluster).await;
    let topic = client.topic(name, Missing::Refuse, SOON).await.expect("the topic");
    let (mut codecs, mut records, mut decompressor) = (Vec::new(), Vec::new(), Decompressor::new());
    while records.len() < count {
        let bytes = fetch(&client, &topic, i64::try_from(records.len()).expect("a small count")).await;
        for batch in BatchReader::new(bytes) {
            let batch = batch.expect("a batch");
            batch.check_crc().expect("a whole batch");
            codecs.push(batch.compression());
            for record in batch.records(&mut decompressor).expect("records") {
                let record = record.expect("a record");
                let [key, value] =
                    [record.key, record.value].map(|part| String::from_utf8_lossy(part.expect("a part")));
                assert_eq!(usize::try_from(record.offset), Ok(records.len()));
                records.push(format!("{key}\t{value}"));
            }
        }
    }
    client.close().await;
    (codecs, records)
}

async fn fetch(client: &Client, topic: &TopicView, offset: i64) -> Bytes {
    let leader = topic.leader(0).expect("a leader");
    let partition = FetchPartition {
        fetch_offset: offset,
        current_leader_epoch: leader.epoch,
        partition_max_bytes: 1 << 20,
        ..Default::default()
    };
    let topics = vec![FetchTopic { topic: topic.name.to_string(), topic_id: topic.id, partitions: vec![partition] }];
    let request = FetchRequest { max_wait_ms: 500, min_bytes: 1, topics, ..Default::default() };
    let connection = client.connection(leader.node, Purpose::Fetch).await.expect("a connection");
    let answer = connection.call(request).await.expect("an answer");
    let found = answer.responses.first().and_then(|topic| topic.partitions.first()).expect("the partition");
    assert_eq!((answer.error_code, found.error_code), (0, 0));
    found.records.clone().unwrap_or_default()
}

fn metadata_follows_a_leader_that_dies(_: &Shared) {
    let (mut cluster, name) = (Cluster::start(3, &[]), "library-moved");
    cluster.create_topic(name, 6);
    on_runtime(async {
        let client = connect(&cluster).await;
        let before = client.topic(name, Missing::Refuse, SOON).await.expect("the topic");
        let first = before.leader(0).expect("a leader");
        cluster.node(usize::try_from(first.node).expect("a node's number")).kill();
        let moved = async || {
            client.refresh();
            let topic = client.topic(name, Missing::Refuse, SOON).await.ok()?;
            topic.leader(0).filter(|leader| leader.node != first.node && leader.epoch > first.epoch)
        };
        crate::support::wait::until_async("the leader moves", Duration::from_secs(60), moved).await;
        client.close().await;
    });
}
