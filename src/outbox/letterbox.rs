//! The dead letters of consumers without a store, written before the position moves.

use futures::FutureExt;
use futures::future::BoxFuture;

use super::topics::Topics;
use crate::Result;
use crate::consumer::letterbox::Letterbox;
use crate::store::SetAside;

impl Letterbox for Topics {
    fn post(&self, letter: SetAside) -> BoxFuture<'static, Result<()>> {
        let topics = self.clone();
        async move { Topics::post(&topics, &letter).await?.await.map(drop) }.boxed()
    }
}
