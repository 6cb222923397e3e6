//! What the set of identities must keep, drop or fold.

use std::collections::HashSet;

use proptest::prelude::*;

use super::*;

/// A shelf in memory, as a store keeps it: encoded.
#[derive(Debug, Default)]
struct Memory {
    sources: HashMap<Source, Vec<u8>>,
    chunks: HashMap<(Source, u32), Vec<u8>>,
    opaque: HashSet<Box<[u8]>>,
    writes: usize,
}

impl Shelf for Memory {
    fn source(&self, source: &Source) -> Result<Option<SourceRow>> {
        self.sources.get(source).map(|row| SourceRow::decode(row)).transpose()
    }

    fn chunk(&self, source: &Source, number: u32) -> Result<Option<Chunk>> {
        self.chunks.get(&(*source, number)).map(|row| Chunk::decode(row)).transpose()
    }

    fn has_opaque(&self, key: &[u8]) -> Result<bool> {
        Ok(self.opaque.contains(key))
    }
}

impl Changes for Memory {
    fn source(&mut self, source: &Source, row: &SourceRow) -> Result<()> {
        let mut bytes = Vec::new();
        row.encode(&mut bytes);
        self.sources.insert(*source, bytes);
        Ok(())
    }

    fn chunk(&mut self, source: &Source, number: u32, chunk: Option<&Chunk>) -> Result<()> {
        self.writes += 1;
        match chunk {
            None => drop(self.chunks.remove(&(*source, number))),
            Some(chunk) => {
                let mut bytes = Vec::new();
                chunk.encode(&mut bytes);
                self.chunks.insert((*source, number), bytes);
            }
        }
        Ok(())
    }

    fn opaque(&mut self, keys: &[Box<[u8]>], _newest: i64) -> Result<()> {
        self.opaque.extend(keys.iter().cloned());
        Ok(())
    }
}

fn source(name: u8) -> Source {
    Source::of_digest([name; 32])
}

fn numbered(name: u8, index: u64) -> Identity {
    Identity::numbered(source(name), index).unwrap()
}

#[test]
fn a_dense_source_folds_to_one_range_and_stays_exact() {
    let (mut set, mut shelf) = (AppliedSet::default(), Memory::default());
    for index in 0..CHUNK * 2 + 10 {
        assert!(set.settle(&numbered(1, index), 7, &shelf).unwrap());
        if index % 50_000 == 0 {
            set.write(&mut shelf).unwrap();
        }
    }
    set.write(&mut shelf).unwrap();
    let row = shelf.source(&source(1)).unwrap().unwrap();
    assert_eq!((row.newest, row.full.as_slice()), (7, &[(0, 2)][..]));
    assert_eq!(shelf.chunks.len(), 1);
    set.forget();
    assert!(!set.settle(&numbered(1, 70_000), 8, &shelf).unwrap());
    assert!(set.has(&numbered(1, CHUNK * 2 + 9), &shelf).unwrap());
    assert!(!set.has(&numbered(1, CHUNK * 2 + 10), &shelf).unwrap());
    assert!(set.settle(&numbered(1, CHUNK * 2 + 10), 8, &shelf).unwrap());
}

#[test]
fn a_transaction_writes_each_chunk_once_and_a_duplicate_writes_nothing() {
    let (mut set, mut shelf) = (AppliedSet::default(), Memory::default());
    (0..5_000).for_each(|index| assert!(set.settle(&numbered(1, index), 0, &shelf).unwrap()));
    set.write(&mut shelf).unwrap();
    assert_eq!(shelf.writes, 1);
    (0..5_000).for_each(|index| assert!(!set.settle(&numbered(1, index), 0, &shelf).unwrap()));
    set.write(&mut shelf).unwrap();
    assert_eq!(shelf.writes, 1);
}

#[test]
fn what_was_given_up_is_new_again() {
    let (mut set, shelf) = (AppliedSet::default(), Memory::default());
    let opaque = Identity::opaque("checkout:1").unwrap();
    for _ in 0..2 {
        assert!(set.settle(&numbered(1, 3), 0, &shelf).unwrap());
        assert!(set.settle(&opaque, 0, &shelf).unwrap());
        set.forget();
    }
}

fn identities() -> impl Strategy<Value = Identity> {
    let indexes = prop_oneof![0_u64..40, CHUNK - 20..CHUNK + 20, 0..1_u64 << 48];
    prop_oneof![
        4 => (0_u8..3, indexes).prop_map(|(name, index)| numbered(name, index)),
        1 => "[ab]{1,3}".prop_map(|text| Identity::opaque(text).unwrap()),
        1 => (120_usize..140, 0_u8..2).prop_map(|(length, byte)| Identity::opaque(vec![byte; length]).unwrap()),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(120))]

    #[test]
    fn the_set_equals_a_hash_set(steps in prop::collection::vec((identities(), 0_u8..20), 1..300)) {
        let (mut set, mut shelf, mut model) = (AppliedSet::default(), Memory::default(), HashSet::new());
        for (identity, then) in steps {
            prop_assert_eq!(set.has(&identity, &shelf).unwrap(), model.contains(&identity));
            prop_assert_eq!(set.settle(&identity, 0, &shelf).unwrap(), model.insert(identity));
            if then < 3 {
                set.write(&mut shelf).unwrap();
            }
            if then == 0 {
                set.forget();
            }
        }
    }
}
