//! The requests of a member beside their answers, in a form that can be recorded.
//!
//! They are the wire's own messages. A recording keeps each as its bytes, in hexadecimal, in a version that is fixed
//! here, which the protocol itself keeps readable.

use serde::{Deserialize, Serialize};

use crate::wire::message::{
    ConsumerGroupHeartbeatRequest, ConsumerGroupHeartbeatResponse, Decode, Encode, HeartbeatRequest, HeartbeatResponse,
    JoinGroupRequest, JoinGroupResponse, LeaveGroupRequest, LeaveGroupResponse, SyncGroupRequest, SyncGroupResponse,
};

/// A request to the coordinator.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) enum Call {
    /// KIP-848: joins, keeps and leaves.
    ConsumerHeartbeat(#[serde(with = "recorded")] ConsumerGroupHeartbeatRequest),
    /// Enters the next generation.
    Join(#[serde(with = "recorded")] JoinGroupRequest),
    /// Fetches the assignment, or brings everyone's.
    Sync(#[serde(with = "recorded")] SyncGroupRequest),
    /// Shows that the member is alive.
    Heartbeat(#[serde(with = "recorded")] HeartbeatRequest),
    /// Leaves.
    Leave(#[serde(with = "recorded")] LeaveGroupRequest),
}

/// The answer to a [`Call`].
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) enum Answer {
    /// To [`Call::ConsumerHeartbeat`].
    ConsumerHeartbeat(#[serde(with = "recorded")] ConsumerGroupHeartbeatResponse),
    /// To [`Call::Join`].
    Join(#[serde(with = "recorded")] JoinGroupResponse),
    /// To [`Call::Sync`].
    Sync(#[serde(with = "recorded")] SyncGroupResponse),
    /// To [`Call::Heartbeat`].
    Heartbeat(#[serde(with = "recorded")] HeartbeatResponse),
    /// To [`Call::Leave`].
    Leave(#[serde(with = "recorded")] LeaveGroupResponse),
}

/// A message with the version of its recording.
pub(super) trait Recorded: Encode + Decode {
    /// The version in which it is recorded.
    const VERSION: i16;
    /// The first flexible version.
    const FLEXIBLE_FROM: i16;
}

macro_rules! recorded_in {
    ($($version:literal, flexible from $flexible:literal: $request:ty, $response:ty;)*) => {$(
        impl Recorded for $request {
            const VERSION: i16 = $version;
            const FLEXIBLE_FROM: i16 = $flexible;
        }
        impl Recorded for $response {
            const VERSION: i16 = $version;
            const FLEXIBLE_FROM: i16 = $flexible;
        }
    )*};
}

recorded_in! {
    1, flexible from 0: ConsumerGroupHeartbeatRequest, ConsumerGroupHeartbeatResponse;
    9, flexible from 6: JoinGroupRequest, JoinGroupResponse;
    5, flexible from 4: SyncGroupRequest, SyncGroupResponse;
    4, flexible from 4: HeartbeatRequest, HeartbeatResponse;
    5, flexible from 4: LeaveGroupRequest, LeaveGroupResponse;
}

/// A message as hexadecimal text.
mod recorded {
    use serde::de::Error as _;
    use serde::ser::Error as _;
    use serde::{Deserialize, Deserializer, Serializer};

    use super::{Recorded, hexadecimal};
    use crate::wire::message::{decode_body, encode_body};

    pub(super) fn serialize<M: Recorded, S: Serializer>(message: &M, serializer: S) -> Result<S::Ok, S::Error> {
        let mut body = Vec::new();
        encode_body(message, M::VERSION, M::FLEXIBLE_FROM, &mut body).map_err(S::Error::custom)?;
        serializer.serialize_str(&hexadecimal::of(&body))
    }

    pub(super) fn deserialize<'de, M: Recorded, D: Deserializer<'de>>(deserializer: D) -> Result<M, D::Error> {
        let text = String::deserialize(deserializer)?;
        let body = hexadecimal::read(&text).ok_or_else(|| D::Error::custom("a message is not hexadecimal"))?;
        decode_body(body.into(), M::VERSION, M::FLEXIBLE_FROM).map_err(D::Error::custom)
    }
}

/// Bytes as text.
pub(super) mod hexadecimal {
    /// Two digits for each byte.
    pub(in super::super) fn of(bytes: &[u8]) -> String {
        let digit = |nibble: u8| char::from_digit(u32::from(nibble), 16).unwrap_or('?');
        bytes.iter().flat_map(|byte| [digit(byte >> 4), digit(byte & 15)]).collect()
    }

    /// The bytes of [`of`]; `None` for any other text.
    pub(in super::super) fn read(text: &str) -> Option<Vec<u8>> {
        let (pairs, rest) = text.as_bytes().as_chunks::<2>();
        let nibble = |digit: u8| char::from(digit).to_digit(16).and_then(|nibble| u8::try_from(nibble).ok());
        let bytes = pairs.iter().map(|[high, low]| Some(nibble(*high)? << 4 | nibble(*low)?)).collect::<Option<_>>()?;
        rest.is_empty().then_some(bytes)
    }
}

/// Named blobs of the leader's planning, their bytes as hexadecimal text.
pub(super) mod blobs {
    use bytes::Bytes;
    use serde::de::Error as _;
    use serde::{Deserialize, Deserializer, Serialize, Serializer};

    use super::hexadecimal;

    /// A blob beside its name, which is a member's id, or its id with its lasting name.
    type Blob<N> = (N, String);

    /// What a name and a blob are made into, and made from.
    pub(in super::super) trait Named: Sized {
        /// The name.
        type Name: Serialize + for<'de> Deserialize<'de>;
        /// Takes it apart.
        fn apart(&self) -> (&Self::Name, &Bytes);
        /// Puts it together.
        fn together(name: Self::Name, bytes: Bytes) -> Self;
    }

    impl<N: Serialize + for<'de> Deserialize<'de>> Named for (N, Bytes) {
        type Name = N;

        fn apart(&self) -> (&N, &Bytes) {
            (&self.0, &self.1)
        }

        fn together(name: N, bytes: Bytes) -> Self {
            (name, bytes)
        }
    }

    pub(in super::super) fn serialize<B: Named, S: Serializer>(blobs: &[B], serializer: S) -> Result<S::Ok, S::Error> {
        let named = blobs.iter().map(Named::apart).map(|(name, bytes)| (name, hexadecimal::of(bytes)));
        serializer.collect_seq(named)
    }

    pub(in super::super) fn deserialize<'de, B: Named, D: Deserializer<'de>>(
        deserializer: D,
    ) -> Result<Vec<B>, D::Error> {
        let read = |(name, text): Blob<B::Name>| hexadecimal::read(&text).map(|bytes| B::together(name, bytes.into()));
        let blobs = Vec::<Blob<B::Name>>::deserialize(deserializer)?;
        blobs.into_iter().map(read).collect::<Option<_>>().ok_or_else(|| D::Error::custom("a blob is not hexadecimal"))
    }
}
