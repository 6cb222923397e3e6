//! What a person should hear of a group beside its figures, as sentences.

use super::status::{GroupStatus, Handover, PartitionStatus};
use super::{Member, Membership, Verdict};

/// So many partitions of a list are named; of the others the number is told.
const NAMED: usize = 5;

/// Everything that is odd about a group.
pub(super) fn warnings(status: &GroupStatus, handovers: &[Handover]) -> Vec<String> {
    let mut told = Vec::new();
    membership(status, &mut told);
    versions(&status.group.members, &mut told);
    static_ids(&status.group.members, handovers, &mut told);
    owners(status, &mut told);
    progress(status, &mut told);
    logs(&status.partitions, &mut told);
    told
}

fn membership(status: &GroupStatus, told: &mut Vec<String>) {
    let group = &status.group;
    if group.members.is_empty() {
        told.push(format!("group {} has no members: nobody reads for it", group.name));
    } else if !group.is_settled() {
        told.push(format!(
            "group {} is in motion ({}): what its members own may be about to change",
            group.name, group.state
        ));
    }
}

fn versions(members: &[Member], told: &mut Vec<String>) {
    let classic = members.iter().filter(|member| matches!(member.membership, Membership::Classic { .. })).count();
    let consumer = members.iter().filter(|member| member.membership == Membership::Consumer).count();
    if classic > 0 && consumer > 0 {
        told.push(format!("two protocols in one group: {classic} classic members, {consumer} by KIP-848"));
    }
    let mut names: Vec<&str> = members.iter().map(Member::client_name).collect();
    names.sort_unstable();
    names.dedup();
    for name in names {
        let mut versions: Vec<String> =
            members.iter().filter(|member| member.client_name() == name).map(Member::version).collect();
        versions.sort_unstable();
        versions.dedup();
        if versions.len() > 1 {
            told.push(format!("{} versions of the client {name}: {}", versions.len(), versions.join("; ")));
        }
    }
}

fn static_ids(members: &[Member], handovers: &[Handover], told: &mut Vec<String>) {
    let mut ids: Vec<&str> = members.iter().filter_map(|member| member.instance.as_deref()).collect();
    ids.sort_unstable();
    let twice =
        ids.windows(2).filter_map(|pair| matches!(pair, [one, other] if one == other).then(|| pair.first()).flatten());
    let mut twice: Vec<&str> = twice.copied().collect();
    twice.dedup();
    for id in twice {
        told.push(format!("two members have the static id {id}: give each process a group.instance.id of its own"));
    }
    for handover in handovers {
        told.push(format!(
            "the static id {} went to another member {} times while it was looked at: two processes use it, give each a \
             group.instance.id of its own",
            handover.instance, handover.times,
        ));
    }
}

fn owners(status: &GroupStatus, told: &mut Vec<String>) {
    for member in &status.group.members {
        if member.partitions.is_empty() && status.group.is_settled() {
            told.push(format!("{} owns nothing: more members than partitions do not read faster", who(member)));
        }
    }
    let mut owned: Vec<_> = status.group.members.iter().flat_map(|member| &member.partitions).collect();
    owned.sort_unstable();
    let twice = owned.windows(2).filter(|pair| matches!(pair, [one, other] if one == other));
    told.extend(twice.filter_map(|pair| Some(format!("two members own {}", pair.first()?))));
    let stopped = status.partitions.iter().filter(|part| part.verdict == Verdict::Stopped);
    let stopped: Vec<&PartitionStatus> = stopped.collect();
    if !stopped.is_empty() && !status.group.members.is_empty() {
        told.push(format!("nobody owns {}", list(&stopped)));
    }
}

fn progress(status: &GroupStatus, told: &mut Vec<String>) {
    for (index, member) in status.group.members.iter().enumerate() {
        let stalled = |part: &&PartitionStatus| part.owner == Some(index) && part.verdict == Verdict::Stalled;
        let stalled: Vec<&PartitionStatus> = status.partitions.iter().filter(stalled).collect();
        if stalled.is_empty() {
            continue;
        }
        let never = stalled.iter().filter(|part| part.position.is_none()).count();
        let never =
            if never > 0 { format!(", in {never} of them it has committed nothing yet") } else { String::new() };
        told.push(format!(
            "{} owns {} and has made no progress there in {:.0} s{never}: its log and its /readyz say why; a restart makes it \
             join anew",
            who(member),
            list(&stalled),
            status.watched.as_secs_f64(),
        ));
    }
    for part in status.partitions.iter().filter(|part| part.verdict == Verdict::Rewound) {
        told.push(format!("the group's position in {} went back while it was looked at: somebody reset it", part.at));
    }
}

fn logs(partitions: &[PartitionStatus], told: &mut Vec<String>) {
    for part in partitions {
        let at = &part.at;
        match (part.position, part.end, part.high_watermark) {
            (_, None, _) => {
                told.push(format!("where {at} ends is not known: it has no leader, or does not exist any more"))
            }
            (Some(position), _, Some(high)) if position > high => {
                told.push(format!(
                    "the group stands at {position} in {at}, which ends at {high}: the log was cut or made anew"
                ));
            }
            (_, Some(end), Some(high)) if high > end => {
                told.push(format!("an open transaction holds back {} offsets of {at}", high.saturating_sub(end)));
            }
            _ => {}
        }
    }
}

/// A member, as a person recognises it.
fn who(member: &Member) -> String {
    let name = member.instance.as_deref().map_or_else(|| member.id.clone(), |instance| format!("static {instance}"));
    format!("member {name} ({}, {})", member.client_id, member.host)
}

fn list(partitions: &[&PartitionStatus]) -> String {
    let named: Vec<String> = partitions.iter().take(NAMED).map(|part| part.at.to_string()).collect();
    match partitions.len().saturating_sub(NAMED) {
        0 => named.join(", "),
        more => format!("{} and {more} more", named.join(", ")),
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::cluster::admin::groups::{Group, GroupKind};
    use crate::place::TopicPartition;

    fn member(id: &str, client_id: &str, partitions: &[i32]) -> Member {
        Member {
            id: id.into(),
            client_id: client_id.into(),
            host: "10.0.0.7".into(),
            membership: Membership::Classic { subscription: Some(3) },
            partitions: partitions.iter().map(|partition| TopicPartition::new("orders", *partition)).collect(),
            ..Member::default()
        }
    }

    fn part(partition: i32, owner: Option<usize>, verdict: Verdict) -> PartitionStatus {
        PartitionStatus {
            at: TopicPartition::new("orders", partition),
            owner,
            position: Some(4),
            end: Some(9),
            high_watermark: Some(9),
            lag: Some(5),
            lag_seconds: None,
            drain_seconds: None,
            verdict,
        }
    }

    fn told(members: Vec<Member>, partitions: Vec<PartitionStatus>) -> Vec<String> {
        let group = Group {
            name: "inventory".into(),
            kind: GroupKind::Classic,
            state: if members.is_empty() { "Empty".into() } else { "Stable".into() },
            assignor: "range".into(),
            members,
        };
        warnings(&GroupStatus { group, partitions, watched: Duration::from_secs(11), warnings: Vec::new() }, &[])
    }

    #[test]
    fn a_group_in_which_all_is_well_says_nothing() {
        let members = vec![member("a", "shop-1.2", &[0]), member("b", "shop-1.2", &[1])];
        let parts = vec![part(0, Some(0), Verdict::Ok), part(1, Some(1), Verdict::Slow)];
        assert_eq!(told(members, parts), Vec::<String>::new());
    }

    #[test]
    fn two_versions_of_one_client_and_two_protocols_are_told() {
        let mut new = member("c", "shop-1.3", &[2]);
        new.membership = Membership::Consumer;
        let told = told(vec![member("a", "shop-1.2", &[0]), member("b", "other", &[1]), new], vec![]);
        assert_eq!(
            told,
            [
                "two protocols in one group: 2 classic members, 1 by KIP-848",
                "2 versions of the client shop: KIP-848, client 1.3; classic, subscription 3, client 1.2",
            ]
        );
    }

    #[test]
    fn two_members_with_one_static_id_are_told_at_one_look_and_by_what_happens_between_looks() {
        let named =
            |id: &str, partition| Member { instance: Some("till-1".into()), ..member(id, "shop", &[partition]) };
        let once = told(vec![named("a", 0), named("b", 1)], vec![]);
        assert_eq!(once.len(), 1, "{once:?}");
        assert!(once[0].starts_with("two members have the static id till-1"), "{once:?}");
        let mut sentences = Vec::new();
        static_ids(
            &[named("a", 0)],
            &[Handover { instance: "till-1".into(), member: "a".into(), times: 3 }],
            &mut sentences,
        );
        assert!(sentences[0].contains("till-1 went to another member 3 times"), "{sentences:?}");
    }

    #[test]
    fn a_stalled_member_an_idle_one_and_partitions_of_nobody_are_named() {
        let mut parts: Vec<_> = (0..7).map(|partition| part(partition, Some(0), Verdict::Stalled)).collect();
        parts.push(part(7, None, Verdict::Stopped));
        let told = told(vec![member("a", "shop", &[0, 1, 2, 3, 4, 5, 6]), member("b", "shop", &[])], parts);
        assert!(told[0].starts_with("member b (shop, 10.0.0.7) owns nothing"), "{told:?}");
        assert_eq!(told[1], "nobody owns orders/7");
        let stalled = "member a (shop, 10.0.0.7) owns orders/0, orders/1, orders/2, orders/3, orders/4 and 2 more and has \
                       made no progress there in 11 s";
        assert!(told[2].starts_with(stalled), "{told:?}");
        assert_eq!(told.len(), 3, "{told:?}");
    }

    #[test]
    fn a_group_without_members_says_so_once() {
        assert_eq!(
            told(vec![], vec![part(0, None, Verdict::Stopped)]),
            ["group inventory has no members: nobody reads for it"]
        );
    }

    #[test]
    fn logs_that_were_cut_or_wait_for_a_transaction_are_told() {
        let cut = PartitionStatus { high_watermark: Some(3), end: Some(3), ..part(0, Some(0), Verdict::Ok) };
        let open = PartitionStatus { high_watermark: Some(20), ..part(1, Some(0), Verdict::Ok) };
        let gone = PartitionStatus { end: None, high_watermark: None, ..part(2, Some(0), Verdict::Ok) };
        let told = told(vec![member("a", "shop", &[0, 1, 2])], vec![cut, open, gone]);
        assert!(told[0].contains("stands at 4 in orders/0, which ends at 3"), "{told:?}");
        assert!(told[1].contains("holds back 11 offsets of orders/1"), "{told:?}");
        assert!(told[2].contains("where orders/2 ends is not known"), "{told:?}");
    }
}
