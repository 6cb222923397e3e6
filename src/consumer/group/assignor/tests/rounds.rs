//! Cooperative groups through many rounds, with members that come, go, sleep and tell stale things.
//!
//! Each member of the model has a hand: what it really reads. In a round all awake members join and say what they hold;
//! then, as the worst order has it, every member starts what it was given before any other gives up what it lost.

use super::*;

#[derive(Clone, Debug)]
enum Step {
    Join { wants: u8, tells: bool },
    Leave(prop::sample::Index),
    Want(prop::sample::Index, u8),
    Sleep(prop::sample::Index),
    Wake,
    Grow(prop::sample::Index),
    Round,
}

/// One member: its hand, and when it got that.
#[derive(Clone, Debug)]
struct Member {
    id: Arc<str>,
    wants: BTreeSet<Arc<str>>,
    hand: BTreeSet<TopicPartition>,
    generation: Option<i32>,
    /// Whether its client writes the generation (kafka-python's does not).
    tells: bool,
    /// An asleep member is out of the group, and does not know.
    asleep: bool,
}

struct Group {
    topics: Topics,
    members: Vec<Member>,
    joined: usize,
    generation: i32,
}

impl Group {
    fn names(&self, wants: u8) -> BTreeSet<Arc<str>> {
        self.topics
            .keys()
            .enumerate()
            .filter(|(bit, _)| wants >> bit & 1 == 1)
            .map(|(_, topic)| topic.clone())
            .collect()
    }

    fn take(&mut self, step: Step) {
        let count = self.members.len();
        match step {
            Step::Join { wants, tells } if count < 8 => {
                self.joined += 1;
                let (id, wants) = (format!("m{}", self.joined * 7 % 100).into(), self.names(wants));
                let hand = BTreeSet::new();
                self.members.push(Member { id, wants, hand, generation: None, tells, asleep: false });
            }
            Step::Leave(which) if count > 0 => drop(self.members.swap_remove(which.index(count))),
            Step::Want(which, wants) if count > 0 => {
                let wants = self.names(wants);
                let member = &mut self.members[which.index(count)];
                // As the protocol asks: what is no longer wanted is given up before the join.
                member.hand.retain(|at| wants.contains(&at.topic));
                member.wants = wants;
            }
            Step::Sleep(which) if count > 0 => self.members[which.index(count)].asleep = true,
            Step::Wake => self.members.iter_mut().for_each(|member| member.asleep = false),
            Step::Grow(which) => {
                let at = which.index(self.topics.len());
                *self.topics.values_mut().nth(at).unwrap() += 1;
            }
            Step::Round => drop(self.round()),
            _ => {}
        }
    }

    fn round(&mut self) -> (Vec<Peer>, Plan) {
        self.generation += 1;
        let says = |member: &Member| Peer {
            id: member.id.clone(),
            instance: None,
            subscription: Subscription { topics: member.wants.clone(), ..Subscription::default() }
                .owning(member.hand.clone(), member.generation.filter(|_| member.tells)),
        };
        let peers: Vec<Peer> = self.members.iter().filter(|member| !member.asleep).map(says).collect();
        let plan = plan(Assignor::CooperativeSticky, &peers, &self.topics);
        for peer in &peers {
            for other in peers.iter().filter(|other| other.id != peer.id) {
                let both: Vec<_> = plan[&peer.id].intersection(&other.subscription.owned).collect();
                assert!(both.is_empty(), "{} starts {both:?}, which {} reads", peer.id, other.id);
                assert!(plan[&peer.id].is_disjoint(&plan[&other.id]), "given twice: {}", shown(&plan));
            }
        }
        for member in self.members.iter_mut().filter(|member| !member.asleep) {
            member.hand = plan[&member.id].clone();
            member.generation = Some(self.generation);
        }
        (peers, plan)
    }
}

fn step() -> impl Strategy<Value = Step> {
    let which = any::<prop::sample::Index>;
    prop_oneof![
        4 => (any::<u8>(), any::<bool>()).prop_map(|(wants, tells)| Step::Join { wants, tells }),
        2 => which().prop_map(Step::Leave),
        2 => (which(), any::<u8>()).prop_map(|(which, wants)| Step::Want(which, wants)),
        2 => which().prop_map(Step::Sleep),
        1 => Just(Step::Wake),
        1 => which().prop_map(Step::Grow),
        6 => Just(Step::Round),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    #[test]
    fn no_partition_is_in_two_hands_and_two_quiet_rounds_share_everything(
        counts in prop::collection::vec(0_i32..10, 1..5),
        steps in prop::collection::vec(step(), 1..40),
    ) {
        let topics = counts.into_iter().enumerate().map(|(n, count)| (format!("t{n}").into(), count)).collect();
        let mut group = Group { topics, members: Vec::new(), joined: 0, generation: 0 };
        for step in steps {
            group.take(step);
        }
        group.take(Step::Wake);
        group.round();
        let (peers, second) = group.round();
        assert_whole(&second, &peers, &group.topics);
        assert_even(&second, &peers);
        let (_, third) = group.round();
        prop_assert_eq!(second, third, "a quiet group moves nothing");
    }
}
