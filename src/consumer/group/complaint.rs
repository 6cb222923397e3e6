//! What a member tells people: the cause, where it shows, what to do next.

use serde::{Deserialize, Serialize};

use crate::wire::kafka_error::KafkaError;
use crate::{Error, ErrorCode};

/// A sentence for people, kept as values so that it can be recorded.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Complaint {
    pub(crate) cause: Cause,
    pub(crate) group: String,
    /// The coordinator's error, if it gave one.
    pub(crate) error: Option<i16>,
    /// The coordinator's own words, or what else is known.
    pub(crate) detail: String,
}

/// Why a member complains.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub(crate) enum Cause {
    /// The coordinator refuses the member for good.
    Refused,
    /// The client may not use the group, or a topic of it.
    Denied,
    /// Another process has the same `group.instance.id`.
    InstanceTaken,
    /// The `group.instance.id` is still registered; the member waits until it expires.
    InstanceHeld,
    /// The group takes no more members.
    Full,
    /// The coordinator does not speak the protocol that was asked for.
    NotOffered,
    /// The members of the group share no assignor with this one.
    NoSharedAssignor,
    /// The coordinator answers with errors; the member tries again.
    Unwell,
    /// The coordinator was silent for the session timeout, so the member takes itself for lost.
    Silent,
    /// Partitions were not given back in time.
    NotSettled,
    /// The application did not come on within `max.poll.interval.ms`.
    TooSlow,
    /// The coordinator, or the leader, sent something that makes no sense.
    Senseless,
}

impl Cause {
    fn code(self) -> ErrorCode {
        match self {
            Self::Refused | Self::InstanceTaken | Self::InstanceHeld | Self::Full | Self::NoSharedAssignor => {
                ErrorCode::Broker
            }
            Self::Denied => ErrorCode::Denied,
            Self::NotOffered => ErrorCode::BrokerTooOld,
            Self::Unwell | Self::Silent => ErrorCode::Connect,
            Self::NotSettled | Self::TooSlow => ErrorCode::Lost,
            Self::Senseless => ErrorCode::Protocol,
        }
    }

    fn sentence(self) -> &'static str {
        match self {
            Self::Refused => "the coordinator refuses the member",
            Self::Denied => "the client may not use the group or its topics",
            Self::InstanceTaken => "another process uses the same group.instance.id",
            Self::InstanceHeld => "the group.instance.id is still registered by an earlier process or a live one",
            Self::Full => "the group takes no more members",
            Self::NotOffered => "the coordinator does not offer the group protocol asked for",
            Self::NoSharedAssignor => "the group's members share no assignor with this one",
            Self::Unwell => "the coordinator answers with an error",
            Self::Silent => "no heartbeat succeeded for the session timeout",
            Self::NotSettled => "partitions were not given back within the rebalance timeout",
            Self::TooSlow => "an order took longer than max.poll.interval.ms, so the member left the group",
            Self::Senseless => "the group's coordinator or leader sent something that makes no sense",
        }
    }

    fn remedy(self) -> &'static str {
        match self {
            Self::Refused => "see the broker's log for what it refuses",
            Self::Denied => "grant READ on the group and its topics",
            Self::InstanceTaken => "give each process a group.instance.id of its own, or stop the other one",
            Self::InstanceHeld => "it is tried again until the earlier process's session has expired",
            Self::Full => "raise group.max.size at the brokers, or run fewer members",
            Self::NotOffered => "set group.protocol=classic or auto",
            Self::NoSharedAssignor => "set partition.assignment.strategy to one that all members have",
            Self::Unwell => "it is tried again; see the broker's log if it stays",
            Self::Silent => "it joins again by itself once the coordinator can be reached",
            Self::NotSettled => "raise max.poll.interval.ms, or let the handler take less time",
            Self::TooSlow => "raise max.poll.interval.ms, or let the handler take less time",
            Self::Senseless => "see which program leads the group or stands between it and the broker",
        }
    }
}

impl Complaint {
    /// The complaint as the crate's error.
    pub(crate) fn to_error(&self) -> Error {
        let detail = if self.detail.is_empty() { String::new() } else { format!(": {}", self.detail) };
        let message = format!("group {}: {}{detail}", self.group, self.cause.sentence());
        let error = Error::new(self.cause.code(), message).remedy(self.cause.remedy());
        match self.error.and_then(KafkaError::from_code) {
            Some(cause) => error.caused_by(cause),
            None => error,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_complaint_tells_code_group_cause_and_remedy() {
        let detail = "instance till-3".to_owned();
        let complaint = Complaint { cause: Cause::InstanceTaken, group: "shipping".into(), error: Some(82), detail };
        assert_eq!(
            complaint.to_error().to_string(),
            "BRK-ERROR: group shipping: another process uses the same group.instance.id: instance till-3: \
             give each process a group.instance.id of its own, or stop the other one"
        );
        assert!(std::error::Error::source(&complaint.to_error()).is_some());
    }
}
