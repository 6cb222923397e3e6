//! A disk in memory that loses power: the faulty twin of the file.
//!
//! What was synced stays. Of what was written since, a crash keeps some writes, tears others between
//! two sectors and loses the rest, in no order, as disks do.

use std::io;
use std::sync::{Arc, Mutex, MutexGuard};

use redb::StorageBackend;

/// What goes wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Fault {
    None,
    /// The power goes at the n-th write, change of length or sync from now.
    CrashAt(u64),
    /// The n-th sync from now fails, and only that one.
    SyncFails(u64),
    /// The n-th write from now fails, and only that one.
    WriteFails(u64),
    /// From the n-th write on there is no room.
    Full(u64),
    /// From the n-th sync on the disk says that it synced and did not.
    SyncsLost(u64),
}

/// What a disk writes whole.
const SECTOR: usize = 512;

#[derive(Clone, Debug)]
pub(super) struct Disk(Arc<Mutex<Platter>>);

#[derive(Debug)]
struct Platter {
    synced: Vec<u8>,
    seen: Vec<u8>,
    unsynced: Vec<(usize, Vec<u8>)>,
    fault: Fault,
    dead: bool,
    operations: u64,
}

impl Disk {
    pub(super) fn new() -> Self {
        Self::with(Vec::new())
    }

    fn with(image: Vec<u8>) -> Self {
        let platter = Platter {
            seen: image.clone(),
            synced: image,
            unsynced: Vec::new(),
            fault: Fault::None,
            dead: false,
            operations: 0,
        };
        Self(Arc::new(Mutex::new(platter)))
    }

    pub(super) fn plan(&self, fault: Fault) {
        self.platter().fault = fault;
    }

    /// The power goes now.
    pub(super) fn fail(&self) {
        self.platter().dead = true;
    }

    /// How many writes, changes of length and syncs there were.
    pub(super) fn operations(&self) -> u64 {
        self.platter().operations
    }

    /// The disk after the power came back.
    pub(super) fn after_power_loss(&self, seed: u64) -> Self {
        let platter = self.platter();
        let (mut image, mut chance) = (platter.synced.clone(), fastrand::Rng::with_seed(seed));
        for (offset, bytes) in &platter.unsynced {
            let sectors = bytes.len().div_ceil(SECTOR);
            let kept = match chance.u8(0..4) {
                0 => chance.usize(0..=sectors) * SECTOR,
                1 => 0,
                _ => bytes.len(),
            };
            let kept = kept.min(bytes.len());
            image.resize(image.len().max(offset + kept), 0);
            image[*offset..offset + kept].copy_from_slice(&bytes[..kept]);
        }
        image.resize(platter.seen.len().max(platter.synced.len()), 0);
        Self::with(image)
    }

    /// The disk after the power came back, which has nothing of what was not synced.
    pub(super) fn as_synced(&self) -> Self {
        Self::with(self.platter().synced.clone())
    }

    /// Whether what was planned has happened.
    pub(super) fn has_failed(&self) -> bool {
        let platter = self.platter();
        platter.dead || platter.fault == Fault::None
    }

    fn platter(&self) -> MutexGuard<'_, Platter> {
        self.0.lock().unwrap()
    }
}

impl Platter {
    fn operate(&mut self) -> io::Result<()> {
        self.operations += 1;
        if let Fault::CrashAt(left) = &mut self.fault {
            *left = left.saturating_sub(1);
            self.dead |= *left == 0;
        }
        self.alive()
    }

    fn alive(&self) -> io::Result<()> {
        if self.dead { Err(io::Error::other("no power")) } else { Ok(()) }
    }
}

impl StorageBackend for Disk {
    fn len(&self) -> io::Result<u64> {
        let platter = self.platter();
        platter.alive()?;
        Ok(platter.seen.len() as u64)
    }

    fn read(&self, offset: u64, out: &mut [u8]) -> io::Result<()> {
        let platter = self.platter();
        platter.alive()?;
        let offset = offset as usize;
        out.copy_from_slice(platter.seen.get(offset..offset + out.len()).ok_or(io::ErrorKind::UnexpectedEof)?);
        Ok(())
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        let mut platter = self.platter();
        platter.operate()?;
        if platter.fault == Fault::Full(1) && len as usize > platter.seen.len() {
            return Err(io::ErrorKind::StorageFull.into());
        }
        platter.seen.resize(len as usize, 0);
        Ok(())
    }

    fn sync_data(&self) -> io::Result<()> {
        let mut platter = self.platter();
        platter.operate()?;
        match &mut platter.fault {
            Fault::SyncFails(1) => {
                platter.fault = Fault::None;
                return Err(io::Error::other("the disk lost a write"));
            }
            Fault::SyncsLost(1) => return Ok(()),
            Fault::SyncFails(left) | Fault::SyncsLost(left) => *left -= 1,
            Fault::None | Fault::CrashAt(_) | Fault::WriteFails(_) | Fault::Full(_) => {}
        }
        platter.synced = platter.seen.clone();
        platter.unsynced.clear();
        Ok(())
    }

    fn write(&self, offset: u64, data: &[u8]) -> io::Result<()> {
        let mut platter = self.platter();
        platter.operate()?;
        match &mut platter.fault {
            Fault::WriteFails(1) => {
                platter.fault = Fault::None;
                return Err(io::Error::other("the disk cannot write here"));
            }
            Fault::Full(1) => return Err(io::ErrorKind::StorageFull.into()),
            Fault::WriteFails(left) | Fault::Full(left) => *left -= 1,
            Fault::None | Fault::CrashAt(_) | Fault::SyncFails(_) | Fault::SyncsLost(_) => {}
        }
        let offset = offset as usize;
        platter.seen[offset..offset + data.len()].copy_from_slice(data);
        platter.unsynced.push((offset, data.to_vec()));
        Ok(())
    }
}
