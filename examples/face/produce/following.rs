//! Following one NDJSON file that others append to, cut or replace.

use std::path::Path;
use std::time::Duration;

use orderflow::order::generate::Generate;
use orderflow::order::{Change, Entry, EntryReader, Format, GrowingFile, Order, OrderReader, Source, ViolationCode};
use orderflow::{Error, ErrorCode, Result};

use super::inputs::{Repeatable, tell_source, unreadable};
use super::reading::{Passed, Reader};
use crate::face::output;

/// How long to wait before a file is looked at again.
const BETWEEN_LOOKS: Duration = Duration::from_millis(50);

/// Why a file is no longer followed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Parted {
    /// The run ends.
    Ended,
    /// It was cut: what stands in it now is another file.
    Cut,
    /// Another file stands under its name.
    Replaced,
}

impl<O: Order + Generate> Reader<O> {
    /// Follows the file until the run ends. Each time that it is cut or replaced its orders have a new source.
    pub fn follow(&mut self, path: &Path, name: &str) -> Result<()> {
        let mut name = name.to_owned();
        tell_source(&Source::named(&name, None), Repeatable::Yes, "this file");
        let given = name.clone();
        for version in 2_u64.. {
            let parted = self.follow_one(path, Source::named(&name, None))?;
            if parted == Parted::Ended {
                break;
            }
            name = format!("{given}.{version}");
            let how = if parted == Parted::Cut { "cut" } else { "replaced" };
            output::complain(&format!(
                "{}: the file was {how}: source {} from here on; --source {name} follows it again",
                path.display(),
                Source::named(&name, None),
            ));
        }
        Ok(())
    }

    /// Follows what stands under the name now until it is cut, replaced, or the run ends.
    fn follow_one(&mut self, path: &Path, source: Source) -> Result<Parted> {
        let failed = |cause: std::io::Error| unreadable(path, cause.to_string());
        let file = GrowingFile::open(path).map_err(failed)?;
        let mut reader = OrderReader::of_entries(EntryReader::new(file).follow()).with_source(source);
        loop {
            let passed = self.pass_lines(path, &mut reader)?;
            if passed == Passed::Enough {
                return self.part(path, &mut reader).map(|()| Parted::Ended);
            }
            match reader.entries().input().change().map_err(failed)? {
                Change::Same | Change::Gone => std::thread::sleep(BETWEEN_LOOKS),
                Change::Cut => return Ok(Parted::Cut),
                Change::Replaced => {
                    self.pass_lines(path, &mut reader)?;
                    reader.end_here();
                    self.pass_lines(path, &mut reader)?;
                    return Ok(Parted::Replaced);
                }
            }
        }
    }

    /// Passes on what is there, unless it is an array.
    fn pass_lines(&mut self, path: &Path, reader: &mut OrderReader<O, GrowingFile>) -> Result<Passed> {
        if reader.entries().format().is_none() && !self.is_over() {
            let first = reader.next().transpose()?;
            refuse_array(path, reader.entries().format())?;
            let Some(first) = first else { return Ok(Passed::All) };
            self.pass(path, first)?;
        }
        self.pass_on(path, reader).map(|(passed, _)| passed)
    }

    /// At a clean stop a last line without its line end is taken, unless it is only the beginning of one: that is left
    /// to the next run, in which it has the same identity.
    fn part(&mut self, path: &Path, reader: &mut OrderReader<O, GrowingFile>) -> Result<()> {
        if self.left == Some(0) || self.feed.is_closed() {
            return Ok(());
        }
        // Whole lines that were not read yet are left to the next run, and so is what follows them.
        let unfinished = reader.entries().is_amid();
        reader.end_here();
        match reader.next().transpose()? {
            Some(Entry::Rejected(rejection)) if unfinished && rejection.violation.code() == ViolationCode::Json => {
                output::complain(&format!(
                    "{}:{}: the last line is not whole yet: left to the next run",
                    path.display(),
                    rejection.entry_line,
                ));
                Ok(())
            }
            Some(entry) if unfinished => self.pass(path, entry).map(drop),
            _ => Ok(()),
        }
    }
}

fn refuse_array(path: &Path, format: Option<Format>) -> Result<()> {
    if format == Some(Format::Array) {
        let sentence = format!("{} is a JSON array, which cannot be followed", path.display());
        return Err(Error::new(ErrorCode::Input, sentence).remedy("follow a file of one JSON object a line"));
    }
    Ok(())
}
