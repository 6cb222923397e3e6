//! Prints: the few bytes of deliveries' names in which many are looked for at once.

use super::EventId;

/// How many bytes of a name are its print.
pub(crate) const PRINT_BYTES: usize = 4;

/// The print of a delivery's name, which is a digest: any bytes of it are as good.
pub(crate) fn print_of(id: EventId) -> [u8; PRINT_BYTES] {
    id.as_bytes().first_chunk().copied().unwrap_or_default()
}

/// Names that are looked for.
#[derive(Debug)]
pub(crate) struct Wanted {
    ids: Vec<EventId>,
    /// A bit for each value of a print's first two bytes: most prints are passed over by one look here.
    hints: Vec<u64>,
}

impl Wanted {
    /// These names.
    pub(crate) fn new(mut ids: Vec<EventId>) -> Self {
        ids.sort_unstable();
        ids.dedup();
        let mut hints = vec![0; 1 << 10];
        for id in &ids {
            let (place, bit) = hint(print_of(*id));
            if let Some(word) = hints.get_mut(place) {
                *word |= bit;
            }
        }
        Self { ids, hints }
    }

    /// Whether all were found.
    pub(crate) fn is_empty(&self) -> bool {
        self.ids.is_empty()
    }

    /// The places among a row's prints where a name that is looked for may be.
    pub(crate) fn met(&self, prints: &[u8]) -> Vec<usize> {
        let mut places = Vec::new();
        for (place, print) in prints.chunks_exact(PRINT_BYTES).enumerate() {
            let print = print.first_chunk().copied().unwrap_or_default();
            let (word, bit) = hint(print);
            if self.hints.get(word).is_some_and(|word| word & bit != 0) && self.has(print) {
                places.push(place);
            }
        }
        places
    }

    fn has(&self, print: [u8; PRINT_BYTES]) -> bool {
        let at = self.ids.partition_point(|id| print_of(*id) < print);
        self.ids.get(at).is_some_and(|id| print_of(*id) == print)
    }

    /// One was found. Whether it was looked for.
    pub(crate) fn take(&mut self, id: EventId) -> bool {
        let at = self.ids.binary_search(&id);
        at.map(|at| self.ids.remove(at)).is_ok()
    }
}

fn hint([first, second, ..]: [u8; PRINT_BYTES]) -> (usize, u64) {
    let hint = u16::from_be_bytes([first, second]);
    (usize::from(hint >> 6), 1 << (hint & 63))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]

        #[test]
        fn each_name_that_is_looked_for_is_met_and_names_alike_are_told_apart_whole(
            names in prop::collection::btree_set(0_u16..600, 1..80),
            asked in prop::collection::btree_set(0_u16..600, 1..20),
        ) {
            // Few prints, so that different names share them.
            let id = |name: u16| EventId::new((u128::from(name % 7) << 96 | u128::from(name)).to_be_bytes());
            let row: Vec<u8> = names.iter().flat_map(|name| print_of(id(*name))).collect();
            let mut wanted = Wanted::new(asked.iter().map(|name| id(*name)).collect());
            let met = wanted.met(&row);
            for (place, name) in names.iter().enumerate() {
                prop_assert!(!asked.contains(name) || met.contains(&place));
                prop_assert_eq!(wanted.take(id(*name)), asked.contains(name));
            }
            prop_assert_eq!(wanted.is_empty(), asked.is_subset(&names));
        }
    }
}
