//! A group's positions are in one store, with Apache Kafka as the judge of who commits.

use serde_json::Value;

use crate::shop::{self, File, WORK};
use crate::status;
use crate::support::{ndjson, wait};
use crate::{Case, Shared, case};

pub(crate) const CASES: &[Case] = &[
    case!(JavaAndPython, a_group_is_taken_over_from_its_store_only_on_purpose),
    case!(Java, a_store_is_rebuilt_from_the_log),
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
