//! What a producer promises, against a model cluster in virtual time.

mod bounds;
mod cancellation;
mod delivery;
mod faults;
mod model;
mod simulation;
