//! What the accumulator promises: bounds, when a batch goes, the end.

use std::collections::BTreeMap;
use std::time::Duration;

use tokio::time::Instant;

use super::*;
use crate::ErrorCode;
use crate::cluster::PartitionView;
use crate::config::ClientConfig;
use crate::place::TopicId;
use crate::producer::idempotence::Trace;
use crate::producer::receipt::Verdict;
use crate::wire::compression::Compressor;
use crate::wire::kafka_error::KafkaError;

const NODE: Node = 1;
const LINGER: Duration = Duration::from_millis(100);

/// An accumulator, its clock, and what its sender would know.
struct Bench {
    accumulator: Accumulator,
    now: Instant,
    /// The batches of the requests under way, oldest first.
    under_way: VecDeque<Vec<(i32, BatchId)>>,
    /// How many orders were told what, by partition.
    written: BTreeMap<i32, u32>,
    failed: Vec<(ErrorCode, bool, u32)>,
}

impl Bench {
    fn new(partitions: usize, settings: &[(&str, &str)]) -> Self {
        let config =
            settings.iter().fold(ClientConfig::new("none:1"), |config, (key, value)| config.set(key, *value).unwrap());
        let mut accumulator = Accumulator::new(Settings::new(&config), "orders".into(), 7);
        let led = PartitionView { leader: Some(NODE), leader_epoch: 0, replicas: 1 };
        let view = TopicView { name: "orders".into(), id: TopicId::NONE, partitions: vec![led; partitions] };
        accumulator.follow(&view);
        let (written, failed) = (BTreeMap::new(), Vec::new());
        Self { accumulator, now: Instant::now(), under_way: VecDeque::new(), written, failed }
    }

    fn append(&mut self, partition: i32, value_len: usize) -> Result<Accepted, Refused> {
        self.append_in_turn(Turn::Last, partition, value_len)
    }

    fn append_in_turn(&mut self, turn: Turn, partition: i32, value_len: usize) -> Result<Accepted, Refused> {
        let parts = RecordParts { key: None, headers: &[], value_len: Some(value_len) };
        let now = self.now;
        let write = |out: &mut Vec<u8>| out.resize(out.len() + value_len, b'x');
        self.accumulator.append(turn, || now, (Target::Partition(partition), 0), &parts, write)
    }

    /// Takes the next request, and gives its batches' partitions and sizes.
    fn ship(&mut self) -> Option<Vec<(i32, usize)>> {
        let shipment = self.accumulator.plan(NODE, self.now)?;
        let mut sizes = Vec::new();
        let mut batches = Vec::new();
        for parcel in shipment.parcels {
            let closed = match parcel.load {
                Load::Again(closed) => closed,
                Load::Fresh(builder, stamp) => {
                    let closed = builder.close_stamped(&mut Compressor::new(), stamp);
                    self.accumulator.keep(parcel.partition, parcel.batch, closed.clone());
                    closed
                }
            };
            sizes.push((parcel.partition, closed.len()));
            batches.push((parcel.partition, parcel.batch));
        }
        self.under_way.push_back(batches);
        Some(sizes)
    }

    /// Answers the oldest request. Returns whether there was one.
    fn answer(&mut self, mut reply: impl FnMut() -> Reply) -> bool {
        let Some(batches) = self.under_way.pop_front() else { return false };
        let answers = batches.into_iter().map(|(partition, batch)| Answered { partition, batch, reply: reply() });
        let done = self.accumulator.answered(NODE, answers.collect(), (self.now, Duration::ZERO, 0.5));
        self.tell(done);
        true
    }

    fn tell(&mut self, done: Done) {
        for (outcome, first, count, verdict) in done.verdicts {
            match &verdict {
                Verdict::Written { .. } => *self.written.entry(outcome.at().partition).or_default() += count,
                Verdict::Failed(failure) => {
                    let error = failure.error(outcome.at());
                    self.failed.push((error.code(), error.possibly_written(), count));
                }
            }
            outcome.settle(first, count, verdict);
        }
    }

    fn pass(&mut self, time: Duration) {
        self.now += time;
    }
}

fn written() -> Reply {
    Reply::Written { base_offset: Some(0), append_time: None }
}

fn lost() -> Reply {
    Reply::Lost(Arc::new(Failure::new(ErrorCode::Disconnected, "gone")), Trace::Possible)
}

fn refused(error: KafkaError) -> Reply {
    Reply::Refused { error, words: None, records: Vec::new() }
}

#[tokio::test]
async fn a_batch_is_closed_by_its_size_and_goes_without_waiting_for_linger() {
    let mut bench = Bench::new(1, &[("batch.size", "1024"), ("linger.ms", "100")]);
    for _ in 0..8 {
        bench.append(0, 110).unwrap();
    }
    assert_eq!(bench.ship(), None, "it would take one more");
    bench.append(0, 110).unwrap();
    let sizes = bench.ship().unwrap();
    assert!(sizes.len() == 1 && (900..=1024).contains(&sizes[0].1), "{sizes:?}");
    assert_eq!(bench.ship(), None, "the next one lingers");
    assert_eq!(bench.accumulator.next_look(NODE, bench.now), Some(bench.now + LINGER));
    bench.answer(written);
    assert_eq!(bench.written[&0], 8);
}

#[tokio::test]
async fn a_batch_that_is_not_full_goes_after_linger_but_not_while_another_is_on_its_way() {
    let mut bench = Bench::new(2, &[("linger.ms", "100")]);
    bench.append(0, 10).unwrap();
    assert_eq!(bench.ship(), None);
    bench.pass(LINGER);
    assert!(bench.ship().is_some());
    bench.append(1, 10).unwrap();
    bench.pass(LINGER);
    assert_eq!(bench.ship(), None, "it grows while the leader is busy");
    bench.answer(written);
    assert!(bench.ship().is_some());
}

#[tokio::test]
async fn a_flush_and_whoever_waits_for_room_make_every_batch_urgent() {
    let mut bench = Bench::new(1, &[("linger.ms", "100")]);
    bench.append(0, 10).unwrap();
    let (outcomes, nodes) = bench.accumulator.hurry();
    assert_eq!((outcomes.len(), nodes), (1, vec![NODE]));
    assert!(bench.ship().is_some());
    bench.answer(written);
    bench.append(0, 10).unwrap();
    assert_eq!(bench.ship(), None, "what comes after the flush is not in a hurry");
    assert_eq!(bench.accumulator.wait_for_room(), [NODE]);
    assert!(bench.ship().is_some());
}

#[tokio::test]
async fn who_comes_while_others_wait_for_room_takes_none_from_them() {
    let mut bench = Bench::new(1, &[("buffer.memory", "65536")]);
    bench.append(0, 60_000).unwrap();
    assert_eq!(bench.append(0, 10_000).unwrap_err(), Refused::NoRoom);
    bench.accumulator.wait_for_room();
    assert_eq!(bench.append(0, 10).unwrap_err(), Refused::NoRoom, "it would fit, but it is not its turn");
    assert!(bench.append_in_turn(Turn::Next, 0, 10).is_ok());
    bench.accumulator.stop_waiting();
    assert!(bench.append(0, 10).is_ok());
}

#[tokio::test]
async fn an_order_beyond_the_largest_request_is_refused_and_one_beyond_the_buffer_goes_alone() {
    let mut bench = Bench::new(1, &[("buffer.memory", "65536"), ("max.request.size", "100000")]);
    assert!(matches!(bench.append(0, 100_000).unwrap_err(), Refused::TooLarge(size) if size > 100_000));
    assert_eq!(bench.append(9, 10).unwrap_err(), Refused::NoPartition);
    assert_eq!(bench.accumulator.used(), 0);
    bench.append(0, 90_000).unwrap();
    assert_eq!(bench.append(0, 10).unwrap_err(), Refused::NoRoom);
    bench.ship().unwrap();
    bench.answer(written);
    bench.append(0, 10).unwrap();
    assert_eq!(bench.append(0, 90_000).unwrap_err(), Refused::NoRoom, "not beside another");
}

#[tokio::test]
async fn no_request_is_larger_than_allowed_and_every_partition_has_its_turn() {
    let mut bench = Bench::new(7, &[("max.request.size", "4096"), ("batch.size", "1024")]);
    let mut shipped = [0; 7];
    for _ in 0..20 {
        for partition in 0..7 {
            bench.append(partition, 900).unwrap();
        }
    }
    while let Some(sizes) = bench.ship() {
        assert!(sizes.iter().map(|(_, size)| size).sum::<usize>() <= 4096, "{sizes:?}");
        sizes.iter().for_each(|(partition, _)| shipped[*partition as usize] += 1);
        let (least, most) = (shipped.iter().min().unwrap(), shipped.iter().max().unwrap());
        assert!(most - least <= 2, "{shipped:?}");
        bench.answer(written);
    }
    assert_eq!(shipped, [20; 7]);
}

#[tokio::test]
async fn five_requests_are_under_way_to_a_leader_and_no_more() {
    let mut bench = Bench::new(1, &[("batch.size", "1024")]);
    for _ in 0..20 {
        bench.append(0, 900).unwrap();
    }
    assert!(bench.ship().is_some());
    assert_eq!(bench.ship(), None, "until the broker knows the producer there is one");
    bench.answer(written);
    let begun = std::iter::from_fn(|| bench.ship()).count();
    assert_eq!(begun, 5);
    bench.answer(written);
    assert!(bench.ship().is_some() && bench.ship().is_none());
}

#[tokio::test]
async fn a_leader_that_wants_to_be_left_alone_gets_nothing_until_then() {
    let mut bench = Bench::new(1, &[]);
    bench.append(0, 10).unwrap();
    bench.ship().unwrap();
    let batches = bench.under_way.pop_front().unwrap();
    let answers = batches.into_iter().map(|(partition, batch)| Answered { partition, batch, reply: written() });
    let muted = Duration::from_secs(3);
    let done = bench.accumulator.answered(NODE, answers.collect(), (bench.now, muted, 0.5));
    bench.tell(done);
    assert_eq!(bench.written[&0], 1, "the throttled answer counts");
    bench.append(0, 10).unwrap();
    bench.pass(muted - Duration::from_millis(1));
    assert_eq!(bench.ship(), None);
    assert_eq!(bench.accumulator.next_look(NODE, bench.now), Some(bench.now + Duration::from_millis(1)));
    bench.pass(Duration::from_millis(1));
    assert!(bench.ship().is_some());
}

#[tokio::test]
async fn giving_up_tells_each_order_once_whether_it_may_be_written_and_takes_no_more() {
    let mut bench = Bench::new(2, &[("batch.size", "1024")]);
    for _ in 0..3 {
        bench.append(0, 900).unwrap();
    }
    bench.ship().unwrap();
    bench.append(1, 10).unwrap();
    bench.append(1, 10).unwrap();
    let done = bench.accumulator.abandon(bench.now);
    assert!(done.freed);
    bench.tell(done);
    bench.failed.sort_unstable_by_key(|(_, possibly, count)| (*possibly, *count));
    let closed = ErrorCode::Closed;
    assert_eq!(bench.failed, [(closed, false, 1), (closed, false, 1), (closed, false, 2), (closed, true, 1)]);
    assert_eq!(bench.append(0, 10).unwrap_err(), Refused::Closed);
    assert!(bench.accumulator.used() > 0, "what is on its way is still held");
    bench.answer(written);
    assert_eq!(bench.accumulator.used(), 0);
    assert!(bench.written.is_empty(), "its orders were told already");
    let again = bench.accumulator.abandon(bench.now);
    assert!(again.verdicts.is_empty());
}

#[tokio::test]
async fn what_is_older_than_the_delivery_timeout_is_given_up_and_what_is_younger_is_not() {
    let mut bench = Bench::new(1, &[("batch.size", "1024"), ("delivery.timeout.ms", "1000")]);
    bench.append(0, 900).unwrap();
    bench.pass(Duration::from_millis(400));
    bench.append(0, 900).unwrap();
    let (done, next) = bench.accumulator.expire(bench.now);
    assert_eq!((done.verdicts.len(), next), (0, Some(bench.now + Duration::from_millis(600))));
    bench.pass(Duration::from_millis(600));
    let (done, next) = bench.accumulator.expire(bench.now);
    bench.tell(done);
    assert_eq!(bench.failed, [(ErrorCode::DeliveryTimeout, false, 1)]);
    assert_eq!(next, Some(bench.now + Duration::from_millis(400)));
    bench.ship().unwrap();
    bench.answer(written);
    assert_eq!(bench.accumulator.expire(bench.now).1, None, "nothing is left to watch");
    assert!(bench.append(0, 10).unwrap().watch, "the next one begins the watch again");
}

/// Whatever is accepted, sent, answered, cut or given up: each order is told once, and every byte is given back.
#[tokio::test]
async fn memory_is_bounded_and_given_back_and_every_order_is_told_once_whatever_happens() {
    for seed in 0..200 {
        let mut chance = fastrand::Rng::with_seed(seed);
        let mut bench =
            Bench::new(3, &[("batch.size", "1024"), ("buffer.memory", "65536"), ("delivery.timeout.ms", "5000")]);
        let mut accepted = 0;
        for _ in 0..400 {
            match chance.u8(0..10) {
                0..5 => {
                    let (partition, value_len) = (chance.i32(0..3), chance.usize(0..2000));
                    accepted += u32::from(bench.append(partition, value_len).is_ok());
                }
                5..7 => drop(bench.ship()),
                7..9 => {
                    let kind = chance.u8(0..6);
                    bench.answer(|| match kind {
                        0 => lost(),
                        1 => refused(KafkaError::MessageTooLarge),
                        2 => refused(KafkaError::NotEnoughReplicas),
                        3 => refused(KafkaError::OutOfOrderSequenceNumber),
                        _ => written(),
                    });
                }
                _ => {
                    bench.pass(Duration::from_millis(chance.u64(0..700)));
                    let done = bench.accumulator.expire(bench.now).0;
                    bench.tell(done);
                }
            }
            // Whoever finds nothing to do now is told when there will be, asked with the same moment: no batch is forgotten.
            let (now, queue) = (bench.now, &bench.accumulator);
            if bench.under_way.is_empty() && queue.used() > 0 && !queue.is_wanted(NODE, now) {
                assert!(queue.next_look(NODE, now).is_some_and(|look| look > now), "seed {seed}");
            }
            // A batch that is cut in two has a header more; a buffer of this size holds fewer than 1,100 batches.
            assert!(bench.accumulator.used() <= 65_536 + 1100 * BATCH_OVERHEAD, "seed {seed}");
        }
        let done = bench.accumulator.abandon(bench.now);
        bench.tell(done);
        while bench.answer(written) {}
        assert_eq!(bench.accumulator.used(), 0, "seed {seed}");
        let told = bench.written.values().sum::<u32>() + bench.failed.iter().map(|(_, _, count)| count).sum::<u32>();
        assert_eq!(told, accepted, "seed {seed}");
    }
}
