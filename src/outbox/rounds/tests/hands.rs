//! Hands of several pages: read while others are under way, let go at once and not too often.

use super::*;

#[test]
fn a_page_is_read_while_the_one_before_it_is_under_way_and_their_rows_go_together() {
    let (mut store, mut relay) = (Store::of(&["a"; 5]), Relay::new(0, 2));
    let mut sent = Vec::new();
    let mut fate = |what: &str, row: &Row| {
        sent.push(format!("{what} {}", row.number));
        None
    };
    assert_eq!(relay.round(Event::News, &mut store, &mut fate), Effect::Rest);
    let of = |what: &str, numbers: std::ops::RangeInclusive<u64>| numbers.map(|n| format!("{what} {n}")).collect();
    // A hand has two pages here.
    let hands: [Vec<String>; 6] = [
        of("accept", 1..=4),
        of("write", 1..=4),
        of("let go", 1..=1),
        of("accept", 5..=5),
        of("write", 5..=5),
        of("let go", 5..=5),
    ];
    assert_eq!(sent, hands.concat());
}

#[test]
fn what_is_new_soon_after_rows_were_let_go_is_told_at_once_and_its_rows_go_with_later_ones() {
    let mut rounds = Rounds::of(u64::MAX);
    let mut step = |at, event| rounds.step(Seen { at, event });
    let page = |number: u64| {
        let row = Row { number, part: 0, topic: "a".to_owned(), shards: 1, key: Some(number) };
        Event::Page(Page {
            rows: vec![row],
            until: Mark { event: number, scheduled: 0 },
            is_last: true,
            ..Page::default()
        })
    };
    let done = |number| Done { number, part: 0, shards: 1 };
    let read = |event, hand| [Effect::Read(Mark { event, scheduled: 0 }, ALL_SHARDS, hand)];
    step(0, Event::News);
    step(0, Event::Leased(Leased { shards: ALL_SHARDS, kept: 0, renew_at: u64::MAX }));
    assert_eq!(step(0, page(1)), [Effect::Publish(1, 0, 1)]);
    assert_eq!(step(0, Event::Accepted(1, 0)), [Effect::Await]);
    assert_eq!(step(0, Event::Written(1, 0)), [Effect::LetGo(vec![done(1)])]);
    // It took 10 ms.
    assert_eq!(step(10, Event::Gone(0)), [Effect::Stay(0), Effect::Rest]);
    assert_eq!(step(11, Event::News), read(0, Hand::New));
    assert_eq!(step(12, page(2)), [Effect::Publish(2, 0, 1)]);
    assert_eq!(step(12, Event::Accepted(2, 0)), [Effect::Linger(50)]);
    assert_eq!(step(20, Event::News), read(2, Hand::More));
    assert_eq!(step(21, page(3)), [Effect::Publish(3, 0, 1)]);
    assert_eq!(step(21, Event::Accepted(3, 0)), [Effect::Linger(50)]);
    assert_eq!(step(50, Event::Due), [Effect::Await]);
    assert_eq!(step(51, Event::Written(2, 0)), []);
    assert_eq!(step(51, Event::Written(3, 0)), [Effect::LetGo(vec![done(2), done(3)])]);
}
