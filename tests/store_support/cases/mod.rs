//! Cases that every store passes.

pub mod asking;
pub mod events;
pub mod forget;
pub mod letters;
pub mod model;
pub mod moves;
pub mod overlay;
pub mod replays;
pub mod rules;
pub mod trace;
