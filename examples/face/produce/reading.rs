//! Reading a producer's inputs on a thread of their own: files block.

use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};

use orderflow::Result;
use orderflow::order::generate::{Generate, Generator};
use orderflow::order::{DigestReader, Entry, Identity, Located, Order, OrderReader, Rejection, Source};
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use super::inputs::{Inputs, Repeatable, is_stdin, is_stream, of_digest, source_of, tell_source, unreadable};
use super::rejects::RejectFile;
use crate::face::output;

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

/// Why entries are no longer passed on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Passed {
    /// The input has no more, for now.
    All,
    /// Nothing more is wanted.
    Enough,
}

impl<O: Order + Generate> Reader<O> {
    /// Reads until the inputs end, the receiver is gone, or told to stop.
    pub fn read_all(mut self, inputs: &Inputs) -> Result<()> {
        match inputs {
            Inputs::Generated { seed, source, repeatable } => self.generate(*seed, *source, *repeatable),
            Inputs::Files { paths, name, repeat } => self.read_files(paths, name.as_deref(), *repeat),
            Inputs::Followed { path, name } => self.follow(path, name),
        }
    }

    fn generate(&mut self, seed: u64, source: Source, repeatable: Repeatable) -> Result<()> {
        tell_source(&source, repeatable, "made-up orders");
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
                if self.is_over() {
                    return Ok(());
                }
                let (source, repeatable) = source_of(path, name, round)?;
                if round == 0 {
                    let what = if is_stream(path) { "this input" } else { "this file" };
                    tell_source(&source, repeatable, what);
                }
                orders += self.read_file(path, source, (round == 0).then_some(name))?;
            }
            if !repeat || orders == 0 || self.is_over() {
                break;
            }
        }
        Ok(())
    }

    /// Whether nothing more is wanted.
    pub fn is_over(&self) -> bool {
        self.left == Some(0) || self.stop.is_cancelled() || self.feed.is_closed()
    }

    /// Reads to the file's end. Returns how many orders of the type it held.
    ///
    /// Where the source was made of the file's digest, with or without a name, the digest is checked again.
    fn read_file(&mut self, path: &Path, source: Source, digested: Option<Option<&str>>) -> Result<u64> {
        if is_stdin(path) {
            let mut reader = OrderReader::new(std::io::stdin().lock()).with_source(source);
            return self.pass_on(path, &mut reader).map(|(_, orders)| orders);
        }
        let file = File::open(path).map_err(|cause| unreadable(path, cause.to_string()))?;
        let mut reader = OrderReader::new(DigestReader::new(file)).with_source(source);
        let (passed, orders) = self.pass_on(path, &mut reader)?;
        if let (Passed::All, Some(name), false) = (passed, digested, is_stream(path))
            && of_digest(reader.into_entries().into_input().digest(), name) != source
        {
            return Err(unreadable(path, "it changed while it was sent".into()));
        }
        Ok(orders)
    }

    /// Passes entries on, and counts the orders of the type among them.
    pub fn pass_on<R: Read>(&mut self, path: &Path, reader: &mut OrderReader<O, R>) -> Result<(Passed, u64)> {
        let mut orders = 0;
        while !self.is_over() {
            let entry = reader.next().transpose();
            let Some(entry) = entry.map_err(|cause| unreadable(path, cause.to_string()).caused_by(cause))? else {
                return Ok((Passed::All, orders));
            };
            orders += u64::from(matches!(entry, Entry::Order(_)));
            if self.pass(path, entry)? == Passed::Enough {
                break;
            }
        }
        Ok((Passed::Enough, orders))
    }

    /// Passes one entry on.
    pub fn pass(&mut self, path: &Path, entry: Entry<O>) -> Result<Passed> {
        let fed = match entry {
            Entry::Order(Located { order, .. }) => {
                self.left = self.left.map(|left| left.saturating_sub(1));
                Fed::Order(order)
            }
            Entry::Filtered { .. } => Fed::Filtered,
            Entry::Rejected(rejection) => {
                output::complain(&rejected(path, &rejection));
                if let Some(rejects) = &mut self.rejects {
                    rejects.write(&rejection)?;
                }
                Fed::Rejected
            }
        };
        Ok(if self.feed.blocking_send(fed).is_ok() { Passed::All } else { Passed::Enough })
    }
}

/// A bad entry as people and editors read it: `FILE:LINE:COLUMN: CODE: sentence (pointer)`.
pub fn rejected(path: &Path, rejection: &Rejection) -> String {
    let violation = &rejection.violation;
    let (line, column) = (rejection.line, rejection.column);
    let (code, sentence, pointer) = (violation.code(), violation.sentence(), violation.pointer());
    format!("{}:{line}:{column}: {code}: {sentence} ({pointer})", path.display())
}
