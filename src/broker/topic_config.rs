//! The settings of one topic, of which the broker keeps all that Kafka knows and follows a few.

use std::collections::BTreeMap;

/// Kafka's topic settings with their defaults. Those that the broker follows are read in [`TopicConfig::new`]; the others are kept and
/// described.
const KNOWN: [(&str, &str); 27] = [
    ("cleanup.policy", "delete"),
    ("compression.gzip.level", "-1"),
    ("compression.lz4.level", "9"),
    ("compression.type", "producer"),
    ("compression.zstd.level", "3"),
    ("delete.retention.ms", "86400000"),
    ("file.delete.delay.ms", "60000"),
    ("flush.messages", "9223372036854775807"),
    ("flush.ms", "9223372036854775807"),
    ("follower.replication.throttled.replicas", ""),
    ("index.interval.bytes", "4096"),
    ("leader.replication.throttled.replicas", ""),
    ("max.compaction.lag.ms", "9223372036854775807"),
    (MAX_MESSAGE_BYTES, "1048588"),
    ("message.timestamp.after.max.ms", "3600000"),
    ("message.timestamp.before.max.ms", "9223372036854775807"),
    (TIMESTAMP_TYPE, "CreateTime"),
    ("min.cleanable.dirty.ratio", "0.5"),
    ("min.compaction.lag.ms", "0"),
    (MIN_INSYNC_REPLICAS, "1"),
    ("preallocate", "false"),
    (RETENTION_BYTES, "-1"),
    ("retention.ms", "604800000"),
    ("segment.bytes", "1073741824"),
    ("segment.index.bytes", "10485760"),
    ("segment.jitter.ms", "0"),
    ("segment.ms", "604800000"),
];

const MAX_MESSAGE_BYTES: &str = "max.message.bytes";
const TIMESTAMP_TYPE: &str = "message.timestamp.type";
const AFTER_MAX: &str = "message.timestamp.after.max.ms";
const MIN_INSYNC_REPLICAS: &str = "min.insync.replicas";
const RETENTION_BYTES: &str = "retention.bytes";

/// A topic's settings.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct TopicConfig {
    /// What was set; the rest has its default.
    set: BTreeMap<String, String>,
    /// The largest batch.
    pub(super) max_message_bytes: usize,
    /// Whether records get the broker's time.
    pub(super) append_time: bool,
    /// How far ahead of the broker's time a record's may be, in milliseconds.
    pub(super) after_max_ms: i64,
    /// How many replicas must be in sync for `acks=all`.
    pub(super) min_insync: usize,
    /// The bytes a partition keeps.
    pub(super) retention_bytes: Option<u64>,
}

/// A setting as it is told: its name, its value, and whether it was set.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Described<'a> {
    pub(super) name: &'a str,
    pub(super) value: &'a str,
    pub(super) is_set: bool,
}

impl TopicConfig {
    /// The settings with these set.
    ///
    /// # Errors
    /// A sentence that names the setting that is unknown or has an impossible value.
    pub(super) fn new(set: BTreeMap<String, String>) -> Result<Self, String> {
        if let Some(name) = set.keys().find(|name| !KNOWN.iter().any(|(known, _)| known == *name)) {
            return Err(format!("Unknown topic config name: {name}"));
        }
        let append_time = match text(&set, TIMESTAMP_TYPE) {
            "CreateTime" => false,
            "LogAppendTime" => true,
            other => return Err(format!("{TIMESTAMP_TYPE} is {other}: CreateTime or LogAppendTime")),
        };
        Ok(Self {
            max_message_bytes: number(&set, MAX_MESSAGE_BYTES)?,
            append_time,
            after_max_ms: number(&set, AFTER_MAX)?,
            min_insync: number(&set, MIN_INSYNC_REPLICAS)?,
            retention_bytes: u64::try_from(number::<i64>(&set, RETENTION_BYTES)?).ok(),
            set,
        })
    }

    /// All settings, in the order of their names.
    pub(super) fn describe(&self) -> impl Iterator<Item = Described<'_>> {
        KNOWN.iter().map(|(name, default)| {
            let set = self.set.get(*name).map(String::as_str);
            Described { name, value: set.unwrap_or(default), is_set: set.is_some() }
        })
    }
}

fn text<'a>(set: &'a BTreeMap<String, String>, name: &str) -> &'a str {
    let default = || KNOWN.iter().find(|(known, _)| *known == name).map_or("", |(_, default)| default);
    set.get(name).map_or_else(default, String::as_str)
}

fn number<N: std::str::FromStr>(set: &BTreeMap<String, String>, name: &str) -> Result<N, String> {
    let text = text(set, name);
    text.parse().map_err(|_| format!("{name} is {text}, which is no number that it can have"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn config(pairs: &[(&str, &str)]) -> Result<TopicConfig, String> {
        TopicConfig::new(pairs.iter().map(|(key, value)| (key.to_string(), value.to_string())).collect())
    }

    #[test]
    fn what_is_not_set_has_kafkas_default() {
        let config = config(&[("retention.ms", "1000")]).unwrap();
        assert_eq!(config.max_message_bytes, 1_048_588);
        assert_eq!(config.retention_bytes, None);
        assert!(!config.append_time);
        let described: Vec<_> = config.describe().filter(|one| one.is_set).map(|one| (one.name, one.value)).collect();
        assert_eq!(described, [("retention.ms", "1000")]);
        assert!(KNOWN.is_sorted(), "tools show them in this order");
    }

    #[test]
    fn an_unknown_setting_and_an_impossible_value_are_named() {
        assert!(config(&[("retention.mss", "1")]).unwrap_err().contains("retention.mss"));
        assert!(config(&[("max.message.bytes", "-1")]).unwrap_err().contains("max.message.bytes"));
        assert!(config(&[("message.timestamp.type", "logappendtime")]).unwrap_err().contains("message.timestamp.type"));
    }
}
