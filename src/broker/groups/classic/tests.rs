//! What a classic group does when members join, leave, die or lag.

use std::time::Duration;

use bytes::Bytes;

use super::*;

const SESSION: Duration = Duration::from_secs(10);
const REBALANCE: Duration = Duration::from_secs(60);
const NOW: Duration = Duration::ZERO;

/// A group with the answers that it gave, by ticket.
struct Bench {
    group: Classic,
    tickets: u64,
}

impl Bench {
    fn new() -> Self {
        Self { group: Classic::new(Duration::ZERO), tickets: 0 }
    }

    fn ticket(&mut self) -> Ticket {
        self.tickets += 1;
        Ticket(self.tickets)
    }

    /// Joins with an id (or none) and gives the ticket.
    fn join(&mut self, now: Duration, id: &str, change: impl FnOnce(&mut Join)) -> Ticket {
        let ticket = self.ticket();
        let mut join = Join {
            ticket,
            member_id: id.into(),
            fresh_id: format!("m{}", ticket.0),
            instance: None,
            client_id: "client".into(),
            client_host: "/127.0.0.1".into(),
            session: SESSION,
            rebalance: REBALANCE,
            protocol_type: "consumer".into(),
            protocols: vec![("range".into(), Bytes::from_static(b"topics"))],
            takes_id: false,
            may_skip: false,
        };
        change(&mut join);
        self.group.join(now, join);
        ticket
    }

    fn sync(&mut self, now: Duration, id: &str, generation: i32, plan: &[(&str, &'static str)]) -> Ticket {
        let ticket = self.ticket();
        let plan = plan.iter().map(|(id, part)| ((*id).to_owned(), Bytes::from_static(part.as_bytes())));
        let claim = Claim { member_id: id, instance: None, generation };
        self.group.sync(now, ticket, &claim, plan.collect());
        ticket
    }

    fn beat(&mut self, now: Duration, id: &str, generation: i32) -> Result<(), KafkaError> {
        self.group.heartbeat(now, &Claim { member_id: id, instance: None, generation })
    }

    fn answers(&mut self) -> Vec<(Ticket, Answer)> {
        self.group.take_answers()
    }

    /// The only answer, which must be for this ticket.
    fn joined(&mut self, ticket: Ticket) -> Joined {
        match self.answers().as_slice() {
            [(answered, Answer::Joined(joined))] if *answered == ticket => joined.clone(),
            other => panic!("{other:?}"),
        }
    }

    /// A stable group of `m1`, which leads, and `m2`, in generation 2.
    fn two() -> Self {
        let mut bench = Self::new();
        bench.join(NOW, "", |_| ());
        bench.join(NOW, "", |_| ());
        bench.join(NOW, "m1", |_| ());
        bench.answers();
        bench.sync(NOW, "m2", 2, &[]);
        bench.sync(NOW, "m1", 2, &[("m1", "one"), ("m2", "two")]);
        bench.answers();
        assert_eq!((bench.group.phase, bench.group.generation), (Phase::Stable, 2));
        bench
    }
}

fn not_joined(error: KafkaError, id: &str) -> Answer {
    Answer::NotJoined(error, id.into())
}

#[test]
fn the_first_member_leads_and_gets_its_assignment_from_itself() {
    let mut bench = Bench::new();
    let join = bench.join(NOW, "", |_| ());
    let joined = bench.joined(join);
    assert_eq!((joined.generation, joined.leader.as_str(), joined.protocol.as_str()), (1, "m1", "range"));
    assert_eq!(joined.members, [("m1".into(), None, Bytes::from_static(b"topics"))]);
    let sync = bench.sync(NOW, "m1", 1, &[("m1", "all")]);
    let synced = Synced { protocol_type: "consumer".into(), protocol: "range".into(), assignment: "all".into() };
    assert_eq!(bench.answers(), [(sync, Answer::Synced(synced))]);
    assert_eq!(bench.group.phase, Phase::Stable);
}

#[test]
fn a_second_member_waits_for_the_first_to_come_back() {
    let mut bench = Bench::new();
    bench.join(NOW, "", |_| ());
    bench.sync(NOW, "m1", 1, &[]);
    bench.answers();
    let second = bench.join(NOW, "", |_| ());
    assert_eq!(bench.answers(), [], "it is parked");
    assert_eq!(bench.beat(NOW, "m1", 1), Err(KafkaError::RebalanceInProgress));
    let first = bench.join(NOW, "m1", |_| ());
    let answers = bench.answers();
    assert_eq!(answers.iter().map(|(ticket, _)| *ticket).collect::<Vec<_>>(), [first, second]);
    let told =
        |answer: &Answer| matches!(answer, Answer::Joined(joined) if joined.generation == 2 && joined.leader == "m1");
    assert!(answers.iter().all(|(_, answer)| told(answer)), "{answers:?}");
}

#[test]
fn a_follower_waits_for_the_leaders_assignment() {
    let mut bench = Bench::two();
    bench.join(NOW, "m1", |join| join.protocols[0].1 = "other topics".into());
    bench.join(NOW, "m2", |_| ());
    bench.answers();
    let follower = bench.sync(NOW, "m2", 3, &[]);
    assert_eq!(bench.answers(), []);
    let leader = bench.sync(NOW, "m1", 3, &[("m2", "both")]);
    let answers = bench.answers();
    let part = |ticket| {
        answers.iter().find_map(|(answered, answer)| match answer {
            Answer::Synced(synced) if *answered == ticket => Some(synced.assignment.clone()),
            _ => None,
        })
    };
    assert_eq!((part(leader), part(follower)), (Some("".into()), Some("both".into())));
}

#[test]
fn a_new_member_is_told_to_come_back_with_an_id_and_a_lost_id_delays_only_until_it_expires() {
    let mut bench = Bench::new();
    let first = bench.join(NOW, "", |join| join.takes_id = true);
    assert_eq!(bench.answers(), [(first, not_joined(KafkaError::MemberIdRequired, "m1"))]);
    // The answer is lost; the client asks again.
    bench.join(NOW, "", |join| join.takes_id = true);
    bench.answers();
    let back = bench.join(NOW, "m2", |join| join.takes_id = true);
    assert_eq!(bench.answers(), [], "m1 may still come back");
    bench.group.tick(SESSION);
    assert_eq!(bench.joined(back).members.len(), 1);
}

#[test]
fn a_member_that_falls_silent_is_removed_and_the_others_rebalance() {
    let mut bench = Bench::two();
    bench.beat(SESSION / 2, "m1", 2).unwrap();
    assert_eq!(bench.group.next_deadline(), Some(SESSION));
    bench.group.tick(SESSION);
    assert_eq!(bench.beat(SESSION, "m1", 2), Err(KafkaError::RebalanceInProgress));
    assert_eq!(bench.beat(SESSION, "m2", 2), Err(KafkaError::UnknownMemberId));
}

#[test]
fn a_rebalance_ends_without_those_who_do_not_come_back() {
    let mut bench = Bench::two();
    let second = bench.join(NOW, "m2", |join| join.protocols[0].1 = "other".into());
    bench.group.tick(SESSION / 2);
    bench.beat(SESSION / 2, "m1", 2).unwrap_err();
    for seconds in (5..60).step_by(5) {
        bench.group.tick(Duration::from_secs(seconds));
        let _ = bench.beat(Duration::from_secs(seconds), "m1", 2);
    }
    assert_eq!(bench.answers(), []);
    bench.group.tick(REBALANCE);
    let joined = bench.joined(second);
    assert_eq!((joined.leader.as_str(), joined.members.len()), ("m2", 1));
}

#[test]
fn members_that_never_sync_are_removed_after_the_rebalance_timeout() {
    let mut bench = Bench::new();
    bench.join(NOW, "", |join| join.session = 2 * REBALANCE);
    bench.answers();
    bench.group.tick(REBALANCE);
    assert_eq!(bench.group.phase, Phase::Empty);
    assert_eq!(bench.beat(REBALANCE, "m1", 1), Err(KafkaError::UnknownMemberId));
}

#[test]
fn a_leader_that_leaves_hands_over_and_the_last_leaves_the_group_empty() {
    let mut bench = Bench::two();
    bench.group.leave(NOW, "m1", None).unwrap();
    let second = bench.join(NOW, "m2", |_| ());
    assert_eq!(bench.joined(second).leader, "m2");
    bench.group.leave(NOW, "m2", None).unwrap();
    assert_eq!((bench.group.phase, bench.group.next_deadline()), (Phase::Empty, None));
    assert_eq!(bench.group.leave(NOW, "m2", None), Err(KafkaError::UnknownMemberId));
}

#[test]
fn the_protocol_that_most_prefer_of_those_that_all_know_is_chosen() {
    let protocols = |names: &'static [&'static str]| {
        move |join: &mut Join| join.protocols = names.iter().map(|name| ((*name).into(), Bytes::new())).collect()
    };
    let mut bench = Bench::new();
    bench.join(NOW, "", protocols(&["sticky", "range"]));
    bench.join(NOW, "", protocols(&["range", "sticky"]));
    bench.join(NOW, "", protocols(&["range", "sticky"]));
    bench.join(NOW, "m1", protocols(&["sticky", "range"]));
    let answers = bench.answers();
    assert!(matches!(&answers.last().unwrap().1, Answer::Joined(joined) if joined.protocol == "range"), "{answers:?}");
    let stranger = bench.join(NOW, "", protocols(&["roundrobin"]));
    assert_eq!(bench.answers(), [(stranger, not_joined(KafkaError::InconsistentGroupProtocol, ""))]);
}

#[test]
fn a_follower_that_asks_again_gets_the_same_generation_and_a_leader_a_new_one() {
    let mut bench = Bench::two();
    let again = bench.join(NOW, "m2", |_| ());
    let joined = bench.joined(again);
    assert_eq!((joined.generation, joined.members.len()), (2, 0));
    bench.join(NOW, "m1", |_| ());
    assert_eq!(bench.group.phase, Phase::Preparing);
}

#[test]
fn a_rebalance_refuses_those_who_wait_for_the_assignment() {
    let mut bench = Bench::two();
    bench.join(NOW, "m1", |_| ());
    bench.join(NOW, "m2", |_| ());
    bench.answers();
    let waits = bench.sync(NOW, "m2", 3, &[]);
    bench.join(NOW, "", |_| ());
    assert_eq!(bench.answers(), [(waits, Answer::NotSynced(KafkaError::RebalanceInProgress))]);
}

#[test]
fn the_wrong_generation_and_the_wrong_member_are_refused() {
    let mut bench = Bench::two();
    let wrong = bench.sync(NOW, "m2", 1, &[]);
    assert_eq!(bench.answers(), [(wrong, Answer::NotSynced(KafkaError::IllegalGeneration))]);
    assert_eq!(bench.beat(NOW, "m2", 1), Err(KafkaError::IllegalGeneration));
    assert_eq!(bench.beat(NOW, "m9", 2), Err(KafkaError::UnknownMemberId));
    let unknown = bench.join(NOW, "m9", |_| ());
    assert_eq!(bench.answers(), [(unknown, not_joined(KafkaError::UnknownMemberId, "m9"))]);
}

#[test]
fn commits_go_by_generation_and_state() {
    let claim = |member_id, generation| Claim { member_id, instance: None, generation };
    let mut bench = Bench::two();
    assert_eq!(bench.group.commit(NOW, &claim("m1", 2)), Ok(()));
    assert_eq!(bench.group.commit(NOW, &claim("m1", 1)), Err(KafkaError::IllegalGeneration));
    assert_eq!(bench.group.commit(NOW, &claim("", -1)), Err(KafkaError::UnknownMemberId), "the group has members");
    bench.join(NOW, "m1", |_| ());
    assert_eq!(bench.group.commit(NOW, &claim("m2", 2)), Ok(()), "before it joins again a member may commit");
    bench.join(NOW, "m2", |_| ());
    assert_eq!(bench.group.commit(NOW, &claim("m2", 3)), Err(KafkaError::RebalanceInProgress));
    assert_eq!(Bench::new().group.commit(NOW, &claim("", -1)), Ok(()));
    assert_eq!(Bench::new().group.commit(NOW, &claim("m1", 0)), Err(KafkaError::IllegalGeneration));
}

fn is_static(join: &mut Join) {
    join.instance = Some("i".into());
}

#[test]
fn a_static_member_that_restarts_keeps_its_assignment_and_its_old_self_is_fenced() {
    let mut bench = Bench::two();
    bench.join(NOW, "", is_static);
    bench.join(NOW, "m1", |_| ());
    bench.join(NOW, "m2", |_| ());
    let old = bench.group.holder("i").unwrap();
    bench.answers();
    bench.sync(NOW, "m1", 3, &[(&old, "mine")]);
    bench.answers();
    let restart = bench.join(NOW, "", is_static);
    let joined = bench.joined(restart);
    assert_eq!((joined.generation, bench.group.phase), (3, Phase::Stable), "nobody else notices");
    assert_ne!(joined.member_id, old);
    let sync = bench.ticket();
    let claim = Claim { member_id: &joined.member_id, instance: Some("i"), generation: 3 };
    bench.group.sync(NOW, sync, &claim, Vec::new());
    assert!(matches!(&bench.answers()[..], [(_, Answer::Synced(synced))] if synced.assignment == "mine"));
    let fenced = Claim { member_id: &old, instance: Some("i"), generation: 3 };
    assert_eq!(bench.group.heartbeat(NOW, &fenced), Err(KafkaError::FencedInstanceId));
}

#[test]
fn a_static_leader_that_restarts_is_told_to_keep_the_assignment_if_its_version_can() {
    for may_skip in [true, false] {
        let mut bench = Bench::new();
        bench.join(NOW, "", is_static);
        bench.sync(NOW, "m1", 1, &[("m1", "all")]);
        bench.answers();
        let restart = bench.join(NOW, "", |join| (join.instance, join.may_skip) = (Some("i".into()), may_skip));
        let joined = bench.joined(restart);
        assert_eq!(joined.skip_assignment, may_skip);
        assert_eq!(joined.leader == joined.member_id, may_skip);
        assert_eq!(joined.members.len(), usize::from(may_skip));
    }
}

#[test]
fn a_static_member_may_miss_a_rebalance_and_is_dropped_when_its_session_ends() {
    let mut bench = Bench::new();
    bench.join(NOW, "", |join| (join.instance, join.rebalance) = (Some("i".into()), SESSION / 2));
    bench.sync(NOW, "m1", 1, &[]);
    bench.answers();
    let second = bench.join(NOW, "", |join| join.rebalance = SESSION / 2);
    bench.group.tick(SESSION / 2);
    assert_eq!(bench.joined(second).members.len(), 2);
    bench.sync(SESSION / 2, "m3", 2, &[]);
    bench.group.tick(SESSION);
    assert_eq!(bench.group.members.len(), 1);
}

#[test]
fn a_moved_coordinator_refuses_what_waits_and_keeps_the_members() {
    let mut bench = Bench::two();
    let waits = bench.join(NOW, "m1", |_| ());
    bench.group.refuse_waiting(KafkaError::NotCoordinator);
    assert_eq!(bench.answers(), [(waits, not_joined(KafkaError::NotCoordinator, "m1"))]);
    assert_eq!(bench.group.members.len(), 2);
}

#[test]
fn an_empty_group_waits_for_more_members_if_it_is_told_to() {
    let wait = Duration::from_secs(3);
    let mut bench = Bench { group: Classic::new(wait), tickets: 0 };
    bench.join(NOW, "", |_| ());
    bench.join(NOW, "", |_| ());
    assert_eq!(bench.answers(), []);
    assert_eq!(bench.group.next_deadline(), Some(wait));
    bench.group.tick(wait);
    assert_eq!(bench.answers().len(), 2);
    assert_eq!(bench.group.generation, 1);
}
