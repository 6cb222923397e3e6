//! A running consumer as the operators of its store steer it.

use std::sync::Arc;

use super::Control;
use crate::place::Place;
use crate::store::Steering;
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

    fn resume(&self, topic: &str, partition: Option<i32>) -> Result<()> {
        self.demand(topic)?;
        match partition {
            Some(partition) => self.control.resume_partition(partition),
            None => self.control.resume(),
        }
        Ok(())
    }
}
