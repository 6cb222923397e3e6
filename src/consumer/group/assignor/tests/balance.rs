//! What a sticky plan moves when its members change.

use super::*;

/// What the members say at the next join, when each applied the plan.
fn applied(peers: &[Peer], plan: &Plan, generation: i32) -> Vec<Peer> {
    let apply = |peer: &Peer| {
        let owned = plan[&peer.id].clone();
        Peer { subscription: peer.subscription.clone().owning(owned, Some(generation)), ..peer.clone() }
    };
    peers.iter().map(apply).collect()
}

fn members(count: usize, topics: &Topics) -> Vec<Peer> {
    let peer = |n| Peer {
        id: format!("m{n:03}").into(),
        instance: None,
        subscription: Subscription::to(topics.keys().cloned()),
    };
    (0..count).map(peer).collect()
}

fn kept(peers: &[Peer], plan: &Plan) -> usize {
    peers.iter().map(|peer| peer.subscription.owned.intersection(&plan[&peer.id]).count()).sum()
}

/// The most that members with equal subscriptions can keep: each `total / members`, and as many as there are partitions
/// left over one more.
fn most_kept(peers: &[Peer], total: usize) -> usize {
    let (each, extra) = (total / peers.len(), total % peers.len());
    let owned = || peers.iter().map(|peer| peer.subscription.owned.len());
    owned().map(|owned| owned.min(each)).sum::<usize>() + extra.min(owned().filter(|owned| *owned > each).count())
}

fn within_one(plan: &Plan) -> bool {
    let loads = || plan.values().map(BTreeSet::len);
    loads().max() <= loads().min().map(|least| least + 1)
}

proptest! {
    /// Members with equal subscriptions, of whom any may leave and others join.
    #[test]
    fn nobody_loses_a_partition_that_need_not_move(
        counts in prop::collection::vec(1_i32..20, 1..4),
        before in 1_usize..8,
        leave in prop::collection::vec(any::<bool>(), 8),
        join in 0_usize..4,
    ) {
        let topics: Topics = counts.into_iter().enumerate().map(|(n, count)| (format!("t{n}").into(), count)).collect();
        let all = members(before + join, &topics);
        let first = plan(Assignor::CooperativeSticky, &all[..before], &topics);
        prop_assert!(within_one(&first));
        let stayed = applied(&all[..before], &first, 1).into_iter().zip(leave).filter(|(_, leaves)| !leaves);
        let mut now: Vec<Peer> = stayed.map(|(peer, _)| peer).collect();
        now.extend_from_slice(&all[before..]);
        prop_assume!(!now.is_empty());
        let total = wanted(&now, &topics).len();

        let second = plan(Assignor::CooperativeSticky, &now, &topics);
        prop_assert_eq!(kept(&now, &second), most_kept(&now, total), "{}", shown(&second));
        let now = applied(&now, &second, 2);
        let third = plan(Assignor::CooperativeSticky, &now, &topics);
        assert_whole(&third, &now, &topics);
        prop_assert!(within_one(&third), "{}", shown(&third));
        prop_assert_eq!(kept(&now, &third), second.values().map(BTreeSet::len).sum::<usize>());
    }

    /// Whatever the subscriptions: where nothing changed, nothing moves.
    #[test]
    fn a_rebalance_without_a_change_moves_nothing((topics, peers) in group()) {
        let first = plan(Assignor::CooperativeSticky, &peers, &topics);
        let again = plan(Assignor::CooperativeSticky, &applied(&peers, &first, 1), &topics);
        prop_assert_eq!(first, again);
    }
}

/// The size at which a slow plan would hold up a whole group: 100 members, 10,000 partitions, a tenth of the members
/// replaced.
#[test]
fn ten_thousand_partitions_move_only_from_the_members_that_are_replaced() {
    let topics: Topics = (0..100).map(|n| (format!("topic-{n}").into(), 100)).collect();
    let all = members(110, &topics);
    let first = plan(Assignor::CooperativeSticky, &all[..100], &topics);
    assert!(within_one(&first));
    let mut now = applied(&all[10..100], &first, 1);
    now.extend_from_slice(&all[100..]);
    let second = plan(Assignor::CooperativeSticky, &now, &topics);
    assert_eq!(kept(&now, &second), 9_000);
    assert_whole(&second, &now, &topics);
    assert!(within_one(&second));
    for assignor in [Assignor::Range, Assignor::RoundRobin] {
        assert_whole(&plan(assignor, &now, &topics), &now, &topics);
    }
}
