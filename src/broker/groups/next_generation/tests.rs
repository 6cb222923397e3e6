//! The coordinator's machine, one heartbeat at a time.

use super::*;

const ORDERS: TopicId = TopicId::new([1; 16]);
const ALERTS: TopicId = TopicId::new([2; 16]);

const SESSION: Duration = Duration::from_secs(45);
const TIMES: Times = Times { session: SESSION, heartbeat: Duration::from_millis(500), assignment: Duration::ZERO };

type Topics = Vec<(&'static str, TopicId, i32)>;

impl Catalogue for Topics {
    fn find(&self, name: &str) -> Option<(TopicId, i32)> {
        self.iter().find(|(known, ..)| *known == name).map(|(_, id, count)| (*id, *count))
    }
}

struct Bench {
    group: NextGeneration,
    now: Duration,
    topics: Topics,
}

type Answer = Result<(i32, Option<Vec<i32>>), KafkaError>;

impl Bench {
    fn new(times: Times) -> Self {
        let topics = vec![("orders", ORDERS, 4), ("alerts", ALERTS, 2)];
        Self { group: NextGeneration::new(times), now: Duration::ZERO, topics }
    }

    /// The epoch and the partitions told, of all topics.
    fn ask(&mut self, request: &ConsumerGroupHeartbeatRequest) -> Answer {
        let peer = Peer { client_id: "c", client_host: "/h" };
        let answer = self.group.heartbeat(self.now, request, peer, &self.topics);
        self.nobody_shares_a_partition();
        let answer = answer.map_err(|refusal| refusal.error)?;
        let partitions = |told: Assignment| told.topic_partitions.into_iter().flat_map(|topic| topic.partitions);
        Ok((answer.member_epoch, answer.assignment.map(|told| partitions(told).collect())))
    }

    fn join(&mut self, member: &str) -> Answer {
        self.ask(&join(member))
    }

    fn beat(&mut self, member: &str, epoch: i32, owned: Option<&[i32]>) -> Answer {
        self.ask(&beat(member, epoch, owned))
    }

    fn pass(&mut self, time: Duration) {
        self.now += time;
        self.group.tick(self.now);
    }

    fn nobody_shares_a_partition(&self) {
        let held = self.group.held();
        assert!(held.windows(2).all(|pair| pair[0] != pair[1]), "{:?}", self.group);
    }
}

fn bench() -> Bench {
    Bench::new(TIMES)
}

fn join(member: &str) -> ConsumerGroupHeartbeatRequest {
    ConsumerGroupHeartbeatRequest {
        group_id: "g".into(),
        member_id: member.into(),
        rebalance_timeout_ms: 10_000,
        subscribed_topic_names: Some(vec!["orders".into()]),
        topic_partitions: Some(Vec::new()),
        ..Default::default()
    }
}

fn beat(member: &str, member_epoch: i32, owned: Option<&[i32]>) -> ConsumerGroupHeartbeatRequest {
    let owned = owned.map(|numbers| vec![TopicPartitions { topic_id: ORDERS, partitions: numbers.to_vec() }]);
    ConsumerGroupHeartbeatRequest {
        group_id: "g".into(),
        member_id: member.into(),
        member_epoch,
        topic_partitions: owned,
        ..Default::default()
    }
}

fn named(instance: &str, request: ConsumerGroupHeartbeatRequest) -> ConsumerGroupHeartbeatRequest {
    ConsumerGroupHeartbeatRequest { instance_id: Some(instance.into()), ..request }
}

/// `a` owns two partitions and `b` the other two.
fn shared() -> Bench {
    let mut bench = bench();
    bench.join("a").unwrap();
    bench.join("b").unwrap();
    bench.beat("a", 1, None).unwrap();
    assert_eq!(bench.beat("a", 1, Some(&[0, 1])), Ok((2, None)));
    assert_eq!(bench.beat("b", 2, None), Ok((2, Some(vec![2, 3]))));
    assert_eq!(bench.group.state(), "Stable");
    bench
}

#[test]
fn a_lone_member_is_given_everything_and_told_again_only_when_it_asks() {
    let mut bench = bench();
    assert_eq!(bench.group.state(), "Empty");
    assert_eq!(bench.join("a"), Ok((1, Some(vec![0, 1, 2, 3]))));
    assert_eq!(bench.beat("a", 1, None), Ok((1, None)));
    assert_eq!(bench.beat("a", 1, Some(&[0, 1, 2, 3])), Ok((1, None)));
    let full = ConsumerGroupHeartbeatRequest { member_epoch: 1, ..join("a") };
    assert_eq!(bench.ask(&full), Ok((1, Some(vec![0, 1, 2, 3]))));
    assert_eq!(bench.group.state(), "Stable");
}

#[test]
fn a_partition_is_given_only_when_its_owner_has_released_it() {
    let mut bench = bench();
    bench.join("a").unwrap();
    assert_eq!(bench.join("b"), Ok((2, Some(vec![]))), "all is held by the first");
    assert_eq!(bench.group.state(), "Reconciling");
    assert_eq!(bench.beat("a", 1, None), Ok((1, Some(vec![0, 1]))), "the epoch stays until they are given back");
    for owned in [None, Some(&[0, 1, 2][..])] {
        assert_eq!(bench.beat("a", 1, owned), Ok((1, None)));
        assert_eq!(bench.beat("b", 2, None), Ok((2, None)));
    }
    assert_eq!(bench.beat("a", 1, Some(&[0, 1])), Ok((2, None)));
    assert_eq!(bench.beat("b", 2, Some(&[])), Ok((2, Some(vec![2, 3]))));
}

#[test]
fn a_partition_that_is_wanted_back_while_it_is_given_back_comes_after_that() {
    let mut bench = bench();
    bench.join("a").unwrap();
    bench.join("b").unwrap();
    bench.beat("a", 1, None).unwrap();
    bench.beat("b", -1, None).unwrap();
    assert_eq!(bench.beat("a", 1, None), Ok((1, None)), "it is still giving back");
    assert_eq!(bench.beat("a", 1, Some(&[0, 1])), Ok((3, None)));
    assert_eq!(bench.beat("a", 3, None), Ok((3, Some(vec![0, 1, 2, 3]))));
}

#[test]
fn a_member_that_does_not_release_in_time_is_out_and_others_get_its_partitions() {
    let mut bench = bench();
    bench.join("a").unwrap();
    bench.join("b").unwrap();
    bench.beat("a", 1, None).unwrap();
    assert_eq!(bench.group.next_deadline(), Some(Duration::from_secs(10)));
    bench.pass(Duration::from_secs(9));
    bench.beat("a", 1, None).unwrap();
    bench.pass(Duration::from_secs(1));
    assert_eq!(bench.beat("a", 1, None), Err(KafkaError::UnknownMemberId));
    assert_eq!(bench.beat("b", 2, None), Ok((3, Some(vec![0, 1, 2, 3]))));
}

#[test]
fn a_silent_member_is_out_when_its_session_ends() {
    let mut bench = shared();
    bench.pass(SESSION - Duration::from_secs(1));
    bench.beat("a", 2, None).unwrap();
    bench.pass(Duration::from_secs(1));
    assert_eq!(bench.beat("a", 2, None), Ok((3, Some(vec![0, 1, 2, 3]))));
    assert_eq!(bench.beat("b", 2, None), Err(KafkaError::UnknownMemberId));
}

#[test]
fn the_previous_epoch_is_believed_of_who_owns_no_more_than_it_was_given() {
    let mut bench = shared();
    assert_eq!(bench.beat("a", 1, Some(&[0, 1])), Ok((2, None)));
    assert_eq!(bench.beat("a", 1, Some(&[1])), Ok((2, None)));
    for (epoch, owned) in [(1, None), (1, Some(&[0, 1, 2][..])), (3, Some(&[0, 1][..])), (3, None)] {
        assert_eq!(bench.beat("a", epoch, owned), Err(KafkaError::FencedMemberEpoch), "{epoch} {owned:?}");
    }
    bench.topics[0].2 = 6;
    bench.beat("a", 2, None).unwrap();
    assert_eq!(bench.beat("a", 1, Some(&[0, 1])), Err(KafkaError::FencedMemberEpoch), "two epochs ago");
}

#[test]
fn a_member_that_begins_again_is_told_what_it_has() {
    let mut bench = shared();
    assert_eq!(bench.join("a"), Ok((2, Some(vec![0, 1]))));
    assert_eq!(bench.group.epoch, 2, "nobody else is disturbed");
}

#[test]
fn members_that_nobody_knows_are_told_so() {
    let mut bench = shared();
    for epoch in [1, -1] {
        assert_eq!(bench.beat("x", epoch, None), Err(KafkaError::UnknownMemberId));
    }
    assert_eq!(bench.ask(&named("i", beat("a", 2, None))), Err(KafkaError::UnknownMemberId));
}

#[test]
fn a_static_member_that_is_away_keeps_its_partitions_until_its_session_ends() {
    let mut bench = bench();
    bench.ask(&named("i", join("a"))).unwrap();
    assert_eq!(bench.ask(&named("i", join("b"))), Err(KafkaError::UnreleasedInstanceId));
    assert_eq!(bench.ask(&named("i", join("a"))), Err(KafkaError::UnreleasedInstanceId), "its own id is no excuse");
    assert_eq!(bench.ask(&named("i", beat("b", AWAY, None))), Err(KafkaError::FencedInstanceId));
    assert_eq!(bench.ask(&named("i", beat("a", AWAY, None))), Ok((AWAY, None)));
    assert_eq!(bench.ask(&named("i", beat("a", 1, None))), Err(KafkaError::FencedMemberEpoch));
    assert_eq!(bench.ask(&named("i", join("b"))), Ok((1, Some(vec![0, 1, 2, 3]))), "no new epoch");
    assert_eq!(bench.ask(&named("i", beat("a", 1, None))), Err(KafkaError::FencedInstanceId));
    assert_eq!(bench.ask(&named("i", beat("b", AWAY, None))), Ok((AWAY, None)));
    bench.pass(SESSION);
    assert!(bench.group.is_empty());
}

#[test]
fn a_static_member_that_goes_away_while_it_gives_back_has_given_back() {
    let mut bench = bench();
    bench.ask(&named("i", join("a"))).unwrap();
    bench.join("b").unwrap();
    bench.ask(&named("i", beat("a", 1, None))).unwrap();
    bench.ask(&named("i", beat("a", AWAY, None))).unwrap();
    assert_eq!(bench.beat("b", 2, None), Ok((2, Some(vec![2, 3]))));
    assert_eq!(bench.ask(&named("i", join("c"))), Ok((2, Some(vec![0, 1]))));
}

#[test]
fn topics_that_come_grow_or_go_raise_the_epoch() {
    let mut bench = bench();
    let both = Some(vec!["orders".into(), "later".into()]);
    bench.ask(&ConsumerGroupHeartbeatRequest { subscribed_topic_names: both, ..join("a") }).unwrap();
    bench.topics[0].2 = 5;
    assert_eq!(bench.beat("a", 1, None), Ok((2, Some(vec![0, 1, 2, 3, 4]))));
    bench.topics.push(("later", TopicId::new([3; 16]), 1));
    assert_eq!(bench.beat("a", 2, None), Ok((3, Some(vec![0, 1, 2, 3, 4, 0]))));
    bench.topics.remove(0);
    assert_eq!(bench.beat("a", 3, None), Ok((3, Some(vec![0]))));
    assert_eq!(bench.beat("a", 3, Some(&[])), Ok((4, None)));
    assert_eq!(bench.beat("a", 4, None), Ok((4, None)));
}

#[test]
fn a_newcomer_within_the_assignment_interval_is_given_nothing_yet() {
    let mut bench = Bench::new(Times { assignment: Duration::from_secs(1), ..TIMES });
    bench.join("a").unwrap();
    assert_eq!(bench.join("b"), Ok((1, Some(vec![]))));
    assert_eq!((bench.beat("a", 1, None), bench.group.state()), (Ok((1, None)), "Assigning"));
    bench.pass(Duration::from_secs(1));
    assert_eq!(bench.beat("a", 1, None), Ok((1, Some(vec![0, 1]))));
    assert_eq!(bench.beat("b", 1, None), Ok((2, None)));
}

#[test]
fn commits_are_taken_from_members_in_their_epoch_or_since_they_have_the_partition() {
    let mut bench = bench();
    let at = |number: i32| Some((ORDERS, number));
    assert_eq!(bench.group.commit("", -1, 2, at(0)), Ok(()), "nobody is in the group");
    bench.join("a").unwrap();
    bench.join("b").unwrap();
    bench.beat("a", 1, None).unwrap();
    assert_eq!(bench.group.commit("a", 1, 9, at(3)), Ok(()), "it is still to be given back");
    bench.beat("a", 1, Some(&[0, 1])).unwrap();
    bench.beat("b", 2, None).unwrap();
    let group = &bench.group;
    assert_eq!(group.commit("a", 2, 9, at(0)), Ok(()));
    assert_eq!(group.commit("a", 1, 9, at(0)), Ok(()), "its own since epoch 1 (KIP-1251)");
    assert_eq!(group.commit("a", 1, 9, at(3)), Err(KafkaError::StaleMemberEpoch), "somebody else's now");
    assert_eq!(group.commit("b", 1, 9, at(3)), Err(KafkaError::StaleMemberEpoch));
    assert_eq!(group.commit("b", 3, 9, at(3)), Err(KafkaError::StaleMemberEpoch));
    assert_eq!(group.commit("b", 2, 8, at(3)), Err(KafkaError::UnsupportedVersion));
    assert_eq!(group.commit("x", 2, 9, at(3)), Err(KafkaError::UnknownMemberId));
    assert_eq!(group.commit("", -1, 9, at(3)), Err(KafkaError::UnknownMemberId), "not past the members");
}

#[test]
fn offsets_are_read_by_members_in_their_epoch_and_by_who_is_none() {
    let group = shared().group;
    assert_eq!([group.may_read(None, -1), group.may_read(Some("a"), 2)], [Ok(()), Ok(())]);
    assert_eq!(group.may_read(Some("a"), 1), Err(KafkaError::StaleMemberEpoch));
    assert_eq!(group.may_read(Some("x"), 1), Err(KafkaError::UnknownMemberId));
}

#[test]
fn the_uniform_assignor_is_even_and_moves_no_more_than_it_must() {
    let mut bench = bench();
    bench.topics[0].2 = 7;
    bench.join("a").unwrap();
    bench.join("b").unwrap();
    bench.join("c").unwrap();
    let sizes: Vec<usize> = bench.group.members.iter().map(|member| member.target.len()).collect();
    assert_eq!((sizes.iter().min(), sizes.iter().max(), sizes.iter().sum()), (Some(&2), Some(&3), 7));
    let first = bench.group.members[0].target.clone();
    bench.beat("c", -1, None).unwrap();
    bench.beat("b", 2, None).unwrap();
    assert!(first.iter().all(|share| bench.group.members[0].target.contains(share)), "it keeps what it has");
    let sizes: Vec<usize> = bench.group.members.iter().map(|member| member.target.len()).collect();
    assert_eq!((sizes.iter().min(), sizes.iter().max()), (Some(&3), Some(&4)));
}

#[test]
fn members_with_other_topics_are_given_their_own_and_shares_stay_even() {
    let mut bench = bench();
    bench.join("a").unwrap();
    let both = Some(vec!["alerts".into(), "orders".into(), "orders".into()]);
    bench.ask(&ConsumerGroupHeartbeatRequest { subscribed_topic_names: both, ..join("b") }).unwrap();
    let [a, b] = &bench.group.members[..] else { panic!("two members") };
    assert!(a.target.iter().all(|(topic, _)| *topic == ORDERS));
    assert_eq!((a.target.len(), b.target.len()), (3, 3));
    assert!([0, 1].iter().all(|number| b.target.contains(&(ALERTS, *number))));
}

#[test]
fn the_range_assignor_gives_neighbours_when_most_want_it() {
    let mut bench = bench();
    let range = |member: &str| ConsumerGroupHeartbeatRequest { server_assignor: Some("range".into()), ..join(member) };
    bench.topics[0].2 = 5;
    bench.ask(&range("a")).unwrap();
    bench.ask(&named("i", range("b"))).unwrap();
    let [a, b] = &bench.group.members[..] else { panic!("two members") };
    let numbers = |member: &Member| member.target.iter().map(|(_, number)| *number).collect::<Vec<_>>();
    assert_eq!((numbers(b), numbers(a)), (vec![0, 1, 2], vec![3, 4]), "static members come first");
    let unknown = ConsumerGroupHeartbeatRequest { server_assignor: Some("fair".into()), ..join("c") };
    assert_eq!(bench.ask(&unknown), Err(KafkaError::UnsupportedAssignor));
}

#[test]
fn requests_that_contradict_themselves_change_nothing() {
    let mut bench = bench();
    let wrong = [
        ConsumerGroupHeartbeatRequest { group_id: String::new(), ..join("a") },
        join(""),
        named("", join("a")),
        ConsumerGroupHeartbeatRequest { rack_id: Some(String::new()), ..join("a") },
        ConsumerGroupHeartbeatRequest { rebalance_timeout_ms: -1, ..join("a") },
        ConsumerGroupHeartbeatRequest { topic_partitions: None, ..join("a") },
        ConsumerGroupHeartbeatRequest { topic_partitions: beat("a", 0, Some(&[1])).topic_partitions, ..join("a") },
        ConsumerGroupHeartbeatRequest { subscribed_topic_names: None, ..join("a") },
        beat("a", -3, None),
        beat("a", AWAY, None),
    ];
    for request in wrong {
        assert_eq!(bench.ask(&request), Err(KafkaError::InvalidRequest), "{request:?}");
    }
    let pattern = |text: &str| ConsumerGroupHeartbeatRequest { subscribed_topic_regex: Some(text.into()), ..join("a") };
    assert_eq!(bench.ask(&pattern("ord.*")), Err(KafkaError::InvalidRegularExpression));
    assert!(bench.group.is_empty() && bench.group.epoch == 0);
    assert_eq!(bench.ask(&pattern("")), Ok((1, Some(vec![0, 1, 2, 3]))), "no pattern, not one that fits all");
}

#[test]
fn a_group_takes_no_more_members_than_its_limit() {
    let mut bench = bench();
    for index in 0..MAX_MEMBERS {
        let member = bench.group.admit(&join(&format!("{index}")), None).unwrap();
        bench.group.put(Member { expires: SESSION, ..member });
    }
    assert_eq!(bench.join("x"), Err(KafkaError::GroupMaxSizeReached));
    assert_eq!(bench.join("7").map(|(_, told)| told.is_some()), Ok(true), "who is in stays in");
}
