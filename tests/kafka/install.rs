//! What the tests need from outside, fetched once into the target folder: Kafka's jars, the Python clients.

use std::path::{Path, PathBuf};
use std::sync::OnceLock;
use std::time::Duration;

use crate::support::program::Program;

/// Apache Kafka's version: `KAFKA_VERSION`, or the one that all tests are made for.
pub(crate) fn kafka_version() -> String {
    std::env::var("KAFKA_VERSION").unwrap_or_else(|_| "4.3.1".to_owned())
}

/// Why a test cannot run here.
pub(crate) type Lacking = String;

const FETCHING: Duration = Duration::from_secs(300);

/// The folder with Kafka's jars.
pub(crate) fn jars() -> Result<&'static Path, Lacking> {
    static JARS: OnceLock<Result<PathBuf, Lacking>> = OnceLock::new();
    once(&JARS, || {
        let java = version_of("java", "-version")?;
        let major = java.split(['"', '.', '-']).find_map(|part| part.parse::<u32>().ok());
        if major.is_none_or(|major| major < 17) {
            return Err(format!("java 17 or later is needed, here is {java}"));
        }
        let jars = target().join(format!("kafka-libs-{}", kafka_version()));
        fetched(&jars, |folder| {
            version_of("mvn", "-version")?;
            let mvn = Program::new("mvn").args(["-q", "-B", "-f"]).arg(here("pom.xml"));
            let mvn = mvn.arg(format!("-Dkafka.version={}", kafka_version())).arg("dependency:copy-dependencies");
            Ok(vec![mvn.arg("-DincludeScope=runtime").arg(format!("-DoutputDirectory={}", folder.display()))])
        })?;
        Ok(jars)
    })
}

/// The Python interpreter that has kafka-python and librdkafka.
pub(crate) fn python() -> Result<&'static Path, Lacking> {
    static PYTHON: OnceLock<Result<PathBuf, Lacking>> = OnceLock::new();
    once(&PYTHON, || {
        version_of("python3", "--version")?;
        let venv = target().join("python-clients");
        fetched(&venv, |venv| {
            let make = Program::new("python3").args(["-m", "venv"]).arg(venv);
            let fill = Program::new(venv.join("bin/python")).args(["-m", "pip", "install", "-q", "-r"]);
            Ok(vec![make, fill.arg(here("python/requirements.txt"))])
        })?;
        Ok(venv.join("bin/python"))
    })
}

fn once(
    cell: &'static OnceLock<Result<PathBuf, Lacking>>,
    find: impl FnOnce() -> Result<PathBuf, Lacking>,
) -> Result<&'static Path, Lacking> {
    cell.get_or_init(find).as_deref().map_err(Clone::clone)
}

/// Fills `folder` by commands, unless it was filled before. A file marks it as complete.
fn fetched(folder: &Path, commands: impl FnOnce(&Path) -> Result<Vec<Program>, Lacking>) -> Result<(), Lacking> {
    let complete = folder.join(".complete");
    if complete.exists() {
        return Ok(());
    }
    for command in commands(folder)? {
        let finished = command.run(FETCHING);
        if finished.code() != Some(0) {
            return Err(format!("{finished}"));
        }
    }
    std::fs::write(&complete, "").map_err(|error| format!("{}: {error}", complete.display()))
}

/// The first line that a program says about its version.
fn version_of(program: &str, flag: &str) -> Result<String, Lacking> {
    let found = std::env::var_os("PATH")
        .is_some_and(|path| std::env::split_paths(&path).any(|folder| folder.join(program).is_file()));
    if !found {
        return Err(format!("{program} is not installed"));
    }
    let said = Program::new(program).arg(flag).run(Duration::from_secs(60));
    let first = said.stdout.lines().chain(said.stderr.lines()).next().unwrap_or_default();
    if said.code() == Some(0) { Ok(first.to_owned()) } else { Err(format!("{program} does not run: {first}")) }
}

/// A file beside this one.
pub(crate) fn here(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/kafka").join(name)
}

/// Cargo's target folder.
fn target() -> &'static Path {
    scratch().parent().expect("target/tmp has a parent")
}

/// Where clusters keep their logs while they run.
pub(crate) fn scratch() -> &'static Path {
    Path::new(env!("CARGO_TARGET_TMPDIR"))
}
