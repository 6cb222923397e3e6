//! A set of 16-bit numbers, kept in the smallest form.
//!
//! In memory a chunk is a short sorted list, or a bitmap of which asking and adding is one machine
//! word. On disk it is a sorted list, runs, or the bitmap, whichever is smallest: a run of a dense
//! source costs 4 bytes, a lone order 2, and a file of which every other entry is ours a bit an entry.

use crate::{Error, ErrorCode, Result};

/// How many numbers a chunk covers.
pub(crate) const CHUNK: u64 = 65_536;

const WORDS: usize = 1024;
const BITMAP_BYTES: usize = WORDS * 8;
/// Above this many numbers the bitmap is used in memory: adding to a list moves what follows.
const LIST_MAX: usize = 256;

const LIST: u8 = 0;
const RUNS: u8 = 1;
const BITMAP: u8 = 2;

/// The numbers of one chunk that are in the set.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Chunk {
    form: Form,
    count: u32,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Form {
    List(Vec<u16>),
    Bitmap(Box<[u64; WORDS]>),
}

impl Chunk {
    pub(crate) const fn new() -> Self {
        Self { form: Form::List(Vec::new()), count: 0 }
    }

    /// Adds a number. Returns whether it was new.
    #[inline]
    pub(crate) fn insert(&mut self, number: u16) -> bool {
        let new = match &mut self.form {
            Form::Bitmap(words) => {
                let bit = 1_u64 << (number & 63);
                let Some(word) = words.get_mut(usize::from(number >> 6)) else { return false };
                let new = *word & bit == 0;
                *word |= bit;
                new
            }
            Form::List(list) => match list.binary_search(&number) {
                Ok(_) => false,
                Err(at) => {
                    list.insert(at, number);
                    true
                }
            },
        };
        self.count += u32::from(new);
        if let Form::List(list) = &self.form
            && list.len() > LIST_MAX
        {
            self.form = Form::Bitmap(bitmap(list));
        }
        new
    }

    pub(crate) fn contains(&self, number: u16) -> bool {
        match &self.form {
            Form::List(list) => list.binary_search(&number).is_ok(),
            Form::Bitmap(words) => {
                words.get(usize::from(number >> 6)).is_some_and(|word| word >> (number & 63) & 1 == 1)
            }
        }
    }

    /// How many numbers are in the set, at most [`CHUNK`].
    pub(crate) fn count(&self) -> u32 {
        self.count
    }

    pub(crate) fn is_full(&self) -> bool {
        u64::from(self.count) == CHUNK
    }

    /// Appends the smallest form.
    pub(crate) fn encode(&self, out: &mut Vec<u8>) {
        let list = self.count as usize * 2;
        let runs = self.count_runs() * 4;
        if list <= runs && list < BITMAP_BYTES {
            out.push(LIST);
            self.numbers().for_each(|number| out.extend_from_slice(&number.to_le_bytes()));
        } else if runs < BITMAP_BYTES {
            out.push(RUNS);
            for (first, last) in self.runs() {
                out.extend_from_slice(&first.to_le_bytes());
                out.extend_from_slice(&last.to_le_bytes());
            }
        } else if let Form::Bitmap(words) = &self.form {
            out.push(BITMAP);
            words.iter().for_each(|word| out.extend_from_slice(&word.to_le_bytes()));
        }
    }

    /// The chunk that [`Chunk::encode`] wrote.
    pub(crate) fn decode(bytes: &[u8]) -> Result<Self> {
        let (form, body) = bytes.split_first().filter(|(_, body)| body.len() <= BITMAP_BYTES).ok_or_else(broken)?;
        let mut chunk = Self::new();
        let (pairs, odd) = body.as_chunks::<2>();
        let mut numbers = pairs.iter().map(|pair| u16::from_le_bytes(*pair));
        match *form {
            LIST if odd.is_empty() => numbers.for_each(|number| {
                chunk.insert(number);
            }),
            RUNS if body.len() % 4 == 0 => {
                while let (Some(first), Some(last)) = (numbers.next(), numbers.next()) {
                    (first..=last).for_each(|number| {
                        chunk.insert(number);
                    });
                }
            }
            BITMAP if body.len() == BITMAP_BYTES => {
                let mut words = Box::new([0; WORDS]);
                for (word, bytes) in words.iter_mut().zip(body.as_chunks::<8>().0) {
                    *word = u64::from_le_bytes(*bytes);
                }
                chunk.count = words.iter().map(|word| word.count_ones()).sum();
                chunk.form = Form::Bitmap(words);
            }
            _ => return Err(broken()),
        }
        Ok(chunk)
    }

    fn count_runs(&self) -> usize {
        let Form::Bitmap(words) = &self.form else { return self.runs().count() };
        let mut before = 0;
        let starts = words.iter().map(|word| {
            let starts = word & !(word << 1 | before);
            before = word >> 63;
            starts.count_ones() as usize
        });
        starts.sum()
    }

    /// The numbers in ascending order.
    fn numbers(&self) -> impl Iterator<Item = u16> + '_ {
        let (list, words) = match &self.form {
            Form::List(list) => (list.as_slice(), &[][..]),
            Form::Bitmap(words) => (&[][..], words.as_slice()),
        };
        let bits = words.iter().zip(0_u16..).flat_map(|(word, at)| {
            let rests = std::iter::successors(Some(*word), |rest| Some(rest & (rest.wrapping_sub(1))));
            rests.take_while(|rest| *rest != 0).map(move |rest| at << 6 | rest.trailing_zeros() as u16)
        });
        list.iter().copied().chain(bits)
    }

    /// The runs, first and last number, in ascending order.
    fn runs(&self) -> impl Iterator<Item = (u16, u16)> + '_ {
        let mut numbers = self.numbers().peekable();
        std::iter::from_fn(move || {
            let first = numbers.next()?;
            let mut last = first;
            while let Some(next) = numbers.next_if(|next| last.checked_add(1) == Some(*next)) {
                last = next;
            }
            Some((first, last))
        })
    }
}

fn bitmap(numbers: &[u16]) -> Box<[u64; WORDS]> {
    let mut words = Box::new([0; WORDS]);
    for number in numbers {
        if let Some(word) = words.get_mut(usize::from(number >> 6)) {
            *word |= 1 << (number & 63);
        }
    }
    words
}

fn broken() -> Error {
    Error::new(ErrorCode::StoreCorrupt, "a chunk of applied identities cannot be read")
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn of(numbers: impl IntoIterator<Item = u16>) -> Chunk {
        let mut chunk = Chunk::new();
        numbers.into_iter().for_each(|number| {
            chunk.insert(number);
        });
        chunk
    }

    fn size(chunk: &Chunk) -> usize {
        let mut out = Vec::new();
        chunk.encode(&mut out);
        let read = Chunk::decode(&out).unwrap();
        assert!(read.numbers().eq(chunk.numbers()) && read.count() == chunk.count());
        out.len()
    }

    #[test]
    fn the_smallest_form_is_chosen() {
        assert_eq!(size(&Chunk::new()), 1);
        assert_eq!(size(&of([7, 65_535])), 1 + 4);
        assert_eq!(size(&of(0..40_000)), 1 + 4);
        assert_eq!(size(&of((0..40_000).step_by(2))), 1 + BITMAP_BYTES);
        let full = of(0..=u16::MAX);
        assert!(full.is_full());
        assert_eq!(size(&full), 1 + 4);
    }

    #[test]
    fn a_number_is_new_only_once() {
        let mut chunk = Chunk::new();
        assert!(chunk.insert(64));
        assert!(!chunk.insert(64));
        assert!(chunk.insert(63));
        assert!(chunk.contains(64) && !chunk.contains(65));
        assert_eq!(chunk.count(), 2);
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(100))]

        #[test]
        fn a_chunk_equals_a_plain_set(numbers in prop::collection::vec(0_u16..2_000, 0..1_500)) {
            let (mut chunk, mut model) = (Chunk::new(), std::collections::BTreeSet::new());
            for number in numbers {
                prop_assert_eq!(chunk.insert(number), model.insert(number));
            }
            prop_assert!((0..2_100).all(|number| chunk.contains(number) == model.contains(&number)));
            prop_assert_eq!(chunk.count_runs(), chunk.runs().count());
            prop_assert!(chunk.numbers().eq(model.iter().copied()));
            size(&chunk);
        }

        #[test]
        fn hostile_bytes_give_an_error_or_a_chunk(bytes in prop::collection::vec(any::<u8>(), 0..40)) {
            if let Ok(chunk) = Chunk::decode(&bytes) {
                size(&chunk);
            }
        }
    }
}
