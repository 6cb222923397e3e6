//! A broker whose answers pass through the hands of somebody who means harm.
//!
//! ```text
//!  client <--pipe-- malice <--pipe-- development broker        each answer behind the first few is spoilt
//! ```
//! Whatever comes, a client ends in bounded time with an error that has a code, and goes on once the malice ends. Nothing
//! panics. What it takes into memory is bounded by the limit of a frame: `a_frame_over_the_limit_closes_the_connection`.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream, ReadHalf, WriteHalf, copy, duplex, split};
use tokio::time::{sleep, timeout};

use super::ledger::{Carrier, PLAIN, Ship};
use super::panics;
use super::senders::{Told, identified, send};
use super::settings::{DELIVERY, DELIVERY_GROUP, quick};
use crate::broker::DevBroker;
use crate::config::{Address, ClientConfig, Inside};
use crate::consumer::DeliveryConsumer;
use crate::order::DeliveryOrder;
use crate::producer::DeliveryProducer;
use crate::testing::Life;
use crate::{ErrorCode, Result};

/// What is done to an answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Malice {
    /// Its body is of random bytes.
    RandomBody,
    /// Random bytes follow without end.
    Garbage,
    /// It is told to have 2 GB, which then come.
    HugeLength,
    /// It is told to have fewer bytes than none.
    NegativeLength,
    /// It is too short to have a correlation number.
    TinyLength,
    /// It is the answer to nothing that was asked.
    WrongCorrelation,
    /// It comes behind the one that follows.
    OutOfOrder,
    /// It comes byte by byte.
    Drip,
    /// It never comes, and the connection stays open.
    Silence,
    /// Half of it comes.
    Half,
    /// A few of its bytes are others.
    Flipped,
    /// A length within it is huge.
    HugeArray,
}

impl Malice {
    const ALL: [Self; 12] = [
        Self::RandomBody,
        Self::Garbage,
        Self::HugeLength,
        Self::NegativeLength,
        Self::TinyLength,
        Self::WrongCorrelation,
        Self::OutOfOrder,
        Self::Drip,
        Self::Silence,
        Self::Half,
        Self::Flipped,
        Self::HugeArray,
    ];

    /// Whether nothing can be understood. Other answers may be understood, and some of them must be believed.
    fn is_plain(self) -> bool {
        !matches!(self, Self::OutOfOrder | Self::Flipped | Self::HugeArray | Self::RandomBody)
    }
}

/// Somebody between clients and broker.
#[derive(Clone)]
struct Between {
    malice: Malice,
    /// So many answers of each connection pass.
    spared: u64,
    over: Arc<AtomicBool>,
}

impl Between {
    fn config(&self, base: &ClientConfig) -> ClientConfig {
        let (between, inside) = (self.clone(), base.inside().cloned().unwrap());
        base.clone().through(Inside::new(move |address: &Address| {
            let there = inside.dial(address)?;
            let (client, near) = duplex(16 << 10);
            tokio::spawn(between.clone().sit(near, there));
            Ok(client)
        }))
    }

    async fn sit(self, near: DuplexStream, there: DuplexStream) {
        let ((mut asked, answers), (from_broker, mut to_broker)) = (split(near), split(there));
        tokio::select! {
            _ = copy(&mut asked, &mut to_broker) => {}
            _ = self.spoil(from_broker, answers) => {}
        }
    }

    async fn spoil(&self, mut from: ReadHalf<DuplexStream>, mut to: WriteHalf<DuplexStream>) -> std::io::Result<()> {
        let mut passed = 0;
        let mut held: Option<Vec<u8>> = None;
        loop {
            let length = from.read_u32().await?;
            let mut body = vec![0; length as usize];
            from.read_exact(&mut body).await?;
            passed += 1;
            if passed <= self.spared || self.over.load(Ordering::Relaxed) {
                to.write_u32(length).await?;
                to.write_all(&body).await?;
                continue;
            }
            if self.malice == Malice::OutOfOrder {
                let Some(first) = held.take() else {
                    held = Some(body);
                    continue;
                };
                for answer in [body, first] {
                    to.write_u32(answer.len() as u32).await?;
                    to.write_all(&answer).await?;
                }
                continue;
            }
            self.send_spoilt(body, &mut to).await?;
        }
    }

    async fn send_spoilt(&self, mut body: Vec<u8>, to: &mut WriteHalf<DuplexStream>) -> std::io::Result<()> {
        let length = body.len();
        let tail = body.get_mut(4..).unwrap_or_default();
        match self.malice {
            Malice::RandomBody => tail.iter_mut().for_each(|byte| *byte = fastrand::u8(..)),
            Malice::Flipped if !tail.is_empty() => {
                for _ in 0..4 {
                    let at = fastrand::usize(0..tail.len());
                    tail[at] = fastrand::u8(..);
                }
            }
            Malice::HugeArray if tail.len() > 8 => {
                let at = fastrand::usize(0..tail.len() - 5);
                tail[at..at + 5].copy_from_slice(if fastrand::bool() {
                    &[0x7f, 255, 255, 255, 254]
                } else {
                    &[255, 255, 255, 255, 15]
                });
            }
            Malice::WrongCorrelation => body[0] ^= 0x40,
            Malice::Garbage => return self.endless(to, || fastrand::u8(..)).await,
            Malice::HugeLength => {
                to.write_all(&[&2_000_000_000_u32.to_be_bytes()[..], &body[..4]].concat()).await?;
                return self.endless(to, || 0).await;
            }
            Malice::NegativeLength => return to.write_all(&[255; 64]).await,
            Malice::TinyLength => return to.write_all(&[0, 0, 0, 2, 0, 0]).await,
            Malice::Drip => {
                let frame = [&(length as u32).to_be_bytes()[..], &body].concat();
                for byte in frame {
                    to.write_all(&[byte]).await?;
                    sleep(Duration::from_millis(200)).await;
                }
                return Ok(());
            }
            Malice::Silence => return Ok(()),
            Malice::Half => {
                to.write_u32(length as u32).await?;
                return to.write_all(&body[..length / 2]).await;
            }
            Malice::OutOfOrder | Malice::Flipped | Malice::HugeArray => {}
        }
        to.write_u32(length as u32).await?;
        to.write_all(&body).await
    }

    /// Writes until the client hangs up, and counts what it took.
    async fn endless(&self, to: &mut WriteHalf<DuplexStream>, byte: impl Fn() -> u8) -> std::io::Result<()> {
        loop {
            let part: Vec<u8> = (0..1024).map(|_| byte()).collect();
            to.write_all(&part).await?;
            // The clock is paused while anybody has something to do.
            sleep(Duration::from_millis(1)).await;
        }
    }
}

fn order(n: u32) -> DeliveryOrder {
    DeliveryOrder::new(&format!("k{n}"), "02758", PLAIN, "5/30/2023").unwrap()
}

async fn stage(malice: Malice, spared: u64) -> (DevBroker, ClientConfig, Between) {
    let broker = DevBroker::builder().in_memory().topic(DELIVERY, 1).start().await.unwrap();
    let config = quick(broker.config_inside(), &mut fastrand::Rng::with_seed(spared));
    let between = Between { malice, spared, over: Arc::default() };
    (broker, config, between)
}

/// Codes that say what is wrong with a broker.
const CODES: [ErrorCode; 9] = [
    ErrorCode::Connect,
    ErrorCode::Timeout,
    ErrorCode::Disconnected,
    ErrorCode::Protocol,
    ErrorCode::BrokerTooOld,
    ErrorCode::Broker,
    ErrorCode::TooLarge,
    ErrorCode::DeliveryTimeout,
    ErrorCode::UnknownTopic,
];

async fn produce(config: &ClientConfig) -> Result<()> {
    let producer = DeliveryProducer::connect(config).await?;
    let sent = producer.send(&order(1)).await.map(drop);
    drop(producer.close().await);
    sent
}

async fn producer_meets(malice: Malice, spared: u64) {
    let (broker, config, between) = stage(malice, spared).await;
    let story = format!("{malice:?} after {spared} answers");
    let ended = timeout(Duration::from_secs(60), produce(&between.config(&config))).await;
    let ended = ended.unwrap_or_else(|_| panic!("{story}: the producer does not end"));
    match ended {
        Err(error) if malice.is_plain() => {
            assert!(CODES.contains(&error.code()), "{story}: {error}");
        }
        Ok(()) if malice.is_plain() && spared == 0 => panic!("{story}: the order was acknowledged"),
        _ => {}
    }
    assert_eq!(panics::take(), None, "{story}");
    broker.shutdown().await;
}

async fn consumer_meets(malice: Malice, spared: u64) {
    let (broker, config, between) = stage(malice, spared).await;
    let story = format!("{malice:?} after {spared} answers");
    send(config.clone(), 1, identified(1, (0..5).map(order)), 0, Told::default()).await;
    let (carrier, mut told) = (Carrier::default(), Vec::new());
    let spoilt = between.config(&config);
    let until = tokio::time::Instant::now() + Duration::from_secs(20);
    let consumer = loop {
        let ship = Ship { carrier: carrier.clone(), life: Life::new() };
        let building = DeliveryConsumer::builder(&spoilt).group(DELIVERY_GROUP).handler(ship).build();
        let built = timeout(Duration::from_secs(60), building).await;
        match built.unwrap_or_else(|_| panic!("{story}: the consumer is never built")) {
            Ok(consumer) => break consumer,
            Err(error) => {
                assert!(!malice.is_plain() || CODES.contains(&error.code()), "{story}: {error}");
                told.push(error.to_string());
                between.over.store(tokio::time::Instant::now() >= until, Ordering::Relaxed);
                sleep(Duration::from_millis(500)).await;
            }
        }
    };
    let control = consumer.control();
    let run = tokio::spawn(consumer.run(std::future::pending()));
    sleep(until.saturating_duration_since(tokio::time::Instant::now())).await;
    let (done, health) = (control.summary().settled(), control.health());
    // Orders may be handed over again and again while commits are answered with nonsense.
    let is_told = done >= 5 || !told.is_empty() || !health.is_ready();
    assert!(is_told, "{story}: nothing is told: {health}; {:?}", control.lag());
    between.over.store(true, Ordering::Relaxed);
    let has_all = async || {
        while carrier.books().effects.len() < 5 {
            sleep(Duration::from_millis(200)).await;
        }
    };
    let went_on = timeout(Duration::from_secs(90), has_all()).await;
    // A lie that can be understood is believed, and one about the log stops the partition with a reason: nothing is skipped.
    let has_stopped = !malice.is_plain() && control.health().to_string().contains("partition 0 has stopped: ");
    assert!(went_on.is_ok() || has_stopped, "{story}: it does not go on: {}", control.health());
    run.abort();
    drop(run.await);
    assert_eq!(panics::take(), None, "{story}");
    broker.shutdown().await;
}

#[tokio::test(start_paused = true)]
async fn a_producer_ends_with_an_error_in_bounded_time_whatever_a_hostile_broker_answers() {
    panics::watch();
    fastrand::seed(7);
    for malice in Malice::ALL {
        for spared in [0, 1, 2, 4] {
            producer_meets(malice, spared).await;
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_consumer_says_what_is_wrong_with_a_hostile_broker_and_goes_on_once_it_ends() {
    panics::watch();
    for (malice, seed) in Malice::ALL.into_iter().zip([7; 12]).chain([(Malice::Flipped, 0), (Malice::Flipped, 3)]) {
        fastrand::seed(seed);
        for spared in [0, 1, 2, 4, 6] {
            consumer_meets(malice, spared).await;
        }
    }
}
