//! Static members.

use crate::consumer_support::*;
use crate::member::*;

fn named<'a>(protocol: &'a str, instance: &'a str) -> [(&'a str, &'a str); 3] {
    [("group.protocol", protocol), ("group.instance.id", instance), ("session.timeout.ms", "10000")]
}

#[tokio::test]
async fn the_restart_of_a_static_member_moves_no_partition() {
    for protocol in PROTOCOLS {
        let broker = broker(4).await;
        let handed = Handed::default();
        let first = Member::start(&broker, "first", &handed, None, &named(protocol, "till-1")).await;
        first.owns(4).await;
        let second = Member::start(&broker, "second", &handed, None, &named(protocol, "till-2")).await;
        first.owns(2).await;
        second.owns(2).await;
        let (of_first, of_second) = (first.partitions(), second.partitions());
        first.stop().await;
        assert_eq!(second.partitions(), of_second, "{protocol}: nothing moves while it is away");
        let first = Member::start(&broker, "first", &handed, None, &named(protocol, "till-1")).await;
        first.owns(2).await;
        assert_eq!((first.partitions(), second.partitions()), (of_first, of_second), "{protocol}");
        for partition in 0..4 {
            let from = partition as usize * 100;
            write(&broker, partition, &entries(from..from + 10));
        }
        handed_out(&handed, 40).await;
        first.stop().await;
        second.stop().await;
        broker.shutdown().await;
    }
}

#[tokio::test]
async fn of_two_processes_with_one_name_one_is_told_so() {
    for protocol in PROTOCOLS {
        let broker = broker(2).await;
        let handed = Handed::default();
        let mut settings = named(protocol, "till-1");
        settings[2].1 = "500";
        let first = Member::start(&broker, "first", &handed, None, &settings).await;
        first.owns(2).await;
        let second = Member::start(&broker, "second", &handed, None, &settings).await;
        // KIP-848 refuses the newcomer, once the session of a process that crashed would have ended; the classic protocol
        // fences the old one.
        let (told, stays) = if protocol == "consumer" { (second, first) } else { (first, second) };
        let error = tokio::time::timeout(SOON, told.run).await.expect("it is told").unwrap().unwrap_err().to_string();
        assert!(error.contains("another process uses the same group.instance.id"), "{protocol}: {error}");
        assert!(error.contains("give each process a group.instance.id of its own"), "{protocol}: {error}");
        stays.owns(2).await;
        stays.stop().await;
        broker.shutdown().await;
    }
}
