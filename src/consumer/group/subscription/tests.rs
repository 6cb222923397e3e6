//! What must hold of the members' bytes.

use proptest::prelude::*;

use super::*;
use crate::wire::message::{
    JoinGroupRequest, JoinGroupResponse, Request, SyncGroupRequest, SyncGroupResponse, decode_body,
};

fn from_hex(text: &str) -> Bytes {
    let digit = |byte: u8| u8::try_from(char::from(byte).to_digit(16).unwrap()).unwrap();
    let digits: Vec<u8> = text.bytes().filter(|byte| *byte != b' ').map(digit).collect();
    digits.chunks_exact(2).map(|pair| pair[0] << 4 | pair[1]).collect()
}

fn listed(partitions: &BTreeSet<TopicPartition>) -> String {
    partitions.iter().map(ToString::to_string).collect::<Vec<_>>().join(",")
}

fn shown(told: &Subscription) -> String {
    let topics: Vec<&str> = told.topics.iter().map(|topic| &**topic).collect();
    let generation = told.generation.map_or("-".to_owned(), |generation| generation.to_string());
    let rack = told.rack.as_deref().unwrap_or("-");
    format!("topics={} owned={} generation={generation} rack={rack}", topics.join(","), listed(&told.owned))
}

/// Reads the bytes into fields, user data included, and writes them in their own version again.
fn assert_written_again<M: Encode + Decode>(bytes: &Bytes, place: &str) {
    let (version, body) = split(bytes).unwrap();
    let (form, left) = read::<M>(&body, version).unwrap_or_else(|error| panic!("{place}: {error}"));
    assert_eq!(left, 0, "{place}");
    assert_eq!(write(&form, version).unwrap(), bytes, "{place}");
}

fn golden() -> impl Iterator<Item = (&'static str, &'static str, &'static str, Bytes)> {
    include_str!("../../../../fixtures/group/metadata.txt").lines().map(|line| {
        let parts: Vec<&str> = line.split(" | ").collect();
        (parts[0], parts[1], parts[2], from_hex(parts[3]))
    })
}

fn bytes_of(kind: &str, client: &str) -> Bytes {
    golden().find(|golden| (golden.0, golden.1) == (kind, client)).unwrap().3
}

#[test]
fn what_every_client_tells_is_understood_and_written_again() {
    let mut count = 0;
    for (kind, client, meaning, bytes) in golden() {
        if kind == "subscription" {
            assert_eq!(shown(&Subscription::decode(&bytes).unwrap()), meaning, "{client}");
            assert_written_again::<SubscriptionForm>(&bytes, client);
        } else {
            assert_eq!(listed(&decode_assignment(&bytes).unwrap()), meaning, "{client}");
            assert_written_again::<AssignmentForm>(&bytes, client);
        }
        count += 1;
    }
    assert_eq!(count, 38);
}

/// The metadata and assignments inside all captured frames.
fn captured() -> Vec<(bool, String, Bytes)> {
    fn body<M: Decode, R: Request>(version: i16, bytes: Bytes) -> M {
        let skip = usize::from(version >= R::FLEXIBLE_FROM);
        decode_body(bytes.slice(skip..), version, R::FLEXIBLE_FROM).unwrap()
    }
    let folder = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures/wire");
    let mut found = Vec::new();
    for file in std::fs::read_dir(folder).unwrap() {
        let path = file.unwrap().path();
        for (line, number) in std::fs::read_to_string(&path).unwrap().lines().zip(1..) {
            let words: Vec<&str> = line.split_whitespace().collect();
            let [side, api, version, bytes] = words[..] else { continue };
            let Ok(version) = version.parse() else { continue };
            let place = || format!("{}:{number}", path.display());
            match (side, api) {
                ("request", "JoinGroup") => {
                    let join: JoinGroupRequest = body::<_, JoinGroupRequest>(version, from_hex(bytes));
                    found.extend(join.protocols.into_iter().map(|protocol| (true, place(), protocol.metadata)));
                }
                ("response", "JoinGroup") => {
                    let joined: JoinGroupResponse = body::<_, JoinGroupRequest>(version, from_hex(bytes));
                    found.extend(joined.members.into_iter().map(|member| (true, place(), member.metadata)));
                }
                ("request", "SyncGroup") => {
                    let sync: SyncGroupRequest = body::<_, SyncGroupRequest>(version, from_hex(bytes));
                    found.extend(sync.assignments.into_iter().map(|one| (false, place(), one.assignment)));
                }
                ("response", "SyncGroup") => {
                    let synced: SyncGroupResponse = body::<_, SyncGroupRequest>(version, from_hex(bytes));
                    found.push((false, place(), synced.assignment));
                }
                _ => {}
            }
        }
    }
    found
}

#[test]
fn the_metadata_of_every_captured_frame_comes_out_as_it_went_in() {
    let captured = captured();
    assert!(captured.len() > 80, "{}", captured.len());
    for (is_subscription, place, bytes) in captured {
        if is_subscription {
            Subscription::decode(&bytes).unwrap();
            assert_written_again::<SubscriptionForm>(&bytes, &place);
        } else {
            decode_assignment(&bytes).unwrap();
            if !bytes.is_empty() {
                assert_written_again::<AssignmentForm>(&bytes, &place);
            }
        }
    }
}

fn set(partitions: &[(&str, i32)]) -> BTreeSet<TopicPartition> {
    partitions.iter().map(|(topic, partition)| TopicPartition::new(*topic, *partition)).collect()
}

#[test]
fn eager_members_write_the_bytes_of_librdkafka() {
    let told = Subscription::to(["t"]);
    assert_eq!(told.encode_for(Assignor::Range).unwrap(), bytes_of("subscription", "librdkafka-2.0.2 range"));
    assert_eq!(told.encode_for(Assignor::RoundRobin).unwrap(), bytes_of("subscription", "librdkafka-2.0.2 range"));
}

#[test]
fn what_an_eager_member_writes_is_the_same_at_every_join() {
    let first = Subscription::to(["t", "u"]);
    let later = Subscription::to(["u", "t"]).owning(set(&[("t", 1)]), Some(7));
    assert_eq!(first.encode_for(Assignor::Range).unwrap(), later.encode_for(Assignor::Range).unwrap());
}

#[test]
fn a_cooperative_member_writes_what_it_owns_in_order_and_no_user_data() {
    let told = Subscription::to(["u", "t"]).owning(set(&[("u", 1), ("t", 2), ("t", 0)]), Some(5));
    let bytes = from_hex(
        "0003000000020001740001750000000000000002000174000000020000000000000002000175000000010000000100000005ffff",
    );
    assert_eq!(told.encode_for(Assignor::CooperativeSticky).unwrap(), bytes);
    let first = from_hex("0003000000010001740000000000000000ffffffffffff");
    assert_eq!(Subscription::to(["t"]).encode_for(Assignor::CooperativeSticky).unwrap(), first);
}

#[test]
fn the_leader_writes_the_bytes_of_librdkafka_and_kafka_python() {
    let all = set(&[("t", 3), ("t", 2), ("t", 1), ("t", 0)]);
    assert_eq!(encode_assignment(&all).unwrap(), bytes_of("assignment", "librdkafka-2.16.0 range"));
    let none = encode_assignment(&BTreeSet::new()).unwrap();
    assert_eq!(none, bytes_of("assignment", "kafka-python-3.0.12 range nothing"));
    assert!(none.len() >= 2, "Java refuses less");
}

#[test]
fn later_versions_are_read_as_far_as_they_are_known() {
    let now = Subscription::to(["t"]).owning(set(&[("t", 1)]), Some(5));
    let mut bytes = now.encode_for(Assignor::CooperativeSticky).unwrap().to_vec();
    bytes[1] = 9;
    bytes.extend_from_slice(b"what comes later");
    assert_eq!(Subscription::decode(&bytes.into()).unwrap(), now);
    let assigned = from_hex("0009000000010001740000000100000002000000000badcafe");
    assert_eq!(decode_assignment(&assigned).unwrap(), set(&[("t", 2)]));
}

#[test]
fn bytes_that_end_before_later_fields_are_an_earlier_version() {
    let ends = |hex| shown(&Subscription::decode(&from_hex(hex)).unwrap());
    // Old Sarama says 1 and writes no owned partitions.
    assert_eq!(ends("00010000000100017400000000"), "topics=t owned= generation=- rack=-");
    assert_eq!(ends("0001000000010001 74 ffffffff"), "topics=t owned= generation=- rack=-");
    // Version 3 without a rack, and without generation.
    assert_eq!(ends("0003000000010001740000000000000000 00000004"), "topics=t owned= generation=4 rack=-");
    assert_eq!(ends("0003000000010001740000000000000000"), "topics=t owned= generation=- rack=-");
}

#[test]
fn user_data_tells_a_generation_only_where_no_field_does_and_never_generation_zero() {
    let generation = |hex| Subscription::decode(&from_hex(hex)).unwrap().generation;
    assert_eq!(generation("0001 00000001 0001 74 00000004 00000005 00000000"), Some(5));
    assert_eq!(generation("0001 00000001 0001 74 00000004 00000000 00000000"), None);
    assert_eq!(generation("0003 00000001 0001 74 00000004 00000005 00000000 ffffffff ffff"), None);
}

#[test]
fn an_assignment_of_no_bytes_is_nothing() {
    assert_eq!(decode_assignment(&Bytes::new()).unwrap(), BTreeSet::new());
}

#[test]
fn a_partition_counts_once_and_one_below_zero_not_at_all() {
    let hex = "0000 00000002 0001 74 00000003 00000001 ffffffff 00000001 0001 74 00000002 00000000 00000001 00000000";
    assert_eq!(decode_assignment(&from_hex(hex)).unwrap(), set(&[("t", 0), ("t", 1)]));
}

#[test]
fn counts_beyond_the_bytes_are_refused_before_memory_is_taken() {
    for hex in [
        "00037fffffff000174",
        "0003 00000001 7fff 74",
        "0003 00000001 0001 74 7fffffff 00",
        "0003 00000001 0001 74 00000000 7fffffff",
        "0003 00000001 0001 74 00000000 00000001 0001 74 7fffffff 00000000",
        "0003 fffffffe",
        "0003 ffffffff",
        "0003",
        "00",
        "",
        "ffff 00000000 00000000",
    ] {
        let bytes = from_hex(hex);
        let error = Subscription::decode(&bytes).expect_err(hex);
        assert_eq!(error.code(), ErrorCode::Protocol, "{hex}");
    }
    for hex in ["00007fffffff000174", "0000 00000001 0001 74 7fffffff 00000000", "0000", "00", "ffff 00000000 00000000"]
    {
        let error = decode_assignment(&from_hex(hex)).expect_err(hex);
        assert_eq!(error.code(), ErrorCode::Protocol, "{hex}");
    }
}

fn partitions() -> impl Strategy<Value = BTreeSet<TopicPartition>> {
    let one = ("[a-c]{1,2}", 0_i32..9).prop_map(|(topic, partition)| TopicPartition::new(topic, partition));
    prop::collection::btree_set(one, 0..12)
}

proptest! {
    #[test]
    fn what_is_written_is_read_back(
        topics in prop::collection::btree_set("[a-z.]{0,9}", 0..5),
        owned in partitions(),
        generation in prop::option::of(0_i32..),
        rack in prop::option::of("[a-z]{1,4}"),
    ) {
        let told = Subscription { rack: rack.map(Arc::from), ..Subscription::to(topics) }.owning(owned, generation);
        let bytes = told.encode_for(Assignor::CooperativeSticky).unwrap();
        prop_assert_eq!(&Subscription::decode(&bytes).unwrap(), &told);
        let eager = Subscription { topics: told.topics.clone(), ..Subscription::default() };
        prop_assert_eq!(Subscription::decode(&told.encode_for(Assignor::Range).unwrap()).unwrap(), eager);
        prop_assert_eq!(decode_assignment(&encode_assignment(&told.owned).unwrap()).unwrap(), told.owned);
    }

    #[test]
    fn no_bytes_trip_the_reader(
        version in prop_oneof![0_i16..5, any::<i16>()],
        noise in prop::collection::vec(prop_oneof![4 => Just(0_u8), 2 => 0_u8..4, 1 => any::<u8>()], 0..60),
        which in any::<prop::sample::Index>(),
        at in any::<prop::sample::Index>(),
        value in any::<u8>(),
        cut in any::<prop::sample::Index>(),
    ) {
        let bytes = Bytes::from([&version.to_be_bytes()[..], &noise[..]].concat());
        let (_, _) = (Subscription::decode(&bytes), decode_assignment(&bytes));

        let mut real = which.get(&golden().collect::<Vec<_>>()).3.to_vec();
        let at = at.index(real.len());
        real[at] = value;
        real.truncate(cut.index(real.len() + 1));
        let real = Bytes::from(real);
        let (_, _) = (Subscription::decode(&real), decode_assignment(&real));
    }
}
