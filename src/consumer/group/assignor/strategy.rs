//! Which assignors a member offers, as `partition.assignment.strategy` lists them.

use super::Assignor;
use crate::error::{Error, ErrorCode, Result};

const KEY: &str = "partition.assignment.strategy";

/// The assignors that a member offers, the preferred one first. Never empty.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Strategy(Vec<Assignor>);

impl Strategy {
    /// Reads a list of names separated by commas, each a protocol's name or the name of Java's class.
    ///
    /// # Errors
    /// [`ErrorCode::ConfigUnsupported`] for the eager `sticky`; [`ErrorCode::ConfigValue`] for an empty list, an unknown
    /// name, or one that stands twice.
    pub(crate) fn parse(list: &str) -> Result<Self> {
        let mut assignors = Vec::new();
        for name in list.split(',').map(str::trim) {
            let assignor = named(name)?;
            if assignors.contains(&assignor) {
                return Err(refused(format!("{KEY} names {} twice", assignor.name())));
            }
            assignors.push(assignor);
        }
        Ok(Self(assignors))
    }

    /// The assignors, the preferred one first.
    pub(crate) fn assignors(&self) -> &[Assignor] {
        &self.0
    }
}

fn named(name: &str) -> Result<Assignor> {
    let known = Assignor::ALL.into_iter().find(|known| known.name() == name || known.java_class() == name);
    match known {
        Some(known) => Ok(known),
        None if name == "sticky" || name == "org.apache.kafka.clients.consumer.StickyAssignor" => {
            let sentence = format!("{KEY} names sticky, which is not offered");
            Err(Error::new(ErrorCode::ConfigUnsupported, sentence).remedy("use cooperative-sticky"))
        }
        None if name.is_empty() => Err(refused(format!("{KEY} has an empty name"))),
        None => Err(refused(format!("{KEY} names `{name}`, which is unknown"))),
    }
}

fn refused(sentence: String) -> Error {
    Error::new(ErrorCode::ConfigValue, sentence).remedy("list range, roundrobin or cooperative-sticky")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn short_names_and_classes_of_java_mean_the_same() {
        let short = Strategy::parse("cooperative-sticky, range,roundrobin").unwrap();
        let long = Assignor::ALL.map(Assignor::java_class);
        let long = Strategy::parse(&format!("{} ,{},{}", long[2], long[0], long[1])).unwrap();
        assert_eq!(short, long);
        assert_eq!(short.assignors(), [Assignor::CooperativeSticky, Assignor::Range, Assignor::RoundRobin]);
    }

    #[test]
    fn a_list_that_cannot_be_says_which_name_is_wrong() {
        for (list, says) in [
            ("", "CFG-VALUE: partition.assignment.strategy has an empty name"),
            ("range,", "CFG-VALUE: partition.assignment.strategy has an empty name"),
            ("range,Range", "CFG-VALUE: partition.assignment.strategy names `Range`, which is unknown"),
            ("range,range", "CFG-VALUE: partition.assignment.strategy names range twice"),
            ("sticky", "CFG-UNSUPPORTED: partition.assignment.strategy names sticky, which is not offered"),
        ] {
            let error = Strategy::parse(list).unwrap_err().to_string();
            assert!(error.starts_with(says), "{list}: {error}");
        }
    }
}
