//! Members that are dropped, fenced or cut off.

use std::time::Duration;

use orderflow::broker::{DevBroker, Rule, Verdict};
use orderflow::wire::kafka_error::KafkaError;
use orderflow::wire::message::ApiKey;

use crate::consumer_support::*;
use crate::member::*;
use crate::support::wait::until_async;

/// A broker that misses a member soon: one that was told wrongly that it is unknown leaves its old self behind.
pub(crate) async fn short_sessions(partitions: i32) -> DevBroker {
    let builder = DevBroker::builder().topic(TOPIC, partitions).group_session(Duration::from_secs(1));
    builder.start().await.unwrap()
}

#[tokio::test]
async fn the_partitions_of_a_member_that_is_gone_without_a_word_are_taken_over_when_its_session_ends() {
    for protocol in PROTOCOLS {
        let broker = short_sessions(2).await;
        let handed = Handed::default();
        let settings = [("group.protocol", protocol), ("session.timeout.ms", "1000")];
        let process = Process::new();
        let first = process.start(&broker, "first", &handed, &settings).await;
        let second = Member::start(&broker, "second", &handed, None, &settings).await;
        first.owns(1).await;
        second.owns(1).await;
        process.kill();
        second.owns(2).await;
        write(&broker, 0, &entries(0..10));
        write(&broker, 1, &entries(10..20));
        handed_out(&handed, 20).await;
        second.stop().await;
        assert_eq!(orders(&handed), (0..20).collect::<Vec<u64>>(), "{protocol}");
        broker.shutdown().await;
    }
}

#[tokio::test]
async fn a_run_that_is_dropped_leaves_its_group_without_a_commit() {
    for protocol in PROTOCOLS {
        let broker = broker(1).await;
        let handed = Handed::default();
        let gate = Gate::new("first", "3");
        write(&broker, 0, &entries(0..10));
        let settings = [("group.protocol", protocol)];
        let first = Member::start(&broker, "first", &handed, Some(&gate), &settings).await;
        handed_out(&handed, 4).await;
        committed(&broker, 0, 3).await;
        first.abandon();
        let second = Member::start(&broker, "second", &handed, None, &settings).await;
        handed_out(&handed, 11).await;
        second.stop().await;
        assert_eq!(orders(&handed), [0, 1, 2, 3, 3, 4, 5, 6, 7, 8, 9], "{protocol}");
        broker.shutdown().await;
    }
}

#[tokio::test]
async fn what_was_in_hand_when_a_member_was_fenced_is_not_committed_and_comes_again() {
    for (protocol, api, error) in [
        ("consumer", ApiKey::ConsumerGroupHeartbeat, KafkaError::FencedMemberEpoch),
        ("consumer", ApiKey::ConsumerGroupHeartbeat, KafkaError::UnknownMemberId),
        ("classic", ApiKey::Heartbeat, KafkaError::UnknownMemberId),
        ("classic", ApiKey::Heartbeat, KafkaError::IllegalGeneration),
    ] {
        let broker = short_sessions(1).await;
        let handed = Handed::default();
        let gate = Gate::new("first", "3");
        write(&broker, 0, &entries(0..10));
        let settings = [("group.protocol", protocol), ("session.timeout.ms", "1000")];
        let first = Member::start(&broker, "first", &handed, Some(&gate), &settings).await;
        handed_out(&handed, 4).await;
        committed(&broker, 0, 3).await;
        let fault = broker.install(Rule::on(api).times(1).then(Verdict::Error(error)));
        until_async("the member is fenced", SOON, async || (fault.applied() == 1).then_some(())).await;
        // The fourth order is handed out anew while its first call still runs; then that one ends, and counts for nothing.
        handed_out(&handed, 5).await;
        let twice: Vec<_> = orders(&handed).into_iter().filter(|order| *order == 3).collect();
        assert_eq!(twice.len(), 2, "{protocol} {error:?}: {:?}", handed.lock().unwrap());
        assert_eq!(broker.committed(GROUP, TOPIC, 0), Some(3), "{protocol} {error:?}");
        gate.open();
        handed_out(&handed, 11).await;
        first.stop().await;
        assert_eq!(broker.committed(GROUP, TOPIC, 0), Some(10), "{protocol} {error:?}");
        broker.shutdown().await;
    }
}

#[tokio::test]
async fn a_member_that_reaches_no_coordinator_for_its_session_gives_everything_up_and_comes_back() {
    for protocol in PROTOCOLS {
        let broker = broker(2).await;
        let handed = Handed::default();
        let settings = [("group.protocol", protocol), ("session.timeout.ms", "600"), ("request.timeout.ms", "200")];
        let first = Member::start(&broker, "first", &handed, None, &settings).await;
        first.owns(2).await;
        let silence = [ApiKey::ConsumerGroupHeartbeat, ApiKey::Heartbeat, ApiKey::JoinGroup]
            .map(|api| broker.install(Rule::on(api).then(Verdict::Error(KafkaError::CoordinatorNotAvailable))));
        first.owns(0).await;
        assert!(!first.control.health().is_ready(), "{protocol}");
        drop(silence);
        first.owns(2).await;
        until_async("it is ready again", SOON, async || first.control.health().is_ready().then_some(())).await;
        write(&broker, 0, &entries(0..10));
        handed_out(&handed, 10).await;
        first.stop().await;
        broker.shutdown().await;
    }
}
