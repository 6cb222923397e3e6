//! How a redb store is opened.

use crate::store::Retention;

/// The settings of a redb store, with their defaults.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct RedbSettings {
    /// `store.cache.bytes`: memory for pages of the file. Default 32 MB.
    pub cache_bytes: usize,
    /// How long identities are remembered.
    pub retention: Retention,
    /// `dead_letters.max.bytes`: what the records of dead letters may take; when it is used up, batches with a
    /// dead letter are refused and their partition stops. Default 1 GB.
    pub dead_letters_max_bytes: u64,
    /// Whether other processes may ask.
    pub socket: Socket,
}

/// Whether the process that holds a store answers others on a Unix socket.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Socket {
    /// On `<store>.sock` beside the file, for the same user only (the default).
    Beside,
    /// Not at all.
    None,
}

impl Default for RedbSettings {
    fn default() -> Self {
        Self {
            cache_bytes: 32 << 20,
            retention: Retention::default(),
            dead_letters_max_bytes: 1 << 30,
            socket: Socket::Beside,
        }
    }
}
