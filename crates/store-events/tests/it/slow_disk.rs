//! A disk that lets a test watch what else goes on while a file is being removed.

use std::{
    io,
    path::Path,
    sync::{Mutex, PoisonError},
};

use homeostat_store_events::{Disk, SimDisk};
use homeostat_store_wal::disk::{DirLock, DiskFile, DiskRead};

/// Called with the path of a file that is about to be removed.
type Hook = Box<dyn FnMut(&Path) + Send>;

pub(crate) struct OnRemove {
    disk: SimDisk,
    hook: Mutex<Hook>,
}

impl std::fmt::Debug for OnRemove {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("OnRemove")
    }
}

impl OnRemove {
    pub(crate) fn new(disk: SimDisk) -> Self {
        Self { disk, hook: Mutex::new(Box::new(|_| {})) }
    }

    pub(crate) fn set(&self, hook: Hook) {
        *self.hook.lock().unwrap_or_else(PoisonError::into_inner) = hook;
    }
}

impl Disk for OnRemove {
    fn make_dir(&self, dir: &Path) -> io::Result<()> {
        self.disk.make_dir(dir)
    }

    fn lock(&self, dir: &Path) -> io::Result<Box<dyn DirLock>> {
        self.disk.lock(dir)
    }

    fn guard(&self, dir: &Path) -> io::Result<Option<Box<dyn DirLock>>> {
        self.disk.guard(dir)
    }

    fn list(&self, dir: &Path) -> io::Result<Vec<String>> {
        self.disk.list(dir)
    }

    fn len(&self, path: &Path) -> io::Result<u64> {
        self.disk.len(path)
    }

    fn read(&self, path: &Path, bytes_max: u64) -> io::Result<Vec<u8>> {
        self.disk.read(path, bytes_max)
    }

    fn open(&self, path: &Path) -> io::Result<Box<dyn DiskRead>> {
        self.disk.open(path)
    }

    fn link(&self, from: &Path, to: &Path) -> io::Result<()> {
        self.disk.link(from, to)
    }

    fn create(&self, path: &Path) -> io::Result<Box<dyn DiskFile>> {
        self.disk.create(path)
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        self.disk.rename(from, to)
    }

    fn sync(&self, path: &Path) -> io::Result<()> {
        self.disk.sync(path)
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        (self.hook.lock().unwrap_or_else(PoisonError::into_inner))(path);
        self.disk.remove(path)
    }

    fn sync_dir(&self, dir: &Path) -> io::Result<()> {
        self.disk.sync_dir(dir)
    }
}
