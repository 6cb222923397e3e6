//! A member's settings, read from the client's.

use std::collections::BTreeSet;
use std::sync::Arc;

use super::assignor::strategy::Strategy;
use super::member::{Fallback, Settings};
use crate::backoff::Backoff;
use crate::config::{ClientConfig, Property, properties};
use crate::error::{Error, ErrorCode, Result};

/// What a member is made of, with the protocol that it begins with.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Configured {
    pub(crate) settings: Settings,
    pub(crate) protocol: Protocol,
}

/// How a member begins.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Protocol {
    /// By KIP-848; [`Fallback`] says what becomes of it where that is not offered.
    NextGeneration,
    /// By the classic protocol.
    Classic,
}

impl Configured {
    /// A member of `group` that subscribes to `topic`, under an id that nobody had before.
    ///
    /// # Errors
    /// [`ErrorCode::ConfigValue`] or [`ErrorCode::ConfigUnsupported`] for settings that cannot be.
    pub(crate) fn read(config: &ClientConfig, group: &str, topic: Arc<str>) -> Result<Self> {
        let (protocol, fallback) = match config.choice(&properties::GROUP_PROTOCOL).as_str() {
            "classic" => (Protocol::Classic, Fallback::Classic),
            "consumer" => (Protocol::NextGeneration, Fallback::Refused),
            _ => (Protocol::NextGeneration, Fallback::Classic),
        };
        let strategy = Strategy::parse(config.text(&properties::ASSIGNMENT_STRATEGY))?;
        let settings = Settings {
            group: group.to_owned(),
            member_id: format!("{:032x}", fastrand::u128(..)),
            instance_id: unless_empty(config, &properties::GROUP_INSTANCE_ID),
            rack: unless_empty(config, &properties::CLIENT_RACK),
            topics: BTreeSet::from([topic]),
            server_assignor: unless_empty(config, &properties::GROUP_REMOTE_ASSIGNOR),
            assignors: strategy.assignors().to_vec(),
            session_timeout: config.millis(&properties::SESSION_TIMEOUT),
            rebalance_timeout: config.millis(&properties::MAX_POLL_INTERVAL),
            heartbeat_interval: config.millis(&properties::HEARTBEAT_INTERVAL),
            request_timeout: config.millis(&properties::REQUEST_TIMEOUT),
            backoff: Backoff::new(
                config.millis(&properties::RETRY_BACKOFF),
                config.millis(&properties::RETRY_BACKOFF_MAX),
            ),
            fallback,
        };
        if settings.heartbeat_interval >= settings.session_timeout {
            return Err(Error::new(ErrorCode::ConfigValue, "heartbeat.interval.ms is not below session.timeout.ms")
                .remedy("make it a third of session.timeout.ms, or less"));
        }
        Ok(Self { settings, protocol })
    }

    /// The second member of one process: a static one needs a name of its own.
    pub(crate) fn second(mut self, suffix: &str) -> Self {
        self.settings.instance_id.iter_mut().for_each(|instance| instance.push_str(suffix));
        self
    }
}

fn unless_empty(config: &ClientConfig, property: &Property) -> Option<String> {
    Some(config.text(property)).filter(|text| !text.is_empty()).map(str::to_owned)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(pairs: &[(&str, &str)]) -> Result<Configured> {
        let config =
            pairs.iter().try_fold(ClientConfig::new("kafka:9092"), |config, (key, value)| config.set(key, *value))?;
        Configured::read(&config, "shipping", "orders".into())
    }

    #[test]
    fn what_nobody_sets_joins_by_the_newer_protocol_and_may_fall_back() {
        let configured = read(&[]).unwrap();
        assert_eq!((configured.protocol, configured.settings.fallback), (Protocol::NextGeneration, Fallback::Classic));
        assert_eq!((configured.settings.instance_id, configured.settings.server_assignor), (None, None));
        assert_ne!(read(&[]).unwrap().settings.member_id, configured.settings.member_id);
    }

    #[test]
    fn a_protocol_that_is_asked_for_by_name_is_the_only_one() {
        assert_eq!(read(&[("group.protocol", "classic")]).unwrap().protocol, Protocol::Classic);
        let configured = read(&[("group.protocol", "consumer")]).unwrap();
        assert_eq!((configured.protocol, configured.settings.fallback), (Protocol::NextGeneration, Fallback::Refused));
    }

    #[test]
    fn the_second_member_of_a_process_is_another_static_member() {
        let till = read(&[("group.instance.id", "till-3")]).unwrap().second("-retry");
        assert_eq!(till.settings.instance_id.as_deref(), Some("till-3-retry"));
        assert_eq!(read(&[]).unwrap().second("-retry").settings.instance_id, None);
    }

    #[test]
    fn settings_that_cannot_be_are_refused() {
        for pair in [("heartbeat.interval.ms", "45000"), ("partition.assignment.strategy", "sticky")] {
            assert!(read(&[pair]).is_err(), "{pair:?}");
        }
    }
}
