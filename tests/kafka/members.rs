//! A group as its members tell of it: who has what, and what each was given.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use serde_json::Value;

use crate::cluster::Servers;
use crate::console::{Printed, TOOL, Tool};
use crate::shop::WORK;
use crate::support::program::{Running, Signal};
use crate::support::{ndjson, wait};

/// Heartbeats in half a second. The sessions are long: who leaves without a word is missed.
pub(crate) const CLASSIC: [(&str, &str); 2] = [("heartbeat.interval.ms", "500"), ("session.timeout.ms", "10000")];
pub(crate) const LONG: Duration = Duration::from_secs(10);

/// For members that are to be missed soon: beside [`CLASSIC`], which they overrule.
pub(crate) const MISSED_SOON: [(&str, &str); 1] = [("session.timeout.ms", "2000")];
pub(crate) const SHORT: Duration = Duration::from_secs(2);

/// Within this those that stay have what another leaves: a heartbeat, and a busy machine.
pub(crate) const SHARED_AGAIN: Duration = Duration::from_secs(3);

/// A topic with a group of its name whose members are heard of soon. Its records bear the time at which the broker
/// appended them.
pub(crate) fn prepare(cluster: &Servers, topic: &str, partitions: u32, session: Duration) {
    let create = cluster.tool(Tool::Topics).args(["--create", "--topic", topic]);
    let create = create.args(["--config", "message.timestamp.type=LogAppendTime"]);
    create.arg("--partitions").arg(partitions.to_string()).run(TOOL).ok();
    if Servers::group_protocols().contains(&"consumer") {
        let alter = cluster.tool(Tool::Configs).args(["--alter", "--entity-type", "groups", "--entity-name", topic]);
        let quick = format!("consumer.heartbeat.interval.ms=500,consumer.session.timeout.ms={}", session.as_millis());
        alter.args(["--add-config", &quick]).run(TOOL).ok();
    }
}

/// The shares that a member has told of, the last one last.
pub(crate) fn shares(member: &Running) -> Vec<Vec<i64>> {
    let lines = member.stdout();
    let told = ndjson::parse(lines.iter().map(String::as_str).filter(|line| line.starts_with("{\"owns\"")));
    let share = |line: &Value| {
        let mut share: Vec<_> = line["owns"].as_array().expect("partitions").iter().filter_map(Value::as_i64).collect();
        share.sort_unstable();
        share
    };
    told.iter().map(share).collect()
}

/// The partitions that a member has now.
pub(crate) fn owned(member: &Running) -> Vec<i64> {
    shares(member).pop().expect("a share is told first")
}

/// Waits until the members, in any order, have so many partitions each, and together each one once.
#[track_caller]
pub(crate) fn await_shares(what: &str, within: Duration, members: &[&Running], counts: &[usize]) -> Duration {
    let since = Instant::now();
    let everything: Vec<_> = (0..i64::try_from(counts.iter().sum::<usize>()).expect("a count")).collect();
    let look = || {
        let owned: Vec<_> = members.iter().map(|member| owned(member)).collect();
        let mut found: Vec<_> = owned.iter().map(Vec::len).collect();
        found.sort_unstable();
        let mut all = owned.concat();
        all.sort_unstable();
        (found == counts && all == everything).then_some(())
    };
    wait::until_or(within, look).unwrap_or_else(|| {
        let owned: Vec<_> = members.iter().map(|member| (shares(member), member.stderr())).collect();
        panic!("waited {within:?} in vain until {what}: {owned:?}")
    });
    since.elapsed()
}

/// A record that a member was given. Times are in microseconds since 1970.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Given {
    pub(crate) partition: i64,
    pub(crate) offset: i64,
    /// From when to when the member dealt with it; Java's console consumer does not tell.
    pub(crate) work: Option<(i64, i64)>,
    /// Its key and when it was appended, as ours tell.
    pub(crate) order: Option<(String, i64)>,
}

/// What a member was given, in its order.
pub(crate) fn given(lines: &[String]) -> Vec<Given> {
    lines.iter().filter_map(|line| Given::parse(line)).collect()
}

impl Given {
    fn parse(line: &str) -> Option<Self> {
        if let Some(Printed { partition, offset, .. }) = Printed::parse(line) {
            return Some(Self { partition: i64::from(partition), offset, work: None, order: None });
        }
        if !is_given(line) {
            return None;
        }
        let line = &ndjson::parse([line])[0];
        let number = |name: &str| line[name].as_i64();
        Some(Self {
            partition: number("partition").expect("a partition"),
            offset: number("offset").expect("an offset"),
            work: number("begun").zip(number("ended")),
            order: line["key"].as_str().map(str::to_owned).zip(number("appended")),
        })
    }
}

/// Whether a line of ours, or of a client of Python, tells of a record.
pub(crate) fn is_given(line: &str) -> bool {
    line.contains("\"offset\"") && !line.starts_with("{\"slow\"")
}

/// Waits until the members that run were given so many more records each.
#[track_caller]
pub(crate) fn await_more(what: &str, more: usize, members: &[&Running]) {
    let had: Vec<_> = members.iter().map(|member| given(&member.stdout()).len()).collect();
    for (member, had) in members.iter().zip(had) {
        member.await_stdout_lines(what, had + more, WORK, is_given);
    }
}

/// Waits until the members, of whom some may be gone and have left what they told, were given each record. Gives what each
/// was given, after demanding that a partition's records were dealt with in order.
#[track_caller]
pub(crate) fn await_all(cluster: &Servers, topic: &str, gone: &[Vec<String>], members: &[&Running]) -> Vec<Vec<Given>> {
    let ends = cluster.ends(topic);
    let everything = usize::try_from(ends.iter().map(|(_, end)| end).sum::<i64>()).expect("a count");
    let gone: Vec<_> = gone.iter().map(|lines| given(lines)).collect();
    let look =
        || -> Vec<_> { gone.iter().cloned().chain(members.iter().map(|member| given(&member.stdout()))).collect() };
    let places = |all: &[Vec<Given>]| {
        let mut places: Vec<_> = all.iter().flatten().map(|one| (one.partition, one.offset)).collect();
        places.sort_unstable();
        places.dedup();
        places
    };
    let all = wait::until_or(WORK, || Some(look()).filter(|all| places(all).len() >= everything));
    let all = all.unwrap_or_else(|| panic!("{} of {everything} records", places(&look()).len()));
    let expected = ends.iter().flat_map(|(partition, end)| (0..*end).map(|offset| (i64::from(*partition), offset)));
    assert_eq!(places(&all), expected.collect::<Vec<_>>(), "each record is given");
    for (partition, _) in ends {
        for of_member in &all {
            let of_partition = of_member.iter().filter(|one| one.partition == i64::from(partition));
            assert!(of_partition.is_sorted_by_key(|one| one.offset), "partition {partition} is given in order");
        }
    }
    assert_order_across_members(&all.concat());
    all
}

/// Demands that no record was begun by any member before the one before it in its partition was done by some member.
#[track_caller]
fn assert_order_across_members(given: &[Given]) {
    let mut first = BTreeMap::new();
    for one in given {
        let Some((begun, ended)) = one.work else { continue };
        let (earliest, done) = first.entry((one.partition, one.offset)).or_insert((begun, ended));
        (*earliest, *done) = (begun.min(*earliest), ended.min(*done));
    }
    for ((at, (_, done)), (next, (begun, _))) in first.iter().zip(first.iter().skip(1)) {
        assert!(at.0 != next.0 || done <= begun, "{next:?} is begun before {at:?} is done: {begun} before {done}");
    }
}

/// As [`await_all`]; and demands that each record was given once.
#[track_caller]
pub(crate) fn await_each_once(
    cluster: &Servers,
    topic: &str,
    gone: &[Vec<String>],
    members: &[&Running],
) -> Vec<Given> {
    let mut all = await_all(cluster, topic, gone, members).concat();
    all.sort_unstable_by_key(|one| (one.partition, one.offset));
    let is_twice = |pair: &&[Given]| (pair[0].partition, pair[0].offset) == (pair[1].partition, pair[1].offset);
    let twice: Vec<_> = all.windows(2).filter(is_twice).collect();
    assert!(twice.is_empty(), "given twice: {twice:?}");
    all
}

/// The longest that a record of each key waited between its append and its handling.
pub(crate) fn pauses(given: &[Given]) -> BTreeMap<&str, Duration> {
    let mut pauses = BTreeMap::new();
    for one in given {
        let (Some((key, appended)), Some((begun, _))) = (&one.order, one.work) else { continue };
        let waited = Duration::from_micros(u64::try_from(begun - appended).unwrap_or(0));
        let longest = pauses.entry(key.as_str()).or_insert(waited);
        *longest = waited.max(*longest);
    }
    pauses
}

/// Demands that no group of `topics` has ever committed an older position after a newer one, and that the last of them
/// are the ends.
#[track_caller]
pub(crate) fn assert_commits_never_went_back(cluster: &Servers, topics: &[String]) {
    let commits = cluster.commits();
    for topic in topics {
        for (partition, end) in cluster.ends(topic) {
            let of_partition = commits.iter().filter(|one| &one.group == topic && one.partition == partition);
            let offsets: Vec<_> = of_partition.map(|one| one.offset).collect();
            assert!(offsets.is_sorted(), "{topic}/{partition}: {offsets:?}");
            assert_eq!(offsets.last().copied(), (end > 0).then_some(end), "{topic}/{partition}");
        }
    }
}

pub(crate) fn is_empty(cluster: &Servers, group: &str) -> bool {
    let describe = cluster.tool(Tool::ConsumerGroups).args(["--describe", "--state", "--group", group]);
    describe.run(TOOL).ok().stdout.lines().any(|line| line.starts_with(group) && line.contains("Empty"))
}

/// Ends a member by SIGTERM, and gives what it told.
pub(crate) fn end(member: Running) -> Vec<String> {
    member.signal(Signal::Terminate);
    member.finish(WORK).ok().stdout.lines().map(str::to_owned).collect()
}

/// Ends members one after the other.
pub(crate) fn end_all(members: impl IntoIterator<Item = Running>) {
    members.into_iter().for_each(|member| drop(end(member)));
}
