//! Java's own answers to 200 random groups, beside ours for range or roundrobin.

use super::*;

#[derive(Deserialize)]
struct Case {
    topics: Topics,
    members: Vec<Member>,
    range: Answer,
    roundrobin: Answer,
}

#[derive(Deserialize)]
struct Member {
    id: Arc<str>,
    instance: Option<Arc<str>>,
    topics: Vec<Arc<str>>,
}

type Answer = BTreeMap<Arc<str>, BTreeSet<String>>;

fn answer(plan: &Plan) -> Answer {
    let words = |partitions: &BTreeSet<TopicPartition>| partitions.iter().map(ToString::to_string).collect();
    plan.iter().map(|(id, partitions)| (id.clone(), words(partitions))).collect()
}

#[test]
fn range_and_roundrobin_give_what_java_gives() {
    let text = include_str!("../../../../../fixtures/group/assignors.json");
    let cases: Vec<Case> = serde_json::from_str(text).unwrap();
    assert_eq!(cases.len(), 200);
    for (number, case) in cases.iter().enumerate() {
        let peer = |member: &Member| Peer {
            id: member.id.clone(),
            instance: member.instance.clone(),
            subscription: Subscription::to(member.topics.iter().cloned()),
        };
        let peers: Vec<Peer> = case.members.iter().map(peer).collect();
        for (assignor, java) in [(Assignor::Range, &case.range), (Assignor::RoundRobin, &case.roundrobin)] {
            let ours = answer(&plan(assignor, &peers, &case.topics));
            assert_eq!(ours, *java, "case {number}: {}", assignor.name());
        }
    }
}
