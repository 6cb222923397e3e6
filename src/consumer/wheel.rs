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
    fn demand(&self, topic: &str) -> Result<()> {
        if *self.topic == *topic {
            return Ok(());
        }
        let sentence = format!("the consumer that holds the store reads {}", self.topic);
        Err(Error::new(ErrorCode::UnknownTopic, sentence).at(Place::topic(topic)))
    }
}

impl Steering for Wheel {
    fn pause(&self, topic: &str, partition: Option<i32>) -> Result<()> {
        self.demand(topic)?;
        match partition {
            Some(partition) => self.control.pause_partition(partition),
            None => self.control.pause(),
        }
        Ok(())
    }

    fn write_flight(&self, to: Option<&Path>) -> Result<FlightRow> {
        let Written { file, lines, bytes } = self.control.write_flight(to)?;
        Ok(FlightRow { file: file.display().to_string(), lines, bytes })
    }

    fn resume(&self, topic: &str, partition: Option<i32>) -> Result<Option<String>> {
        self.demand(topic)?;
        match partition {
            Some(partition) => self.control.resume_partition(partition),
            None => self.control.resume(),
        }
        Ok(match self.control.wishes().borrow().wish {
            Wish::Run => None,
            Wish::Pause => Some(format!("the whole consumer is paused: `orders resume {topic}` lets it go on")),
            Wish::Drain => Some("the consumer is about to end: the next run goes on".to_owned()),
        })
    }
}
