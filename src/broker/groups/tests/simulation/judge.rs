//! The invariants that hold at every moment.

use std::collections::BTreeMap;

use super::world::World;
use crate::consumer::group::member::Commits;

impl World {
    pub(super) fn judge(&mut self) {
        let shared = self.coordinator.shared();
        if !shared.is_empty() {
            self.breaks("no two members own a partition in one epoch", format!("given twice: {shared:?}"));
        }
        let mut owners = BTreeMap::new();
        for (who, process) in self.processes.iter().enumerate().filter(|(_, process)| !process.is_over) {
            let Commits::As(credentials) = &process.last_commits else { continue };
            if process.parts.is_empty() || !self.coordinator.knows(credentials) {
                continue;
            }
            for number in process.parts.keys() {
                if let Some(other) = owners.insert(*number, who) {
                    let detail = format!("#{other} and #{who} both own {number}");
                    return self.breaks("no two members own a partition in one epoch", detail);
                }
            }
        }
    }
}
