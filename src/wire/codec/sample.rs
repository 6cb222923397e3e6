//! Values of messages for property tests, drawn from a choice of bytes.
//!
//! The test lets proptest choose the bytes: fewer and smaller ones give simpler values, so that a failure shrinks.

use bytes::Bytes;

use super::{Decode, Shape};
use crate::place::TopicId;

/// The choices left; when they run out, every further value is the simplest.
pub(crate) struct Draw<'a>(&'a [u8]);

impl<'a> Draw<'a> {
    pub(crate) fn new(choices: &'a [u8]) -> Self {
        Self(choices)
    }

    fn byte(&mut self) -> u8 {
        let Some((&first, rest)) = self.0.split_first() else { return 0 };
        self.0 = rest;
        first
    }

    pub(crate) fn is_even(&mut self) -> bool {
        self.byte().is_multiple_of(2)
    }

    fn integer(&mut self) -> i64 {
        match self.byte() {
            small @ 0..200 => i64::from(small) - 3,
            wide => (0..8).fold(i64::from(wide), |value, _| (value << 8) | i64::from(self.byte())),
        }
    }
}

/// A type that has values in a shape, those that the shape can say.
pub(crate) trait Sample {
    fn sample(draw: &mut Draw<'_>, shape: Shape) -> Self;
}

macro_rules! integers {
    ($($type:ty)*) => { $(
        impl Sample for $type {
            fn sample(draw: &mut Draw<'_>, _: Shape) -> Self {
                draw.integer() as $type
            }
        }
    )* };
}

integers! { i8 i16 i32 i64 }

impl Sample for bool {
    fn sample(draw: &mut Draw<'_>, _: Shape) -> Self {
        draw.is_even()
    }
}

impl Sample for TopicId {
    fn sample(draw: &mut Draw<'_>, _: Shape) -> Self {
        Self::new(std::array::from_fn(|_| draw.byte()))
    }
}

impl Sample for String {
    fn sample(draw: &mut Draw<'_>, _: Shape) -> Self {
        let length = usize::from(draw.byte() % 40);
        (0..length).map(|_| char::from(draw.byte())).collect()
    }
}

impl Sample for Bytes {
    fn sample(draw: &mut Draw<'_>, _: Shape) -> Self {
        // Beyond 127 the compact length takes two bytes.
        let length = usize::from(draw.byte()) * 2;
        (0..length).map(|_| draw.byte()).collect()
    }
}

/// The bytes of memory that one byte of an array's elements may cost.
const MOST_MEMORY_A_BYTE: usize = 40;

impl<T: Sample + Decode> Sample for Vec<T> {
    fn sample(draw: &mut Draw<'_>, shape: Shape) -> Self {
        let (memory, least) = (size_of::<T>(), T::least_size(shape));
        assert!(memory <= MOST_MEMORY_A_BYTE * least, "{}: {memory} for {least}", std::any::type_name::<T>());
        let count = draw.byte() % 4;
        (0..count).map(|_| T::sample(draw, shape)).collect()
    }
}

impl<T: Sample> Sample for Option<T> {
    fn sample(draw: &mut Draw<'_>, shape: Shape) -> Self {
        (!draw.is_even()).then(|| T::sample(draw, shape))
    }
}
