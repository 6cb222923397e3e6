//! What the accumulator promises.
