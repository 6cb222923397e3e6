//! One member of a group.

use crate::place::TopicPartition;

/// A member of a group.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Member {
    /// Its id: made by the coordinator for classic members, by the client for KIP-848 members.
    pub id: String,
    /// Its lasting name (`group.instance.id`), if it is a static member.
    pub instance: Option<String>,
    /// The name that the client gives itself (`client.id`).
    pub client_id: String,
    /// The address that it connects from.
    pub host: String,
    /// How it takes part.
    pub membership: Membership,
    /// The topics that it subscribes to by name, as far as it is told.
    pub topics: Vec<String>,
    /// What it owns.
    pub partitions: Vec<TopicPartition>,
}

/// How a member takes part in its group. No protocol tells the program's own version; this is what there is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Membership {
    /// By JoinGroup and SyncGroup, with the version of the subscription that its client writes, where it is told.
    Classic {
        /// The version of `ConsumerProtocolSubscription`.
        subscription: Option<i16>,
    },
    /// By ConsumerGroupHeartbeat (KIP-848).
    Consumer,
    /// The coordinator does not say.
    #[default]
    Unknown,
}

impl Member {
    /// The version that the client's own name ends in, as in `kafka-python-3.0.12` or `shop/2.4`.
    #[must_use]
    pub fn client_version(&self) -> Option<&str> {
        self.split_version().map(|(_, version)| version)
    }

    /// The client's own name without the version in it.
    #[must_use]
    pub fn client_name(&self) -> &str {
        self.split_version().map_or(&self.client_id, |(name, _)| name)
    }

    fn split_version(&self) -> Option<(&str, &str)> {
        let (name, version) = self.client_id.rsplit_once(['-', '/', ' ', '_'])?;
        let mut numbers = version.strip_prefix('v').unwrap_or(version).split('.');
        let is_number = |part: &str| part.starts_with(|letter: char| letter.is_ascii_digit());
        // One number alone counts clients, as in Java's `consumer-shop-1`.
        let real = numbers.next().is_some_and(is_number) && numbers.next().is_some_and(is_number);
        real.then_some((name, version))
    }

    /// All that is told of the member's version, for people.
    #[must_use]
    pub fn version(&self) -> String {
        let protocol = match self.membership {
            Membership::Classic { subscription: Some(version) } => format!("classic, subscription {version}"),
            Membership::Classic { subscription: None } => "classic".to_owned(),
            Membership::Consumer => "KIP-848".to_owned(),
            Membership::Unknown => "protocol unknown".to_owned(),
        };
        match self.client_version() {
            Some(version) => format!("{protocol}, client {version}"),
            None => protocol,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_version_is_read_off_the_clients_name_where_it_ends_in_one() {
        let split = |client_id: &str| {
            let member = Member { client_id: client_id.to_owned(), ..Member::default() };
            (member.client_name().to_owned(), member.client_version().map(str::to_owned))
        };
        assert_eq!(split("kafka-python-3.0.12"), ("kafka-python".into(), Some("3.0.12".into())));
        assert_eq!(split("shop/v2.4"), ("shop".into(), Some("v2.4".into())));
        let ours = ("orderflow".into(), Some(env!("CARGO_PKG_VERSION").into()));
        assert_eq!(split(crate::config::properties::CLIENT_ID.default), ours);
        for plain in ["rdkafka", "consumer-shop-1", "orderflow", "", "node-10.", "-", "a.b"] {
            assert_eq!(split(plain), (plain.into(), None), "{plain}");
        }
    }
}
