//! Sources: the short name of where numbered orders come from.
//!
//! A file's source is its content's digest, so that a second run over the same file gives the same identities; a run of
//! a producer, or a stream without an end, has a source of its own.

use std::fmt;
use std::num::NonZeroU8;
use std::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize, Serializer, de};
use sha2::{Digest, Sha256};

use super::{Violation, ViolationCode};

/// The most characters of a source: 128 bits in base64url without padding.
pub const SOURCE_MAX: usize = 22;

const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
/// Separates the hash of a name from every other use of SHA-256.
const NAME_DOMAIN: &[u8] = b"orderflow source name v1\0";

/// Where numbered orders come from: 1 to 22 characters of `A-Z a-z 0-9 - _`.
///
/// ```
/// use orderflow::order::Source;
/// let file = Source::of_digest([7; 32]);
/// assert_eq!(file.as_str(), "BwcHBwcHBwcHBwcHBwcHBw");
/// assert_eq!(Source::named("monday", Some(&file)), Source::named("monday", Some(&file)));
/// assert_ne!(Source::named("monday", Some(&file)), Source::named("monday", None));
/// ```
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Source {
    /// The characters, then zeros, so that the derived order is the order of the text.
    text: [u8; SOURCE_MAX],
    len: NonZeroU8,
}

impl Source {
    /// The source of a file's content: the first 128 bits of its SHA-256 digest.
    #[must_use]
    pub fn of_digest(digest: [u8; 32]) -> Self {
        let (first, _) = digest.split_first_chunk::<16>().unwrap_or((&[0; 16], &[]));
        Self::from_entropy(*first)
    }

    /// The source of a name that somebody gave, joined with the file's own source where there is a file.
    ///
    /// The name is hashed, so that no name can be taken for another kind of source.
    #[must_use]
    pub fn named(name: &str, file: Option<&Self>) -> Self {
        let mut hash = Sha256::new();
        hash.update(NAME_DOMAIN);
        hash.update((name.len() as u64).to_be_bytes());
        hash.update(name.as_bytes());
        hash.update(file.map_or(&b""[..], |file| file.as_str().as_bytes()));
        Self::of_digest(hash.finalize().into())
    }

    /// The source made of 128 bits of chance.
    #[must_use]
    pub fn from_entropy(bits: [u8; 16]) -> Self {
        let mut text = [0; SOURCE_MAX];
        let value = u128::from_be_bytes(bits);
        for (place, character) in text.iter_mut().enumerate() {
            // The last of the 22 characters holds the 2 bits that remain, padded on the right as base64 does.
            let sextet = match 122_usize.checked_sub(place * 6) {
                Some(shift) => value >> shift,
                None => value << 4,
            };
            *character = ALPHABET.get((sextet & 63) as usize).copied().unwrap_or(b'A');
        }
        Self { text, len: NonZeroU8::MIN.saturating_add(SOURCE_MAX as u8 - 1) }
    }

    /// A new source of the system's chance, for one run of a producer.
    ///
    /// # Errors
    /// The system gave no entropy.
    pub fn random() -> crate::Result<Self> {
        let mut bits = [0; 16];
        getrandom::fill(&mut bits).map_err(|error| {
            crate::Error::new(crate::ErrorCode::Internal, "the system gave no entropy").caused_by(error)
        })?;
        Ok(Self::from_entropy(bits))
    }

    /// The characters.
    #[must_use]
    pub fn as_str(&self) -> &str {
        std::str::from_utf8(self.as_bytes()).unwrap_or_default()
    }

    /// The source whose characters stand half the alphabet further: another one, which turned again is this one.
    pub(crate) fn turned(&self) -> Self {
        let mut turned = *self;
        for character in turned.text.iter_mut().take(usize::from(self.len.get())) {
            let at = ALPHABET.iter().position(|known| known == character).unwrap_or(0);
            *character = ALPHABET.get((at + ALPHABET.len() / 2) % ALPHABET.len()).copied().unwrap_or(*character);
        }
        turned
    }

    #[inline]
    pub(super) fn as_bytes(&self) -> &[u8] {
        self.text.get(..usize::from(self.len.get())).unwrap_or(&self.text)
    }

    pub(super) fn from_bytes(bytes: &[u8]) -> Option<Self> {
        let len = NonZeroU8::new(u8::try_from(bytes.len()).ok()?)?;
        let mut text = [0; SOURCE_MAX];
        text.get_mut(..bytes.len())?.copy_from_slice(bytes);
        let allowed = |byte: &u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_');
        bytes.iter().all(allowed).then_some(Self { text, len })
    }
}

impl FromStr for Source {
    type Err = Violation;

    /// Reads what [`Source::as_str`] gave, as from a store. A name that a person gives goes through [`Source::named`].
    fn from_str(text: &str) -> Result<Self, Violation> {
        Self::from_bytes(text.as_bytes()).ok_or_else(|| {
            Violation::new(ViolationCode::Identity, "a source is 1 to 22 characters of A-Z, a-z, 0-9, - and _")
        })
    }
}

impl fmt::Display for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

impl fmt::Debug for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Source({self})")
    }
}

impl Serialize for Source {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.as_str())
    }
}

impl<'de> Deserialize<'de> for Source {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = std::borrow::Cow::<'de, str>::deserialize(deserializer)?;
        text.parse().map_err(de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_source_is_base64url_of_its_128_bits() {
        assert_eq!(Source::from_entropy([0; 16]).as_str(), "A".repeat(22));
        assert_eq!(Source::from_entropy([255; 16]).as_str(), format!("{}w", "_".repeat(21)));
        let counted: [u8; 16] = std::array::from_fn(|i| i as u8);
        assert_eq!(Source::from_entropy(counted).as_str(), "AAECAwQFBgcICQoLDA0ODw");
    }

    #[test]
    fn names_and_files_give_sources_that_never_meet() {
        let file = Source::of_digest([1; 32]);
        let all = [
            file,
            Source::named("", None),
            Source::named("a", None),
            Source::named("a", Some(&file)),
            Source::named(&format!("a{file}"), None),
            Source::named(file.as_str(), None),
        ];
        for (place, one) in all.iter().enumerate() {
            assert!(!all[..place].contains(one), "{one} is there twice");
        }
    }

    #[test]
    fn only_1_to_22_characters_of_the_alphabet_are_a_source() {
        for good in ["a", "A-_9", "abcdefghijklmnopqrstuv"] {
            assert_eq!(good.parse::<Source>().unwrap().as_str(), good);
            let text = serde_json::to_string(&good.parse::<Source>().unwrap()).unwrap();
            assert_eq!(serde_json::from_str::<Source>(&text).unwrap().as_str(), good);
        }
        for bad in ["", "abcdefghijklmnopqrstuvw", "a:b", "a b", "a\u{e9}", "a\0"] {
            assert!(bad.parse::<Source>().is_err(), "{bad:?}");
        }
    }

    #[test]
    fn two_runs_have_two_sources() {
        assert_ne!(Source::random().unwrap(), Source::random().unwrap());
    }
}
