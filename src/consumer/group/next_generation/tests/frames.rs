//! The frames of franz-go's two KIP-848 members, sent by ours byte for byte.

use bytes::Bytes;

use super::*;
use crate::consumer::group::member::{Seen, Topic};
use crate::consumer::group::message::hexadecimal;
use crate::place::TopicId;
use crate::wire::message::{decode_body, encode_body};

const CAPTURE: &str = include_str!("../../../../../fixtures/wire/franz-go-848-and-classic-coop.txt");

/// The KIP-848 conversation: requests beside their answers, in the order of the capture.
fn conversation() -> Vec<(Vec<u8>, ConsumerGroupHeartbeatResponse)> {
    let body = |line: &str, side: &str| {
        let words: Vec<&str> = line.split_whitespace().collect();
        (words[0] == side && words[1] == "ConsumerGroupHeartbeat").then(|| hexadecimal::read(words[3]).unwrap())
    };
    let requests = CAPTURE.lines().filter_map(|line| body(line, "request"));
    // The header's tags, one byte of none.
    let answers = CAPTURE.lines().filter_map(|line| body(line, "response"));
    let answers = answers.map(|body| decode_body(Bytes::from(body).slice(1..), 1, 0).unwrap());
    requests.map(|body| body[1..].to_vec()).zip(answers).collect()
}

/// A member with the settings and the id of the one that sent `request`.
fn like(request: &[u8], id: TopicId) -> Member {
    let request: ConsumerGroupHeartbeatRequest = decode_body(request.to_vec().into(), 1, 0).unwrap();
    let settings = Settings {
        group: request.group_id,
        member_id: request.member_id,
        instance_id: request.instance_id,
        topics: ["t".into()].into(),
        server_assignor: request.server_assignor,
        rebalance_timeout: seconds(60),
        ..settings()
    };
    let mut rig = joining(settings);
    rig.take(Event::Metadata(vec![Seen { topic: Topic { id, name: "t".into() }, partitions: 4 }]));
    rig
}

/// Brings the member to its next heartbeat: what it was asked for is done, then the interval passes.
fn next(rig: &mut Member, is_leaving: bool) {
    if is_leaving {
        rig.take(Event::Leave { within: seconds(60) });
    }
    for effect in rig.log.split_off(0) {
        match effect {
            Effect::Revoked { incarnation, partitions } => {
                rig.held.get_mut(&incarnation).unwrap().retain(|held| !partitions.contains(held));
                rig.take(Event::Released { incarnation, partitions });
            }
            Effect::Assigned { incarnation, .. } => drop(rig.take(Event::Began { incarnation })),
            _ => {}
        }
    }
    if rig.flying.is_empty() {
        rig.pass(seconds(5));
    }
}

#[test]
fn two_members_share_as_franz_go_does_frame_by_frame() {
    let conversation = conversation();
    assert!(conversation.len() >= 8);
    let id = conversation[0].1.assignment.as_ref().unwrap().topic_partitions[0].topic_id;
    let mut members = Vec::<(String, Member)>::new();
    for (at, (theirs, answer)) in conversation.into_iter().enumerate() {
        let name = answer.member_id.clone().unwrap();
        let known = members.iter().position(|(other, _)| *other == name);
        let known = known.unwrap_or_else(|| {
            members.push((name, like(&theirs, id)));
            members.len() - 1
        });
        let rig = &mut members[known].1;
        if at >= 2 {
            next(rig, answer.member_epoch < 0);
        }
        let mut ours = Vec::new();
        let mut request = rig.request().clone();
        if request.member_epoch == -2 {
            // Kafka demands the lasting name here; franz-go leaves it out.
            assert!(request.instance_id.take().is_some());
        }
        encode_body(&request, 1, 0, &mut ours).unwrap();
        assert_eq!(hexadecimal::of(&ours), hexadecimal::of(&theirs), "frame {}", at + 1);
        rig.answered(answer);
    }
}
