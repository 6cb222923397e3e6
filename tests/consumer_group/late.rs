//! What was begun before a loss, and comes late.

use std::time::Duration;

use orderflow::broker::{DevBroker, Installed, Rule, Verdict};
use orderflow::wire::kafka_error::KafkaError;
use orderflow::wire::message::ApiKey;

use crate::consumer_support::*;
use crate::loss::short_sessions;
use crate::member::*;
use crate::support::wait::until_async;

/// What the coordinator says to every member, as long as it does not know one.
fn nobody(broker: &DevBroker) -> [Installed; 3] {
    [ApiKey::ConsumerGroupHeartbeat, ApiKey::Heartbeat, ApiKey::JoinGroup]
        .map(|api| broker.install(Rule::on(api).then(Verdict::Error(KafkaError::UnknownMemberId))))
}

#[tokio::test(start_paused = true)]
async fn a_start_that_was_looked_for_before_a_loss_is_not_written_after_the_next_join() {
    for protocol in PROTOCOLS {
        let broker = short_sessions(1).await;
        let handed = Handed::default();
        let gate = Gate::new("first", "7");
        write(&broker, 0, &entries(0..10));
        let edge = broker.install(Rule::on(ApiKey::ListOffsets).then(Verdict::Hold));
        let settings = [
            ("group.protocol", protocol),
            ("session.timeout.ms", "1000"),
            ("auto.offset.reset", "latest"),
            ("request.timeout.ms", "300000"),
            ("default.api.timeout.ms", "300000"),
        ];
        let first = Member::start(&broker, "first", &handed, Some(&gate), &settings).await;
        until_async("the end is asked for", SOON, async || (edge.applied() == 1).then_some(())).await;
        let forgotten = nobody(&broker);
        let out = async || first.control.health().to_string().contains("not in its group").then_some(());
        until_async("its place is gone", SOON, out).await;
        broker.commit(GROUP, TOPIC, 0, 7, "").unwrap();
        drop(forgotten);
        handed_out(&handed, 1).await;
        drop(edge);
        tokio::time::sleep(Duration::from_secs(30)).await;
        assert_eq!(broker.committed(GROUP, TOPIC, 0), Some(7), "{protocol}: the old start was written");
        gate.open();
        handed_out(&handed, 3).await;
        first.stop().await;
        assert_eq!((orders(&handed), broker.committed(GROUP, TOPIC, 0)), (vec![7, 8, 9], Some(10)), "{protocol}");
        broker.shutdown().await;
    }
}

#[tokio::test]
async fn an_offset_of_a_topic_that_was_deleted_is_no_position_in_the_one_made_anew() {
    let broker = broker(1).await;
    let handed = Handed::default();
    write(&broker, 0, &entries(0..10));
    let first = Member::start(&broker, "first", &handed, None, &[]).await;
    handed_out(&handed, 10).await;
    committed(&broker, 0, 10).await;
    let text = broker.committed_text(GROUP, TOPIC, 0).unwrap();
    first.stop().await;
    broker.delete_topic(TOPIC).unwrap();
    broker.create_topic(TOPIC, 1, &[]).unwrap();
    // A commit of the old topic, which was late.
    broker.commit(GROUP, TOPIC, 0, 10, &text).unwrap();
    write(&broker, 0, &entries(10..40));
    let second = Member::start(&broker, "second", &handed, None, &[]).await;
    handed_out(&handed, 40).await;
    second.stop().await;
    assert_eq!(orders(&handed), (0..40).collect::<Vec<u64>>());
    broker.shutdown().await;
}
