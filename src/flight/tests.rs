//! The recorder with machines that a test drives.

use std::time::Duration;

use proptest::prelude::*;
use serde_json::{Value, json};

use super::replay::{Replay, Verdict, emit_test, replay};
use super::*;
use crate::consumer::breaker::{Breaker, BreakerConfig, Effect, Event};
use crate::consumer::ledger::{Ledger, RecordedLedger, Taken};
use crate::producer::idempotence::{Answer, Event as BatchEvent, Lane, Trace};
use crate::store::Settled;

const RING: usize = 64 << 10;

fn files(max_bytes: usize, files: usize, folder: &std::path::Path) -> Files {
    let config = FlightConfig { max_bytes, files, ids: Ids::Hashed, folder: None };
    Files::new(config, "shipping", Some(&folder.join("inventory.redb")))
}

/// What a recorder holds, as a file has it.
fn written(recorder: &Recorder) -> String {
    let held = recorder.held().unwrap();
    let header = json!({
        "flight": FORMAT, "version": "0.1.0", "because": "asked", "written": 1_763_881_200_123_i64, "began": 0,
        "ids": "hashed", "lost": held.lost,
    });
    format!("{header}\n{}", String::from_utf8(held.lines).unwrap())
}

fn again(recording: &str) -> Replay {
    replay(recording.as_bytes()).unwrap()
}

fn differences(replay: &Replay) -> Vec<u64> {
    replay.differences().map(|step| step.line).collect()
}

fn breaker(recorder: &Recorder) -> Recorded<Breaker> {
    recorder.watch(Breaker::new(BreakerConfig { consecutive: 3, percent: 0, window: 10 }), Some(7))
}

/// Two failing records, a hundred that go through, three failing ones: the last trips it, and goes through later.
fn trip(breaker: &mut Recorded<Breaker>) {
    (0..2).for_each(|offset| assert_eq!(breaker.take(Event::Failing(offset)), Effect::Pass));
    (2..102).for_each(|offset| assert!(!breaker.decided(offset, true)));
    let effects: Vec<_> = (102..105).map(|offset| breaker.take(Event::Failing(offset))).collect();
    assert_eq!(effects, [Effect::Pass, Effect::Pass, Effect::Hold(0)]);
    assert_eq!(breaker.take(Event::Failing(104)), Effect::Hold(1));
    assert!(breaker.decided(104, true));
}

#[tokio::test(start_paused = true)]
async fn what_a_machine_did_is_done_again_and_what_went_through_has_no_line() {
    let recorder = Recorder::new(RING);
    let mut breaker = breaker(&recorder);
    trip(&mut breaker);
    tokio::time::advance(Duration::from_millis(1500)).await;
    recorder.note(&json!({"concern": "Store"}));
    let recording = written(&recorder);
    let replay = again(&recording);
    assert_eq!(differences(&replay), [0_u64; 0], "{replay}");
    // Its first state, two failures, the state after what went through, three failures, the probe and its success.
    assert_eq!((replay.steps.len(), replay.same()), (1 + 2 + 1 + 3 + 2 + 1, 7), "{replay}");
    assert_eq!(replay.steps[3].event, "(its state, after 100 steps that went through)");
    let note = replay.steps.last().unwrap();
    assert_eq!((note.at, &*note.event), (Duration::from_millis(1500), r#"{"concern":"Store"}"#));
    assert!(replay.to_string().contains("breaker/7#1"), "{replay}");
}

#[tokio::test]
async fn a_changed_effect_and_a_changed_state_are_told_with_their_line() {
    let recorder = Recorder::new(RING);
    trip(&mut breaker(&recorder));
    let recording = written(&recorder);
    let line = 1 + recording.lines().position(|line| line.contains(r#"{"hold":0}"#)).unwrap() as u64;
    let replay = again(&recording.replacen(r#"{"hold":0}"#, r#""pass""#, 1));
    assert_eq!(differences(&replay), [line]);
    assert_eq!(replay.differences().next().unwrap().verdict, Verdict::Differs { recorded: r#""pass""#.to_owned() });
    assert!(replay.to_string().contains(&format!("line {line}: it did something else then: \"pass\"")), "{replay}");
    // A state that nothing was skipped before is one that the machine comes to by itself.
    let state = recording.lines().nth(1).unwrap();
    let other = recording.lines().find(|line| line.contains("skipped")).unwrap().replace(r#","skipped":100"#, "");
    let changed = format!("{recording}{state}\n{}\n", other.replace(r#""in_row":0"#, r#""in_row":1"#));
    let lines = changed.lines().count() as u64;
    assert_eq!(differences(&again(&changed)), [lines], "the closed breaker is as a new one, the next is not");
}

#[tokio::test]
async fn the_ring_never_has_more_bytes_than_its_setting_and_each_segment_can_be_run_from_its_states() {
    let recorder = Recorder::new(RING);
    let mut breakers: Vec<_> = (0..5).map(|_| breaker(&recorder)).collect();
    for round in 0..3000 {
        let breaker = &mut breakers[round % 5];
        breaker.refresh();
        breaker.take(Event::Failing(round as i64));
        breaker.take(Event::Overridden);
        recorder.note(&json!({ "round": round, "filler": "x".repeat(round % 300) }));
        assert!(recorder.bytes() <= RING);
        assert!(written(&recorder).len() < RING + 200);
    }
    breakers.iter_mut().for_each(Recorded::refresh);
    let replay = again(&written(&recorder));
    assert!(replay.header.lost > 1000, "{:?}", replay.header);
    assert_eq!(differences(&replay), [0_u64; 0], "{replay}");
    // Each machine is known by its state, though its beginning is gone.
    for breaker in 1..=5 {
        let name = format!("breaker/7#{breaker}");
        assert!(replay.steps.iter().any(|step| step.machine == name && step.event.starts_with("(its state")), "{name}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_machine_that_fails_for_each_order_does_not_push_the_others_out() {
    let recorder = Recorder::new(RING);
    let mut busy = breaker(&recorder);
    let mut other = breaker(&recorder);
    other.take(Event::Failing(1));
    for offset in 0..100_000 {
        busy.take(Event::Failing(offset % 2));
        busy.take(Event::WentThrough(1));
    }
    let replay = again(&written(&recorder));
    assert!(replay.steps.iter().any(|step| step.machine == "breaker/7#2" && step.verdict == Verdict::Same), "{replay}");
    assert!(replay.steps.len() < 500, "{}", replay.steps.len());
    tokio::time::advance(Duration::from_secs(60)).await;
    busy.take(Event::Failing(9));
    let replay = again(&written(&recorder));
    assert_eq!((differences(&replay).len(), &replay.steps.last().unwrap().verdict), (0, &Verdict::Same), "{replay}");
}

#[tokio::test]
async fn nothing_is_recorded_where_nothing_is_to_be_and_a_line_that_is_too_long_is_left_out() {
    let off = Recorder::new(0);
    trip(&mut breaker(&off));
    assert!(off.held().is_none());
    let recorder = Recorder::new(1024);
    recorder.note(&"x".repeat(200));
    recorder.note(&"y");
    let held = recorder.held().unwrap();
    assert_eq!((held.lost, memchr::memchr_iter(b'\n', &held.lines).count()), (1, 1));
}

#[tokio::test]
async fn files_are_private_and_as_many_are_kept_as_the_setting_says() {
    let folder = tempfile::tempdir().unwrap();
    let files = files(RING, 2, folder.path());
    trip(&mut breaker(files.recorder()));
    (0..4).for_each(|_| drop(files.write(Because::Stall, None).unwrap()));
    let other = folder.path().join("other.redb.flight-1.jsonl");
    std::fs::write(&other, "").unwrap();
    let kept: Vec<_> = std::fs::read_dir(folder.path()).unwrap().map(|entry| entry.unwrap().path()).collect();
    assert_eq!(kept.len(), 3, "{kept:?}");
    let ours = kept.iter().find(|path| **path != other).unwrap();
    let mode = std::os::unix::fs::PermissionsExt::mode(&std::fs::metadata(ours).unwrap().permissions());
    assert_eq!(mode & 0o777, 0o600);
    let replay = replay(std::io::BufReader::new(std::fs::File::open(ours).unwrap())).unwrap();
    assert_eq!((&*replay.header.because, &*replay.header.ids, differences(&replay).len()), ("stall", "hashed", 0));
    assert!(files.write(Because::Asked, Some(ours)).is_err(), "a file that exists is not written over");
}

#[tokio::test(start_paused = true)]
async fn a_swarm_of_troubles_is_one_file_and_a_later_one_another() {
    let folder = tempfile::tempdir().unwrap();
    let files = files(RING, 8, folder.path());
    for _ in 0..120 {
        files.trouble(Because::Fence);
        tokio::time::advance(Duration::from_secs(1)).await;
    }
    files.finish().await;
    assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 2);
}

#[tokio::test]
async fn a_panic_writes_a_file() {
    let folder = tempfile::tempdir().unwrap();
    let files = files(RING, 8, folder.path());
    trip(&mut breaker(files.recorder()));
    let witness = files.witness();
    drop(files.witness());
    let task = tokio::spawn(async move {
        let _witness = witness;
        panic!("a bug of the test's own");
    });
    assert!(task.await.unwrap_err().is_panic());
    let written: Vec<_> = std::fs::read_dir(folder.path()).unwrap().map(|entry| entry.unwrap().path()).collect();
    assert_eq!(written.len(), 1);
    assert!(std::fs::read_to_string(&written[0]).unwrap().contains(r#""because":"panic""#));
}

#[tokio::test]
async fn what_is_no_recording_is_an_error_and_a_cut_one_is_read_as_far_as_it_goes() {
    let recorder = Recorder::new(RING);
    trip(&mut breaker(&recorder));
    let recording = written(&recorder);
    for broken in ["{}\n", "\n", "[1]\n", &recording.replacen(r#""flight":1"#, r#""flight":2"#, 1)] {
        assert!(replay(broken.as_bytes()).is_err(), "{broken}");
    }
    let cut = again(&recording[..recording.len() - 9]);
    assert!(cut.is_cut && cut.steps.len() == again(&recording).steps.len() - 1);
    let broken = recording.replacen(r#""failing":"#, r#""falling":"#, 1);
    assert!(replay(broken.as_bytes()).unwrap_err().to_string().contains("line 3"));
    let newer = again(&recording.replace(r#""form":1"#, r#""form":2"#));
    assert_eq!((newer.same(), differences(&newer).len()), (0, 0), "a machine of another form is not run");
}

#[tokio::test]
async fn the_emitted_test_is_one_text_whatever_the_recording_has() {
    let recorder = Recorder::new(RING);
    trip(&mut breaker(&recorder));
    recorder.note(&json!({"odd": "\"## \"#"}));
    let recording = written(&recorder);
    let test = emit_test(&recording, &again(&recording));
    assert!(test.contains(&format!("r###\"{recording}\"###;")), "{test}");
    assert!(test.contains("fn the_machines_do_again_what_they_did_before_2025_11_23_at_07_00_00()"), "{test}");
}

#[tokio::test(start_paused = true)]
async fn orders_that_go_through_are_told_as_one_range() {
    let recorder = Recorder::new(RING);
    let mut ledger = RecordedLedger::new(Ledger::new(0, Settled::default(), 1, 10), &recorder, 3);
    for offset in [0, 1, 2, 5, 6] {
        assert_eq!(ledger.take_through(offset), Taken::InHand);
        ledger.went_through(offset);
    }
    assert_eq!(ledger.take_through(8), Taken::InHand);
    ledger.stays_in_hand(8);
    ledger.record();
    let replay = again(&written(&recorder));
    let step = &replay.steps[1].event;
    assert!(step.contains("taken: [(0, 3), (5, 7), (8, 9)]") && step.contains("settled: [(0, 3), (5, 7)]"), "{step}");
}

/// What a dispatcher may do to a ledger.
#[derive(Clone, Debug)]
enum Act {
    /// Hands out the order that lies this far beyond the last.
    Take(i64),
    /// As [`Act::Take`], for one that goes through.
    Through(i64),
    /// As [`Act::Through`], for one that stays in hand after all.
    Stay(i64),
    /// Settles one that is in hand.
    Settle(prop::sample::Index),
    Epoch(i32),
    Pass(i64),
    Record,
}

fn act() -> impl Strategy<Value = Act> {
    prop_oneof![
        6 => (0_i64..3).prop_map(Act::Take),
        4 => (0_i64..3).prop_map(Act::Through),
        1 => (0_i64..3).prop_map(Act::Stay),
        6 => any::<prop::sample::Index>().prop_map(Act::Settle),
        1 => (0_i32..4).prop_map(Act::Epoch),
        1 => (0_i64..5).prop_map(Act::Pass),
        2 => Just(Act::Record),
    ]
}

proptest! {
    #[test]
    fn a_ledger_ends_where_it_did_in_whichever_order_its_orders_were_settled(
        acts in prop::collection::vec(act(), 0..200),
        before in prop::collection::btree_set(1_i64..30, 0..10),
    ) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build().unwrap();
        let _in_runtime = runtime.enter();
        // In a ring with room for all of it: one that begins a new segment tells the state again in place of a step.
        let recorder = Recorder::new(16 * RING);
        let settled: Settled = before.into_iter().collect();
        let mut ledger = RecordedLedger::new(Ledger::new(0, settled, 1, 10_000), &recorder, 3);
        let mut in_hand = Vec::new();
        for act in acts {
            match act {
                Act::Take(gap) => {
                    let offset = ledger.read() + gap;
                    if ledger.take(offset) == Taken::InHand {
                        in_hand.push(offset);
                    }
                }
                Act::Through(gap) => {
                    let offset = ledger.read() + gap;
                    if ledger.take_through(offset) == Taken::InHand {
                        ledger.went_through(offset);
                    }
                }
                Act::Stay(gap) => {
                    let offset = ledger.read() + gap;
                    if ledger.take_through(offset) == Taken::InHand {
                        ledger.stays_in_hand(offset);
                        in_hand.push(offset);
                    }
                }
                Act::Settle(index) if !in_hand.is_empty() => ledger.settle(in_hand.swap_remove(index.index(in_hand.len()))),
                Act::Settle(_) => {}
                Act::Epoch(epoch) => ledger.epoch_begins(ledger.read(), epoch),
                Act::Pass(gap) => ledger.pass(ledger.read() + gap),
                Act::Record => ledger.record(),
            }
        }
        ledger.record();
        let replay = again(&written(&recorder));
        prop_assert_eq!(replay.differences().count(), 0, "{}", replay);
        let steps = replay.steps.len();
        prop_assert!(replay.same() == steps - 1, "{}", replay);
    }

    #[test]
    fn a_producers_sequences_are_given_again_whatever_the_brokers_answered(
        acts in prop::collection::vec((0_u8..8, 0_u64..12), 0..150),
    ) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build().unwrap();
        let _in_runtime = runtime.enter();
        let recorder = Recorder::new(RING);
        let mut lane = recorder.watch(Lane::new(), Some(4));
        let mut remarkable = 0;
        for (act, batch) in acts {
            let answer = match act {
                0 => Answer::Again(Trace::None),
                1 => Answer::Again(Trace::Possible),
                2 => Answer::OutOfOrder,
                3 => Answer::Refused(Trace::None),
                _ => Answer::Written,
            };
            lane.step(match act {
                0..5 => BatchEvent::Answered { batch, answer },
                5 => BatchEvent::Admit { batch, count: 3 },
                6 => BatchEvent::Resend { batch },
                _ => BatchEvent::Expired { batch },
            });
            remarkable += usize::from(!(4..=5).contains(&act));
        }
        let replay = again(&written(&recorder));
        prop_assert_eq!(replay.differences().count(), 0, "{}", replay);
        prop_assert!(replay.same() >= remarkable, "{} of {}: {}", replay.same(), remarkable, replay);
    }

    #[test]
    fn no_recording_brings_the_replay_down(
        changes in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..6),
        numbers in prop::collection::vec(any::<i64>(), 4),
    ) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build().unwrap();
        let _in_runtime = runtime.enter();
        let recorder = Recorder::new(RING);
        trip(&mut breaker(&recorder));
        let mut ledger = RecordedLedger::new(Ledger::new(0, Settled::new(), 1, 10), &recorder, 3);
        ledger.take(0);
        ledger.settle(0);
        ledger.record();
        let mut recording = written(&recorder);
        let [from, until, start, end] = numbers[..] else { unreachable!("four numbers") };
        recording += &format!(
            "{{\"at\":1,\"machine\":\"ledger/3#2\",\"event\":{{\"taken\":[[{from},{until}]],\"until\":{until},\
             \"settled\":[[{start},{end}]]}},\"effects\":null}}\n"
        );
        drop(replay(recording.as_bytes()));
        let mut bytes = recording.into_bytes();
        for (index, byte) in changes {
            let at = index.index(bytes.len());
            bytes[at] = byte;
        }
        drop(replay(bytes.as_slice()));
    }
}

#[test]
fn a_header_says_why_the_file_was_written() {
    use Because::{Asked, Doubt, Fence, Panic, Signal, Stall};
    let words = [Stall, Fence, Doubt, Panic, Asked, Signal].map(|because| json!(because));
    assert_eq!(words, ["stall", "fence", "doubt", "panic", "asked", "signal"].map(Value::from));
}
