//! A running consumer as the operators of its store steer it.

use std::path::Path;
use std::sync::Arc;

use super::control::{Control, Wish};
use crate::flight::Written;
use crate::place::Place;
use crate::store::{FlightRow, Steering};
use crate::{Error, ErrorCode, Result};

/// Steers one consumer.
pub(crate) struct Wheel {
    pub(crate) topic: Arc<str>,
    pub(crate) control: Control,
}

impl Wheel {
    /// The handle of what reads a topic.
    fn demand(&self, topic: &str) -> Result<Control> {
        let beside = || self.control.reading(topic);
        if let Some(control) = (*self.topic == *topic).then(|| self.control.clone()).or_else(beside) {
            return Ok(control);
        }
        let sentence = format!("the consumer that holds the store reads {}", self.topic);
        Err(Error::new(ErrorCode::UnknownTopic, sentence).at(Place::topic(topic)))
    }
}

impl Steering for Wheel {
    fn pause(&self, topic: &str, partition: Option<i32>) -> Result<()> {
        let control = self.demand(topic)?;
        match partition {
            Some(partition) => control.pause_partition(partition),
            None => control.pause(),
        }
        Ok(())
    }

    fn write_flight(&self, to: Option<&Path>) -> Result<FlightRow> {
        let Written { file, lines, bytes } = self.control.write_flight(to)?;
        Ok(FlightRow { file: file.display().to_string(), lines, bytes })
    }

    fn resume(&self, topic: &str, partition: Option<i32>) -> Result<Option<String>> {
        let control = self.demand(topic)?;
        match partition {
            Some(partition) => control.resume_partition(partition),
            None => control.resume(),
        }
        Ok(match control.wishes().borrow().wish {
            Wish::Run => None,
            Wish::Pause => Some(format!("the whole consumer is paused: `orders resume {topic}` lets it go on")),
            Wish::Drain => Some("the consumer is about to end: the next run goes on".to_owned()),
        })
    }
}
