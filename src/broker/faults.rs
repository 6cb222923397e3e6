//! Faults that a test puts on requests, as a small language: a rule says which requests, a verdict what happens to them.
//!
//! ```
//! # async fn test(broker: &orderflow::broker::DevBroker) {
//! use orderflow::broker::{Rule, Verdict};
//! use orderflow::wire::message::ApiKey;
//! // The second produce request is applied and its answer lost.
//! let lost = broker.install(Rule::on(ApiKey::Produce).skip(1).times(1).then(Verdict::CutAfter));
//! // ... send orders ...
//! assert_eq!(lost.applied(), 1);
//! drop(lost); // uninstalls it
//! # }
//! ```

use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use crate::wire::kafka_error::KafkaError;
use crate::wire::message::ApiKey;

/// What happens to a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Verdict {
    /// Nothing out of the ordinary. A rule with it keeps later rules off, and counts.
    Pass,
    /// It is not applied, and answered with this error.
    Error(KafkaError),
    /// It is applied, and answered with this error all the same.
    ErrorAfter(KafkaError),
    /// A batch is appended, and answered with DUPLICATE_SEQUENCE_NUMBER and the offset that it got. Only for Produce. Without an offset it
    /// is [`Verdict::ErrorAfter`] with that error.
    Duplicate,
    /// It is not applied, and its connection is closed.
    Cut,
    /// It is applied, and its connection is closed instead of an answer: the lost answer.
    CutAfter,
    /// It is not applied, and its connection stays open and silent for ever: the half-open connection.
    Silence,
    /// It is applied, and its connection stays open and silent for ever.
    SilenceAfter,
    /// It is applied when the rule's guard is dropped: what a test does meanwhile happens with the request on its way.
    Hold,
    /// It is applied, and answered when the rule's guard is dropped.
    HoldAnswer,
    /// It is applied this much later.
    Delay(Duration),
    /// It is applied, and answered this much later.
    DelayAnswer(Duration),
    /// It is applied, and answered with this throttle time; its connection is then not read for that long (KIP-219).
    Throttle(Duration),
}

impl Verdict {
    /// Whether the request is not applied at all, and not answered.
    pub(super) fn prevents(self) -> bool {
        matches!(self, Self::Cut | Self::Silence)
    }
}

/// Which requests a verdict falls on: by default all, for ever.
#[derive(Clone, Debug)]
pub struct Rule {
    node: Option<i32>,
    api: Option<ApiKey>,
    topic: Option<String>,
    partition: Option<i32>,
    skip: u64,
    times: u64,
    verdict: Verdict,
}

impl Rule {
    /// All requests.
    #[must_use]
    pub fn any() -> Self {
        let (node, api, topic, partition) = (None, None, None, None);
        Self { node, api, topic, partition, skip: 0, times: u64::MAX, verdict: Verdict::Pass }
    }

    /// Requests of one API.
    #[must_use]
    pub fn on(api: ApiKey) -> Self {
        Self { api: Some(api), ..Self::any() }
    }

    /// The disk of a node is full: it answers every Produce with KAFKA_STORAGE_ERROR.
    #[must_use]
    pub fn disk_full(node: i32) -> Self {
        Self::on(ApiKey::Produce).node(node).then(Verdict::Error(KafkaError::KafkaStorageError))
    }

    /// Only requests to this node.
    #[must_use]
    pub fn node(mut self, node: i32) -> Self {
        self.node = Some(node);
        self
    }

    /// Only Produce and Fetch requests for this topic. An error is then answered for it alone.
    #[must_use]
    pub fn topic(mut self, topic: impl Into<String>) -> Self {
        self.topic = Some(topic.into());
        self
    }

    /// Only Produce and Fetch requests for this partition. An error is then answered for it alone.
    #[must_use]
    pub fn partition(mut self, partition: i32) -> Self {
        self.partition = Some(partition);
        self
    }

    /// Lets the first `requests` pass of those that would match.
    #[must_use]
    pub fn skip(mut self, requests: u64) -> Self {
        self.skip = requests;
        self
    }

    /// Falls on this many requests and lets those behind pass.
    #[must_use]
    pub fn times(mut self, requests: u64) -> Self {
        self.times = requests;
        self
    }

    /// Falls on the `nth` request alone of those that match, counted from 1.
    #[must_use]
    pub fn nth(self, nth: u64) -> Self {
        self.skip(nth.saturating_sub(1)).times(1)
    }

    /// What happens to the requests.
    #[must_use]
    pub fn then(mut self, verdict: Verdict) -> Self {
        self.verdict = verdict;
        self
    }

    fn matches(&self, node: i32, api: ApiKey, touches: &impl Fn(&Target) -> bool) -> bool {
        self.node.is_none_or(|wanted| wanted == node)
            && self.api.is_none_or(|wanted| wanted == api)
            && touches(&self.target())
    }

    fn target(&self) -> Target {
        Target { topic: self.topic.clone(), partition: self.partition }
    }
}

/// The partitions that a rule speaks of.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Target {
    topic: Option<String>,
    partition: Option<i32>,
}

impl Target {
    pub(super) fn is_everything(&self) -> bool {
        *self == Self::default()
    }

    pub(super) fn includes(&self, topic: &str, partition: i32) -> bool {
        self.topic.as_deref().is_none_or(|wanted| wanted == topic)
            && self.partition.is_none_or(|wanted| wanted == partition)
    }
}

/// What a rule says of one request.
#[derive(Clone, Debug)]
pub(super) struct Ruling {
    pub(super) verdict: Verdict,
    pub(super) target: Target,
    /// Raised when the rule's guard is dropped.
    uninstalled: Option<CancellationToken>,
}

impl Ruling {
    pub(super) const fn pass() -> Self {
        Self { verdict: Verdict::Pass, target: Target { topic: None, partition: None }, uninstalled: None }
    }

    /// Waits until the rule's guard is dropped.
    pub(super) async fn uninstalled(&self) {
        if let Some(uninstalled) = &self.uninstalled {
            uninstalled.cancelled().await;
        }
    }
}

/// The rules that are installed, in the order in which they came.
#[derive(Debug, Default)]
pub(super) struct Faults(Mutex<Vec<Arc<Active>>>);

#[derive(Debug)]
struct Active {
    rule: Rule,
    matched: Mutex<u64>,
    applied: watch::Sender<u64>,
    uninstalled: CancellationToken,
}

impl Faults {
    pub(super) fn install(self: &Arc<Self>, rule: Rule) -> Installed {
        let (matched, applied, uninstalled) = (Mutex::new(0), watch::Sender::new(0), CancellationToken::new());
        let active = Arc::new(Active { rule, matched, applied, uninstalled });
        lock(&self.0).push(active.clone());
        Installed { faults: self.clone(), active }
    }

    /// The first rule that matches decides, and counts the request.
    pub(super) fn judge(&self, node: i32, api: ApiKey, touches: impl Fn(&Target) -> bool) -> Ruling {
        let rules = lock(&self.0);
        let matching = rules.iter().filter(|active| active.rule.matches(node, api, &touches));
        let Some(active) = matching.into_iter().find(|active| active.counts()) else { return Ruling::pass() };
        let uninstalled = Some(active.uninstalled.clone());
        Ruling { verdict: active.rule.verdict, target: active.rule.target(), uninstalled }
    }
}

impl Active {
    /// Counts a request that matches, and says whether the verdict falls on it.
    fn counts(&self) -> bool {
        let mut matched = lock(&self.matched);
        *matched += 1;
        let falls = *matched > self.rule.skip && *matched - self.rule.skip <= self.rule.times;
        if falls {
            self.applied.send_modify(|applied| *applied += 1);
        }
        falls
    }
}

/// A rule that is in force until this is dropped.
#[must_use = "the rule is uninstalled when this is dropped"]
pub struct Installed {
    faults: Arc<Faults>,
    active: Arc<Active>,
}

impl Installed {
    /// On how many requests the verdict has fallen.
    #[must_use]
    pub fn applied(&self) -> u64 {
        *self.active.applied.borrow()
    }

    /// Waits until the verdict has fallen on `requests` requests.
    ///
    /// # Cancel safety
    /// Nothing is lost if the returned future is dropped.
    pub async fn fallen(&self, requests: u64) {
        let mut applied = self.active.applied.subscribe();
        // The sender lives as long as `self`, so waiting cannot fail.
        let _ = applied.wait_for(|applied| *applied >= requests).await;
    }
}

impl fmt::Debug for Installed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Installed").field("rule", &self.active.rule).field("applied", &self.applied()).finish()
    }
}

impl Drop for Installed {
    fn drop(&mut self) {
        lock(&self.faults.0).retain(|active| !Arc::ptr_eq(active, &self.active));
        self.active.uninstalled.cancel();
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    const EVERY: fn(&Target) -> bool = |_| true;

    #[test]
    fn a_rule_skips_then_falls_the_times_it_says_and_then_lets_pass() {
        let faults = Arc::new(Faults::default());
        let rule = faults.install(Rule::on(ApiKey::Produce).node(1).skip(1).times(2).then(Verdict::Cut));
        let verdicts: Vec<_> = (0..5).map(|_| faults.judge(1, ApiKey::Produce, EVERY).verdict).collect();
        assert_eq!(verdicts, [Verdict::Pass, Verdict::Cut, Verdict::Cut, Verdict::Pass, Verdict::Pass]);
        assert_eq!(rule.applied(), 2);
        assert_eq!(faults.judge(2, ApiKey::Produce, EVERY).verdict, Verdict::Pass, "another node");
        assert_eq!(faults.judge(1, ApiKey::Fetch, EVERY).verdict, Verdict::Pass, "another API");
    }

    #[test]
    fn an_exhausted_rule_gives_way_to_the_next() {
        let faults = Arc::new(Faults::default());
        let _first = faults.install(Rule::any().times(1).then(Verdict::Cut));
        let _second = faults.install(Rule::any().then(Verdict::Silence));
        assert_eq!(faults.judge(1, ApiKey::Fetch, EVERY).verdict, Verdict::Cut);
        assert_eq!(faults.judge(1, ApiKey::Fetch, EVERY).verdict, Verdict::Silence);
    }

    #[test]
    fn the_nth_request_alone_can_be_meant() {
        let faults = Arc::new(Faults::default());
        let _rule = faults.install(Rule::on(ApiKey::Produce).nth(3).then(Verdict::Duplicate));
        let verdicts: Vec<_> = (0..4).map(|_| faults.judge(1, ApiKey::Produce, EVERY).verdict).collect();
        assert_eq!(verdicts, [Verdict::Pass, Verdict::Pass, Verdict::Duplicate, Verdict::Pass]);
    }

    #[test]
    fn dropping_the_guard_uninstalls_its_rule_alone() {
        let faults = Arc::new(Faults::default());
        let first = faults.install(Rule::any().then(Verdict::Cut));
        let _second = faults.install(Rule::any().then(Verdict::Silence));
        drop(first);
        assert_eq!(faults.judge(1, ApiKey::Fetch, EVERY).verdict, Verdict::Silence);
    }

    #[test]
    fn a_rule_for_a_partition_passes_over_requests_for_others() {
        let faults = Arc::new(Faults::default());
        let _rule = faults.install(Rule::on(ApiKey::Produce).topic("t").partition(3).then(Verdict::Cut));
        let request = |topic: &'static str, partition| move |target: &Target| target.includes(topic, partition);
        assert_eq!(faults.judge(1, ApiKey::Produce, request("t", 2)).verdict, Verdict::Pass);
        assert_eq!(faults.judge(1, ApiKey::Produce, request("u", 3)).verdict, Verdict::Pass);
        assert_eq!(faults.judge(1, ApiKey::Produce, request("t", 3)).verdict, Verdict::Cut);
    }
}
