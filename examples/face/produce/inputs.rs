//! Where a producer's orders come from, and what their identities' source is.

use std::fs::File;
use std::path::{Path, PathBuf};

use orderflow::order::{Source, digest_of};
use orderflow::{Error, ErrorCode, Result};

use super::Arguments;
use crate::face::output;

/// What is read when nothing is named.
const DEFAULT_FILE: &str = "fixtures/orders.json";

/// Where orders come from.
pub enum Inputs {
    Files { paths: Vec<PathBuf>, name: Option<String>, repeat: bool },
    Followed { path: PathBuf, name: String },
    Generated { seed: u64, source: Source, repeatable: Repeatable },
}

/// Whether sending the same input again gives the same identities.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Repeatable {
    Yes,
    No,
}

impl Inputs {
    /// What the arguments name, looked at before anything is sent.
    pub fn of(arguments: &Arguments) -> Result<Self> {
        if arguments.generate {
            let (source, repeatable) = of_name(arguments.source.as_deref())?;
            return Ok(Self::Generated { seed: arguments.seed, source, repeatable });
        }
        let named = !arguments.files.is_empty();
        let paths = if named { arguments.files.clone() } else { vec![DEFAULT_FILE.into()] };
        for path in paths.iter().filter(|path| !is_stdin(path)) {
            look(path)?;
        }
        match (&arguments.source, paths.as_slice()) {
            (Some(name), [path]) if arguments.follow => match is_stream(path) {
                false => Ok(Self::Followed { path: path.clone(), name: name.clone() }),
                true => Err(unreadable(path, "only a file can be followed".into())),
            },
            _ if arguments.follow => {
                Err(Error::new(ErrorCode::ConfigValue, "--follow takes one FILE and --source NAME"))
            }
            _ => Ok(Self::Files { paths, name: arguments.source.clone(), repeat: arguments.repeat }),
        }
    }

    /// The files that are read.
    pub fn paths(&self) -> &[PathBuf] {
        match self {
            Self::Files { paths, .. } => paths,
            Self::Followed { path, .. } => std::slice::from_ref(path),
            Self::Generated { .. } => &[],
        }
    }
}

/// A file that is not there, or a directory, is told before anything is sent.
fn look(path: &Path) -> Result<()> {
    let found = path.metadata().map_err(|cause| unreadable(path, cause.to_string()))?;
    if found.is_dir() {
        return Err(unreadable(path, "it is a directory".into()));
    }
    if found.is_file() {
        File::open(path).map_err(|cause| unreadable(path, cause.to_string()))?;
    }
    Ok(())
}

pub fn is_stdin(path: &Path) -> bool {
    path.as_os_str() == "-"
}

/// Whether it can be read only once: stdin, a pipe.
pub fn is_stream(path: &Path) -> bool {
    is_stdin(path) || !path.is_file()
}

pub fn unreadable(path: &Path, reason: String) -> Error {
    Error::new(ErrorCode::Input, format!("{} cannot be read: {reason}", path.display()))
}

/// A file's source is its content's digest; a name is joined with it; streams and further rounds have a new one.
pub fn source_of(path: &Path, name: Option<&str>, round: u64) -> Result<(Source, Repeatable)> {
    if round > 0 {
        return Ok((Source::random()?, Repeatable::No));
    }
    if is_stream(path) {
        return of_name(name);
    }
    let digest = File::open(path).and_then(digest_of).map_err(|cause| unreadable(path, cause.to_string()))?;
    Ok((of_digest(digest, name), Repeatable::Yes))
}

/// The source of a file with this digest.
pub fn of_digest(digest: [u8; 32], name: Option<&str>) -> Source {
    let file = Source::of_digest(digest);
    name.map_or(file, |name| Source::named(name, Some(&file)))
}

fn of_name(name: Option<&str>) -> Result<(Source, Repeatable)> {
    Ok(match name {
        Some(name) => (Source::named(name, None), Repeatable::Yes),
        None => (Source::random()?, Repeatable::No),
    })
}

/// Tells the source, and what sending again would do.
pub fn tell_source(source: &Source, repeatable: Repeatable, what: &str) {
    output::complain(&match repeatable {
        Repeatable::Yes => {
            format!("source {source}: sending {what} again has no second effect; --source NAME makes it new")
        }
        Repeatable::No => format!(
            "source {source}: new for this run; sending {what} again applies it again, unless --source NAME names it"
        ),
    });
}
