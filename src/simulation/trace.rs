//! What every client of a simulated world asks, when, and what is in the logs in the end: two runs of a seed have the same.

use std::fmt::Write;
use std::sync::{Arc, Mutex};

use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream, copy, duplex, split};
use tokio::time::Instant;

use super::log;
use super::settings::{DELIVERY, DELIVERY_LETTERS, INVENTORY, INVENTORY_LETTERS};
use crate::broker::DevBroker;
use crate::config::{Address, ClientConfig, Inside};

/// A note of each request, with the state of chance then; without its bytes, which have wall clock times and the names of stores.
#[derive(Clone, Default)]
pub(super) struct Trace(Arc<Mutex<Notes>>);

#[derive(Default)]
struct Notes {
    /// Addresses of nodes as they were first seen: their ports are others in each run.
    nodes: Vec<String>,
    lines: Vec<String>,
}

impl Trace {
    fn note(&self, what: String) {
        self.0.lock().unwrap().lines.push(format!("{what}, chance {:x}", fastrand::get_seed()));
    }

    fn number(&self, address: &Address) -> usize {
        let (nodes, address) = (&mut self.0.lock().unwrap().nodes, address.to_string());
        nodes.iter().position(|known| *known == address).unwrap_or_else(|| {
            nodes.push(address);
            nodes.len() - 1
        })
    }

    /// The settings of a client that is listened to.
    pub(super) fn config(&self, base: &ClientConfig) -> ClientConfig {
        let (trace, inside, begun) = (self.clone(), base.inside().cloned().unwrap(), Instant::now());
        base.clone().through(Inside::new(move |address: &Address| {
            let node = trace.number(address);
            trace.note(format!("{:?} dial {node}", begun.elapsed()));
            let there = inside.dial(address)?;
            let (client, near) = duplex(16 << 10);
            tokio::spawn(trace.clone().listen(begun, node, near, there));
            Ok(client)
        }))
    }

    async fn listen(self, begun: Instant, node: usize, near: DuplexStream, there: DuplexStream) {
        let ((mut asked, mut answers), (mut from_broker, mut to_broker)) = (split(near), split(there));
        let asking = async {
            loop {
                let length = asked.read_u32().await?;
                let mut body = vec![0; length as usize];
                asked.read_exact(&mut body).await?;
                let head: Vec<u8> = body.iter().take(8).copied().collect();
                self.note(format!("{:?} {node} {head:02x?} {length}", begun.elapsed()));
                to_broker.write_u32(length).await?;
                to_broker.write_all(&body).await?;
            }
        };
        tokio::select! {
            _ = copy(&mut from_broker, &mut answers) => {}
            ended = asking => { let _: std::io::Result<()> = ended; }
        }
    }

    /// Notes what the logs have.
    pub(super) fn note_logs(&self, broker: &DevBroker) {
        for topic in [INVENTORY, DELIVERY, INVENTORY_LETTERS, DELIVERY_LETTERS] {
            let mut line = topic.to_owned();
            for record in log::read(broker, topic) {
                write!(line, " {}/{}:{:?}", record.partition, record.offset, record.identity).unwrap();
            }
            self.note(line);
        }
    }

    /// All that was noted.
    pub(super) fn take(&self) -> Vec<String> {
        std::mem::take(&mut self.0.lock().unwrap().lines)
    }
}
