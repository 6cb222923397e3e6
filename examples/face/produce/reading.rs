//! Reading a producer's inputs on a thread of their own: files block.

use std::fs::File;
use std::io::{BufWriter, Read, Write};
use std::path::{Path, PathBuf};

use orderflow::order::generate::{Generate, Generator};
use orderflow::order::{DigestReader, Entry, Identity, Located, Order, OrderReader, Rejection, Source, digest_of};
use orderflow::{Error, ErrorCode, Result};
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use super::Arguments;
use crate::face::output;

/// What is read when nothing is named.
const DEFAULT_FILE: &str = "fixtures/orders.json";

/// Where orders come from.
pub enum Inputs {
    Files { paths: Vec<PathBuf>, name: Option<String>, repeat: bool },
    Generated { seed: u64, source: Source },
}

impl Inputs {
    pub fn of(arguments: &Arguments) -> Result<Self> {
        if arguments.generate {
            let source = match &arguments.source {
                Some(name) => Source::named(name, None),
                None => Source::random()?,
            };
            return Ok(Self::Generated { seed: arguments.seed, source });
        }
        let named = !arguments.files.is_empty();
        let paths = if named { arguments.files.clone() } else { vec![DEFAULT_FILE.into()] };
        for path in paths.iter().filter(|path| !is_stdin(path)) {
            let readable = File::open(path).and_then(|file| file.metadata());
            match readable {
                Ok(found) if !found.is_dir() => {}
                Ok(_) => return Err(unreadable(path, "it is a directory".into())),
                Err(cause) => return Err(unreadable(path, cause.to_string())),
            }
        }
        Ok(Self::Files { paths, name: arguments.source.clone(), repeat: arguments.repeat })
    }
}

fn is_stdin(path: &Path) -> bool {
    path.as_os_str() == "-"
}

fn unreadable(path: &Path, reason: String) -> Error {
    Error::new(ErrorCode::Input, format!("{} cannot be read: {reason}", path.display()))
}

/// What the reader passes on.
pub enum Fed<O> {
    Order(O),
    Filtered,
    Rejected,
}

/// Reads the inputs and passes on what they hold. It runs on a thread of its own: files block.
pub struct Reader<O> {
    pub feed: mpsc::Sender<Fed<O>>,
    pub stop: CancellationToken,
    pub left: Option<u64>,
    pub rejects: Option<RejectFile>,
}

impl<O: Order + Generate> Reader<O> {
    /// Reads until the inputs end, the receiver is gone, or told to stop.
    pub fn read_all(mut self, inputs: &Inputs) -> Result<()> {
        let outcome = match inputs {
            Inputs::Generated { seed, source } => self.generate(*seed, *source),
            Inputs::Files { paths, name, repeat } => self.read_files(paths, name.as_deref(), *repeat),
        };
        self.rejects.map_or(Ok(()), RejectFile::finish).and(outcome)
    }

    fn generate(&mut self, seed: u64, source: Source) -> Result<()> {
        tell_source(&source, "made-up orders");
        for (mut order, index) in Generator::<O>::new(seed).zip(0..self.left.unwrap_or(u64::MAX)) {
            order.set_identity(Identity::numbered(source, index)?);
            if self.is_over() || self.feed.blocking_send(Fed::Order(order)).is_err() {
                break;
            }
        }
        Ok(())
    }

    fn read_files(&mut self, paths: &[PathBuf], name: Option<&str>, repeat: bool) -> Result<()> {
        for round in 0.. {
            let mut orders = 0;
            for path in paths {
                let source = source_of(path, name, round)?;
                if round == 0 {
                    tell_source(&source, if is_stdin(path) { "this input" } else { "this file" });
                }
                orders += self.read_file(path, source, round == 0 && name.is_none())?;
            }
            if !repeat || orders == 0 || self.is_over() {
                break;
            }
        }
        Ok(())
    }

    /// Whether nothing more is wanted.
    fn is_over(&self) -> bool {
        self.left == Some(0) || self.stop.is_cancelled() || self.feed.is_closed()
    }

    /// Reads to the file's end. Returns how many orders of the type it held.
    fn read_file(&mut self, path: &Path, source: Source, check_digest: bool) -> Result<u64> {
        if is_stdin(path) {
            let reader = OrderReader::new(std::io::stdin().lock()).with_source(source);
            return self.pass_on(path, reader).map(|(orders, _)| orders);
        }
        let file = File::open(path).map_err(|cause| unreadable(path, cause.to_string()))?;
        let (orders, input) = self.pass_on(path, OrderReader::new(DigestReader::new(file)).with_source(source))?;
        if check_digest && let Some(mut input) = input {
            let rest = std::io::copy(&mut input, &mut std::io::sink());
            rest.map_err(|cause| unreadable(path, cause.to_string()))?;
            if Source::of_digest(input.digest()) != source {
                return Err(unreadable(path, "it changed while it was sent".into()));
            }
        }
        Ok(orders)
    }

    /// Passes entries on; gives the input back when it was read to its end.
    fn pass_on<R: Read>(&mut self, path: &Path, mut reader: OrderReader<O, R>) -> Result<(u64, Option<R>)> {
        let mut orders = 0;
        while !self.is_over() {
            let entry = reader.next().transpose();
            let Some(entry) = entry.map_err(|cause| unreadable(path, cause.to_string()).caused_by(cause))? else {
                return Ok((orders, Some(reader.into_entries().into_input())));
            };
            let fed = match entry {
                Entry::Order(Located { order, .. }) => {
                    orders += 1;
                    self.left = self.left.map(|left| left - 1);
                    Fed::Order(order)
                }
                Entry::Filtered { .. } => Fed::Filtered,
                Entry::Rejected(rejection) => self.reject(path, &rejection)?,
            };
            if self.feed.blocking_send(fed).is_err() {
                break;
            }
        }
        Ok((orders, None))
    }

    fn reject(&mut self, path: &Path, rejection: &Rejection) -> Result<Fed<O>> {
        output::complain(&rejected(path, rejection));
        if let Some(rejects) = &mut self.rejects {
            rejects.write(rejection)?;
        }
        Ok(Fed::Rejected)
    }
}

/// A bad entry as people and editors read it: `FILE:LINE:COLUMN: CODE: sentence (pointer)`.
pub fn rejected(path: &Path, rejection: &Rejection) -> String {
    let violation = &rejection.violation;
    let (line, column) = (rejection.line, rejection.column);
    let (code, sentence, pointer) = (violation.code(), violation.sentence(), violation.pointer());
    format!("{}:{line}:{column}: {code}: {sentence} ({pointer})", path.display())
}

/// A file's source is its content's digest; a name is joined with it; stdin and each further round have a new one.
fn source_of(path: &Path, name: Option<&str>, round: u64) -> Result<Source> {
    if is_stdin(path) || round > 0 {
        return match name {
            Some(name) if round == 0 => Ok(Source::named(name, None)),
            _ => Source::random(),
        };
    }
    let digest = File::open(path).and_then(digest_of).map_err(|cause| unreadable(path, cause.to_string()))?;
    let file = Source::of_digest(digest);
    Ok(name.map_or(file, |name| Source::named(name, Some(&file))))
}

fn tell_source(source: &Source, what: &str) {
    output::complain(&format!(
        "source {}: sending {what} again has no second effect; --source NAME makes it new",
        source.as_str()
    ));
}

/// The file of bad entries.
pub struct RejectFile {
    path: PathBuf,
    out: BufWriter<File>,
}

impl RejectFile {
    pub fn new(path: &Path) -> Result<Self> {
        let file = File::create(path).map_err(|cause| Self::failed(path, cause))?;
        Ok(Self { path: path.to_owned(), out: BufWriter::new(file) })
    }

    fn write(&mut self, rejection: &Rejection) -> Result<()> {
        self.out.write_all(&rejection.to_line()).map_err(|cause| Self::failed(&self.path, cause))
    }

    fn finish(mut self) -> Result<()> {
        self.out.flush().map_err(|cause| Self::failed(&self.path, cause))
    }

    fn failed(path: &Path, cause: std::io::Error) -> Error {
        Error::new(ErrorCode::Input, format!("{} cannot be written", path.display())).caused_by(cause)
    }
}
