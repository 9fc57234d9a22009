//! Test support: a disk in memory that can be full, read-only, broken, stuck, and lose power.
//!
//! It keeps what a program sees (the page cache) apart from what would survive a power loss. Losing power keeps any
//! subset of the unsynced 512-byte sectors and of the unsynced names, because real disks reorder both. A failed sync
//! drops the dirty pages and calls them clean, as Linux does.
//!
//! Not here: randomness of its own; a seed decides everything.

use std::{
    collections::{BTreeMap, BTreeSet, btree_map::Entry},
    io,
    path::{Path, PathBuf},
    sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError},
};

use crate::disk::{DirLock, Disk, DiskFile, DiskRead, too_long};

const SECTOR_BYTES: usize = 512;

/// A disk whose clones share everything.
#[derive(Clone, Debug, Default)]
pub struct SimDisk {
    shared: Arc<(Mutex<State>, Condvar)>,
    /// The life of the process that uses this clone; whichever it is when `None`.
    mounted_in: Option<u64>,
}

/// How the disk misbehaves from now on.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Faults {
    /// Writes fail with "no space left" once all files together would exceed this.
    pub capacity_bytes: Option<usize>,
    /// Every change fails with "read-only file system".
    pub read_only: bool,
    /// Creating files whose names end like this fails with "no space left".
    pub refused_suffix: Option<&'static str>,
    /// That many syncs fail with an I/O error and lose what they should have kept.
    pub failing_syncs: u32,
    /// Reading a file fails with an I/O error.
    pub failing_reads: bool,
    /// Writes and syncs do not return while this is set.
    pub stuck: bool,
    /// The power is lost in place of the change after so many, as the seed behind it decides: (changes, seed).
    pub power_loss_after: Option<(u64, u64)>,
    /// The process is killed in place of the change after so many; everything written stays.
    pub kill_after: Option<u64>,
}

#[derive(Debug, Default)]
struct State {
    files: Vec<Inode>,
    /// What a program sees.
    names: BTreeMap<PathBuf, usize>,
    /// What survives a power loss.
    durable_names: BTreeMap<PathBuf, usize>,
    locked: BTreeSet<PathBuf>,
    faults: Faults,
    /// Counts power losses: handles from before are dead.
    life: u64,
    syncs: u64,
    changes: u64,
}

#[derive(Clone, Debug, Default)]
struct Inode {
    seen: Vec<u8>,
    durable: Vec<u8>,
    /// Sectors that were written since the last sync, successful or not.
    dirty: BTreeSet<usize>,
}

#[derive(Debug)]
struct SimFile {
    disk: SimDisk,
    inode: usize,
    life: u64,
}

#[derive(Debug)]
struct SimRead {
    disk: SimDisk,
    inode: usize,
    life: u64,
}

#[derive(Debug)]
struct SimLock {
    disk: SimDisk,
    dir: PathBuf,
    life: u64,
}

impl DirLock for SimLock {}

impl Drop for SimLock {
    fn drop(&mut self) {
        let mut state = self.disk.lock_state();
        if state.life == self.life {
            state.locked.remove(&self.dir);
        }
    }
}

impl SimDisk {
    /// The disk as one process sees it: once the power was lost or the process killed, nothing that goes on in threads
    /// which the test could not end changes anything.
    #[must_use]
    pub fn mounted(&self) -> Self {
        let life = self.lock_state().life;
        Self { shared: Arc::clone(&self.shared), mounted_in: Some(life) }
    }

    /// Changes how the disk misbehaves; operations that are stuck go on if they may.
    pub fn set(&self, change: impl FnOnce(&mut Faults)) {
        change(&mut self.lock_state().faults);
        self.shared.1.notify_all();
    }

    /// Syncs that have succeeded so far.
    pub fn syncs(&self) -> u64 {
        self.lock_state().syncs
    }

    /// Changes of any kind that were asked for so far.
    pub fn changes(&self) -> u64 {
        self.lock_state().changes
    }

    /// Cuts the power: what was not durable is kept or lost sector by sector and name by name, as `seed` decides.
    /// Handles and locks from before are dead; faults are over.
    pub fn lose_power(&self, seed: u64) {
        self.lock_state().lose_power(seed);
        self.shared.1.notify_all();
    }

    /// Kills the process: handles and locks are dead, everything written stays.
    pub fn kill(&self) {
        self.lock_state().kill();
        self.shared.1.notify_all();
    }

    /// Changes a file's bytes behind everybody's back, durably.
    pub fn edit(&self, path: &Path, change: impl FnOnce(&mut Vec<u8>)) -> io::Result<()> {
        let mut state = self.lock_state();
        let inode = state.inode(path)?;
        change(&mut inode.seen);
        inode.durable.clone_from(&inode.seen);
        Ok(())
    }

    fn lock_state(&self) -> MutexGuard<'_, State> {
        self.shared.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits while the disk is stuck, then refuses whatever the faults refuse.
    fn changing(&self, life: Option<u64>) -> io::Result<MutexGuard<'_, State>> {
        let state = self.lock_state();
        let entered = life.or(self.mounted_in).unwrap_or(state.life);
        let waiting = self.shared.1.wait_while(state, |state| state.faults.stuck && state.life == entered);
        let state = waiting.unwrap_or_else(PoisonError::into_inner);
        if state.life != entered {
            return Err(io::Error::other("the power was lost"));
        }
        let mut state = state;
        state.changes += 1;
        match &mut state.faults.power_loss_after {
            Some((0, seed)) => {
                let seed = *seed;
                state.lose_power(seed);
                self.shared.1.notify_all();
                return Err(io::Error::other("the power was lost"));
            }
            Some((left, _)) => *left -= 1,
            None => {}
        }
        match &mut state.faults.kill_after {
            Some(0) => {
                state.kill();
                self.shared.1.notify_all();
                return Err(io::Error::other("the process was killed"));
            }
            Some(left) => *left -= 1,
            None => {}
        }
        if state.faults.read_only {
            return Err(io::ErrorKind::ReadOnlyFilesystem.into());
        }
        Ok(state)
    }
}

impl State {
    fn kill(&mut self) {
        self.locked.clear();
        self.faults = Faults::default();
        self.life += 1;
    }

    fn lose_power(&mut self, seed: u64) {
        let mut chance = Chance(seed | 1);
        for inode in &mut self.files {
            inode.lose_power(&mut chance);
        }
        let (seen, mut kept) = (self.names.clone(), self.durable_names.clone());
        for path in seen.keys().chain(self.durable_names.keys()) {
            if seen.get(path) != self.durable_names.get(path) && chance.toss() {
                match seen.get(path) {
                    Some(inode) => kept.insert(path.clone(), *inode),
                    None => kept.remove(path),
                };
            }
        }
        self.names.clone_from(&kept);
        self.durable_names = kept;
        self.locked.clear();
        self.faults = Faults::default();
        self.life += 1;
    }

    fn inode(&mut self, path: &Path) -> io::Result<&mut Inode> {
        let index = self.names.get(path).copied().ok_or(io::ErrorKind::NotFound)?;
        self.files.get_mut(index).ok_or_else(|| io::ErrorKind::NotFound.into())
    }

    fn sync(&mut self, inode: usize) -> io::Result<()> {
        let fails = self.faults.failing_syncs > 0;
        self.faults.failing_syncs = self.faults.failing_syncs.saturating_sub(1);
        let Some(inode) = self.files.get_mut(inode) else { return Err(io::ErrorKind::NotFound.into()) };
        let dirty = std::mem::take(&mut inode.dirty);
        if fails {
            return Err(io::Error::other("the device reported an error"));
        }
        for sector in dirty {
            let end = ((sector + 1) * SECTOR_BYTES).min(inode.seen.len());
            if inode.durable.len() < end {
                inode.durable.resize(end, 0);
            }
            let range = sector * SECTOR_BYTES..end;
            if let (Some(to), Some(from)) = (inode.durable.get_mut(range.clone()), inode.seen.get(range)) {
                to.copy_from_slice(from);
            }
        }
        self.syncs += 1;
        Ok(())
    }

    fn used_bytes(&self) -> usize {
        self.names.values().filter_map(|inode| self.files.get(*inode)).map(|inode| inode.seen.len()).sum()
    }
}

impl Inode {
    fn lose_power(&mut self, chance: &mut Chance) {
        let mut kept = self.durable.clone();
        for sector in &self.dirty {
            if chance.toss() {
                let range = sector * SECTOR_BYTES..(sector + 1) * SECTOR_BYTES;
                for at in range {
                    let Some(byte) = self.seen.get(at) else { break };
                    if kept.len() <= at {
                        kept.resize(at + 1, 0);
                    }
                    if let Some(slot) = kept.get_mut(at) {
                        *slot = *byte;
                    }
                }
            }
        }
        self.dirty.clear();
        self.seen.clone_from(&kept);
        self.durable = kept;
    }
}

/// A small generator (xorshift64), enough to choose sectors.
struct Chance(u64);

impl Chance {
    fn toss(&mut self) -> bool {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 >> 40 & 1 == 1
    }
}

impl Disk for SimDisk {
    fn make_dir(&self, _dir: &Path) -> io::Result<()> {
        Ok(())
    }

    fn lock(&self, dir: &Path) -> io::Result<Box<dyn DirLock>> {
        let mut state = self.lock_state();
        if !state.locked.insert(dir.to_owned()) {
            return Err(io::ErrorKind::WouldBlock.into());
        }
        Ok(Box::new(SimLock { disk: self.clone(), dir: dir.to_owned(), life: state.life }))
    }

    fn guard(&self, dir: &Path) -> io::Result<Option<Box<dyn DirLock>>> {
        self.lock(dir).map(Some)
    }

    fn list(&self, dir: &Path) -> io::Result<Vec<String>> {
        let state = self.lock_state();
        let within = state.names.keys().filter(|path| path.parent() == Some(dir));
        Ok(within.filter_map(|path| path.file_name()?.to_str().map(str::to_owned)).collect())
    }

    fn len(&self, path: &Path) -> io::Result<u64> {
        self.lock_state().inode(path).map(|inode| inode.seen.len() as u64)
    }

    fn read(&self, path: &Path, bytes_max: u64) -> io::Result<Vec<u8>> {
        let mut state = self.lock_state();
        let bytes = state.inode(path)?.seen.clone();
        if state.faults.failing_reads {
            return Err(io::Error::other("input/output error"));
        }
        if bytes_max < bytes.len() as u64 { Err(too_long(bytes_max)) } else { Ok(bytes) }
    }

    fn open(&self, path: &Path) -> io::Result<Box<dyn DiskRead>> {
        let state = self.lock_state();
        let inode = state.names.get(path).copied().ok_or(io::ErrorKind::NotFound)?;
        Ok(Box::new(SimRead { disk: self.clone(), inode, life: state.life }))
    }

    fn link(&self, from: &Path, to: &Path) -> io::Result<()> {
        let mut state = self.changing(None)?;
        let inode = state.names.get(from).copied().ok_or(io::ErrorKind::NotFound)?;
        match state.names.entry(to.to_owned()) {
            Entry::Occupied(_) => Err(io::ErrorKind::AlreadyExists.into()),
            Entry::Vacant(free) => {
                free.insert(inode);
                Ok(())
            }
        }
    }

    fn create(&self, path: &Path) -> io::Result<Box<dyn DiskFile>> {
        let mut state = self.changing(None)?;
        let refused = state.faults.refused_suffix.is_some_and(|suffix| path.to_string_lossy().ends_with(suffix));
        if refused {
            return Err(io::ErrorKind::StorageFull.into());
        }
        let inode = state.files.len();
        state.files.push(Inode::default());
        state.names.insert(path.to_owned(), inode);
        Ok(Box::new(SimFile { disk: self.clone(), inode, life: state.life }))
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        let mut state = self.changing(None)?;
        let inode = state.names.remove(from).ok_or(io::ErrorKind::NotFound)?;
        state.names.insert(to.to_owned(), inode);
        Ok(())
    }

    fn sync(&self, path: &Path) -> io::Result<()> {
        let mut state = self.changing(None)?;
        let inode = state.names.get(path).copied().ok_or(io::ErrorKind::NotFound)?;
        state.sync(inode)
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        self.changing(None)?.names.remove(path);
        Ok(())
    }

    fn sync_dir(&self, dir: &Path) -> io::Result<()> {
        let mut state = self.changing(None)?;
        let State { names, durable_names, .. } = &mut *state;
        durable_names.retain(|path, _| path.parent() != Some(dir));
        let within = names.iter().filter(|(path, _)| path.parent() == Some(dir));
        durable_names.extend(within.map(|(path, inode)| (path.clone(), *inode)));
        Ok(())
    }
}

impl SimRead {
    fn with<T>(&self, look: impl FnOnce(&[u8]) -> T) -> io::Result<T> {
        let state = self.disk.lock_state();
        if state.life != self.life {
            return Err(io::Error::other("the power was lost"));
        }
        let inode = state.files.get(self.inode).ok_or(io::ErrorKind::NotFound)?;
        Ok(look(&inode.seen))
    }
}

impl DiskRead for SimRead {
    fn len(&self) -> io::Result<u64> {
        self.with(|bytes| bytes.len() as u64)
    }

    fn read_at(&self, offset: u64, buffer: &mut [u8]) -> io::Result<()> {
        self.with(|bytes| {
            let start = usize::try_from(offset).unwrap_or(usize::MAX);
            let from = bytes.get(start..).and_then(|tail| tail.get(..buffer.len()));
            buffer.copy_from_slice(from.ok_or(io::ErrorKind::UnexpectedEof)?);
            Ok(())
        })?
    }
}

impl DiskFile for SimFile {
    fn append(&mut self, bytes: &[u8]) -> io::Result<()> {
        let mut state = self.disk.changing(Some(self.life))?;
        let room = state.faults.capacity_bytes.map_or(usize::MAX, |max| max.saturating_sub(state.used_bytes()));
        let Some(inode) = state.files.get_mut(self.inode) else { return Err(io::ErrorKind::NotFound.into()) };
        let (first, fitting) = (inode.seen.len(), bytes.get(..room).unwrap_or(bytes));
        inode.seen.extend_from_slice(fitting);
        if !fitting.is_empty() {
            inode.dirty.extend(first / SECTOR_BYTES..=(inode.seen.len() - 1) / SECTOR_BYTES);
        }
        if fitting.len() < bytes.len() { Err(io::ErrorKind::StorageFull.into()) } else { Ok(()) }
    }

    fn sync(&mut self) -> io::Result<()> {
        let mut state = self.disk.changing(Some(self.life))?;
        state.sync(self.inode)
    }
}
