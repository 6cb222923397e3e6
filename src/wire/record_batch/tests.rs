//! What batches promise.
