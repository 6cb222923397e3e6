//! Fuzzes `checks::date`.

#![no_main]

#[path = "../checks/mod.rs"]
#[allow(dead_code, reason = "each target runs one check")]
mod checks;

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| checks::date(bytes));
