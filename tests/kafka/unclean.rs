//! An unclean election: the log loses what was acknowledged and applied.

use crate::cluster::Cluster;
use crate::console::{TOOL, Tool};
use crate::shop::{self, File, WORK};
use crate::support::example::example;
use crate::support::program::Signal;
use crate::support::{ndjson, wait};
use crate::{Case, Shared, case};

pub(crate) const CASES: &[Case] = &[case!(Java, a_log_that_an_unclean_election_cut_stops_its_partition_with_a_code)];

/// Two copies on the first two nodes, the first leads; one copy in sync is enough, and one that was not may lead.
fn create(cluster: &Cluster, topic: &str) {
    let create = cluster.tool(Tool::Topics).args(["--create", "--topic", topic, "--replica-assignment", "1:2"]);
    let create = create.args(["--config", "min.insync.replicas=1"]);
    create.args(["--config", "unclean.leader.election.enable=true"]).run(TOOL).ok();
}

fn a_log_that_an_unclean_election_cut_stops_its_partition_with_a_code(_: &Shared) {
    let mut cluster = Cluster::start(3, &[]);
    let (topic, folder) = ("unclean", tempfile::tempdir().expect("a folder"));
    let (store, watched) = (folder.path().join("inventory.redb"), folder.path().join("watched.redb"));
    create(&cluster, topic);
    cluster.send(topic, &File::of(100, 10), &[]);
    cluster.node(2).term();
    let file = File::of(150, 10);
    // The first hundred are in the log twice then; of the others node 2 knows nothing.
    cluster.send(topic, &file, &[]);
    let first = cluster.consume(topic, &store, &[]);
    assert_eq!(["applied", "duplicates"].map(|name| ndjson::summary(&first, name)), [150, 100]);
    let live = example("inventory_consumer").args(["-b", &cluster.bootstrap, "--topic", topic, "-g", "live", "--json"]);
    let live = live.arg("--store").arg(&watched).start();
    live.await_stdout_lines("all is applied", 150, WORK, |line| line.starts_with("{\"applied\""));

    cluster.node(1).kill();
    cluster.node(2).restart();
    wait::until("node 2 leads with what it has", 2 * WORK, || {
        let ends = cluster.tool(Tool::GetOffsets).args(["--topic", topic]).run(TOOL);
        ends.stdout.lines().any(|line| line == "unclean:0:100").then_some(())
    });
    let more = cluster.producer(topic, "more").input(File::of(30, 10).ndjson).run(WORK).ok();
    assert_eq!(ndjson::summary(&ndjson::parse(more.stdout.lines()), "sent"), 30, "{more}");

    live.await_stderr("the partition stops", WORK, |line| line.contains("CNS-DIVERGED"));
    let out = format!("`orders positions set {topic} 0 OFFSET");
    let stopped = cluster.consumer(topic, &store).arg("-e").run(WORK).with_code(1);
    assert!(stopped.stderr.contains("CNS-DIVERGED") && stopped.stderr.contains(&out), "{stopped}");
    assert!(stopped.stderr.contains("150 offsets that were read before are gone"), "{stopped}");
    assert_eq!(ndjson::summary(&ndjson::parse(stopped.stdout.lines()), "applied"), 0, "{stopped}");
    live.signal(Signal::Terminate);
    live.finish(WORK);

    let way_out = ["positions", "set", topic, "0", "100", "--reason", "unclean election", "-b", &cluster.bootstrap];
    shop::orders(&way_out, &store);
    let rest = cluster.consume(topic, &store, &[]);
    assert_eq!(["applied", "duplicates"].map(|name| ndjson::summary(&rest, name)), [30, 0]);
    assert!(shop::orders(&["verify"], &store)[0]["holds"] == true);
}
