//! `--backfill`: an order file straight into a consumer's store, told like the topic's orders.

use std::path::{Path, PathBuf};

use orderflow::Result;
use orderflow::order::Order;
use orderflow::store::{Backfill, BackfillSummary, Store};
use tokio_util::sync::CancellationToken;

use super::consume::Teller;
use super::flags::Flags;
use super::output;
use super::produce::rejected;
use super::progress::Progress;

/// A file that is to be backfilled.
pub struct Backfilling {
    file: Backfill,
    path: PathBuf,
    quiet: bool,
}

impl Backfilling {
    /// Takes the file's digest. A file that cannot be read is told before a store is made.
    pub async fn of(path: &Path, flags: &Flags) -> Result<Self> {
        let file = Backfill::of_file(path).await?;
        Ok(Self { file, path: path.to_owned(), quiet: flags.quiet })
    }

    /// Applies the file's orders, and tells of each, of bad entries with their place as well.
    pub async fn run<O: Order>(
        self,
        store: &impl Store<O>,
        teller: &mut Teller,
        stop: &CancellationToken,
    ) -> Result<BackfillSummary> {
        let mut progress = Progress::new(self.quiet, "backfilled");
        let mut told = 0_u64;
        let applied = self.file.apply(store, stop.cancelled(), |backfilled| {
            if let Some(rejection) = backfilled.rejection {
                output::complain(&rejected(&self.path, rejection));
            }
            teller.tell_backfilled(backfilled);
            told += 1;
            progress.tell(|| format!("backfilled {told}"));
        });
        let summary = applied.await?;
        let BackfillSummary { applied, duplicates, refused, dead_letters, filtered, stopped } = summary;
        let took = progress.finish();
        let end = if stopped { ", stopped before its end: the next backfill of it goes on" } else { "" };
        output::complain(&format!(
            "source {}: backfilled {}: applied {applied}, duplicates {duplicates}, refused {refused}, \
             dead letters {dead_letters}, filtered {filtered} in {took}{end}",
            self.file.source(),
            self.path.display(),
        ));
        Ok(summary)
    }
}
