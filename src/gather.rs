//! What iterators give, gathered piece by piece.
//!
//! `collect` into one of them compiles a stable sort and a bulk build for each iterator that it is called on: some 3,000
//! lines of code before the optimiser, which was a tenth of this crate's build. Gathered, it grows by its own `insert`,
//! which it has anyway. A later piece with the same key takes the place of an earlier one, as with `collect`.

use std::collections::{BTreeMap, BTreeSet};

use litemap::LiteMap;

/// What pieces can be gathered into.
pub(crate) trait Grow<T>: Default {
    /// Takes one more piece.
    fn grow(&mut self, piece: T);
}

/// An iterator whose pieces can be gathered.
pub(crate) trait Gather: Iterator + Sized {
    /// Gathers all of them.
    fn gather<M: Grow<Self::Item>>(self) -> M {
        let mut gathered = M::default();
        self.for_each(|piece| gathered.grow(piece));
        gathered
    }
}

impl<I: Iterator> Gather for I {}

impl<K: Ord, V> Grow<(K, V)> for LiteMap<K, V> {
    fn grow(&mut self, (key, value): (K, V)) {
        self.insert(key, value);
    }
}

impl<K: Ord, V> Grow<(K, V)> for BTreeMap<K, V> {
    fn grow(&mut self, (key, value): (K, V)) {
        self.insert(key, value);
    }
}

impl<T: Ord> Grow<T> for BTreeSet<T> {
    fn grow(&mut self, piece: T) {
        self.insert(piece);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_gathered_is_what_would_be_collected() {
        let pairs = [(3, 'c'), (1, 'a'), (2, 'b'), (1, 'z')];
        let collected: BTreeMap<i32, char> = pairs.into_iter().collect();
        assert_eq!(pairs.into_iter().gather::<BTreeMap<_, _>>(), collected);
        assert!(pairs.into_iter().gather::<LiteMap<_, _>>().into_iter().eq(collected.clone()));
        assert!(pairs.into_iter().map(|(key, _)| key).gather::<BTreeSet<_>>().iter().eq(collected.keys()));
    }
}
