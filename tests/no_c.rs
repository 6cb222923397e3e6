//! No crate in the tree compiles C, for any feature, example or test of ours.
//!
//! `cargo tree` names every crate that cargo builds for the target, build and development dependencies included. The
//! musl build under `CC=/bin/false` proves the same by doing it; this test says in seconds which crate is to blame.
#![allow(clippy::expect_used, reason = "a test fails by panicking")]

use std::collections::BTreeSet;
use std::process::Command;

const TARGETS: [&str; 2] = ["x86_64-unknown-linux-gnu", "x86_64-unknown-linux-musl"];

/// Crates that compile or look for C.
const COMPILERS: [&str; 8] = ["cc", "cmake", "bindgen", "pkg-config", "vcpkg", "autotools", "nasm-rs", "system-deps"];

/// Crates named `*-sys` that compile nothing, and why that is so.
const BINDINGS_ONLY: [(&str, &str); 1] = [("linux-raw-sys", "numbers and layouts of Linux's system calls, in Rust")];

fn tree(target: &str) -> BTreeSet<String> {
    let output = Command::new(env!("CARGO"))
        .args(["tree", "--locked", "--all-features", "--target", target, "--edges", "normal,build,dev"])
        .args(["--prefix", "none", "--format", "{p}"])
        .current_dir(env!("CARGO_MANIFEST_DIR"))
        .output()
        .expect("cargo runs");
    assert!(output.status.success(), "cargo tree: {}", String::from_utf8_lossy(&output.stderr));
    let crates = String::from_utf8(output.stdout).expect("cargo tree prints UTF-8");
    crates.lines().filter_map(|line| line.split_whitespace().next()).map(str::to_owned).collect()
}

/// Those that compile C, or may.
fn suspects<'a>(crates: impl IntoIterator<Item = &'a str>) -> Vec<&'a str> {
    let allowed = |name: &str| BINDINGS_ONLY.iter().any(|(binding, _)| *binding == name);
    let suspect = |name: &&str| COMPILERS.contains(name) || (name.ends_with("-sys") && !allowed(name));
    crates.into_iter().filter(suspect).collect()
}

#[test]
fn no_crate_in_the_tree_compiles_c() {
    for target in TARGETS {
        let crates = tree(target);
        assert!(crates.contains("orderflow") && crates.contains("rskafka"), "{target}: not our tree: {crates:?}");
        let suspects = suspects(crates.iter().map(String::as_str));
        assert!(suspects.is_empty(), "{target}: {suspects:?}; `cargo tree --all-features -i CRATE` says who wants it");
    }
}

#[test]
fn a_crate_that_compiles_c_is_found() {
    assert_eq!(suspects(["tokio", "cc", "linux-raw-sys", "zstd-sys", "cmake"]), ["cc", "zstd-sys", "cmake"]);
}
