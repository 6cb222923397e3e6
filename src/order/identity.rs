//! Identities: what makes two records the same event, so that it has one effect.
//!
//! Our own form is `of1:<source>:<n>`; every other value of the header is an opaque byte string that is compared whole.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize, Serializer, de};
use sha2::{Digest, Sha256};

use super::source::Source;
use super::{Violation, ViolationCode};

/// The record header that carries the identity.
pub const IDENTITY_HEADER: &str = "idempotency-key";

/// Indexes of our own form are below this: 2^48.
pub const INDEX_LIMIT: u64 = 1 << 48;

/// Opaque identities over this many bytes are kept in a store by their SHA-256.
pub const OPAQUE_WHOLE_MAX: usize = 128;

const PREFIX: &[u8] = b"of1:";
/// Begins the text of an opaque identity that is not plain text.
const HEX_PREFIX: &str = "hex:";

/// What makes two records the same event.
///
/// As text (`Display`, `FromStr`, serde) an opaque identity stands as it is, and as `hex:…` where it is not plain text.
///
/// ```
/// use orderflow::order::{Identity, Source};
/// let source = Source::of_digest([7; 32]);
/// let identity = Identity::numbered(source, 42)?;
/// assert_eq!(identity.to_string(), "of1:BwcHBwcHBwcHBwcHBwcHBw:42");
/// assert_eq!(Identity::from_header(b"of1:BwcHBwcHBwcHBwcHBwcHBw:42")?, identity);
/// assert!(matches!(Identity::from_header(b"checkout:97537")?, Identity::Opaque(_)));
/// assert!(Identity::opaque("of1:mine").is_err());
/// # Ok::<(), orderflow::order::Violation>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Identity {
    /// Our own form: the entry `index` of `source`. Made by [`Identity::numbered`].
    #[non_exhaustive]
    Numbered {
        /// Where the order comes from.
        source: Source,
        /// Which entry of the source it is, from 0, below 2^48.
        index: u64,
    },
    /// Every other value, compared whole. Made by [`Identity::opaque`].
    Opaque(Box<[u8]>),
}

impl Identity {
    /// The entry `index` of `source`.
    ///
    /// # Errors
    /// `ORD-IDENTITY`: the index is not below 2^48.
    pub fn numbered(source: Source, index: u64) -> Result<Self, Violation> {
        if index < INDEX_LIMIT {
            return Ok(Self::Numbered { source, index });
        }
        Err(Violation::new(ViolationCode::Identity, format!("the index {index} is not below 2^48")))
    }

    /// A caller's own identity, such as `checkout:97537`.
    ///
    /// # Errors
    /// `ORD-IDENTITY`: the value is empty, or begins with `of1:` as our own form does.
    pub fn opaque(value: impl AsRef<[u8]>) -> Result<Self, Violation> {
        let value = value.as_ref();
        if value.starts_with(PREFIX) {
            return Err(Violation::new(ViolationCode::Identity, "an identity of your own cannot begin with `of1:`"));
        }
        Self::from_header(value)
    }

    /// The identity that a header's value is.
    ///
    /// # Errors
    /// `ORD-IDENTITY`: the value is empty.
    pub fn from_header(value: &[u8]) -> Result<Self, Violation> {
        IdentityReader::default().of_value(value)
    }

    /// The identity among a record's headers (key and value), if there is one.
    ///
    /// # Errors
    /// `ORD-IDENTITY`: there are two such headers, or the header has no value or an empty one.
    pub fn from_headers<'a>(
        headers: impl IntoIterator<Item = (&'a [u8], Option<&'a [u8]>)>,
    ) -> Result<Option<Self>, Violation> {
        IdentityReader::default().read(headers)
    }

    /// How many bytes [`Identity::write_header`] appends.
    #[must_use]
    pub fn header_len(&self) -> usize {
        match self {
            Self::Numbered { source, index } => {
                PREFIX.len() + source.as_str().len() + 1 + itoa::Buffer::new().format(*index).len()
            }
            Self::Opaque(bytes) => bytes.len(),
        }
    }

    /// Appends the header's value.
    pub fn write_header(&self, out: &mut Vec<u8>) {
        match self {
            Self::Numbered { source, index } => {
                out.extend_from_slice(PREFIX);
                out.extend_from_slice(source.as_str().as_bytes());
                out.push(b':');
                out.extend_from_slice(itoa::Buffer::new().format(*index).as_bytes());
            }
            Self::Opaque(bytes) => out.extend_from_slice(bytes),
        }
    }

    /// Appends a key of bounded length (at most 129 bytes) under which a store keeps the identity.
    ///
    /// The first byte tells a value that stands whole (0) from one that stands by its SHA-256 (1), so that no value can
    /// be taken for another's digest.
    pub fn write_store_key(&self, out: &mut Vec<u8>) {
        match self {
            Self::Opaque(bytes) if bytes.len() > OPAQUE_WHOLE_MAX => {
                out.push(1);
                out.extend_from_slice(&Sha256::digest(bytes));
            }
            Self::Opaque(_) | Self::Numbered { .. } => {
                out.push(0);
                self.write_header(out);
            }
        }
    }
}

/// Reads the identities of records in a row. They usually share a source, which is checked once.
#[derive(Clone, Debug, Default)]
pub(crate) struct IdentityReader {
    last: Option<Source>,
}

impl IdentityReader {
    /// As [`Identity::from_headers`].
    pub(crate) fn read<'a>(
        &mut self,
        headers: impl IntoIterator<Item = (&'a [u8], Option<&'a [u8]>)>,
    ) -> Result<Option<Identity>, Violation> {
        let mut found = None;
        for (key, value) in headers {
            if key != IDENTITY_HEADER.as_bytes() {
                continue;
            }
            if found.replace(self.of_value(value.unwrap_or_default())?).is_some() {
                return Err(Violation::new(ViolationCode::Identity, "the header `idempotency-key` is there twice"));
            }
        }
        Ok(found)
    }

    fn of_value(&mut self, value: &[u8]) -> Result<Identity, Violation> {
        if value.is_empty() {
            return Err(Violation::new(ViolationCode::Identity, "the header `idempotency-key` is empty"));
        }
        Ok(self.numbered_form(value).unwrap_or_else(|| Identity::Opaque(value.into())))
    }

    /// Reads `of1:<source>:<n>`; `None` for everything else, however near it comes.
    fn numbered_form(&mut self, value: &[u8]) -> Option<Identity> {
        let rest = value.strip_prefix(PREFIX)?;
        if let Some(source) = self.last
            && let Some(digits) = rest.strip_prefix(source.as_bytes()).and_then(|rest| rest.strip_prefix(b":"))
        {
            return Some(Identity::Numbered { source, index: canonical_index(digits)? });
        }
        let colon = rest.iter().position(|byte| *byte == b':')?;
        let (source, digits) = (Source::from_bytes(rest.get(..colon)?)?, rest.get(colon + 1..)?);
        self.last = Some(source);
        Some(Identity::Numbered { source, index: canonical_index(digits)? })
    }
}

fn canonical_index(digits: &[u8]) -> Option<u64> {
    // 15 digits hold every index below 2^48, so the sum cannot overflow.
    if digits.is_empty() || digits.len() > 15 || (digits.len() > 1 && digits.first() == Some(&b'0')) {
        return None;
    }
    let mut index = 0_u64;
    for digit in digits {
        if !digit.is_ascii_digit() {
            return None;
        }
        index = index * 10 + u64::from(digit - b'0');
    }
    (index < INDEX_LIMIT).then_some(index)
}

impl fmt::Display for Identity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Numbered { source, index } => write!(f, "of1:{source}:{index}"),
            Self::Opaque(bytes) => match std::str::from_utf8(bytes) {
                Ok(text) if !text.starts_with(HEX_PREFIX) && !text.contains(char::is_control) => f.write_str(text),
                _ => {
                    f.write_str(HEX_PREFIX)?;
                    bytes.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
                }
            },
        }
    }
}

impl FromStr for Identity {
    type Err = Violation;

    /// Reads what `Display` gave.
    fn from_str(text: &str) -> Result<Self, Violation> {
        let Some(digits) = text.strip_prefix(HEX_PREFIX) else { return Self::from_header(text.as_bytes()) };
        let nibble = |digit: &u8| (*digit as char).to_digit(16).and_then(|nibble| u8::try_from(nibble).ok());
        let (pairs, odd) = digits.as_bytes().as_chunks::<2>();
        let bytes =
            pairs.iter().map(|[high, low]| Some(nibble(high)? << 4 | nibble(low)?)).collect::<Option<Vec<u8>>>();
        match bytes {
            Some(bytes) if odd.is_empty() => Self::from_header(&bytes),
            _ => Err(Violation::new(ViolationCode::Identity, "`hex:` is not followed by pairs of hexadecimal digits")),
        }
    }
}

impl Serialize for Identity {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Identity {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = std::borrow::Cow::<'de, str>::deserialize(deserializer)?;
        text.parse().map_err(de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn opaque(bytes: &[u8]) -> Identity {
        Identity::Opaque(bytes.into())
    }

    #[test]
    fn what_is_not_exactly_our_form_is_opaque() {
        for bytes in [
            &b"of1:"[..],
            b"of1::1",
            b"of1:a",
            b"of1:a:",
            b"of1:a:01",
            b"of1:a:-1",
            b"of1:a:+1",
            b"of1:a:1 ",
            b"of1:a:1:2",
            b"of1:a:281474976710656",
            b"of1:a:99999999999999999999999999",
            b"of1:a/b:1",
            b"of1:abcdefghijklmnopqrstuvw:1",
            b"OF1:a:1",
            b"of2:a:1",
            b" of1:a:1",
            b"\xff",
        ] {
            assert_eq!(Identity::from_header(bytes).unwrap(), opaque(bytes));
        }
        let last = Identity::from_header(b"of1:a:281474976710655").unwrap();
        assert_eq!(last, Identity::numbered("a".parse().unwrap(), INDEX_LIMIT - 1).unwrap());
        assert!(Identity::numbered("a".parse().unwrap(), INDEX_LIMIT).is_err());
    }

    #[test]
    fn a_caller_cannot_give_our_form_or_nothing() {
        for bad in ["", "of1:a:1", "of1:", "of1:a:x"] {
            assert_eq!(Identity::opaque(bad).unwrap_err().code(), ViolationCode::Identity, "{bad}");
        }
        assert_eq!(Identity::opaque("checkout:1").unwrap(), opaque(b"checkout:1"));
    }

    #[test]
    fn two_identity_headers_or_an_empty_one_are_a_violation() {
        let key = IDENTITY_HEADER.as_bytes();
        let read = |headers: &[(&'static [u8], Option<&'static [u8]>)]| Identity::from_headers(headers.iter().copied());
        assert_eq!(read(&[(b"a", None), (b"idempotency-keys", Some(b"x"))]).unwrap(), None);
        assert_eq!(read(&[(b"a", None), (key, Some(b"x"))]).unwrap(), Some(opaque(b"x")));
        for bad in [&[(key, Some(&b"x"[..])), (key, Some(b"x"))][..], &[(key, None)], &[(key, Some(b""))]] {
            assert_eq!(read(bad).unwrap_err().code(), ViolationCode::Identity);
        }
    }

    #[test]
    fn a_store_key_is_bounded_and_no_value_has_anothers_digest_as_its_key() {
        let key = |identity: &Identity| {
            let mut key = Vec::new();
            identity.write_store_key(&mut key);
            key
        };
        let long = opaque(&[b'x'; 129]);
        let digest = key(&long);
        assert_eq!(digest.len(), 33);
        assert_eq!(key(&opaque(&[b'x'; 128])).len(), 129);
        assert_ne!(key(&opaque(&digest)), digest);
        assert_ne!(key(&opaque(&digest[1..])), digest);
    }

    #[test]
    fn records_in_a_row_are_read_as_each_alone() {
        let mut reader = IdentityReader::default();
        let values =
            ["of1:abc:1", "of1:abc:2", "of1:abcd:3", "of1:ab:4", "of1:abc", "of1:abc:", "of1:abc:05", "x", "of1:abc:6"];
        for value in values {
            let header = (IDENTITY_HEADER.as_bytes(), Some(value.as_bytes()));
            let alone = Identity::from_header(value.as_bytes()).unwrap();
            assert_eq!(reader.read([header]).unwrap(), Some(alone), "{value}");
        }
    }

    proptest! {
        #[test]
        fn a_header_is_read_as_it_was_written(bytes in proptest::collection::vec(any::<u8>(), 1..40), ours in any::<bool>(),
                                              bits in any::<[u8; 16]>(), index in 0..INDEX_LIMIT) {
            let identity = if ours {
                Identity::numbered(Source::from_entropy(bits), index).unwrap()
            } else {
                Identity::from_header(&bytes).unwrap()
            };
            let mut header = Vec::new();
            identity.write_header(&mut header);
            prop_assert_eq!(header.len(), identity.header_len());
            prop_assert_eq!(&Identity::from_header(&header).unwrap(), &identity);
            let text = serde_json::to_string(&identity).unwrap();
            prop_assert_eq!(serde_json::from_str::<Identity>(&text).unwrap(), identity);
        }
    }
}
