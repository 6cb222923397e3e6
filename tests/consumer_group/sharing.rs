//! Members that come, share and go.

use crate::consumer_support::*;
use crate::member::*;
use crate::support::wait::until_async;

#[tokio::test]
async fn two_members_share_the_partitions_and_the_one_that_stays_takes_over_what_the_other_leaves() {
    for protocol in PROTOCOLS {
        let broker = broker(4).await;
        let handed = Handed::default();
        let settings = [("group.protocol", protocol)];
        let first = Member::start(&broker, "first", &handed, None, &settings).await;
        first.owns(4).await;
        let second = Member::start(&broker, "second", &handed, None, &settings).await;
        first.owns(2).await;
        second.owns(2).await;
        assert_eq!(members(&broker).await, ["first", "second"], "{protocol}");
        let mut both = [first.partitions(), second.partitions()].concat();
        both.sort_unstable();
        assert_eq!(both, [0, 1, 2, 3], "{protocol}");

        for partition in 0..4 {
            let from = partition as usize * 100;
            write(&broker, partition, &entries(from..from + 50));
        }
        handed_out(&handed, 200).await;
        second.stop().await;
        assert_eq!(members(&broker).await, ["first"], "{protocol}: a member that stops leaves at once");
        first.owns(4).await;
        for partition in 0..4 {
            let from = partition as usize * 100 + 50;
            write(&broker, partition, &entries(from..from + 50));
        }
        handed_out(&handed, 400).await;
        first.stop().await;
        assert_eq!(orders(&handed), (0..400).collect::<Vec<u64>>(), "{protocol}: each order once");
        for partition in 0..4 {
            assert_eq!(broker.committed(GROUP, TOPIC, partition), Some(100), "{protocol}");
        }
        broker.shutdown().await;
    }
}

#[tokio::test]
async fn a_cooperative_member_keeps_reading_what_it_keeps() {
    let broker = broker(4).await;
    let handed = Handed::default();
    let settings = [("group.protocol", "classic"), ("partition.assignment.strategy", "cooperative-sticky")];
    let first = Member::start(&broker, "first", &handed, None, &settings).await;
    first.owns(4).await;
    let second = Member::start(&broker, "second", &handed, None, &settings).await;
    first.owns(2).await;
    second.owns(2).await;
    for partition in 0..4 {
        let from = partition as usize * 100;
        write(&broker, partition, &entries(from..from + 100));
    }
    handed_out(&handed, 400).await;
    first.stop().await;
    second.owns(4).await;
    second.stop().await;
    assert_eq!(orders(&handed), (0..400).collect::<Vec<u64>>());
    broker.shutdown().await;
}

#[tokio::test]
async fn an_order_in_hand_is_settled_and_committed_before_its_partition_goes_to_another_member() {
    for protocol in PROTOCOLS {
        let broker = broker(2).await;
        let handed = Handed::default();
        let settings = [("group.protocol", protocol)];
        let gates = [Gate::new("first", "0"), Gate::new("first", "100")];
        // One order of each partition is kept in hand, so that whichever moves has one.
        write(&broker, 0, &entries(0..10));
        write(&broker, 1, &entries(100..110));
        let first = Member::start_gated(&broker, "first", &handed, &gates, &settings).await;
        handed_out(&handed, 2).await;
        let second = Member::start(&broker, "second", &handed, None, &settings).await;
        until_joined(&broker, 2).await;
        let revoked = async || (first.partitions().len() < 2).then_some(());
        until_async("a partition is asked back", SOON, revoked).await;
        assert!(second.partitions().is_empty(), "{protocol}: nothing moves while an order is in hand");
        assert_eq!(orders(&handed), [0, 100], "{protocol}");
        gates.iter().for_each(Gate::open);
        second.owns(1).await;
        first.owns(1).await;
        handed_out(&handed, 20).await;
        first.stop().await;
        second.stop().await;
        let expected: Vec<u64> = (0..10).chain(100..110).collect();
        assert_eq!(orders(&handed), expected, "{protocol}: each order once");
        broker.shutdown().await;
    }
}
