//! Commits that somebody else made, and what is told of them.

use super::*;
use crate::place::TopicId;

fn told_beside(own: Option<&Position>, offset: i64, text: &str) -> Option<String> {
    let topic = Topic::new(TopicId::NONE, "orders");
    let committed = Committed { offset, leader_epoch: -1, text: text.to_owned() };
    read_elsewhere(&topic, 2, &committed, own)
}

fn told(offset: i64, text: &str) -> Option<String> {
    told_beside(Some(&Position { next: 40, version: 7, ..Position::default() }), offset, text)
}

#[test]
fn what_others_have_read_of_a_partition_that_the_store_never_had_is_told_too() {
    let sentence = told_beside(None, 55, "").unwrap();
    assert!(sentence.starts_with("the offsets of orders/2 up to 55 were read by a member"), "{sentence}");
    assert!(sentence.contains("`orders positions set orders 2 55 --reason R --store W`"), "{sentence}");
    assert_eq!([(0, ""), (55, "of1 store redb:0123 7")].map(|(at, text)| told_beside(None, at, text)), [None, None]);
}

#[test]
fn an_offset_that_somebody_else_committed_is_told_with_the_command_that_follows_it() {
    for text in ["", "reset by an operator", "of1 store redb:0123 7"] {
        let sentence = told(30, text).unwrap();
        assert!(sentence.contains("`orders positions set orders 2 30 --reason R --store W`"), "{sentence}");
    }
}

#[test]
fn what_a_member_without_the_store_has_read_is_told_and_applied_all_the_same() {
    let sentence = told(55, "").unwrap();
    assert!(sentence.starts_with("15 offsets of orders/2, up to 55, were read by a member"), "{sentence}");
    assert!(sentence.contains("applies them now"), "{sentence}");
    assert!(sentence.contains("`orders positions set orders 2 55 --reason R --store W`"), "{sentence}");
}

#[test]
fn a_store_that_was_set_back_is_not_as_far_as_its_old_commit_says() {
    let committed = |text: &str| Committed { offset: 250, leader_epoch: -1, text: text.to_owned() };
    let own = Position { next: 100, version: 8, ..Position::default() };
    let ours = committed("of1 store redb:0123 7");
    assert_eq!([Some(&own), None].map(|own| reached_by_store(&ours, own)), [Some(100), None]);
    assert_eq!(reached_by_store(&committed("of a member without a store"), Some(&own)), Some(250));
}

#[test]
fn a_commit_of_an_older_topic_of_this_name_is_no_position() {
    let (old, new) = (TopicId::new([1; 16]), TopicId::new([2; 16]));
    let text = Note::Topic { id: old, settled: Settled::new(), tried: Vec::new(), tripped: None }.write(10);
    let told = |id| {
        let committed = Committed { offset: 10, leader_epoch: -1, text: text.clone() };
        position(committed, &Topic::new(id, "orders")).map(|position| position.next)
    };
    assert_eq!((told(old), told(new)), (Some(10), None));
}

#[test]
fn our_own_commits_and_those_that_agree_are_not_told_of() {
    assert_eq!(told(30, "of1 store redb:0123 6"), None);
    assert_eq!(told(40, "of1 store redb:0123 7"), None);
    assert_eq!(told(40, ""), None);
}
