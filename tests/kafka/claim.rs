//! A group's positions are in one store, with Apache Kafka as the judge of who commits.

use serde_json::Value;

use crate::console::{TOOL, Tool};
use crate::shop::{self, File, WORK};
use crate::status;
use crate::support::program::Signal;
use crate::support::{ndjson, wait};
use crate::{Case, Shared, case};

pub(crate) const CASES: &[Case] = &[
    case!(JavaAndPython, a_group_is_taken_over_from_its_store_only_on_purpose),
    case!(Java, a_store_is_rebuilt_from_the_log),
    case!(Java, a_restored_backup_goes_on_and_ends_as_if_nothing_had_been_lost),
    case!(Java, a_topic_made_anew_while_it_is_read_is_read_from_its_beginning_and_repeats_no_effect),
];

fn counts(lines: &[Value]) -> [u64; 2] {
    ["applied", "duplicates"].map(|name| ndjson::summary(lines, name))
}

fn a_group_is_taken_over_from_its_store_only_on_purpose(shared: &Shared) {
    let (cluster, topic, file) = (shared.cluster(), "taken-over", File::of(600, 30));
    let folder = tempfile::tempdir().expect("a folder");
    let (owner, heir) = (folder.path().join("owner.redb"), folder.path().join("heir.redb"));
    cluster.create_topic(topic, 3);
    cluster.console_produce(topic, &file.keyed_lines(), &[]);
    assert_eq!(counts(&cluster.consume(topic, &owner, &[])), [600, 0]);
    cluster.console_produce(topic, &file.keyed_lines()[..100], &[]);
    let refused = cluster.consumer(topic, &heir).arg("-e").run(WORK).with_code(1);
    assert!(refused.stderr.contains("STO-CLAIMED"), "{refused}");

    // A member of another kind holds the group: its coordinator would refuse the claim.
    let member = status::member(cluster, "librdkafka", topic, 0);
    let held = cluster.consumer(topic, &heir).args(["-e", "--adopt"]).run(WORK).with_code(1);
    assert!(held.stderr.contains("has 1 members, so it cannot be taken over"), "{held}");
    drop(member);
    wait::until("the member's session ends", WORK, || (cluster.members(topic) == 0).then_some(()));

    assert_eq!(cluster.committed(topic, topic).len(), 3);
    let lag = u64::try_from(cluster.lag(topic, topic)).expect("no commit is beyond the end");
    assert_eq!(counts(&cluster.consume(topic, &heir, &["--adopt"])), [lag, 0], "from the committed offsets");
    assert_eq!(cluster.lag(topic, topic), 0);
    let lost = cluster.consumer(topic, &owner).arg("-e").run(WORK).with_code(1);
    assert!(lost.stderr.contains("STO-CLAIMED"), "{lost}");
    // The first store's own positions win: it applies what it has not, whoever else did.
    assert_eq!(counts(&cluster.consume(topic, &owner, &["--adopt"])), [100, 0]);
    assert!(shop::orders(&["verify"], &owner)[0]["holds"] == true);
}

fn a_store_is_rebuilt_from_the_log(shared: &Shared) {
    let (cluster, topic, file) = (shared.cluster(), "rebuilt", File::of(500, 25));
    let folder = tempfile::tempdir().expect("a folder");
    let (lost, built) = (folder.path().join("lost.redb"), folder.path().join("built.redb"));
    cluster.create_topic(topic, 3);
    cluster.send(topic, &file, &[]);
    cluster.send(topic, &file, &[]);
    assert_eq!(counts(&cluster.consume(topic, &lost, &[])), [500, 500]);
    assert_eq!(counts(&cluster.consume(topic, &built, &["--rebuild"])), [500, 500]);
    assert_eq!(shop::audited_stock(&built), file.stock);
    assert_eq!(counts(&cluster.consume(topic, &built, &[])), [0, 0]);
}

fn a_restored_backup_goes_on_and_ends_as_if_nothing_had_been_lost(shared: &Shared) {
    let (cluster, topic, file) = (shared.cluster(), "restored", File::of(500, 25));
    let folder = tempfile::tempdir().expect("a folder");
    let (store, backup) = (folder.path().join("inventory.redb"), folder.path().join("backup.redb"));
    cluster.create_topic(topic, 3);
    cluster.send(topic, &File::of(300, 25), &[]);
    assert_eq!(counts(&cluster.consume(topic, &store, &[])), [300, 0]);
    shop::orders(&["backup", "--to", &backup.to_string_lossy()], &store);
    cluster.send(topic, &file, &[]);
    assert_eq!(counts(&cluster.consume(topic, &store, &[])), [200, 300]);
    std::fs::copy(&backup, &store).expect("it is restored");
    let again = cluster.consumer(topic, &store).arg("-e").run(WORK).ok();
    assert!(again.stderr.contains("is older than what it has committed"), "{again}");
    assert_eq!(counts(&ndjson::parse(again.stdout.lines())), [200, 300]);
    assert_eq!((shop::audited_stock(&store), cluster.lag(topic, topic)), (file.stock, 0));
    assert_eq!(counts(&cluster.consume(topic, &store, &[])), [0, 0]);
}

fn a_topic_made_anew_while_it_is_read_is_read_from_its_beginning_and_repeats_no_effect(shared: &Shared) {
    let (cluster, topic, file) = (shared.cluster(), "made-anew", File::of(400, 25));
    let folder = tempfile::tempdir().expect("a folder");
    let store = folder.path().join("inventory.redb");
    cluster.create_topic(topic, 3);
    cluster.send(topic, &File::of(300, 25), &[]);
    let live = cluster.consumer(topic, &store).start();
    let is_applied = |line: &str| line.starts_with("{\"applied\"");
    live.await_stdout_lines("all is applied", 300, WORK, is_applied);
    cluster.tool(Tool::Topics).args(["--delete", "--topic", topic]).run(TOOL).ok();
    wait::until("the topic is gone", WORK, || {
        let topics = cluster.tool(Tool::Topics).arg("--list").run(TOOL).ok();
        topics.stdout.lines().all(|line| line != topic).then_some(())
    });
    cluster.create_topic(topic, 3);
    cluster.send(topic, &file, &[]);
    live.await_stdout_lines("what is new is applied", 400, WORK, is_applied);
    live.signal(Signal::Terminate);
    live.finish(WORK).ok();
    assert_eq!(counts(&cluster.consume(topic, &store, &[])), [0, 0]);
    assert_eq!((shop::audited_stock(&store), cluster.lag(topic, topic)), (file.stock, 0));
}
