//! What a lane promises, case by case, then against a model broker under seeded faults.

mod cases;
pub(in crate::producer) mod partition_model;
mod simulation;
