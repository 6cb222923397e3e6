//! The dead letters of consumers without a store, written before the position moves.

use futures::FutureExt;
use futures::future::BoxFuture;

use super::topics::Topics;
use crate::consumer::letterbox::Letterbox;
use crate::place::Place;
use crate::store::SetAside;
use crate::{Error, ErrorCode, Result};

impl Letterbox for Topics {
    fn post(&self, letter: SetAside) -> BoxFuture<'static, Result<()>> {
        let topics = self.clone();
        async move {
            let written = match Topics::post(&topics, &letter).await {
                Ok(pending) => pending.await,
                Err(error) => Err(error),
            };
            written.map(drop).map_err(|error| match error.code() {
                ErrorCode::TooLarge => too_large(error, &topics.of(&letter)),
                _ => error,
            })
        }
        .boxed()
    }
}

/// No store keeps the record, so nothing of it may be left out: its partition stops.
fn too_large(error: Error, topic: &str) -> Error {
    Error::new(ErrorCode::TooLarge, "the record is too large for its dead-letter topic").at(Place::topic(topic)).remedy(format!(
        "raise max.request.size here, and `kafka-configs --alter --topic {topic} --add-config max.message.bytes=BYTES`"
    )).caused_by(error)
}
