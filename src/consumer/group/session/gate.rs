//! Whether the application may work for the group: asked before each join, and now and then while it is in.
//!
//! A group belongs to the store that its commits name. A member that lost its place may find another store there when it
//! comes back, and one that is in may be robbed of its group by a tool. The machine knows nothing of that: a join that is
//! not allowed fails as if the coordinator had not been reached, and is tried again; a member that is in steps aside.

use std::sync::Arc;
use std::time::Duration;

use futures::future::BoxFuture;
use tokio::sync::mpsc;
use tokio::time::Instant;

use super::News;
use crate::consumer::group::member::{Event, Silence, Tag};
use crate::{Error, ErrorCode, Result};

/// How often a member that is in looks whether it may stay.
const LOOK: Duration = Duration::from_secs(10);

/// Asks whether the application may work for the group.
pub(crate) type Admit = Arc<dyn Fn() -> BoxFuture<'static, Result<()>> + Send + Sync>;

/// Asks, if there is somebody to ask.
#[derive(Default)]
pub(super) struct Gate {
    admit: Option<Admit>,
    looking: Option<BoxFuture<'static, Result<()>>>,
    next: Option<Instant>,
}

impl Gate {
    pub(super) fn ask(&mut self, admit: Admit) {
        self.admit = Some(admit);
    }

    /// `join`, once it is allowed. What is found is told.
    pub(super) fn guard<'a>(
        &self,
        join: impl Future<Output = Event> + Send + 'a,
        news: mpsc::Sender<News>,
        (tag, within): (Tag, Duration),
    ) -> impl Future<Output = Event> + Send + 'a {
        let admit = self.admit.clone();
        async move {
            if let Some(admit) = admit {
                let late = |_| Err(Error::new(ErrorCode::Timeout, "the group's commits cannot be read").retriable());
                let trouble = tokio::time::timeout(within, admit()).await.unwrap_or_else(late).err();
                let is_refused = trouble.is_some();
                // Who does not listen any more has no use for it.
                drop(news.try_send(News::Claim { trouble }));
                if is_refused {
                    return Event::Failed { tag, silence: Silence::Withheld };
                }
            }
            join.await
        }
    }

    /// Waits until a look finds that another store has the group. Whether this member is in is for the caller to say.
    ///
    /// # Cancel safety
    /// A look that is under way goes on at the next call.
    pub(super) async fn robbed(&mut self) -> Error {
        let Some(admit) = self.admit.clone() else { return std::future::pending().await };
        loop {
            let next = *self.next.get_or_insert_with(|| Instant::now() + LOOK);
            tokio::time::sleep_until(next).await;
            let looked = self.looking.get_or_insert_with(|| admit()).await;
            (self.looking, self.next) = (None, None);
            // A look that fails is made again: nothing is known to have changed.
            if let Err(error) = looked
                && error.code() == ErrorCode::StoreClaimed
            {
                return error;
            }
        }
    }
}
