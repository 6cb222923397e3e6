//! SaslHandshake: chooses the way to log in.

use super::{ApiKey, Request, VersionRange};
use crate::wire::codec::messages;

impl Request for SaslHandshakeRequest {
    const API: ApiKey = ApiKey::SaslHandshake;
    const VERSIONS: VersionRange = VersionRange::new(0, 1);
    // After version 0 the login's own bytes would follow without a frame of the protocol.
    const CLIENT_VERSIONS: VersionRange = VersionRange::new(1, 1);
    const FLEXIBLE_FROM: i16 = i16::MAX;
    type Response = SaslHandshakeResponse;
}

messages! {
    /// Asks to log in by one mechanism.
    pub struct SaslHandshakeRequest {
        /// The mechanism's name: `PLAIN`, `SCRAM-SHA-256`, ...
        mechanism: String;
    }

    /// Answers a [`SaslHandshakeRequest`].
    pub struct SaslHandshakeResponse {
        /// Why the mechanism cannot be used, or 0.
        error_code: i16;
        /// The mechanisms that the broker knows.
        mechanisms: Vec<String>;
    }
}
