//! A producer against the model cluster under seeded faults: every order is written once, in order, or told as failed.

use std::time::Duration;

use super::model::{Model, Verdict, to};
use crate::wire::kafka_error::KafkaError;

const PARTITIONS: usize = 3;
const ORDERS: usize = 150;

fn fault(chance: &mut fastrand::Rng) -> Verdict {
    match chance.u8(0..30) {
        0 => Verdict::Refuse(KafkaError::NotLeaderOrFollower),
        1 => Verdict::AppendAndRefuse(KafkaError::NotLeaderOrFollower),
        2 => Verdict::AppendAndRefuse(KafkaError::NotEnoughReplicasAfterAppend),
        3 => Verdict::Refuse(KafkaError::NotEnoughReplicas),
        4 => Verdict::LoseRequest,
        5 => Verdict::LoseAnswer,
        6 => Verdict::Delay(Duration::from_millis(chance.u64(1..20_000))),
        7 => Verdict::Throttle(Duration::from_millis(chance.u64(1..3000))),
        8 => Verdict::Refuse(KafkaError::InvalidRequiredAcks),
        9 if chance.u8(0..4) == 0 => Verdict::Hang,
        _ => Verdict::Serve,
    }
}

async fn run(seed: u64) -> (usize, usize) {
    let mut chance = fastrand::Rng::with_seed(seed);
    let model = Model::new(PARTITIONS);
    let mut script = chance.fork();
    model.script(move |_| fault(&mut script));
    let settings = [
        ("batch.size", "1024"),
        ("buffer.memory", "65536"),
        ("delivery.timeout.ms", "8000"),
        ("request.timeout.ms", "2000"),
        ("max.block.ms", "600000"),
    ];
    let producer = model.producer(&settings);
    let mut pendings = Vec::new();
    for number in 0..ORDERS {
        let value = format!("{number:04}{}", if chance.u8(0..40) == 0 { "" } else { "xxxxxxxxxxxxxxxxxxxx" });
        let value = if chance.u8(0..60) == 0 { format!("bad{number}") } else { value };
        let partition = number % PARTITIONS;
        pendings.push((partition, value.clone(), producer.enqueue(to(partition as i32, &value)).await.unwrap()));
        match chance.u8(0..20) {
            0 => model.lead(chance.usize(0..PARTITIONS), [None, Some(1), Some(2), Some(2)][chance.usize(0..4)]),
            1..=8 => tokio::time::sleep(Duration::from_millis(chance.u64(0..30))).await,
            9 => tokio::time::sleep(Duration::from_secs(chance.u64(0..5))).await,
            _ => {}
        }
    }
    model.script(|_| Verdict::Serve);
    (0..PARTITIONS).for_each(|partition| model.lead(partition, Some(1)));
    let (mut written, mut failed) = (0, 0);
    for (partition, value, pending) in pendings {
        let log = model.log(partition);
        match pending.await {
            Ok(receipt) => {
                written += 1;
                let log = model.log(partition);
                assert!(log.contains(&value), "seed {seed}: {value} has a receipt and is not in the log");
                let at = receipt.offset.map(|offset| log[usize::try_from(offset).unwrap()].clone());
                assert!(at.is_none_or(|at| at == value), "seed {seed}: {value} is not at {:?}", receipt.offset);
            }
            Err(error) => {
                failed += 1;
                let doubt = error.possibly_written();
                assert!(doubt || !log.contains(&value), "seed {seed}: {value} is in the log: {error}");
            }
        }
    }
    // Whatever is still on its way must be shut out.
    tokio::time::sleep(Duration::from_secs(60)).await;
    for partition in 0..PARTITIONS {
        let log = model.log(partition);
        let distinct = log.windows(2).all(|pair| pair[0] < pair[1]);
        assert!(distinct, "seed {seed}: partition {partition} is doubled or reordered: {log:?}");
    }
    assert_eq!(producer.buffered_bytes(), 0, "seed {seed}");
    producer.send(to(0, "9999")).await.unwrap();
    (written, failed)
}

#[tokio::test(start_paused = true)]
async fn under_faults_every_order_is_written_once_in_order_or_told_as_failed() {
    let (mut written, mut failed) = (0, 0);
    for seed in 0..150 {
        let (w, f) = run(seed).await;
        written += w;
        failed += f;
    }
    assert!(written > 10_000 && failed > 200, "{written} written, {failed} failed");
}
