//! Fetch sessions (KIP-227): the partitions of a consumer, remembered between its requests.
//!
//! A session is taken out while its request is served, and put back with the next number. Partitions that were served go to the end of
//! the order, so that each has its turn when an answer cannot hold them all.

use std::collections::{BTreeMap, HashMap};
use std::time::Duration;

use tokio::time::Instant;

use crate::place::TopicId;
use crate::wire::kafka_error::KafkaError;
use crate::wire::message::{FetchPartition, FetchRequest};

/// Sessions at a time, as Kafka's `max.incremental.fetch.session.cache.slots`.
const MAX_SESSIONS: usize = 1000;

/// How long a session is safe from being given up for a newer one, as in Kafka.
const SAFE: Duration = Duration::from_secs(120);

/// The number that asks for a new session, and the one that wants none.
const FIRST: i32 = 0;
const NONE: i32 = -1;

/// From this version on topics go by their identity.
const FIRST_WITH_IDS: i16 = 13;

/// A topic as a consumer names it.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) enum TopicKey {
    Name(String),
    Id(TopicId),
}

/// A partition that a consumer wants.
#[derive(Clone, Debug)]
pub(super) struct Wanted {
    pub(super) topic: TopicKey,
    pub(super) partition: FetchPartition,
    /// The high watermark and the log start that the consumer was told last.
    pub(super) told: Option<(i64, i64)>,
}

/// What one request asks for, with what its session remembers.
#[derive(Debug)]
pub(super) struct Session {
    /// 0 for a request without session.
    pub(super) id: i32,
    /// The node that keeps it.
    node: i32,
    /// The number that the next request must have.
    epoch: i32,
    with_ids: bool,
    turns: BTreeMap<u64, Wanted>,
    places: HashMap<(TopicKey, i32), u64>,
    next_turn: u64,
    last_used: Instant,
}

/// The sessions that are not being served.
#[derive(Debug, Default)]
pub(super) struct Sessions {
    by_id: HashMap<i32, Session>,
    last_id: i32,
}

impl Sessions {
    /// The session that a request belongs to, with the changes that the request makes to it.
    ///
    /// # Errors
    /// The error that answers the whole request.
    pub(super) fn take(&mut self, node: i32, request: &mut FetchRequest, version: i16) -> Result<Session, KafkaError> {
        let mut session = match (request.session_id, request.session_epoch) {
            (id, FIRST) => {
                self.close(node, id);
                self.open(node)
            }
            (id, NONE) => {
                self.close(node, id);
                Session::new(node, 0)
            }
            (id, epoch) => self.resume((node, id), epoch, version)?,
        };
        session.with_ids = version >= FIRST_WITH_IDS;
        session.change(request);
        Ok(session)
    }

    /// Remembers a session for its next request.
    pub(super) fn put_back(&mut self, mut session: Session) {
        if session.id != 0 {
            session.last_used = Instant::now();
            session.epoch = if session.epoch == i32::MAX { 1 } else { session.epoch + 1 };
            self.by_id.insert(session.id, session);
        }
    }

    /// Forgets all sessions.
    pub(super) fn clear(&mut self) {
        self.by_id.clear();
    }

    /// Forgets the sessions of a node that stops.
    pub(super) fn clear_node(&mut self, node: i32) {
        self.by_id.retain(|_, session| session.node != node);
    }

    fn close(&mut self, node: i32, id: i32) {
        if self.by_id.get(&id).is_some_and(|session| session.node == node) {
            self.by_id.remove(&id);
        }
    }

    fn resume(&mut self, (node, id): (i32, i32), epoch: i32, version: i16) -> Result<Session, KafkaError> {
        let session = self.by_id.get(&id).filter(|session| session.node == node);
        let session = session.ok_or(KafkaError::FetchSessionIdNotFound)?;
        if session.epoch != epoch {
            return Err(KafkaError::InvalidFetchSessionEpoch);
        }
        if session.with_ids != (version >= FIRST_WITH_IDS) {
            return Err(KafkaError::FetchSessionTopicIdError);
        }
        self.by_id.remove(&id).ok_or(KafkaError::FetchSessionIdNotFound)
    }

    /// A new session, or one of id 0, which is none, when there is no room.
    fn open(&mut self, node: i32) -> Session {
        if self.by_id.len() >= MAX_SESSIONS {
            let oldest = self.by_id.values().min_by_key(|session| session.last_used);
            match oldest.filter(|session| session.last_used.elapsed() >= SAFE).map(|session| session.id) {
                Some(id) => self.by_id.remove(&id),
                None => return Session::new(node, 0),
            };
        }
        // Ids are not used again soon: an id that is still meant by an old client must not name another's session.
        self.last_id = if self.last_id == i32::MAX { 1 } else { self.last_id + 1 };
        Session::new(node, self.last_id)
    }
}

impl Session {
    fn new(node: i32, id: i32) -> Self {
        Self {
            id,
            node,
            epoch: FIRST,
            with_ids: false,
            turns: BTreeMap::new(),
            places: HashMap::new(),
            next_turn: 0,
            last_used: Instant::now(),
        }
    }

    /// Whether the answer may leave out partitions that have nothing new.
    pub(super) fn is_incremental(&self) -> bool {
        self.id != 0 && self.epoch != FIRST
    }

    /// The partitions in the order of their turns.
    pub(super) fn wanted(&self) -> impl Iterator<Item = &Wanted> {
        self.turns.values()
    }

    /// Notes what the consumer is told of the partition whose turn it was, and whether that was records.
    pub(super) fn tell(&mut self, topic: &TopicKey, index: i32, told: (i64, i64), served: bool) {
        let Some(turn) = self.places.get_mut(&(topic.clone(), index)) else { return };
        let Some(mut wanted) = self.turns.remove(turn) else { return };
        wanted.told = Some(told);
        if served {
            *turn = self.next_turn;
            self.next_turn += 1;
        }
        self.turns.insert(*turn, wanted);
    }

    fn change(&mut self, request: &mut FetchRequest) {
        let with_ids = self.with_ids;
        let key =
            |name: &mut String, id| if with_ids { TopicKey::Id(id) } else { TopicKey::Name(std::mem::take(name)) };
        for forgotten in &mut request.forgotten_topics_data {
            let topic = key(&mut forgotten.topic, forgotten.topic_id);
            for index in &forgotten.partitions {
                let place = self.places.remove(&(topic.clone(), *index));
                place.and_then(|turn| self.turns.remove(&turn));
            }
        }
        for wanted in &mut request.topics {
            let topic = key(&mut wanted.topic, wanted.topic_id);
            for partition in wanted.partitions.drain(..) {
                self.want(topic.clone(), partition);
            }
        }
    }

    fn want(&mut self, topic: TopicKey, partition: FetchPartition) {
        let next = self.next_turn;
        let turn = *self.places.entry((topic.clone(), partition.partition)).or_insert(next);
        self.next_turn = next.max(turn + 1);
        let told = self.turns.get(&turn).and_then(|known| known.told);
        self.turns.insert(turn, Wanted { topic, partition, told });
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::message::{FetchTopic, ForgottenTopic};

    fn request(id: i32, epoch: i32, partitions: &[(i32, i64)]) -> FetchRequest {
        let partitions = partitions.iter().map(|(partition, fetch_offset)| FetchPartition {
            partition: *partition,
            fetch_offset: *fetch_offset,
            ..Default::default()
        });
        let topics = vec![FetchTopic { topic: "t".into(), partitions: partitions.collect(), ..Default::default() }];
        FetchRequest { session_id: id, session_epoch: epoch, topics, ..Default::default() }
    }

    fn asks(session: &Session) -> Vec<(i32, i64)> {
        session.wanted().map(|wanted| (wanted.partition.partition, wanted.partition.fetch_offset)).collect()
    }

    #[tokio::test]
    async fn a_session_remembers_its_partitions_and_takes_changes() {
        let mut sessions = Sessions::default();
        let first = sessions.take(1, &mut request(0, 0, &[(0, 5), (1, 5), (2, 5)]), 12).unwrap();
        assert!(!first.is_incremental());
        let id = first.id;
        sessions.put_back(first);
        let mut next = request(id, 1, &[(1, 9)]);
        next.forgotten_topics_data =
            vec![ForgottenTopic { topic: "t".into(), partitions: vec![0], ..Default::default() }];
        let second = sessions.take(1, &mut next, 12).unwrap();
        assert!(second.is_incremental());
        assert_eq!(asks(&second), [(1, 9), (2, 5)]);
    }

    #[tokio::test]
    async fn a_wrong_number_an_unknown_session_and_a_changed_naming_are_refused() {
        let mut sessions = Sessions::default();
        let session = sessions.take(1, &mut request(0, 0, &[(0, 0)]), 12).unwrap();
        let id = session.id;
        sessions.put_back(session);
        let mut take =
            |epoch, version| sessions.take(1, &mut request(id, epoch, &[]), version).map(|session| session.id);
        assert_eq!(take(2, 12), Err(KafkaError::InvalidFetchSessionEpoch));
        assert_eq!(take(1, 13), Err(KafkaError::FetchSessionTopicIdError));
        assert_eq!(take(1, 12), Ok(id));
        assert_eq!(take(1, 12), Err(KafkaError::FetchSessionIdNotFound), "it is being served");
    }

    #[tokio::test]
    async fn a_session_belongs_to_its_node_and_ends_with_it() {
        let mut sessions = Sessions::default();
        let session = sessions.take(1, &mut request(0, 0, &[(0, 0)]), 12).unwrap();
        let id = session.id;
        sessions.put_back(session);
        sessions.clear_node(2);
        let mut take = |node| sessions.take(node, &mut request(id, 1, &[]), 12).map(|session| session.id);
        assert_eq!(take(2), Err(KafkaError::FetchSessionIdNotFound));
        assert_eq!(take(1), Ok(id));
        sessions.clear_node(1);
        assert!(sessions.by_id.is_empty());
    }

    #[tokio::test]
    async fn asking_anew_or_for_none_ends_the_old_session() {
        let mut sessions = Sessions::default();
        for epoch in [FIRST, NONE] {
            let old = sessions.take(1, &mut request(0, FIRST, &[(0, 0)]), 12).unwrap();
            let id = old.id;
            sessions.put_back(old);
            let new = sessions.take(1, &mut request(id, epoch, &[(0, 0)]), 12).unwrap();
            assert_ne!(new.id, id);
            assert_eq!(new.id == 0, epoch == NONE);
            assert!(sessions.by_id.is_empty());
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_full_cache_gives_up_only_a_session_that_was_idle_for_long() {
        let mut sessions = Sessions::default();
        let mut open = || {
            let session = sessions.take(1, &mut request(0, 0, &[]), 12).unwrap();
            let id = session.id;
            sessions.put_back(session);
            id
        };
        for _ in 0..MAX_SESSIONS {
            assert_ne!(open(), 0);
        }
        assert_eq!(open(), 0);
        tokio::time::advance(SAFE).await;
        assert_ne!(open(), 0);
    }

    #[tokio::test]
    async fn a_partition_that_was_served_goes_to_the_end_of_the_order() {
        let mut sessions = Sessions::default();
        let mut session = sessions.take(1, &mut request(0, 0, &[(0, 0), (1, 0), (2, 0)]), 12).unwrap();
        session.tell(&TopicKey::Name("t".into()), 0, (1, 0), true);
        session.tell(&TopicKey::Name("t".into()), 1, (1, 0), false);
        assert_eq!(asks(&session), [(1, 0), (2, 0), (0, 0)]);
    }
}
