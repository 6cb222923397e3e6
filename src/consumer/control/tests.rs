//! What a consumer's handle tells, and what it asks for.

use super::*;

#[test]
fn a_consumer_is_ready_when_every_concern_is_gone() {
    let control = Control::new(Files::default());
    assert_eq!(control.health().to_string(), "the consumer is not running yet");
    control.relieve(Concern::Running);
    control.concern(Concern::Store, "the store is away");
    assert!(!control.health().is_ready());
    control.relieve(Concern::Store);
    assert!(control.health().is_ready());
}

#[test]
fn a_drain_cannot_be_taken_back() {
    let control = Control::new(Files::default());
    control.drain();
    control.resume();
    assert_eq!(control.wishes().borrow().wish, Wish::Drain);
}

#[test]
fn a_partition_is_paused_alone_and_resumed_with_the_others() {
    let control = Control::new(Files::default());
    control.pause_partition(3);
    control.pause_partition(5);
    control.resume_partition(3);
    assert_eq!(control.wishes().borrow().held, [5]);
    control.resume();
    assert!(control.wishes().borrow().held.is_empty());
    assert_eq!(control.take_overridden(), [Some(3), None]);
}

#[test]
fn a_partition_that_was_given_up_is_not_told_of_when_its_last_order_ends() {
    let control = Control::new(Files::default());
    let lag = Lag { partition: 3, position: 7, ..Lag::default() };
    control.show_partition(3, 0);
    control.set_lag(lag);
    assert_eq!(control.lag().first().map(|lag| lag.position), Some(7));
    control.forget_partition(3);
    control.set_lag(lag);
    assert_eq!(control.lag(), []);
}

#[test]
fn lag_is_never_negative_and_unknown_before_the_first_answer() {
    let lag = Lag { position: 7, ..Lag::default() };
    assert_eq!(lag.records(), None);
    assert_eq!(Lag { end: Some(5), ..lag }.records(), Some(0));
    let behind = Lag { end: Some(9), settled_until: Some(4_000), ..lag }.at(6_500);
    assert_eq!((behind.records(), behind.seconds), (Some(2), Some(2.5)));
}
