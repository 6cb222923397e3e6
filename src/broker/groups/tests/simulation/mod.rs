//! A seeded simulation of whole groups: our members' machines, both protocols, against the coordinator's in virtual time.
//!
//! Messages are lost, late or doubled; the coordinator moves and restarts; members stop and wake, die, come and go, share
//! a name, are too slow; topics grow. Then all is calm, members still come and go, and everything must go well.
//!
//! ```text
//!  GROUP_SEED=7 cargo test --lib one_seed_is_replayed -- --nocapture     one seed, with what happened when it fails
//!  GROUP_SEEDS=10000 cargo test --lib every_seed_keeps_the_invariants    as many seeds as wanted
//! ```

mod coordinator;
mod driver;
mod judge;
mod network;
mod plant;
mod process;
mod script;
mod store;
mod world;

use self::plant::Plant;
use self::world::{Broken, World};
use crate::place::TopicId;

const GROUP: &str = "shipping";
const ORDERS: TopicId = TopicId::new([1; 16]);

/// Seeds of the short form.
const FEW: u64 = 40;

/// Within so many seeds a planted bug must show.
const SOON: u64 = 40;

fn setting(name: &str) -> Option<u64> {
    std::env::var(name).ok().map(|value| value.parse().unwrap_or_else(|_| panic!("{name} is a number, not {value}")))
}

fn run(seed: u64) -> Option<(Broken, Vec<String>)> {
    World::new(seed, None).run().err()
}

#[test]
fn every_seed_keeps_the_invariants() {
    let first = setting("GROUP_FIRST_SEED").unwrap_or(0);
    let last = first + setting("GROUP_SEEDS").unwrap_or(FEW);
    let threads = std::thread::available_parallelism().map_or(1, usize::from);
    let mut broken: Vec<(u64, Broken)> = std::thread::scope(|scope| {
        let part = |thread: u64| (first + thread..last).step_by(threads).filter_map(|seed| Some((seed, run(seed)?.0)));
        let running: Vec<_> =
            (0..threads as u64).map(|thread| scope.spawn(move || part(thread).collect::<Vec<_>>())).collect();
        running.into_iter().flat_map(|thread| thread.join().unwrap()).collect()
    });
    broken.sort_by_key(|(seed, _)| *seed);
    let broken: Vec<String> = broken
        .iter()
        .map(|(seed, broken)| format!("GROUP_SEED={seed} breaks `{}`: {}", broken.invariant, broken.detail))
        .collect();
    assert!(
        broken.is_empty(),
        "{} seeds, of which the first are:\n{}",
        broken.len(),
        broken[..broken.len().min(20)].join("\n")
    );
}

#[test]
fn one_seed_is_replayed() {
    let seed = setting("GROUP_SEED").unwrap_or(1);
    if let Err((broken, trace)) = World::new(seed, None).traced().run() {
        panic!("{}\nseed {seed} breaks `{}`: {}", trace.join("\n"), broken.invariant, broken.detail);
    }
}

#[test]
fn a_seed_decides_everything() {
    let plant = Some(Plant::StoreWithoutCompareAndSet);
    let run = |seed| World::new(seed, plant).traced().run().err();
    let first = (0..SOON).find_map(|seed| Some((seed, run(seed)?))).expect("a bug that shows");
    assert_eq!(run(first.0), Some(first.1));
}

/// The invariants that a planted bug breaks.
fn caught(plant: Plant, expected: &[&str]) {
    let found = (0..SOON).find_map(|seed| Some((seed, World::new(seed, Some(plant)).run().err()?.0)));
    let (seed, broken) = found.unwrap_or_else(|| panic!("{plant:?} does not show within {SOON} seeds"));
    assert!(expected.contains(&broken.invariant), "seed {seed}: {plant:?} breaks {broken:?}");
}

#[test]
fn the_simulation_catches_a_commit_after_revoke() {
    caught(Plant::CommitAfterRevoke, &["no commit after lost or given back"]);
}

#[test]
fn the_simulation_catches_a_missing_owned_set() {
    caught(Plant::MissingOwnedSet, &["nothing is lost while nothing goes wrong", "progress resumes in bounded time"]);
}

#[test]
fn the_simulation_catches_a_stale_epoch_that_is_accepted() {
    caught(Plant::StaleEpochAccepted, &["only its owner commits a partition"]);
}

#[test]
fn the_simulation_catches_an_old_answer_that_is_believed() {
    caught(Plant::OldAnswerBelieved, &["no two members own a partition in one epoch"]);
}

#[test]
fn the_simulation_catches_a_rejoin_without_member_id() {
    caught(Plant::RejoinWithoutMemberId, &["progress resumes in bounded time", "no member fails"]);
}

#[test]
fn the_simulation_catches_a_heartbeat_during_sync() {
    caught(Plant::HeartbeatDuringSync, &["nothing is lost without a cause"]);
}

#[test]
fn the_simulation_catches_a_coordinator_that_believes_claims() {
    let expected = ["no two members own a partition in one epoch", "only its owner commits a partition"];
    caught(Plant::ClaimsBelieved, &expected);
}

#[test]
fn the_simulation_catches_a_static_member_that_gives_up_its_place() {
    caught(Plant::PlaceGivenUp, &["a static member's restart moves nothing"]);
}

#[test]
fn the_simulation_catches_a_store_without_compare_and_set() {
    caught(Plant::StoreWithoutCompareAndSet, &["every record is applied once"]);
}

#[test]
fn the_simulation_catches_a_release_that_is_forgotten() {
    caught(Plant::ReleaseForgotten, &["nothing is lost while nothing goes wrong", "progress resumes in bounded time"]);
}
