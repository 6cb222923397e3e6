//! What members of a classic group tell each other in bytes that the broker does not read.
//!
//! A member says in JoinGroup what it subscribes to and what it owns; the leader says in SyncGroup what each member gets.
//! Both are `i16 version` with a body in the classic forms, and the broker passes them on unread, so that what arrives is
//! as good as the other members' programs: Java, librdkafka, franz-go and kafka-python each write it in their own way.
//!
//! ```text
//!  Subscription --encode_for--> JoinGroup  --broker--> the leader: Subscription::decode --> assignor::plan
//!  partitions  <--decode_assignment-- SyncGroup <--broker-- encode_assignment <------------------'
//! ```
//!
//! | reading | becomes |
//! |---|---|
//! | a version after 3, or bytes behind the last field | what version 3 says; the rest is ignored |
//! | bytes that end before fields of a later version | the earlier version, as old clients mean it |
//! | user data null, empty or of any other shape | nothing, but for the generation that Java before 3.2 wrote there |
//! | the same partition twice, a partition below 0 | one, none |
//! | an empty assignment, of no bytes at all | no partitions |

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use bytes::Bytes;
use serde::{Deserialize, Serialize};

use self::form::{AssignmentForm, SubscriptionForm, TopicForm};
use super::assignor::Assignor;
use crate::error::{Error, ErrorCode, Result};
use crate::gather::Gather;
use crate::place::TopicPartition;
use crate::wire::codec::{CodecError, Decode, Encode, Reader, Shape, Writer};

/// The latest version whose fields are known (`ConsumerProtocolSubscription`, Apache Kafka 3.5 to 4.3).
const LATEST: i16 = 3;

/// What eager members write: owned partitions, always none, and no generation. It says the same at every join, so that a
/// rejoin does not look like a change of mind (KAFKA-12898).
const EAGER: i16 = 1;

/// The version that every client reads.
const ASSIGNMENT: i16 = 0;

mod form {
    #![expect(unreachable_pub, reason = "the language of messages declares public structures")]

    use bytes::Bytes;

    use crate::wire::codec::messages;

    messages! {
        /// `ConsumerProtocolSubscription`.
        pub struct SubscriptionForm {
            /// The names that the member wants.
            topics: Vec<String>;
            /// What the member's assignor adds; every client has its own.
            user_data: Option<Bytes>;
            /// What the member owned when it joined.
            owned: Vec<TopicForm>, ignorable since 1;
            /// The generation in which it owned that; -1 is unknown.
            generation: i32 = -1, ignorable since 2;
            /// The member's rack.
            rack: Option<String> = None, ignorable since 3;
        }

        /// The partitions of one topic.
        pub struct TopicForm {
            /// The topic's name.
            topic: String;
            /// The partitions' numbers.
            partitions: Vec<i32>;
        }

        /// `ConsumerProtocolAssignment`.
        pub struct AssignmentForm {
            /// What the member gets.
            topics: Vec<TopicForm>;
            /// What the leader's assignor adds.
            user_data: Option<Bytes>;
        }
    }
}

/// What a member of a classic group subscribes to, with what it owned when it joined.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Subscription {
    /// The topics, by name.
    pub(crate) topics: BTreeSet<Arc<str>>,
    /// What the member owned when it joined: nothing when it is eager.
    pub(crate) owned: BTreeSet<TopicPartition>,
    /// The generation in which it owned that; `None` if the member does not say.
    pub(crate) generation: Option<i32>,
    /// The member's rack.
    pub(crate) rack: Option<Arc<str>>,
}

impl Subscription {
    /// A subscription of a member that owns nothing.
    pub(crate) fn to<T: Into<Arc<str>>>(topics: impl IntoIterator<Item = T>) -> Self {
        Self { topics: topics.into_iter().map(Into::into).gather(), ..Self::default() }
    }

    /// Says what the member owns, and since which generation.
    #[must_use]
    pub(crate) fn owning(self, owned: BTreeSet<TopicPartition>, generation: Option<i32>) -> Self {
        Self { owned, generation, ..self }
    }

    /// The metadata that goes with `assignor` in JoinGroup: version 3 for cooperative members, version 1 for eager ones,
    /// who own nothing when they join. Equal subscriptions give equal bytes.
    ///
    /// # Errors
    /// [`ErrorCode::Protocol`] when a name or a list is longer than its length prefix can say.
    pub(crate) fn encode_for(&self, assignor: Assignor) -> Result<Bytes> {
        let version = if assignor.is_cooperative() { LATEST } else { EAGER };
        let owned = if assignor.is_cooperative() { by_topic(&self.owned) } else { Vec::new() };
        let form = SubscriptionForm {
            topics: self.topics.iter().map(|topic| topic.to_string()).collect(),
            user_data: Some(Bytes::new()),
            owned,
            generation: self.generation.unwrap_or(-1),
            rack: self.rack.as_deref().map(str::to_owned),
        };
        Ok(write(&form, version)?)
    }

    /// Reads another member's metadata.
    ///
    /// # Errors
    /// [`ErrorCode::Protocol`] when the bytes end within a field, a count is beyond them, or the version is below 0.
    pub(crate) fn decode(bytes: &Bytes) -> Result<Self> {
        let (version, body) = split(bytes)?;
        let known = version.min(LATEST);
        let (known, form) = match read::<SubscriptionForm>(&body, known) {
            Ok((form, _)) => (known, form),
            Err(error) => ended_earlier(&body, known).ok_or(error)?,
        };
        let told = if known >= 2 { Some(form.generation).filter(|told| *told >= 0) } else { java_generation(&form) };
        Ok(Self {
            topics: form.topics.into_iter().map(Arc::from).gather(),
            owned: flatten(form.owned),
            generation: told,
            rack: form.rack.filter(|rack| !rack.is_empty()).map(Arc::from),
        })
    }
}

/// What the leader hands to one member in SyncGroup, the empty assignment included: Java refuses fewer than two bytes.
///
/// # Errors
/// [`ErrorCode::Protocol`] when a name or a list is longer than its length prefix can say.
pub(crate) fn encode_assignment(partitions: &BTreeSet<TopicPartition>) -> Result<Bytes> {
    let form = AssignmentForm { topics: by_topic(partitions), user_data: Some(Bytes::new()) };
    Ok(write(&form, ASSIGNMENT)?)
}

/// Reads what the leader gave to this member. No bytes at all are no partitions.
///
/// # Errors
/// [`ErrorCode::Protocol`] as for [`Subscription::decode`].
pub(crate) fn decode_assignment(bytes: &Bytes) -> Result<BTreeSet<TopicPartition>> {
    if bytes.is_empty() {
        return Ok(BTreeSet::new());
    }
    // All versions so far have the same body.
    let (_, body) = split(bytes)?;
    let (form, _) = read::<AssignmentForm>(&body, ASSIGNMENT)?;
    Ok(flatten(form.topics))
}

const fn shape(version: i16) -> Shape {
    Shape { version, flexible: false }
}

fn write<M: Encode>(form: &M, version: i16) -> Result<Bytes, CodecError> {
    let mut out = version.to_be_bytes().to_vec();
    form.encode(&mut Writer::new(&mut out, shape(version)))?;
    Ok(out.into())
}

/// The version, apart from the body.
fn split(bytes: &Bytes) -> Result<(i16, Bytes)> {
    let mut input = Reader::new(bytes.clone(), shape(0));
    let version = i16::from_be_bytes(input.array()?);
    if version < 0 {
        let sentence = format!("a member's metadata has version {version}");
        return Err(Error::new(ErrorCode::Protocol, sentence));
    }
    Ok((version, input.rest()))
}

/// Reads a body in one version, with how many bytes remain behind it.
fn read<M: Decode>(body: &Bytes, version: i16) -> Result<(M, usize), CodecError> {
    let mut input = Reader::new(body.clone(), shape(version));
    let form = M::decode(&mut input)?;
    Ok((form, input.remaining()))
}

/// Reads a body that ends exactly where that of an earlier version does: old Sarama says 1 and writes no owned partitions.
fn ended_earlier(body: &Bytes, version: i16) -> Option<(i16, SubscriptionForm)> {
    (0..version).rev().find_map(|earlier| match read(body, earlier) {
        Ok((form, 0)) => Some((earlier, form)),
        _ => None,
    })
}

/// The generation that Java clients before version 2 of the subscription kept in four bytes of user data. franz-go's empty
/// list of topics is four bytes too, of zeros; no generation is 0.
fn java_generation(form: &SubscriptionForm) -> Option<i32> {
    let bytes = <[u8; 4]>::try_from(form.user_data.as_deref()?).ok()?;
    Some(i32::from_be_bytes(bytes)).filter(|generation| *generation > 0)
}

fn by_topic(partitions: &BTreeSet<TopicPartition>) -> Vec<TopicForm> {
    let mut topics = BTreeMap::<&str, Vec<i32>>::new();
    for at in partitions {
        topics.entry(&at.topic).or_default().push(at.partition);
    }
    topics.into_iter().map(|(topic, partitions)| TopicForm { topic: topic.to_owned(), partitions }).collect()
}

fn flatten(topics: Vec<TopicForm>) -> BTreeSet<TopicPartition> {
    let of_topic = |form: TopicForm| {
        let topic: Arc<str> = form.topic.into();
        let real = form.partitions.into_iter().filter(|partition| *partition >= 0);
        real.map(move |partition| TopicPartition::new(topic.clone(), partition))
    };
    topics.into_iter().flat_map(of_topic).gather()
}

#[cfg(test)]
mod tests;
