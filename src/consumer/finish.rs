//! The clean end of a run (G7): settle, commit, leave the group, relay, within the shutdown timeout.
//!
//! The group is told first, so that nothing new is given to a member that ends; it keeps what it has until it is settled
//! and committed. Partitions that are lost meanwhile are not committed.

use std::future::Future;
use std::pin::pin;
use std::time::Duration;

use tokio::time::Instant;

use super::assignment::Incarnation;
use super::commit::Committer;
use super::dispatch::{Dispatch, Step};
use super::reader::{News, Reader};
use super::run::{Commits, Run};
use crate::{Error, ErrorCode, Result};

/// A share of the shutdown timeout is kept for the last commit and the farewell.
const COMMIT_SHARE: u32 = 4;

/// What the group asked for while the run ends.
#[derive(Default)]
struct Farewell {
    revoked: Vec<(Incarnation, Vec<i32>)>,
    has_left: bool,
}

impl Farewell {
    fn hear(&mut self, news: News, committer: &Committer) {
        match news {
            News::Revoked { incarnation, partitions } => self.revoked.push((incarnation, partitions)),
            News::Lost { incarnation, partitions } => {
                committer.lost(&partitions);
                self.revoked.retain(|(revoked, _)| *revoked != incarnation);
            }
            News::Left => self.has_left = true,
            News::Joined | News::Assigned { .. } | News::Begun { .. } | News::Fetched(_) => {}
            News::Stopped { .. } | News::Failed(_) => {}
        }
    }

    /// Does `work` while what the group says is heard.
    async fn beside<T>(&mut self, reader: &mut Reader, committer: &Committer, work: impl Future<Output = T>) -> T {
        let mut work = pin!(work);
        loop {
            tokio::select! {
                biased;
                done = &mut work => return done,
                news = reader.next() => self.hear(news, committer),
            }
        }
    }

    /// Gives everything back and waits until the group is left.
    async fn leave(&mut self, reader: &mut Reader, committer: &Committer) {
        while !self.has_left {
            for (incarnation, partitions) in std::mem::take(&mut self.revoked) {
                reader.released(incarnation, &partitions);
            }
            let news = reader.next().await;
            self.hear(news, committer);
        }
    }
}

impl Run {
    pub(super) async fn finish(&mut self, mut reader: Reader) -> Result<()> {
        let within = self.config.shutdown_timeout;
        let deadline = Instant::now() + within;
        let left = || deadline.saturating_duration_since(Instant::now());
        let mut farewell = Farewell::default();
        self.companion.iter_mut().for_each(|companion| companion.ending());
        let is_member = reader.leave(within);
        self.dispatch.finish();
        let most = within - within / COMMIT_SHARE;
        let idle = tokio::time::timeout(most, idle(&mut *self.dispatch));
        let (committer, fetching) = (self.committer.clone(), most);
        reader.stop_fetching(fetching).await;
        let idle = farewell.beside(&mut reader, &committer, idle).await;
        let committed = farewell.beside(&mut reader, &committer, committer.flush(left())).await;
        if is_member {
            drop(tokio::time::timeout(left(), farewell.leave(&mut reader, &committer)).await);
        }
        reader.finish(left()).await;
        self.committer.finish(left()).await;
        self.dispatch.record();
        self.control.flights().finish().await;
        let relayed = match &mut self.companion {
            Some(companion) => companion.finish(left()).await,
            None => Ok(()),
        };
        self.dispatch.close().await?;
        match idle {
            Ok(finished) => finished?,
            Err(_) => return Err(cut_short("orders in hand were not finished", within)),
        }
        match (committed, self.commits) {
            (true, _) => relayed,
            (false, Commits::Positions) => Err(cut_short("positions were not committed", within)),
            (false, Commits::News) => {
                tracing::warn!("positions were not committed to Kafka; the store has them");
                relayed
            }
        }
    }
}

async fn idle(dispatch: &mut dyn Dispatch) -> Result<()> {
    while !dispatch.is_idle() {
        if let Step::Failed(error) = dispatch.step().await {
            return Err(error);
        }
    }
    Ok(())
}

fn cut_short(what: &str, within: Duration) -> Error {
    let sentence = format!("the stop was cut short after {} ms: {what}", within.as_millis());
    Error::new(ErrorCode::Timeout, sentence).remedy("they come again with the next run; raise shutdown.timeout.ms")
}
