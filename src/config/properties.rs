//! Every setting that is known, by the name that Kafka's own clients give it.
//!
//! A key outside this table is warned about with its nearest neighbour; a key inside it that is not supported yet
//! says so. Nothing is ignored in silence.

/// What a setting's text must be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Any text.
    Text,
    /// Text that no output shows.
    Secret,
    /// `host:port`, separated by commas.
    Addresses,
    /// One of these words, in lower or upper case.
    Choice(&'static [&'static str]),
    /// A whole number within these bounds.
    Number(i64, i64),
    /// Milliseconds within these bounds.
    Millis(i64, i64),
    /// Bytes within these bounds.
    Bytes(i64, i64),
    /// `true` or `false`.
    Flag,
}

/// Whether a setting has an effect.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Support {
    /// It is obeyed.
    Yes,
    /// It is known, but has no effect yet: a warning says so.
    NotYet,
    /// Only its default is possible: any other value is an error, with this reason.
    Only(&'static str),
}

/// A setting: its name, what it takes, and what it is when nobody says.
#[derive(Debug, PartialEq, Eq)]
pub struct Property {
    /// The key, as Kafka's own clients write it.
    pub name: &'static str,
    /// What its text must be.
    pub kind: Kind,
    /// Its text when nobody sets it.
    pub default: &'static str,
    /// Whether it has an effect.
    pub support: Support,
    /// What it does, in one sentence.
    pub about: &'static str,
}

const DAY_MS: i64 = 24 * 60 * 60 * 1000;
const GIB: i64 = 1 << 30;

macro_rules! properties {
    ($($const:ident = $name:literal, $kind:expr, $default:expr, $support:expr, $about:literal;)*) => {
        $(
            #[doc = concat!("`", $name, "`: ", $about, " Default: `", $default, "`.")]
            pub const $const: Property =
                Property { name: $name, kind: $kind, default: $default, support: $support, about: $about };
        )*

        /// All of them, in the order of `-X dump`.
        pub const ALL: &[&Property] = &[$(&$const,)*];
    };
}

use Kind::{Addresses, Bytes, Choice, Flag, Millis, Number, Secret, Text};
use Support::{NotYet, Only, Yes};

properties! {
    BOOTSTRAP_SERVERS = "bootstrap.servers", Addresses, "127.0.0.1:9092", Yes, "Where the first broker is looked for.";
    CLIENT_ID = "client.id", Text, concat!("orderflow-", env!("CARGO_PKG_VERSION")), Yes, "The name that brokers see in logs and quotas; `orders status` tells the version that it ends in.";
    CLIENT_RACK = "client.rack", Text, "", Yes, "The rack of this client, which assignors may go by.";
    REQUEST_TIMEOUT = "request.timeout.ms", Millis(1, DAY_MS), "30000", Yes, "How long one request may take.";
    CONNECT_TIMEOUT = "socket.connection.setup.timeout.ms", Millis(1, DAY_MS), "10000", Yes, "How long dialling one broker may take.";
    BOOTSTRAP_RETRY = "bootstrap.retry.ms", Millis(0, DAY_MS), "1000", Yes, "For how long the first brokers are asked again before a client gives up: a broker takes so long to restart, people to doubt the address.";
    METADATA_MAX_AGE = "metadata.max.age.ms", Millis(100, DAY_MS), "300000", Yes, "How old metadata may grow before it is asked for again.";
    RETRY_BACKOFF = "retry.backoff.ms", Millis(1, DAY_MS), "100", Yes, "The first wait before another try.";
    RETRY_BACKOFF_MAX = "retry.backoff.max.ms", Millis(1, DAY_MS), "1000", Yes, "The longest wait before another try.";
    RECONNECT_BACKOFF = "reconnect.backoff.ms", Millis(1, DAY_MS), "50", Yes, "The first wait before a broker is dialled again.";
    RECONNECT_BACKOFF_MAX = "reconnect.backoff.max.ms", Millis(1, DAY_MS), "1000", Yes, "The longest wait before a broker is dialled again.";
    API_TIMEOUT = "default.api.timeout.ms", Millis(1, DAY_MS), "60000", Yes, "How long an administrative call may take, repeats included.";
    ALLOW_AUTO_CREATE = "allow.auto.create.topics", Flag, "true", Yes, "Whether a producer may let the broker create its topic.";

    ACKS = "acks", Choice(&["all", "-1"]), "all", Only("an acknowledged order is one that all in-sync replicas have"), "Who must have a batch before it counts as written.";
    ENABLE_IDEMPOTENCE = "enable.idempotence", Choice(&["true"]), "true", Only("a repeat would write an order twice without it"), "Whether the broker drops repeats of a batch.";
    LINGER = "linger.ms", Millis(0, DAY_MS), "0", Yes, "How long a batch waits for more orders while the broker could take it.";
    BATCH_SIZE = "batch.size", Bytes(1024, 100_000_000), "1000000", Yes, "The size at which a batch is closed, before compression.";
    MAX_REQUEST_SIZE = "max.request.size", Bytes(1024, 100_000_000), "1048576", Yes, "The largest batch that is sent.";
    BUFFER_MEMORY = "buffer.memory", Bytes(65_536, 64 * GIB), "33554432", Yes, "The memory for orders that are not acknowledged yet.";
    COMPRESSION = "compression.type", Choice(&["none", "gzip", "snappy", "lz4"]), "none", Yes, "How batches are compressed.";
    DELIVERY_TIMEOUT = "delivery.timeout.ms", Millis(1, DAY_MS), "120000", Yes, "How long an order may take from `enqueue` to its receipt.";
    MAX_BLOCK = "max.block.ms", Millis(0, DAY_MS), "60000", Yes, "How long `enqueue` waits for metadata or buffer space.";
    MAX_IN_FLIGHT = "max.in.flight.requests.per.connection", Number(1, 5), "5", Yes, "How many requests are under way to one broker.";

    GROUP_ID = "group.id", Text, "", Yes, "The consumer group.";
    GROUP_INSTANCE_ID = "group.instance.id", Text, "", Yes, "The lasting name of a static member: a restart within the session timeout moves no partition.";
    GROUP_PROTOCOL = "group.protocol", Choice(&["auto", "consumer", "classic"]), "auto", Yes, "How the group shares its partitions: by KIP-848 (consumer), by the classic protocol, or by the first where the coordinator offers it (auto).";
    GROUP_REMOTE_ASSIGNOR = "group.remote.assignor", Text, "", Yes, "The coordinator's assignor under KIP-848, uniform or range; empty: its default.";
    SESSION_TIMEOUT = "session.timeout.ms", Millis(1, DAY_MS), "45000", Yes, "How long a silent member stays in the group; without an answer for so long a member takes itself for lost.";
    HEARTBEAT_INTERVAL = "heartbeat.interval.ms", Millis(1, DAY_MS), "3000", Yes, "How often a member of a classic group shows that it lives; under KIP-848 the coordinator says.";
    MAX_POLL_INTERVAL = "max.poll.interval.ms", Millis(1, DAY_MS), "300000", Yes, "How long one handler call, or giving partitions back, may take before the member leaves the group.";
    ASSIGNMENT_STRATEGY = "partition.assignment.strategy", Text, "range,cooperative-sticky", Yes, "The assignors that a member of a classic group offers, the preferred one first.";
    AUTO_OFFSET_RESET = "auto.offset.reset", Choice(&["earliest", "latest", "none"]), "earliest", Yes, "Where reading begins when no position is known.";
    AUTO_COMMIT_INTERVAL = "auto.commit.interval.ms", Millis(1, DAY_MS), "5000", Yes, "How often positions are committed to Kafka.";
    ISOLATION_LEVEL = "isolation.level", Choice(&["read_committed", "read_uncommitted"]), "read_committed", Yes, "Whether orders of aborted transactions are left out.";
    FETCH_MIN_BYTES = "fetch.min.bytes", Bytes(0, GIB), "1", Yes, "How much a broker collects before it answers a fetch.";
    FETCH_MAX_WAIT = "fetch.max.wait.ms", Millis(0, 60_000), "500", Yes, "How long a broker waits for that much.";
    FETCH_MAX_BYTES = "fetch.max.bytes", Bytes(1024, GIB), "16777216", Yes, "How much one fetch brings at most, and so the largest batch; asked for is a quarter of prefetch.max.bytes at most.";
    MAX_PARTITION_FETCH_BYTES = "max.partition.fetch.bytes", Bytes(1024, GIB), "2097152", Yes, "How much of one partition a fetch brings at most.";
    PREFETCH_BYTES = "prefetch.max.bytes", Bytes(1024, 16 * GIB), "4194304", Yes, "How much is read ahead of what is applied.";
    MAX_AHEAD = "max.ahead", Number(1, 1_000_000), "10000", Yes, "How many settled orders may wait behind one that is not.";
    RETRY_ATTEMPTS = "handler.retry.attempts", Number(1, 1_000_000), "10", Yes, "How often a handler is given one order.";
    HANDLER_RETRY_BACKOFF = "handler.retry.backoff.ms", Millis(1, DAY_MS), "100", Yes, "The first wait before a handler is given an order again.";
    HANDLER_RETRY_BACKOFF_MAX = "handler.retry.backoff.max.ms", Millis(1, DAY_MS), "30000", Yes, "The longest such wait.";
    HANDLER_RETRY_TOTAL = "handler.retry.total.ms", Millis(1, 365 * DAY_MS), "86400000", Yes, "How long one order may be tried again, counted from its first failure; time in which no process has it does not count.";
    BREAKER_CONSECUTIVE = "breaker.consecutive", Number(0, 1_000_000_000), "100", Yes, "At how many records in a row that cannot be applied a partition stops instead of setting them aside; 0: never.";
    BREAKER_RATIO = "breaker.ratio", Number(0, 100), "50", Yes, "At how many percent of them it stops as well; 0: never.";
    BREAKER_WINDOW = "breaker.window", Number(10, 1_000_000), "1000", Yes, "How many records that share is taken of, at least.";
    BREAKER_BACKOFF = "breaker.probe.backoff.ms", Millis(1, DAY_MS), "1000", Yes, "The first wait before the record that stopped its partition is tried again.";
    BREAKER_BACKOFF_MAX = "breaker.probe.backoff.max.ms", Millis(1, DAY_MS), "60000", Yes, "The longest such wait.";
    DEAD_LETTERS_HEADERS = "dead_letters.headers", Choice(&["text", "spring"]), "text", Yes, "The headers that say why a record is on its dead-letter topic: readable text, or those of Spring for Apache Kafka.";
    OUTBOX_TOPICS = "outbox.topics", Text, "delivery_status,customer_notifications,stock_alerts,inventory_orders", Yes, "To which of these topics a store's events are relayed; what is left out is told to nobody. Dead letters and refusals always are.";
    OUTBOX_SINCE = "outbox.since", Number(0, i64::MAX), "0", Yes, "What happened before this moment, in milliseconds since 1970 and by its records' timestamps, was told before and is told to nobody now; dead letters and refusals are. Set by --rebuild.";
    OUTBOX_LEASE = "outbox.lease.ms", Millis(100, DAY_MS), "15000", Yes, "For how long one of several processes on a database relays its share of the events before it must show that it lives.";
    OUTBOX_POLL = "outbox.poll.ms", Millis(1, DAY_MS), "500", Yes, "How often the outbox of a database is looked at when this process has written nothing to it.";
    OUTBOX_HAND_BYTES = "outbox.hand.bytes", Bytes(65_536, GIB), "8388608", Yes, "About how much of the outbox is read and under way before its receipts are waited for and its rows are let go in one transaction.";
    OUTBOX_NOTIFY_TIMEOUT = "outbox.notify.timeout.ms", Millis(1, DAY_MS), "10000", Yes, "How long a notifier may take for one notification.";
    OUTBOX_NOTIFY_CONCURRENCY = "outbox.notify.concurrency", Number(1, 1000), "8", Yes, "How many notifications a notifier is given at the same time.";
    STOCK_REORDER_LEVEL = "stock.reorder.level", Number(0, 1_000_000_000_000), "0", Yes, "When a product's stock falls below this many pieces, a stock alert is sent; 0: never.";
    STOCK_REORDER_LEVELS = "stock.reorder.levels", Text, "", Yes, "The same for single products, as `product=level`, separated by commas.";
    SHUTDOWN_TIMEOUT = "shutdown.timeout.ms", Millis(0, DAY_MS), "25000", Yes, "How long a clean stop may take.";

    STORE_CACHE_BYTES = "store.cache.bytes", Bytes(1 << 20, 64 * GIB), "33554432", Yes, "The memory that the embedded store caches pages in.";
    STORE_POOL_SIZE = "store.pool.size", Number(1, 1000), "4", Yes, "How many connections one process opens to a database.";
    STORE_CONNECT_TIMEOUT = "store.connect.timeout.ms", Millis(1, DAY_MS), "10000", Yes, "How long one connection to a database may take to be made.";
    STORE_TRANSACTION_TIMEOUT = "store.transaction.timeout.ms", Millis(1, DAY_MS), "30000", Yes, "How long one transaction in a database may take, from the wait for a connection to the answer to its commit.";
    STORE_LOCK_TIMEOUT = "store.lock.timeout.ms", Millis(1, DAY_MS), "10000", Yes, "How long a statement waits for a row that another process has locked.";
    STORE_IDLE_TIMEOUT = "store.idle.timeout.ms", Millis(1, DAY_MS), "10000", Yes, "After how long a database ends the transaction of a process that has gone silent.";
    STORE_RETRIES = "store.retries", Number(0, 1_000_000), "5", Yes, "How often a transaction in a database is tried again before its caller is told; consumers go on trying.";
    DEDUP_RETENTION = "dedup.retention", Number(1, 36_500), "400", Yes, "Days of log time for which numbered identities are remembered.";
    DEDUP_OPAQUE_RETENTION = "dedup.opaque.retention", Number(1, 36_500), "30", Yes, "Days of log time for which other identities are remembered.";
    DEDUP_MAX_KEYS = "dedup.max.keys", Number(1, i64::MAX), "10000000", Yes, "How many other identities are remembered.";

    DEAD_LETTERS_MAX_BYTES = "dead_letters.max.bytes", Bytes(0, 1024 * GIB), "1073741824", Yes, "What the records of open dead letters may take in a store; when it is used up, their partition stops.";

    DELIVERY_LEAD_DAYS = "delivery.lead.days", Number(0, 3_650), "2", Yes, "How many days after its order a delivery is made at the earliest.";
    DELIVERY_WORKING_DAYS = "delivery.working.days", Text, "mon,tue,wed,thu,fri", Yes, "The days of the week on which deliveries are made.";
    DELIVERY_DAILY_CAPACITY = "delivery.daily.capacity", Number(0, 1_000_000_000), "0", Yes, "How many deliveries are made on one day at most; 0: no limit.";
    DELIVERY_UPDATES_TOPIC = "delivery.updates.topic", Text, "delivery_updates", Yes, "The topic of updates, which a consumer with a store of deliveries reads beside its orders; empty: none.";

    FLIGHT_MAX_BYTES = "flight.max.bytes", Bytes(0, GIB), "4194304", Yes, "The memory of the flight recorder, which keeps what a consumer's machines saw and did; 0: nothing is recorded.";
    FLIGHT_FILES = "flight.files", Number(1, 1000), "8", Yes, "How many recordings are kept beside a store; the oldest goes.";
    FLIGHT_DIR = "flight.dir", Text, "", Yes, "The folder for recordings; empty: beside the store, and nowhere without one.";
    FLIGHT_IDS = "flight.ids", Choice(&["hashed", "plain"]), "hashed", Yes, "Whether the keys of orders that are tried again are hashed in recordings.";

    SECURITY_PROTOCOL = "security.protocol", Choice(&["PLAINTEXT"]), "PLAINTEXT", Only("TLS and SASL come with a later release"), "How the connection is protected.";
    SASL_MECHANISM = "sasl.mechanism", Text, "", NotYet, "How the client logs in.";
    SASL_JAAS_CONFIG = "sasl.jaas.config", Secret, "", NotYet, "The login as Java clients write it.";
    SASL_USERNAME = "sasl.username", Text, "", NotYet, "The login's name.";
    SASL_PASSWORD = "sasl.password", Secret, "", NotYet, "The login's password.";
    SSL_CA_LOCATION = "ssl.ca.location", Text, "", NotYet, "The certificates that are trusted.";
    SSL_CERTIFICATE_LOCATION = "ssl.certificate.location", Text, "", NotYet, "The client's certificate.";
    SSL_KEY_LOCATION = "ssl.key.location", Text, "", NotYet, "The client's key.";
    SSL_KEY_PASSWORD = "ssl.key.password", Secret, "", NotYet, "The password of the client's key.";
    SSL_TRUSTSTORE_TYPE = "ssl.truststore.type", Text, "", NotYet, "The form of the trust store.";
    SSL_TRUSTSTORE_LOCATION = "ssl.truststore.location", Text, "", NotYet, "The trust store.";
    SSL_KEYSTORE_LOCATION = "ssl.keystore.location", Text, "", NotYet, "The key store.";
}

/// The setting of this name.
#[must_use]
pub fn find(name: &str) -> Option<&'static Property> {
    ALL.iter().find(|property| property.name == name).copied()
}

/// The known name that is nearest to `name`, if one is near enough to have been meant.
#[must_use]
pub fn nearest(name: &str) -> Option<&'static str> {
    let (distance, best) = ALL.iter().map(|property| (edits(name, property.name), property.name)).min()?;
    (distance <= best.len().div_ceil(3)).then_some(best)
}

/// How many single-letter changes turn `a` into `b` (Levenshtein).
fn edits(a: &str, b: &str) -> usize {
    let b: Vec<char> = b.chars().collect();
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, x) in a.chars().enumerate() {
        let mut next = vec![i + 1];
        for (y, (diagonal, above)) in b.iter().zip(row.iter().zip(row.iter().skip(1))) {
            let left = next.last().copied().unwrap_or_default();
            next.push((diagonal + usize::from(x != *y)).min(above + 1).min(left + 1));
        }
        row = next;
    }
    row.last().copied().unwrap_or_default()
}

impl Property {
    /// The environment variable that sets it: `KAFKA_` and its name in upper case with `_` for `.`.
    #[must_use]
    pub fn variable(&self) -> String {
        format!("KAFKA_{}", self.name.to_uppercase().replace('.', "_"))
    }

    /// Whether no output may show it.
    #[must_use]
    pub fn is_secret(&self) -> bool {
        self.kind == Secret
    }

    /// What is wrong with `text` as this setting's value, if anything.
    #[must_use]
    pub fn objection(&self, text: &str) -> Option<String> {
        match self.kind {
            Text | Secret => None,
            Addresses => super::address::parse_list(text).err(),
            Flag => (!matches!(text, "true" | "false")).then(|| "is neither true nor false".into()),
            Choice(words) => {
                let known = words.iter().any(|word| word.eq_ignore_ascii_case(text));
                let reason = if let Only(reason) = self.support { format!(": {reason}") } else { String::new() };
                (!known).then(|| format!("is none of {}{reason}", words.join(", ")))
            }
            Number(min, max) | Millis(min, max) | Bytes(min, max) => match text.parse::<i64>() {
                Ok(number) if (min..=max).contains(&number) => None,
                Ok(_) => Some(format!("is outside {min} to {max}")),
                Err(_) => Some("is not a whole number".into()),
            },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_default_is_a_value_that_its_own_rule_accepts() {
        for property in ALL {
            assert_eq!(property.objection(property.default), None, "{}", property.name);
        }
    }

    #[test]
    fn a_misspelt_key_finds_the_one_that_was_meant_and_nonsense_finds_none() {
        assert_eq!(nearest("linger.msec"), Some("linger.ms"));
        assert_eq!(nearest("bootstrap.server"), Some("bootstrap.servers"));
        assert_eq!(nearest("zookeeper"), None);
    }

    #[test]
    fn weaker_promises_than_all_replicas_are_refused_with_the_reason() {
        let objection = ACKS.objection("1").unwrap_or_default();
        assert!(objection.contains("all in-sync replicas"), "{objection}");
        assert!(ENABLE_IDEMPOTENCE.objection("false").is_some());
    }
}
