//! Tests of handlers or stores that you wrote.
//!
//! [`drive`] gives a handler one order after another, without broker, socket or real time. [`crash`] kills consumers with
//! your handler or your store at every point, on the development broker, and counts effects.

mod arm;
mod armed_store;
mod case;
mod crash;
mod drive;
mod in_store;
mod life;
mod pace;
#[cfg(test)]
mod tests;

pub use self::arm::Point;
pub use self::crash::{CRASH_GROUP, Crash, Flaw, Survived, crash};
pub use self::drive::{Drive, Driven, Ending, Given, drive};
#[cfg(test)]
pub(crate) use self::life::Life;
