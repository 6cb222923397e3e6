//! What must hold of every plan.

mod balance;
mod java;
mod rounds;

use proptest::prelude::*;

use super::*;

fn at(topic: &str, partition: i32) -> TopicPartition {
    TopicPartition::new(topic, partition)
}

/// `t/0 t/1` as a set.
fn set(text: &str) -> BTreeSet<TopicPartition> {
    let one = |word: &str| word.split_once('/').map(|(topic, number)| at(topic, number.parse().unwrap())).unwrap();
    text.split_whitespace().map(one).collect()
}

fn peer(id: &str, topics: &[&str]) -> Peer {
    Peer { id: id.into(), instance: None, subscription: Subscription::to(topics.iter().copied()) }
}

impl Peer {
    fn owning(self, owned: &str, generation: impl Into<Option<i32>>) -> Self {
        Self { subscription: self.subscription.owning(set(owned), generation.into()), ..self }
    }
}

fn topics(counts: &[(&str, i32)]) -> Topics {
    counts.iter().map(|(topic, count)| (Arc::from(*topic), *count)).collect()
}

/// A plan as `a: t/0 t/1, b: t/2`.
fn shown(plan: &Plan) -> String {
    let one = |(id, partitions): (&Arc<str>, &BTreeSet<TopicPartition>)| {
        let words: Vec<String> = partitions.iter().map(ToString::to_string).collect();
        format!("{id}: {}", words.join(" "))
    };
    plan.iter().map(one).collect::<Vec<_>>().join(", ")
}

fn cooperative(peers: &[Peer], topics: &Topics) -> String {
    shown(&plan(Assignor::CooperativeSticky, peers, topics))
}

#[test]
fn a_newcomer_gets_nothing_before_the_owner_gave_it_up() {
    let topics = topics(&[("t", 4)]);
    let both = [peer("a", &["t"]).owning("t/0 t/1 t/2 t/3", 1), peer("b", &["t"])];
    assert_eq!(cooperative(&both, &topics), "a: t/0 t/1, b: ");
    let both = [peer("a", &["t"]).owning("t/0 t/1", 2), peer("b", &["t"]).owning("", 2)];
    assert_eq!(cooperative(&both, &topics), "a: t/0 t/1, b: t/2 t/3");
}

#[test]
fn the_claim_of_the_newest_generation_is_believed_and_the_older_one_still_withholds() {
    let topics = topics(&[("t", 4)]);
    let peers = [peer("a", &["t"]).owning("t/0 t/1", 4), peer("b", &["t"]).owning("t/1 t/2", 5)];
    let claims = claims::Claims::of(&in_order(&peers));
    assert_eq!(claims.owner(&at("t", 1)).map(|id| &**id), Some("b"));
    assert_eq!(claims.owner(&at("t", 0)), None, "a missed a generation");
    let plan = cooperative(&peers, &topics);
    assert!(!plan.contains("t/1"), "two members claim it: {plan}");
    assert!(plan.contains("b: ") && plan.contains("t/2"), "{plan}");
}

#[test]
fn two_claims_of_one_generation_are_both_disbelieved() {
    let topics = topics(&[("t", 2)]);
    for generation in [Some(3), None] {
        let peers = [peer("a", &["t"]).owning("t/0 t/1", generation), peer("b", &["t"]).owning("t/1", generation)];
        let claims = claims::Claims::of(&in_order(&peers));
        assert_eq!(claims.owner(&at("t", 1)), None);
        assert_eq!(cooperative(&peers, &topics), "a: t/0, b: ");
    }
}

#[test]
fn a_claim_without_generation_counts_where_no_better_one_does() {
    let peers = [peer("a", &["t"]).owning("t/0 t/1", None), peer("b", &["t"]).owning("t/1", 3)];
    let claims = claims::Claims::of(&in_order(&peers));
    assert_eq!(claims.owner(&at("t", 0)).map(|id| &**id), Some("a"));
    assert_eq!(claims.owner(&at("t", 1)).map(|id| &**id), Some("b"));
}

#[test]
fn what_the_owner_no_longer_subscribes_to_is_withheld_until_it_is_given_up() {
    let topics = topics(&[("t", 1), ("u", 1)]);
    let peers = [peer("a", &["u"]).owning("t/0 u/0", 1), peer("b", &["t"])];
    assert_eq!(cooperative(&peers, &topics), "a: u/0, b: ");
    assert_eq!(cooperative(&peers[..1], &topics), "a: u/0", "nobody wants t");
}

#[test]
fn a_claim_on_what_does_not_exist_is_no_claim() {
    let topics = topics(&[("t", 1)]);
    let peers = [peer("a", &["t", "gone"]).owning("t/7 gone/0", 1), peer("b", &["t"])];
    let plan = cooperative(&peers, &topics);
    assert!(plan == "a: t/0, b: " || plan == "a: , b: t/0", "{plan}");
}

#[test]
fn a_chain_of_subscriptions_evens_out_what_no_single_move_can() {
    let topics = topics(&[("t", 3), ("u", 3)]);
    let peers = [
        peer("a", &["t"]).owning("t/0 t/1 t/2", 1),
        peer("b", &["t", "u"]).owning("u/0 u/1", 1),
        peer("c", &["u"]).owning("u/2", 1),
    ];
    let claims = claims::Claims::of(&in_order(&peers));
    let plan = sticky::plan(&in_order(&peers), &topics, &claims);
    assert_eq!(plan.values().map(BTreeSet::len).collect::<Vec<_>>(), [2, 2, 2], "{}", shown(&plan));
}

#[test]
fn every_member_has_an_entry_also_when_it_gets_nothing() {
    for assignor in Assignor::ALL {
        let peers = [peer("a", &[]), peer("b", &["unknown"]), peer("c", &["t"])];
        assert_eq!(shown(&plan(assignor, &peers, &topics(&[("t", 1), ("none", 0)]))), "a: , b: , c: t/0");
        assert_eq!(plan(assignor, &[], &topics(&[("t", 1)])), Plan::new());
    }
}

#[test]
fn static_members_keep_their_ranges_when_they_come_back_under_other_ids() {
    let of = |ids: [&str; 2]| {
        let named = |id: &str, name: &str| Peer { instance: Some(name.into()), ..peer(id, &["t"]) };
        let peers = [named(ids[0], "one"), named(ids[1], "two"), peer("a", &["t"])];
        let plan = plan(Assignor::Range, &peers, &topics(&[("t", 3)]));
        [ids[0], ids[1], "a"].map(|id| plan[id].clone())
    };
    assert_eq!(of(["x", "y"]), of(["z", "b"]));
    assert_eq!(of(["x", "y"]), [set("t/0"), set("t/1"), set("t/2")]);
}

/// Topics, and members with any subscriptions to them.
pub(super) fn group() -> impl Strategy<Value = (Topics, Vec<Peer>)> {
    let counts = prop::collection::vec(0_i32..12, 1..5);
    let wants = prop::collection::vec((any::<u8>(), any::<bool>()), 1..7);
    (counts, wants).prop_map(|(counts, wants)| {
        let topics: Topics = counts.into_iter().enumerate().map(|(n, count)| (format!("t{n}").into(), count)).collect();
        let member = |(n, (wants, named)): (usize, (u8, bool))| Peer {
            id: format!("m{n}").into(),
            instance: named.then(|| format!("i{}", 9 - n).into()),
            subscription: Subscription::to(
                topics.keys().enumerate().filter(|(bit, _)| wants >> bit & 1 == 1).map(|(_, topic)| topic.clone()),
            ),
        };
        let peers = wants.into_iter().enumerate().map(member).collect();
        (topics, peers)
    })
}

/// Every partition to which anybody subscribes.
fn wanted(peers: &[Peer], topics: &Topics) -> Vec<TopicPartition> {
    let subscribed =
        topics.iter().filter(|(topic, _)| peers.iter().any(|peer| peer.subscription.topics.contains(*topic)));
    subscribed.flat_map(|(topic, count)| (0..*count).map(|number| TopicPartition::new(topic.clone(), number))).collect()
}

/// Everything wanted is given, once, to a member that wants it.
pub(super) fn assert_whole(plan: &Plan, peers: &[Peer], topics: &Topics) {
    let mut given: Vec<TopicPartition> = plan.values().flatten().cloned().collect();
    given.sort();
    assert_eq!(given, wanted(peers, topics), "{}", shown(plan));
    for peer in peers {
        let foreign: Vec<_> =
            plan[&peer.id].iter().filter(|at| !peer.subscription.topics.contains(&at.topic)).collect();
        assert!(foreign.is_empty(), "{} gets {foreign:?}", peer.id);
    }
}

/// No chain of members, each of which could take a partition from the one before, leads to one with two less.
pub(super) fn assert_even(plan: &Plan, peers: &[Peer]) {
    let could_take =
        |from: &Peer, to: &Peer| plan[&from.id].iter().any(|at| to.subscription.topics.contains(&at.topic));
    let mut leads: Vec<Vec<bool>> =
        peers.iter().map(|from| peers.iter().map(|to| could_take(from, to)).collect()).collect();
    for over in 0..peers.len() {
        for from in 0..peers.len() {
            for to in 0..peers.len() {
                leads[from][to] |= leads[from][over] && leads[over][to];
            }
        }
    }
    for (from, giver) in peers.iter().enumerate() {
        for (to, taker) in peers.iter().enumerate() {
            let (more, less) = (plan[&giver.id].len(), plan[&taker.id].len());
            assert!(!leads[from][to] || more < less + 2, "{} could give {}: {}", giver.id, taker.id, shown(plan));
        }
    }
}

proptest! {
    #[test]
    fn every_partition_is_given_once_whoever_leads((topics, mut peers) in group(), turn in 0_usize..7) {
        for assignor in Assignor::ALL {
            let first = plan(assignor, &peers, &topics);
            assert_whole(&first, &peers, &topics);
            let turned = turn % peers.len();
            peers.rotate_left(turned);
            prop_assert_eq!(&first, &plan(assignor, &peers, &topics), "the plan depends on the order of joining");
            if assignor == Assignor::CooperativeSticky {
                assert_even(&first, &peers);
            }
        }
    }
}
