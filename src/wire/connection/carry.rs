//! Our messages in the form in which rskafka's messenger carries them.
//!
//! The messenger frames, numbers and matches requests; what a request or an answer says is ours, so that record batches
//! are read without a copy and every length is bounded.

use std::io::Cursor;
use std::marker::PhantomData;

use bytes::Bytes;
use rskafka::protocol::api_key::ApiKey as CarriedKey;
use rskafka::protocol::api_version::{ApiVersion, ApiVersionRange};
use rskafka::protocol::messages::{
    ReadVersionedError, ReadVersionedType, RequestBody, WriteVersionedError, WriteVersionedType,
};
use rskafka::protocol::primitives::Int16;
use rskafka::protocol::traits::WriteError;

use crate::wire::message::{ApiKey, Request, VersionRange, encode_body};

/// The key under which the messenger looks a range up. It treats keys it has no name for like the others, so that one
/// form serves all, those that are newer than it (68, for example) included.
pub(super) const fn carried_key(api: i16) -> CarriedKey {
    CarriedKey::Unknown(Int16(api))
}

pub(super) const fn carried_range(range: VersionRange) -> ApiVersionRange {
    ApiVersionRange::new(ApiVersion(Int16(range.min)), ApiVersion(Int16(range.max)))
}

/// A request on its way.
pub(super) struct Carried<R>(pub(super) R);

/// An answer's body, not decoded yet, in the version of its request.
pub(super) struct RawAnswer<R> {
    pub(super) version: i16,
    pub(super) body: Bytes,
    request: PhantomData<fn() -> R>,
}

impl<R: Request> RequestBody for Carried<R> {
    type ResponseBody = RawAnswer<R>;
    const API_KEY: CarriedKey = carried_key(R::API.as_i16());
    const API_VERSION_RANGE: ApiVersionRange = carried_range(R::CLIENT_VERSIONS);
    const FIRST_TAGGED_FIELD_IN_REQUEST_VERSION: ApiVersion = ApiVersion(Int16(R::FLEXIBLE_FROM));
    // An ApiVersions answer has the plain header in every version: the client cannot know yet what the broker speaks.
    const FIRST_TAGGED_FIELD_IN_RESPONSE_VERSION: ApiVersion =
        ApiVersion(Int16(if matches!(R::API, ApiKey::ApiVersions) { i16::MAX } else { R::FLEXIBLE_FROM }));
}

impl<R: Request> WriteVersionedType<Vec<u8>> for Carried<R> {
    fn write_versioned(&self, out: &mut Vec<u8>, version: ApiVersion) -> Result<(), WriteVersionedError> {
        encode_body(&self.0, version.0.0, R::FLEXIBLE_FROM, out)
            .map_err(|error| WriteVersionedError::WriteError(WriteError::Malformed(Box::new(error))))
    }
}

impl<R> ReadVersionedType<Cursor<Vec<u8>>> for RawAnswer<R> {
    fn read_versioned(frame: &mut Cursor<Vec<u8>>, version: ApiVersion) -> Result<Self, ReadVersionedError> {
        let start = usize::try_from(frame.position()).unwrap_or(usize::MAX);
        // The frame is taken, not copied; the messenger then finds an empty one that was read to its end.
        let mut body = Bytes::from(std::mem::take(frame.get_mut()));
        frame.set_position(0);
        let body = body.split_off(start.min(body.len()));
        Ok(Self { version: version.0.0, body, request: PhantomData })
    }
}
