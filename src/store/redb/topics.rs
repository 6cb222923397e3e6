//! The numbers by which a store's rows name topics.

use redb::{ReadTransaction, ReadableTable, Table};

use super::fault::fault;
use super::tables::TOPICS;
use crate::Result;
use crate::place::TopicId;
use crate::store::Topic;
use crate::store::pack::{Unpack, put_bytes};

/// The topics of a store, by number.
#[derive(Clone, Debug, Default)]
pub(super) struct Topics(Vec<Topic>);

impl Topics {
    pub(super) fn load(transaction: &ReadTransaction) -> Result<Self> {
        let table = transaction.open_table(TOPICS).map_err(fault)?;
        let rows = table.iter().map_err(fault)?.map(|row| {
            let (_, value) = row.map_err(fault)?;
            let mut row = Unpack::new(value.value(), "a topic");
            let id = TopicId::new(row.array()?);
            Ok(Topic::new(id, row.text()?))
        });
        rows.collect::<Result<_>>().map(Self)
    }

    /// The topic with this number.
    pub(super) fn get(&self, number: u32) -> Option<&Topic> {
        self.0.get(usize::try_from(number).ok()?)
    }

    /// The topic's number, if the store knows it.
    ///
    /// A topic that was known by its name alone is the same topic once its brokers tell its identity (rule R11).
    pub(super) fn find(&self, topic: &Topic) -> Option<u32> {
        let by_id = || self.0.iter().position(|known| !known.id.is_none() && known.id == topic.id);
        let by_name = || self.0.iter().position(|known| known.id.is_none() && known.name == topic.name);
        by_id().or_else(by_name).and_then(|number| u32::try_from(number).ok())
    }

    /// The topic's number, which is given now if the topic is new.
    pub(super) fn number(&mut self, topic: &Topic, table: &mut Table<'_, u32, &'static [u8]>) -> Result<u32> {
        let found = self.find(topic);
        let known = found.and_then(|number| self.get(number));
        if let (Some(number), Some(known)) = (found, known)
            && (topic.id.is_none() || known.id == topic.id)
        {
            return Ok(number);
        }
        let number = found.unwrap_or(u32::try_from(self.0.len()).unwrap_or(u32::MAX));
        let mut row = topic.id.as_bytes().to_vec();
        put_bytes(topic.name.as_bytes(), &mut row);
        table.insert(number, row.as_slice()).map_err(fault)?;
        match usize::try_from(number).ok().and_then(|at| self.0.get_mut(at)) {
            Some(known) => *known = topic.clone(),
            None => self.0.push(topic.clone()),
        }
        Ok(number)
    }
}
