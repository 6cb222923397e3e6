//! What goes wrong, one thing at a time.

use std::time::Duration;

use super::ledger::ABORTED;
use super::settings::{DELIVERY, DELIVERY_GROUP, DELIVERY_LETTERS, INVENTORY, NODES};
use super::world::World;
use crate::broker::{Records, Rule, Verdict};
use crate::order::{DeliveryOrder, InventoryOrder, Order};
use crate::store::inline::{DELIVERY_GROUP as SCHEDULING_GROUP, GROUP};
use crate::wire::kafka_error::KafkaError;
use crate::wire::message::ApiKey;
use crate::wire::record_batch::ControlType;

/// Rules that are in force at a time.
const MOST_RULES: usize = 6;

/// Requests that faults are put on; those that matter most stand twice.
const APIS: [ApiKey; 16] = [
    ApiKey::Produce,
    ApiKey::Produce,
    ApiKey::Fetch,
    ApiKey::Fetch,
    ApiKey::OffsetCommit,
    ApiKey::OffsetCommit,
    ApiKey::OffsetFetch,
    ApiKey::Metadata,
    ApiKey::FindCoordinator,
    ApiKey::JoinGroup,
    ApiKey::SyncGroup,
    ApiKey::Heartbeat,
    ApiKey::ConsumerGroupHeartbeat,
    ApiKey::ListOffsets,
    ApiKey::InitProducerId,
    ApiKey::OffsetForLeaderEpoch,
];

impl World {
    /// One more trouble.
    pub(super) async fn trouble(&mut self) {
        match self.chance.u8(0..30) {
            0..9 => self.fault(),
            9 => self.rules.clear(),
            10 => self.move_leader(),
            11 => self.stop_node().await,
            12 => self.resume_nodes().await,
            13..15 => self.kill_member(),
            15 => self.stop_member(),
            16 => {
                let group = [GROUP, DELIVERY_GROUP, SCHEDULING_GROUP][self.chance.usize(0..3)];
                self.broker.move_coordinator(group, self.chance.i32(1..=NODES.into()));
            }
            17 if self.chance.bool() => self.scheduled.lose_power_at(self.chance.u64(1..60)),
            17 => self.base.lose_power_at(self.chance.u64(1..60)),
            18 if self.chance.bool() => self.scheduled.restart(self.chance.u64(..)),
            18 => self.base.restart(self.chance.u64(..)),
            19 if self.chance.bool() => self.scheduled.fail_sync(self.chance.u64(1..6)),
            19 => self.base.fail_sync(self.chance.u64(1..6)),
            20 => self.weather.set_bad(self.chance.bool()),
            21 => self.abort_a_transaction(),
            22 => self.write_nonsense(),
            23..26 => self.refuse_letters(),
            26..29 => self.kill_sender(),
            // A broker forgets a producer after a day, never between a batch and its repeat: that would double orders.
            _ => self.broker.forget_fetch_sessions(),
        }
    }

    /// Nothing goes wrong any more.
    pub(super) async fn heal(&mut self) {
        self.rules.clear();
        self.weather.set_bad(false);
        self.base.restart(self.chance.u64(..));
        self.scheduled.restart(self.chance.u64(..));
        self.resume_nodes().await;
    }

    fn somewhere(&mut self) -> (&'static str, i32) {
        let topic = if self.chance.bool() { INVENTORY } else { DELIVERY };
        (topic, self.chance.i32(0..2))
    }

    fn fault(&mut self) {
        if self.rules.len() >= MOST_RULES {
            drop(self.rules.remove(0));
        }
        let short = Duration::from_millis(self.chance.u64(1..600));
        let api = APIS[self.chance.usize(0..APIS.len())];
        let verdict = match self.chance.u8(0..12) {
            0 => Verdict::Cut,
            1..3 => Verdict::CutAfter,
            3 => Verdict::Silence,
            4..6 => Verdict::SilenceAfter,
            6 => Verdict::Delay(short),
            7 => Verdict::DelayAnswer(short),
            8 => Verdict::Throttle(short),
            _ => refusal(api, &mut self.chance),
        };
        let rule = Rule::on(api).skip(self.chance.u64(0..4)).times(self.chance.u64(1..5));
        let rule = match api {
            ApiKey::Produce if self.chance.u8(0..3) == 0 => rule.topic(DELIVERY_LETTERS).times(self.chance.u64(1..9)),
            _ => rule,
        };
        self.rules.push(self.broker.install(rule.then(verdict)));
    }

    fn refuse_letters(&mut self) {
        let denied = Verdict::Error(KafkaError::TopicAuthorizationFailed);
        let rule = Rule::on(ApiKey::Produce).topic(DELIVERY_LETTERS).times(self.chance.u64(1..5));
        self.rules.push(self.broker.install(rule.then(denied)));
    }

    fn move_leader(&mut self) {
        let ((topic, partition), node) = (self.somewhere(), self.chance.i32(1..=NODES.into()));
        drop(self.broker.move_leader(topic, partition, node));
    }

    async fn stop_node(&mut self) {
        let node = self.chance.i32(1..=NODES.into());
        if self.down.is_empty() && self.broker.stop(node).await.is_ok() {
            self.down.push(node);
        }
    }

    async fn resume_nodes(&mut self) {
        for node in std::mem::take(&mut self.down) {
            self.broker.resume(node).await.unwrap();
        }
    }

    fn kill_member(&mut self) {
        let at = self.chance.usize(0..self.members.len());
        let job = self.members.swap_remove(at).kill();
        self.begin(job);
    }

    /// One that has not sent all yet.
    fn kill_sender(&mut self) {
        let mut busy: Vec<_> = self.senders.iter_mut().filter(|sender| !sender.is_finished()).collect();
        if !busy.is_empty() {
            let at = self.chance.usize(0..busy.len());
            busy.swap_remove(at).kill();
        }
    }

    /// It ends by itself while its successor is there already.
    fn stop_member(&mut self) {
        let at = self.chance.usize(0..self.members.len());
        let member = self.members.swap_remove(at);
        self.begin(member.job.clone());
        self.leaving.push(tokio::spawn(member.stop()));
    }

    fn abort_a_transaction(&mut self) {
        let mut value = Vec::new();
        let (topic, partition) = self.somewhere();
        let date = "5/30/2023";
        match topic {
            INVENTORY => InventoryOrder::new(ABORTED, ABORTED, 1, date).unwrap().encode(&mut value),
            _ => DeliveryOrder::new(ABORTED, "02758", 1, date).unwrap().encode(&mut value),
        }
        let producer = self.chance.i64(1 << 40..1 << 41);
        let records = Records::keyed([(ABORTED, value)]).in_transaction(producer);
        if self.broker.append(topic, partition, records).is_ok() {
            drop(self.broker.end_transaction(topic, partition, producer, ControlType::Abort));
        }
    }

    fn write_nonsense(&mut self) {
        let (topic, partition) = self.somewhere();
        self.nonsense += 1;
        let value = format!("{{nonsense {}", self.nonsense);
        drop(self.broker.append(topic, partition, Records::keyed([(format!("x{}", self.nonsense), value)])));
    }
}

fn refusal(api: ApiKey, chance: &mut fastrand::Rng) -> Verdict {
    let one_of = |chance: &mut fastrand::Rng, errors: &[Verdict]| errors[chance.usize(0..errors.len())];
    use KafkaError as E;
    match api {
        ApiKey::Produce => one_of(
            chance,
            &[
                Verdict::Error(E::NotLeaderOrFollower),
                Verdict::ErrorAfter(E::NotLeaderOrFollower),
                Verdict::Error(E::NotEnoughReplicas),
                Verdict::ErrorAfter(E::NotEnoughReplicasAfterAppend),
                Verdict::ErrorAfter(E::RequestTimedOut),
                Verdict::Error(E::UnknownProducerId),
                Verdict::Error(E::OutOfOrderSequenceNumber),
                Verdict::Error(E::TopicAuthorizationFailed),
            ],
        ),
        ApiKey::Fetch => {
            one_of(chance, &[Verdict::Error(E::NotLeaderOrFollower), Verdict::Error(E::UnknownServerError)])
        }
        ApiKey::OffsetCommit => one_of(
            chance,
            &[
                Verdict::Error(E::CoordinatorLoadInProgress),
                Verdict::Error(E::NotCoordinator),
                Verdict::ErrorAfter(E::RequestTimedOut),
            ],
        ),
        ApiKey::OffsetFetch
        | ApiKey::JoinGroup
        | ApiKey::SyncGroup
        | ApiKey::Heartbeat
        | ApiKey::ConsumerGroupHeartbeat => {
            one_of(chance, &[Verdict::Error(E::NotCoordinator), Verdict::Error(E::CoordinatorLoadInProgress)])
        }
        _ => Verdict::CutAfter,
    }
}
