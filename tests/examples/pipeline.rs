//! `pipeline`: the whole shop in one process.

use super::WORK;
use super::support::example::example;
use super::support::ndjson;

fn beginning<'a>(lines: &[&'a str], with: &str) -> Vec<&'a str> {
    lines.iter().filter(|line| line.starts_with(with)).copied().collect()
}

#[test]
fn the_fixture_runs_through_and_both_audits_hold() {
    let ran = example("pipeline").run(WORK).ok();
    let lines = ran.stdout_lines();
    assert_eq!(beginning(&lines, "Updating inventory for order: {").len(), 13, "{ran}");
    assert_eq!(beginning(&lines, "Processing delivery order: {").len(), 21, "{ran}");
    assert_eq!(beginning(&lines, "audit holds: 13 applied").len(), 1, "{ran}");
    assert_eq!(beginning(&lines, "audit holds: 21 applied").len(), 1, "{ran}");
    assert_eq!(beginning(&lines, "stock of 00: 48 after 2 movements").len(), 1, "{ran}");
    assert!(!ran.stderr.contains("WARN"), "nothing went wrong, and nothing is warned of: {ran}");
}

#[test]
fn made_up_orders_are_counted_to_the_last_one() {
    let ran = example("pipeline").args(["--orders", "3001", "--json", "--seed", "7"]).run(WORK).ok();
    let lines = ndjson::parse(ran.stdout.lines());
    assert_eq!(ndjson::named(&lines, "holds"), [true, true], "{ran}");
    let settled = |name| ndjson::named(&lines, name).iter().filter_map(|count| count.as_u64()).sum::<u64>();
    assert_eq!(settled("applied") + settled("refused"), 3001, "{}", ran.stderr);
}

#[test]
fn troubles_of_a_seed_change_nothing_of_what_comes_out() {
    let ran = example("pipeline").args(["--orders", "2000", "--faults", "7", "--json"]).run(WORK).ok();
    let lines = ndjson::parse(ran.stdout.lines());
    assert_eq!(ndjson::named(&lines, "holds"), [true, true], "{ran}");
    let settled = |name| ndjson::named(&lines, name).iter().filter_map(|count| count.as_u64()).sum::<u64>();
    assert_eq!(settled("applied") + settled("refused"), 2000, "{}", ran.stderr);
    assert_eq!(settled("duplicates"), 0, "{}", ran.stderr);
    let told = ran.stderr.lines().find(|line| line.starts_with("troubles of seed 7:")).expect("the troubles are told");
    assert!(told.matches(',').count() >= 3, "several kinds of trouble came: {told}");
}

#[test]
fn a_second_run_over_the_same_store_applies_nothing_again() {
    let folder = tempfile::tempdir().expect("a folder");
    let run = || example("pipeline").arg("--store").arg(folder.path()).run(WORK).ok();
    assert_eq!(beginning(&run().stdout_lines(), "Updating").len(), 13);
    let again = run();
    assert_eq!(beginning(&again.stdout_lines(), "Updating"), [""; 0], "{again}");
    assert_eq!(beginning(&again.stdout_lines(), "audit holds: 13 applied, 13 duplicates").len(), 1, "{again}");
}
