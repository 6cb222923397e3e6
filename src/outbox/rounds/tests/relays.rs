//! Several relays that share an outbox: they crash, stand still, lose leases and wake up as zombies.

use proptest::prelude::*;

use super::*;

#[test]
fn a_zombie_sends_nothing_more_once_it_notices_and_what_it_says_was_written_changes_nothing() {
    let mut store = Store::of(&["a", "a", "a"]);
    let (mut zombie, mut heir) = (Relay::new(0, 9), Relay::new(1, 9));
    // It has its first record accepted, and stands still.
    (0..4).for_each(|_| zombie.step(&mut store, &mut |_, _| None));
    assert_eq!(zombie.accepted.len(), 2);
    store.now += LEASE + 1;
    heir.round(Event::News, &mut store, &mut |what, _| (what == "let go").then_some(Fault::Store));
    assert_eq!((numbers(&store), store.rows.len()), (vec![1, 2, 3], 3));
    zombie.at_rest = None;
    while zombie.at_rest.is_none() {
        zombie.step(&mut store, &mut |_, _| None);
    }
    let sent: Vec<_> = store.written.iter().filter(|(.., relay)| *relay == 0).map(|(number, ..)| *number).collect();
    assert_eq!((sent, store.rows.len()), (vec![1, 2], 3), "the third was not sent, and none of them is gone");
    heir.round(Event::Due, &mut store, &mut |_, _| None);
    assert!(store.rows.is_empty());
}

/// What happens next, in a run of several relays.
#[derive(Clone, Copy, Debug)]
enum Turn {
    /// A relay takes some steps.
    Steps(usize, u8),
    /// Time passes: a lease may have to be renewed, or be over.
    Passes(u64),
    /// A process dies and begins again under another name.
    Crashes(usize),
}

fn turns() -> impl Strategy<Value = Vec<Turn>> {
    let turn = prop_oneof![
        6 => (0_usize..3, 1_u8..9).prop_map(|(relay, steps)| Turn::Steps(relay, steps)),
        2 => prop_oneof![Just(10), Just(RENEWAL), Just(LEASE + 1)].prop_map(Turn::Passes),
        1 => (0_usize..3).prop_map(Turn::Crashes),
    ];
    prop::collection::vec(turn, 0..120)
}

/// Rows of one key each, and some of many keys: the first event of each of those.
fn rows() -> impl Strategy<Value = Vec<Kept>> {
    let row = (prop::bool::weighted(0.3), 0_u64..6, prop::sample::select(vec!["a", "b"]));
    prop::collection::vec(row, 1..14).prop_map(|rows| {
        let kept = |((is_many, key, topic), number): ((bool, u64, &'static str), u64)| match is_many {
            true => Kept { number, topic, key: None, left: 0xff00_0000_0000_00ff },
            false => Kept { number, topic, key: Some(key), left: 1 << (key * 11) },
        };
        rows.into_iter().zip(1..).map(kept).collect()
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    #[test]
    fn relays_that_crash_stand_still_and_wake_up_tell_everything_and_first_sendings_of_a_key_in_order(
        rows in rows(),
        turns in turns(),
        fates in prop::collection::vec(0_u8..20, 0..80),
    ) {
        let mut store = Store { rows: rows.clone(), ..Store::default() };
        let mut relays: Vec<Relay> = (0..3).map(|name| Relay::new(name, 4)).collect();
        let mut fates = fates.into_iter();
        let mut fate = |what: &str, _: &Row| match (fates.next().unwrap_or(9), what) {
            (0, "let go") => Some(Fault::Store),
            (0, _) => Some(Fault::Topic),
            (1, "accept" | "write") => Some(Fault::Record),
            _ => None,
        };
        let mut names = 3;
        for turn in turns {
            match turn {
                Turn::Steps(relay, steps) => {
                    let relay = &mut relays[relay];
                    for _ in 0..steps {
                        if relay.events.is_empty() {
                            relay.events.push_back(Event::Due);
                        }
                        relay.step(&mut store, &mut fate);
                    }
                }
                Turn::Passes(time) => store.now += time,
                Turn::Crashes(relay) => {
                    relays[relay] = Relay::new(names, 4);
                    names += 1;
                }
            }
        }
        // The others are gone for good; one is left.
        store.now += LEASE + 1;
        let mut last = Relay::new(names, 4);
        for _ in 0..200 {
            store.now += RENEWAL;
            last.round(Event::Due, &mut store, &mut fate);
        }
        prop_assert!(store.rows.is_empty(), "{:?}", store);
        for row in &rows {
            for shard in shards_of(row.left) {
                let told = |number: u64| store.written.iter().position(|(known, of, _)| (*known, *of) == (number, shard));
                let first = told(row.number);
                prop_assert!(first.is_some(), "{} is told nowhere in {shard}", row.number);
                let is_earlier = |other: &&Kept| {
                    other.number < row.number && other.topic == row.topic && other.left >> shard & 1 == 1
                        && !(other.key.is_none() && row.key.is_none())
                        && (other.key.is_none() || row.key.is_none() || other.key == row.key)
                };
                // Keys of one shard only are compared here: a row of many keys comes before what moves later.
                for earlier in rows.iter().filter(is_earlier).filter(|other| row.key.is_some() || other.key.is_some()) {
                    prop_assert!(told(earlier.number) < first, "{} before {}", row.number, earlier.number);
                }
            }
        }
    }
}
