//! One story a test: what went wrong, and what the lane makes of it.

use super::super::*;

const FLOWING: [BatchId; 3] = [2, 3, 4];

fn sent(batch: BatchId, epoch: i16, sequence: i32) -> Vec<Effect> {
    vec![Effect::Send { batch, number: Number { epoch, sequence } }]
}

fn done(batch: BatchId) -> Vec<Effect> {
    vec![Effect::Written { batch }, Effect::Forget { batch }]
}

fn failed(batch: BatchId, possibly_written: bool) -> Vec<Effect> {
    vec![Effect::Failed { batch, possibly_written }, Effect::Forget { batch }]
}

fn admit(lane: &mut Lane, batch: BatchId) -> Vec<Effect> {
    lane.step(Event::Admit { batch, count: 10 })
}

fn answer(lane: &mut Lane, batch: BatchId, answer: Answer) -> Vec<Effect> {
    lane.step(Event::Answered { batch, answer })
}

fn resend(lane: &mut Lane, batch: BatchId) -> Vec<Effect> {
    lane.step(Event::Resend { batch })
}

/// A lane with batch 1 written (sequences 0 to 9), and 2, 3 and 4 in flight behind it.
fn flowing() -> Lane {
    let mut lane = Lane::new();
    assert_eq!(admit(&mut lane, 1), sent(1, 0, 0));
    assert_eq!(answer(&mut lane, 1, Answer::Written), done(1));
    for (batch, sequence) in FLOWING.into_iter().zip([10, 20, 30]) {
        assert_eq!(admit(&mut lane, batch), sent(batch, 0, sequence));
    }
    lane
}

#[test]
fn until_a_batch_is_written_only_one_is_in_flight_and_then_as_many_as_a_broker_remembers() {
    let mut lane = Lane::new();
    assert_eq!(admit(&mut lane, 1), sent(1, 0, 0));
    assert_eq!(admit(&mut lane, 2), []);
    answer(&mut lane, 1, Answer::Written);
    let admitted = (2..20).filter(|batch| !admit(&mut lane, *batch).is_empty()).count();
    assert_eq!(admitted, REMEMBERED_BATCHES);
    for batch in 2..7 {
        answer(&mut lane, batch, Answer::Written);
    }
    lane.step(Event::Forgotten);
    assert!(!admit(&mut lane, 30).is_empty());
    assert_eq!(admit(&mut lane, 31), [], "the broker may know nothing of the producer again");
}

#[test]
fn after_a_moved_leader_all_are_sent_again_in_order_under_their_numbers() {
    let mut lane = flowing();
    assert_eq!(answer(&mut lane, 2, Answer::Again(Trace::Possible)), []);
    assert_eq!(resend(&mut lane, 2), [], "the answers in flight come first");
    assert_eq!(admit(&mut lane, 5), []);
    answer(&mut lane, 3, Answer::Again(Trace::Possible));
    answer(&mut lane, 4, Answer::OutOfOrder);
    assert_eq!(lane.waiting(), Some(2));
    assert_eq!(resend(&mut lane, 3), [], "in order");
    for (batch, sequence) in FLOWING.into_iter().zip([10, 20, 30]) {
        assert_eq!(resend(&mut lane, batch), sent(batch, 0, sequence));
    }
    assert_eq!(admit(&mut lane, 5), sent(5, 0, 40));
}

#[test]
fn a_refused_batch_leaves_its_number_to_the_next_once_those_behind_it_are_answered() {
    let mut lane = flowing();
    assert_eq!(answer(&mut lane, 2, Answer::Refused(Trace::None)), failed(2, false));
    answer(&mut lane, 3, Answer::OutOfOrder);
    assert_eq!(lane.waiting(), Some(3));
    assert!(!lane.may_send());
    answer(&mut lane, 4, Answer::OutOfOrder);
    assert_eq!(resend(&mut lane, 3), sent(3, 0, 10));
    assert_eq!(resend(&mut lane, 4), sent(4, 0, 20));
}

#[test]
fn an_expired_batch_that_may_be_written_is_followed_by_a_new_epoch_once_nothing_is_in_flight() {
    let mut lane = Lane::new();
    admit(&mut lane, 1);
    assert_eq!(
        lane.step(Event::Expired { batch: 1 }),
        [Effect::Failed { batch: 1, possibly_written: true }],
        "its bytes stay until the answer"
    );
    assert_eq!(admit(&mut lane, 2), []);
    assert_eq!(answer(&mut lane, 1, Answer::Again(Trace::Possible)), [Effect::Forget { batch: 1 }]);
    assert_eq!(admit(&mut lane, 2), sent(2, 1, 0));
}

#[test]
fn an_expired_batch_whose_answer_comes_late_leaves_the_epoch_as_it_is() {
    let mut lane = Lane::new();
    admit(&mut lane, 1);
    lane.step(Event::Expired { batch: 1 });
    assert_eq!(answer(&mut lane, 1, Answer::Written), [Effect::Forget { batch: 1 }]);
    assert_eq!(admit(&mut lane, 2), sent(2, 0, 10));
}

#[test]
fn a_batch_that_expires_while_it_waits_is_possibly_written_only_if_a_try_of_it_was() {
    for trace in [Trace::None, Trace::Possible] {
        let mut lane = Lane::new();
        admit(&mut lane, 1);
        answer(&mut lane, 1, Answer::Again(trace));
        assert_eq!(lane.step(Event::Expired { batch: 1 }), failed(1, trace == Trace::Possible));
        let number = if trace == Trace::Possible { sent(2, 1, 0) } else { sent(2, 0, 0) };
        assert_eq!(admit(&mut lane, 2), number);
    }
}

#[test]
fn a_number_that_the_broker_no_longer_takes_is_given_up_if_the_batch_may_be_in_the_log() {
    let mut lane = flowing();
    FLOWING.iter().for_each(|batch| assert_eq!(answer(&mut lane, *batch, Answer::Again(Trace::Possible)), []));
    resend(&mut lane, 2);
    assert_eq!(answer(&mut lane, 2, Answer::OutOfOrder), failed(2, true));
    assert_eq!(resend(&mut lane, 3), sent(3, 0, 20), "never under another number");
    assert_eq!(answer(&mut lane, 3, Answer::OutOfOrder), failed(3, true));
    resend(&mut lane, 4);
    assert_eq!(answer(&mut lane, 4, Answer::Written), done(4));
    assert_eq!(admit(&mut lane, 5), sent(5, 0, 40), "the broker has shown what it expects");
}

#[test]
fn an_old_epoch_is_answered_for_batches_in_the_log_too_so_such_a_batch_is_given_up() {
    let mut lane = flowing();
    FLOWING.iter().for_each(|batch| assert_eq!(answer(&mut lane, *batch, Answer::Again(Trace::Possible)), []));
    for batch in FLOWING {
        resend(&mut lane, batch);
        assert_eq!(answer(&mut lane, batch, Answer::OldEpoch), failed(batch, true));
    }
    assert_eq!(admit(&mut lane, 5), sent(5, 1, 0));
    assert_eq!(answer(&mut lane, 5, Answer::OldEpoch), []);
    assert_eq!(resend(&mut lane, 5), sent(5, 2, 0), "a first try was refused before it was appended");
}

#[test]
fn a_batch_written_behind_one_that_waits_moves_the_next_number_past_both() {
    let mut lane = flowing();
    answer(&mut lane, 4, Answer::Again(Trace::Possible));
    answer(&mut lane, 2, Answer::Again(Trace::Possible));
    assert_eq!(answer(&mut lane, 3, Answer::Written), done(3));
    resend(&mut lane, 2);
    resend(&mut lane, 4);
    answer(&mut lane, 4, Answer::Written);
    assert_eq!(admit(&mut lane, 5), sent(5, 0, 40));
}

#[test]
fn a_written_batch_before_one_that_was_given_up_makes_nothing_certain() {
    let mut lane = flowing();
    answer(&mut lane, 2, Answer::Again(Trace::Possible));
    answer(&mut lane, 3, Answer::Refused(Trace::Possible));
    answer(&mut lane, 4, Answer::Refused(Trace::None));
    resend(&mut lane, 2);
    answer(&mut lane, 2, Answer::Written);
    assert_eq!(admit(&mut lane, 5), sent(5, 1, 0), "sequence 20 may be taken");
}

#[test]
fn a_broker_that_lost_its_memory_is_followed_by_a_new_epoch_for_batches_that_it_refused() {
    let mut lane = flowing();
    for batch in FLOWING {
        answer(&mut lane, batch, Answer::OutOfOrder);
    }
    assert_eq!(resend(&mut lane, 2), sent(2, 1, 0));
    assert_eq!(resend(&mut lane, 3), [], "one at a time until the new epoch is proven");
    answer(&mut lane, 2, Answer::Written);
    assert_eq!(resend(&mut lane, 3), sent(3, 1, 10));
    assert_eq!(resend(&mut lane, 4), sent(4, 1, 20));
}

#[test]
fn a_batch_is_cut_only_when_those_behind_it_are_answered_and_its_pieces_take_its_place() {
    let mut lane = flowing();
    assert_eq!(answer(&mut lane, 2, Answer::TooMuch), []);
    answer(&mut lane, 3, Answer::OutOfOrder);
    assert_eq!(answer(&mut lane, 4, Answer::OutOfOrder), [Effect::Cut { batch: 2 }]);
    assert_eq!(lane.step(Event::Cut { batch: 2, pieces: vec![(21, 4), (22, 5)] }), []);
    assert_eq!(resend(&mut lane, 21), sent(21, 0, 10));
    assert_eq!(resend(&mut lane, 22), sent(22, 0, 14));
    assert_eq!(resend(&mut lane, 3), sent(3, 0, 20), "one record of batch 2 is left out, which the broker will notice");
    answer(&mut lane, 21, Answer::Written);
    answer(&mut lane, 22, Answer::Written);
    assert_eq!(answer(&mut lane, 3, Answer::OutOfOrder), []);
    assert_eq!(resend(&mut lane, 3), sent(3, 0, 19));
    assert_eq!(resend(&mut lane, 4), sent(4, 0, 29));
}

#[test]
fn a_batch_of_which_nothing_remains_leaves_its_number() {
    let mut lane = Lane::new();
    admit(&mut lane, 1);
    assert_eq!(answer(&mut lane, 1, Answer::TooMuch), [Effect::Cut { batch: 1 }]);
    lane.step(Event::Cut { batch: 1, pieces: Vec::new() });
    assert_eq!(admit(&mut lane, 2), sent(2, 0, 0));
}

#[test]
fn sequences_go_on_at_zero_after_the_largest() {
    let mut lane = Lane { expected: Expected::Certain(i32::MAX - 4), ..Lane::new() };
    assert_eq!(admit(&mut lane, 1), sent(1, 0, i32::MAX - 4));
    answer(&mut lane, 1, Answer::Written);
    assert_eq!(admit(&mut lane, 2), sent(2, 0, 5));
}

#[test]
fn an_exhausted_epoch_sends_nothing_more_under_a_number_that_was_used() {
    let mut lane = Lane { epoch: i16::MAX, expected: Expected::Lost, ..Lane::new() };
    assert_eq!(admit(&mut lane, 1), []);
}

#[test]
fn events_of_batches_that_are_gone_change_nothing() {
    let mut lane = flowing();
    let before = lane.clone();
    for event in [
        Event::Answered { batch: 1, answer: Answer::OutOfOrder },
        Event::Expired { batch: 1 },
        Event::Resend { batch: 2 },
        Event::Cut { batch: 3, pieces: vec![(9, 1)] },
    ] {
        assert_eq!(lane.step(event), []);
    }
    assert_eq!(lane, before);
}

#[test]
fn a_lane_and_its_events_can_be_recorded() {
    let lane = flowing();
    let text = serde_json::to_string(&lane).unwrap();
    assert_eq!(serde_json::from_str::<Lane>(&text).unwrap(), lane);
    let event = Event::Answered { batch: 7, answer: Answer::Again(Trace::Possible) };
    let text = serde_json::to_string(&event).unwrap();
    assert_eq!(serde_json::from_str::<Event>(&text).unwrap(), event);
}
