//! One request with what is needed to answer it.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use tokio::sync::Notify;

use super::answer::Answer;
use super::faults::{Ruling, Target, Verdict};
use super::state::Shared;
use crate::wire::kafka_error::KafkaError;
use crate::wire::message::{ApiKey, CodecError, Encode, Reader, Request, RequestHeader, Shape, encode_body};

/// A request that came in.
#[derive(Debug)]
pub(super) struct Call {
    pub(super) shared: Arc<Shared>,
    /// The node that was asked.
    pub(super) node: i32,
    /// The address that the client came from.
    pub(super) peer: Arc<str>,
    pub(super) api: ApiKey,
    pub(super) header: RequestHeader,
    pub(super) body: Bytes,
    /// What wakes the connection when it waits for a partition.
    pub(super) waiter: Arc<Notify>,
}

/// How an API refuses a request as a whole, so that faults can fall on it.
pub(super) trait Serve: Request {
    /// The answer that refuses all of it.
    fn refuse(&self, error: KafkaError) -> Self::Response;

    /// Tells the client to hold back.
    fn throttle(response: &mut Self::Response, time_ms: i32);
}

/// What is to be done after a request was served.
#[derive(Debug)]
pub(super) struct Served {
    /// What to send, unless the client wants no answer.
    pub(super) answer: Option<Answer>,
    pub(super) ruling: Ruling,
}

/// Why a connection is closed.
#[derive(Debug)]
pub(super) enum Close {
    /// The request cannot be understood, or cannot be refused in any other way.
    Unanswerable(String),
    /// A fault wants it.
    Fault(Verdict),
}

impl From<CodecError> for Close {
    fn from(error: CodecError) -> Self {
        Self::Unanswerable(error.to_string())
    }
}

impl Call {
    pub(super) fn version(&self) -> i16 {
        self.header.api_version
    }

    /// The request. Bytes behind it are no error, as to Apache Kafka: librdkafka 2.0 sends some behind ListGroups version 4.
    pub(super) fn decode<R: Request>(&mut self) -> Result<R, Close> {
        if !R::VERSIONS.contains(self.version()) {
            return Err(Close::Unanswerable(format!("{} version {}", self.api, self.version())));
        }
        let shape = Shape::new(self.version(), R::FLEXIBLE_FROM);
        Ok(R::decode(&mut Reader::new(std::mem::take(&mut self.body), shape))?)
    }

    /// How bodies of this request's version are laid out.
    pub(super) fn shape(&self) -> Shape {
        Shape::new(self.version(), self.api.flexible_from())
    }

    /// An answer that has its header.
    pub(super) fn answer(&self) -> Answer {
        Answer::new(self.api, self.version(), self.header.correlation_id)
    }

    /// Appends a body in this request's version.
    pub(super) fn encode(&self, body: &impl Encode, answer: &mut Answer) -> Result<(), CodecError> {
        encode_body(body, self.version(), self.api.flexible_from(), answer.encoded())
    }

    /// Asks the faults, and waits as long as they want.
    pub(super) async fn judge(&self, touches: impl Fn(&Target) -> bool) -> Result<Ruling, Close> {
        let ruling = self.shared.faults.judge(self.node, self.api, touches);
        match ruling.verdict {
            verdict if verdict.prevents() => Err(Close::Fault(verdict)),
            Verdict::Delay(time) => {
                tokio::time::sleep(time).await;
                Ok(ruling)
            }
            Verdict::Hold => {
                ruling.uninstalled().await;
                Ok(ruling)
            }
            _ => Ok(ruling),
        }
    }

    /// Serves a request that is answered by one message.
    pub(super) async fn serve<R, F>(mut self, respond: impl FnOnce(Arc<Self>, R) -> F) -> Result<Served, Close>
    where
        R: Serve,
        F: Future<Output = R::Response>,
    {
        let request: R = self.decode()?;
        let ruling = self.judge(Target::is_everything).await?;
        let call = Arc::new(self);
        let mut response = match ruling.verdict {
            Verdict::Error(error) => request.refuse(error),
            Verdict::ErrorAfter(error) => {
                respond(call.clone(), request.clone()).await;
                request.refuse(error)
            }
            _ => respond(call.clone(), request).await,
        };
        if let Verdict::Throttle(time) = ruling.verdict {
            R::throttle(&mut response, millis(time));
        }
        let mut answer = call.answer();
        call.encode(&response, &mut answer)?;
        Ok(Served { answer: Some(answer), ruling })
    }
}

impl Ruling {
    /// The error that is to stand for this partition before anything is applied to it.
    pub(super) fn refusal(&self, topic: &str, partition: i32) -> Option<KafkaError> {
        match self.verdict {
            Verdict::Error(error) if self.target.includes(topic, partition) => Some(error),
            _ => None,
        }
    }

    /// The error that is to stand for this partition although the request was applied to it.
    pub(super) fn denial(&self, topic: &str, partition: i32) -> Option<KafkaError> {
        match self.verdict {
            Verdict::ErrorAfter(error) if self.target.includes(topic, partition) => Some(error),
            _ => None,
        }
    }

    /// Whether the batch for this partition is to be answered as one that was there before.
    pub(super) fn repeats(&self, topic: &str, partition: i32) -> bool {
        self.verdict == Verdict::Duplicate && self.target.includes(topic, partition)
    }

    pub(super) fn throttle_time_ms(&self) -> i32 {
        match self.verdict {
            Verdict::Throttle(time) => millis(time),
            _ => 0,
        }
    }
}

fn millis(time: Duration) -> i32 {
    i32::try_from(time.as_millis()).unwrap_or(i32::MAX)
}
