//! The examples as programs, as cargo built them beside the tests.

use std::path::{Path, PathBuf};
use std::sync::OnceLock;

use super::program::Program;

/// An example by its name. The brokers that the environment may name are taken away: a test says which it means.
///
/// # Panics
/// If the examples do not build.
pub fn example(name: &str) -> Program {
    Program::new(path(name)).without_env("KAFKA_BOOTSTRAP_SERVERS").without_env("RUST_LOG")
}

/// Where an example's program is.
///
/// # Panics
/// If the examples do not build.
pub fn path(name: &str) -> PathBuf {
    folder().join(name)
}

/// Where the examples are. Built on the first call, so that a test never runs yesterday's; unless `ORDERFLOW_EXAMPLES` names
/// a folder with others, of another profile or release.
fn folder() -> &'static Path {
    static FOLDER: OnceLock<PathBuf> = OnceLock::new();
    FOLDER.get_or_init(|| {
        if let Some(built) = std::env::var_os("ORDERFLOW_EXAMPLES") {
            return built.into();
        }
        let tests = std::env::current_exe().expect("a test knows its path");
        let profile = tests.parent().and_then(Path::parent).expect("target/PROFILE/deps/TEST");
        build(profile.file_name().is_some_and(|name| name == "release"));
        profile.join("examples")
    })
}

fn build(release: bool) {
    let mut build = Program::new(env!("CARGO")).folder(env!("CARGO_MANIFEST_DIR"));
    build = build.args(["build", "--examples", "--all-features"]);
    if release {
        build = build.arg("--release");
    }
    build.run(std::time::Duration::from_secs(900)).ok();
}
