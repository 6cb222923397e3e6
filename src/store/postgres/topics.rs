//! The numbers by which a store's rows name topics.

use super::link::{Link, get};
use crate::place::TopicId;
use crate::store::Topic;
use crate::{Error, ErrorCode, Result};

/// The topics of a store, by number.
#[derive(Debug, Default)]
pub(super) struct Topics(Vec<(u32, Topic)>);

impl Topics {
    pub(super) async fn load(link: Link<'_>) -> Result<Self> {
        let rows = link.rows("SELECT number, id, name FROM topics", &[]).await?;
        let topics = rows.iter().map(|row| {
            let number = u32::try_from(get::<i32>(row, 0)?).unwrap_or(u32::MAX);
            let broken = |_| Error::new(ErrorCode::StoreCorrupt, "a topic's identity cannot be read");
            let id = <[u8; 16]>::try_from(get::<&[u8]>(row, 1)?).map_err(broken)?;
            Ok((number, Topic::new(TopicId::new(id), get::<&str>(row, 2)?)))
        });
        topics.collect::<Result<_>>().map(Self)
    }

    /// The topic with this number.
    pub(super) fn get(&self, number: u32) -> Result<&Topic> {
        let missing = || Error::new(ErrorCode::StoreCorrupt, "a row names a topic that the store has not");
        self.0.iter().find(|(known, _)| *known == number).map(|(_, topic)| topic).ok_or_else(missing)
    }

    /// The number of a topic, if the store knows it: by identity, or by name where none was told (rule R11).
    pub(super) fn find(&self, topic: &Topic) -> Option<u32> {
        let by_id = || self.0.iter().find(|(_, known)| !known.id.is_none() && known.id == topic.id);
        let by_name = || self.0.iter().find(|(_, known)| known.id.is_none() && known.name == topic.name);
        by_id().or_else(by_name).map(|(number, _)| *number)
    }
}
