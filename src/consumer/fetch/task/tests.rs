//! What must hold of a partition in the task.

use super::*;
use crate::consumer::fetch::Stretch;
use crate::consumer::sample::{batch, log};
use crate::wire::record_batch::BatchError;

fn place(next: i64) -> Place {
    let target = Target { topic: TopicId::NONE, stretch: Stretch(1), from: next, leader_epoch: 0, flow: Flow::On };
    Place { target, next, max_bytes: 1000, end: None, known: None, refused: false }
}

fn part(records: Bytes) -> PartitionData {
    PartitionData { records: Some(records), high_watermark: 90, last_stable_offset: 80, ..PartitionData::default() }
}

#[test]
fn a_message_of_an_old_format_ends_the_reading_behind_what_was_good_and_says_which_format() {
    for magic in [0, 1] {
        let mut old = batch(13, 1).to_vec();
        old[16] = magic;
        let mut place = place(10);
        let event = place.take(2, &part(log([batch(10, 3), old.into()])), Isolation::ReadCommitted, 5000);
        let Some(Event::Fetched(fetched)) = event else { panic!("{event:?}") };
        assert_eq!((fetched.from, fetched.next, fetched.end), (10, 13, 80));
        let fault = fetched.fault.unwrap();
        assert!(matches!(fault, BatchError::OldFormat { base_offset: 13, .. }), "{fault:?}");
        assert!(fault.to_string().contains(&format!("format {magic}")), "{fault}");
        assert!(place.is_silent(), "nothing behind it is asked for");
    }
}

#[test]
fn a_batch_that_is_cut_is_asked_for_again_with_more_bytes_until_no_fetch_may_be_that_large() {
    let whole = batch(10, 3);
    let mut place = Place { max_bytes: 40, ..place(10) };
    let cut = part(whole.slice(..40));
    assert!(place.take(0, &cut, Isolation::ReadCommitted, 5000).is_none());
    assert!(place.max_bytes >= whole.len() && place.next == 10);
    let event = place.take(0, &cut, Isolation::ReadCommitted, whole.len() - 1);
    assert!(matches!(event, Some(Event::Refused { at: 10, refusal: Refusal::TooLarge, .. })), "{event:?}");
}

#[test]
fn an_error_of_a_partition_silences_it_at_its_position() {
    let mut place = place(10);
    let refused = PartitionData { error_code: KafkaError::FencedLeaderEpoch.code(), ..PartitionData::default() };
    let event = place.take(0, &refused, Isolation::ReadCommitted, 5000);
    let fenced = Refusal::Answered(KafkaError::FencedLeaderEpoch);
    assert_eq!(
        format!("{event:?}"),
        format!("{:?}", Some(Event::Refused { partition: 0, stretch: Stretch(1), at: 10, refusal: fenced }))
    );
    assert!(place.is_silent());
}
