//! A store that misbehaves when it is told to: it is slow, fails, or loses its answer.

use std::collections::{BTreeMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use orderflow::order::Order;
use orderflow::store::{Applied, BackOffice, Batch, Position, Start, Store, StoreIdentity, Topic};
use orderflow::{Error, ErrorCode, Result};

use crate::schedule::Mood;

/// Moods that wait for a transaction; more are not kept, as there may be no transaction for long.
const WAITING: usize = 8;

/// How the stores that share it will behave.
#[derive(Clone, Debug, Default)]
pub(crate) struct Temper(Arc<Mutex<VecDeque<Mood>>>);

impl Temper {
    fn moods(&self) -> MutexGuard<'_, VecDeque<Mood>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Puts one transaction to come into this mood.
    pub(crate) fn next(&self, mood: Mood) {
        let mut moods = self.moods();
        if moods.len() < WAITING {
            moods.push_back(mood);
        }
    }

    /// All is well again.
    pub(crate) fn clear(&self) {
        self.moods().clear();
    }

    /// A store of this temper.
    pub(crate) fn of<S>(&self, store: S) -> Shaky<S> {
        Shaky { store, temper: self.clone() }
    }
}

/// A store with a temper.
pub(crate) struct Shaky<S> {
    store: S,
    temper: Temper,
}

impl<O: Order, S: Store<O>> Store<O> for Shaky<S> {
    fn identity(&self) -> &StoreIdentity {
        self.store.identity()
    }

    fn positions(&self, topic: &Topic) -> impl Future<Output = Result<BTreeMap<i32, Position>>> + Send {
        self.store.positions(topic)
    }

    async fn apply(&self, batch: Batch<O>) -> Result<Applied> {
        let mood = self.temper.moods().pop_front();
        match mood {
            None => self.store.apply(batch).await,
            Some(Mood::Slow(time)) => {
                tokio::time::sleep(time).await;
                self.store.apply(batch).await
            }
            Some(Mood::Fails) => {
                Err(Error::new(ErrorCode::StoreIo, "the transaction fails, as a trouble wants it").retriable())
            }
            Some(Mood::LosesAnswer) => {
                self.store.apply(batch).await?;
                let sentence = "the transaction's answer is lost, as a trouble wants it";
                Err(Error::new(ErrorCode::StoreIo, sentence).retriable())
            }
        }
    }

    fn set_position(&self, topic: &Topic, start: Start) -> impl Future<Output = Result<Position>> + Send {
        self.store.set_position(topic, start)
    }

    fn close(&self) -> impl Future<Output = Result<()>> + Send {
        self.store.close()
    }

    fn back_office(&self) -> Option<Arc<dyn BackOffice>> {
        self.store.back_office()
    }
}
