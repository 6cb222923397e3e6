//! What stands before the body of a request or a response.

use bytes::Bytes;

use super::{ApiKey, CodecError, Decode, Encode, Reader, Shape, Writer};

/// What stands before a request's body: version 1, or version 2 (with tagged fields) before a flexible body.
///
/// The two lowest header versions are one here: version 0 belongs to an API that is not spoken.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RequestHeader {
    /// The API's number, which need not be one of [`ApiKey`].
    pub api_key: i16,
    /// The version of the body and of the answer.
    pub api_version: i16,
    /// What the answer repeats.
    pub correlation_id: i32,
    /// The name that the client gives itself.
    pub client_id: Option<String>,
}

impl RequestHeader {
    /// The API, if it is one of ours.
    #[must_use]
    pub fn api(&self) -> Option<ApiKey> {
        ApiKey::from_i16(self.api_key)
    }

    fn is_flexible(&self) -> bool {
        self.api().is_some_and(|api| self.api_version >= api.flexible_from())
    }

    /// Takes the header off the front of a request's frame and gives it with the body.
    ///
    /// Of an API that is none of ours the header's tagged fields, if any, stay with the body: nobody can know whether there are any.
    ///
    /// # Errors
    /// When the frame is no request.
    pub fn decode(frame: Bytes) -> Result<(Self, Bytes), CodecError> {
        // The client id keeps its classic form in every header version.
        let mut input = Reader::new(frame, CLASSIC);
        let header = Self {
            api_key: i16::decode(&mut input)?,
            api_version: i16::decode(&mut input)?,
            correlation_id: i32::decode(&mut input)?,
            client_id: Option::decode(&mut input)?,
        };
        if header.is_flexible() {
            skip_tagged_fields(&mut input)?;
        }
        Ok((header, input.rest()))
    }

    /// Appends the header.
    ///
    /// # Errors
    /// When the client id is longer than 32,767 bytes.
    pub fn encode(&self, out: &mut Vec<u8>) -> Result<(), CodecError> {
        let mut out = Writer::new(out, CLASSIC);
        self.api_key.encode(&mut out)?;
        self.api_version.encode(&mut out)?;
        self.correlation_id.encode(&mut out)?;
        self.client_id.encode(&mut out)?;
        if self.is_flexible() {
            out.uvarint(0);
        }
        Ok(())
    }
}

const CLASSIC: Shape = Shape { version: 0, flexible: false };

/// Appends what stands before a response's body: version 0, or version 1 (with tagged fields) before a flexible body.
pub fn encode_response_header(api: ApiKey, api_version: i16, correlation_id: i32, out: &mut Vec<u8>) {
    out.extend_from_slice(&correlation_id.to_be_bytes());
    if has_tagged_response_header(api, api_version) {
        out.push(0);
    }
}

/// Takes the header off the front of a response's frame and gives the correlation id with the body.
///
/// # Errors
/// When the frame is no response.
pub fn decode_response_header(api: ApiKey, api_version: i16, frame: Bytes) -> Result<(i32, Bytes), CodecError> {
    let mut input = Reader::new(frame, CLASSIC);
    let correlation_id = i32::decode(&mut input)?;
    if has_tagged_response_header(api, api_version) {
        skip_tagged_fields(&mut input)?;
    }
    Ok((correlation_id, input.rest()))
}

/// The answer to ApiVersions never has them: the client may have asked in a version that the broker does not know (KIP-511).
fn has_tagged_response_header(api: ApiKey, api_version: i16) -> bool {
    api != ApiKey::ApiVersions && api_version >= api.flexible_from()
}

fn skip_tagged_fields(input: &mut Reader) -> Result<(), CodecError> {
    input.tagged_fields(|_, _| Ok(false))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn header(api_key: i16, api_version: i16) -> RequestHeader {
        RequestHeader { api_key, api_version, correlation_id: 7, client_id: Some("me".into()) }
    }

    #[test]
    fn a_flexible_request_has_tagged_fields_after_its_classic_client_id() {
        let mut classic = Vec::new();
        header(3, 8).encode(&mut classic).unwrap();
        assert_eq!(classic, b"\0\x03\0\x08\0\0\0\x07\0\x02me");
        let mut flexible = Vec::new();
        header(3, 9).encode(&mut flexible).unwrap();
        assert_eq!(flexible, b"\0\x03\0\x09\0\0\0\x07\0\x02me\0");
        flexible.extend_from_slice(b"body");
        assert_eq!(RequestHeader::decode(flexible.into()), Ok((header(3, 9), Bytes::from_static(b"body"))));
    }

    #[test]
    fn an_unknown_api_keeps_all_after_the_client_id_as_body() {
        let frame = Bytes::from_static(b"\x7f\xff\0\x09\0\0\0\x07\0\x02me\0body");
        assert_eq!(RequestHeader::decode(frame), Ok((header(i16::MAX, 9), Bytes::from_static(b"\0body"))));
    }

    #[test]
    fn a_cut_header_is_an_error() {
        let frame = Bytes::from_static(b"\0\x03\0\x09\0\0\0\x07\0\x02me\0");
        for length in 0..frame.len() {
            assert!(RequestHeader::decode(frame.slice(..length)).is_err(), "{length} bytes");
        }
    }

    #[test]
    fn an_answer_to_api_versions_never_has_tagged_fields_in_its_header() {
        let mut out = Vec::new();
        encode_response_header(ApiKey::ApiVersions, 4, 7, &mut out);
        encode_response_header(ApiKey::Metadata, 9, 8, &mut out);
        encode_response_header(ApiKey::Metadata, 8, 9, &mut out);
        assert_eq!(out, b"\0\0\0\x07\0\0\0\x08\0\0\0\0\x09");
        let frame = Bytes::from_static(b"\0\0\0\x08\x01\x05\x01zbody");
        assert_eq!(decode_response_header(ApiKey::Metadata, 9, frame), Ok((8, Bytes::from_static(b"body"))));
    }
}
