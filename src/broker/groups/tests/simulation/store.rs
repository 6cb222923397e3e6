//! The store that all simulated members share: a row with a version for each partition (rules R1, R2).

use std::collections::BTreeMap;

use super::plant::Plant;

#[derive(Debug, Default)]
pub(super) struct Store {
    /// The next offset and the version.
    rows: BTreeMap<i32, (i64, u64)>,
    /// How many records each partition has had applied.
    applied: BTreeMap<i32, i64>,
}

impl Store {
    pub(super) fn row(&self, number: i32) -> (i64, u64) {
        self.rows.get(&number).copied().unwrap_or_default()
    }

    /// Applies records `from..to` if the row is as expected. An error names an effect that happened twice, or never.
    pub(super) fn apply(
        &mut self,
        number: i32,
        version: u64,
        records: std::ops::Range<i64>,
        plant: Option<Plant>,
    ) -> Result<bool, String> {
        let row = self.row(number);
        if row.1 != version && plant != Some(Plant::StoreWithoutCompareAndSet) {
            return Ok(false);
        }
        let applied = self.applied.entry(number).or_default();
        if *applied != records.start {
            return Err(format!("partition {number}: records {records:?} applied after {applied}"));
        }
        *applied = records.end;
        self.rows.insert(number, (records.end, row.1 + 1));
        Ok(true)
    }
}
