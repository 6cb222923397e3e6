//! Tests of whole groups: the members' machines against the coordinator's.

mod simulation;
