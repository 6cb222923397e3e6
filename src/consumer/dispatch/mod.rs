//! From fetched batches to settled orders.

pub(crate) mod lanes;
