//! SaslAuthenticate: carries one step of a login.

use std::fmt;

use bytes::Bytes;

use super::{ApiKey, CodecError, Decode, Encode, Reader, Request, Shape, VersionRange, Writer};
use crate::wire::codec::messages;

impl Request for SaslAuthenticateRequest {
    const API: ApiKey = ApiKey::SaslAuthenticate;
    const VERSIONS: VersionRange = VersionRange::new(0, 2);
    const CLIENT_VERSIONS: VersionRange = VersionRange::new(0, 2);
    const FLEXIBLE_FROM: i16 = 2;
    type Response = SaslAuthenticateResponse;
}

messages! {
    /// Brings the client's bytes of one step.
    pub struct SaslAuthenticateRequest {
        /// The bytes, in the mechanism's form.
        auth_bytes: AuthBytes;
    }

    /// Answers a [`SaslAuthenticateRequest`].
    pub struct SaslAuthenticateResponse {
        /// Why the login failed, or 0.
        error_code: i16;
        /// Why the login failed, for people.
        error_message: Option<String> = Some(String::new());
        /// The broker's bytes, in the mechanism's form.
        auth_bytes: AuthBytes;
        /// After how many milliseconds the login must be repeated on this connection (KIP-368); 0 is never.
        session_lifetime_ms: i64, ignorable since 1;
    }
}

/// The bytes of a step, which may hold a password: `Debug` tells their number only.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct AuthBytes(Bytes);

impl AuthBytes {
    /// The bytes.
    #[must_use]
    pub fn reveal(&self) -> &Bytes {
        &self.0
    }
}

impl<B: Into<Bytes>> From<B> for AuthBytes {
    fn from(bytes: B) -> Self {
        Self(bytes.into())
    }
}

impl fmt::Debug for AuthBytes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "AuthBytes({} bytes)", self.0.len())
    }
}

impl Encode for AuthBytes {
    fn encode(&self, out: &mut Writer<'_>) -> Result<(), CodecError> {
        self.0.encode(out)
    }
}

impl Decode for AuthBytes {
    fn decode(input: &mut Reader) -> Result<Self, CodecError> {
        Bytes::decode(input).map(Self)
    }

    fn least_size(shape: Shape) -> usize {
        Bytes::least_size(shape)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::codec::sample::{Draw, Sample};

    impl Sample for AuthBytes {
        fn sample(draw: &mut Draw<'_>, shape: Shape) -> Self {
            Self(Bytes::sample(draw, shape))
        }
    }

    #[test]
    fn a_password_is_not_printed() {
        let request = SaslAuthenticateRequest { auth_bytes: AuthBytes::from("\0shop\0secret") };
        assert_eq!(format!("{request:?}"), "SaslAuthenticateRequest { auth_bytes: AuthBytes(12 bytes) }");
    }
}
