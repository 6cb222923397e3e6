//! One consumer with a store in a group with members that do not feed it.

use crate::groups::reader;
use crate::members::{CLASSIC, LONG, await_shares, end, given, owned, prepare};
use crate::shop::{self, File, WORK};
use crate::support::program::{Running, Signal};
use crate::support::{ndjson, wait};
use crate::{Case, Shared, case};

pub(crate) const CASES: &[Case] = &[
    case!(JavaAndPython, a_store_beside_a_member_of_kafka_python_has_each_effect_once_when_it_is_alone_again),
    case!(JavaAndPython, a_store_beside_a_member_of_librdkafka_has_each_effect_once_when_it_is_alone_again),
];

const PARTITIONS: u32 = 4;

fn applied(consumer: &Running) -> usize {
    consumer.stdout().iter().filter(|line| line.starts_with("{\"applied\"")).count()
}

/// The other member reads half of the topic and commits what it has read; then it leaves. The store goes on from its own
/// positions there, and says why.
fn beside(shared: &Shared, client: &str, topic: &str) {
    let (cluster, file) = (shared.cluster(), File::of(2000, 40));
    let folder = tempfile::tempdir().expect("a folder");
    let store = folder.path().join("inventory.redb");
    prepare(cluster, topic, PARTITIONS, LONG);
    let other = reader(cluster, client, topic, "range");
    await_shares("the other has all", WORK, &[&other], &[4]);
    let settings = CLASSIC.map(|(key, value)| format!("{key}={value}"));
    let ours =
        settings.iter().fold(cluster.consumer(topic, &store), |ours, setting| ours.args(["-X", setting])).start();
    wait::until("the other gives a half away", WORK, || (owned(&other).len() == 2).then_some(()));
    cluster.send(topic, &file, &[]);
    let theirs = || given(&other.stdout()).len();
    wait::until("both have read", WORK, || (theirs() + applied(&ours) == file.orders).then_some(()));
    assert!(theirs() > 0 && applied(&ours) > 0, "{} and {}", theirs(), applied(&ours));

    end(other);
    ours.await_stdout_lines("the store has everything", file.orders, WORK, |line| line.starts_with("{\"applied\""));
    ours.await_stderr("what others have read is told", WORK, |line| {
        line.contains("were read by a member of the group that does not feed this store")
    });
    ours.signal(Signal::Terminate);
    let ended = ours.finish(WORK).ok();
    let lines = ndjson::parse(ended.stdout.lines());
    assert_eq!(ndjson::summary(&lines, "applied"), file.orders as u64, "{ended}");
    assert_eq!(ndjson::summary(&lines, "duplicates"), 0);
    assert_eq!(shop::audited_stock(&store), file.stock);
    assert_eq!(cluster.lag(topic, topic), 0);
}

fn a_store_beside_a_member_of_kafka_python_has_each_effect_once_when_it_is_alone_again(shared: &Shared) {
    beside(shared, "kafka-python", "beside-kafka-python");
}

fn a_store_beside_a_member_of_librdkafka_has_each_effect_once_when_it_is_alone_again(shared: &Shared) {
    let is_newest = crate::cluster::Servers::group_protocols().contains(&"consumer");
    beside(shared, if is_newest { "librdkafka-848" } else { "librdkafka" }, "beside-librdkafka");
}
