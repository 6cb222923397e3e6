//! Lines of JSON, as `--json` prints them.

use serde_json::Value;

/// Parses one object a line; empty lines are left out.
///
/// # Panics
/// If a line is no JSON: whatever else stdout carries is a bug.
#[track_caller]
pub fn parse<'a>(lines: impl IntoIterator<Item = &'a str>) -> Vec<Value> {
    let lines = lines.into_iter().filter(|line| !line.is_empty());
    lines.map(|line| serde_json::from_str(line).unwrap_or_else(|error| panic!("{error}: {line}"))).collect()
}

/// The values of the lines that have `name`: `named(&lines, "applied")`.
pub fn named<'a>(lines: &'a [Value], name: &str) -> Vec<&'a Value> {
    lines.iter().filter_map(|line| line.get(name)).collect()
}

/// The count `name` of the summary, which is the last line.
///
/// # Panics
/// If the last line is no summary.
#[track_caller]
pub fn summary(lines: &[Value], name: &str) -> u64 {
    let count = lines.last().and_then(|last| last.get("summary")?.get(name)?.as_u64());
    count.unwrap_or_else(|| panic!("no `{name}` in the last line: {:?}", lines.last()))
}
