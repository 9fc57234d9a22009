//! The disk as the log sees it: few operations, each with a stated durability, so that a test can break every one.
//!
//! Not here: retries and what a failure means (the writer).
//! Invariant: nothing is durable before `sync` (file contents) and `sync_dir` (names) have returned `Ok`.

use std::{
    fmt::Debug,
    fs::{DirBuilder, File, OpenOptions},
    io::{self, Read, Write},
    os::unix::fs::{DirBuilderExt as _, FileExt},
    path::Path,
};

use rustix::fs::{FlockOperation, flock};

/// Name of the file whose lock says that a process uses the directory.
pub const LOCK_NAME: &str = "LOCK";

/// What the log needs of a file system.
pub trait Disk: Debug + Send + Sync + 'static {
    /// Creates a directory and its parents, for their owner alone; existing ones are fine and stay as they are.
    fn make_dir(&self, dir: &Path) -> io::Result<()>;
    /// Takes the directory for this process until the guard is dropped; `WouldBlock` when somebody else has it.
    fn lock(&self, dir: &Path) -> io::Result<Box<dyn DirLock>>;
    /// Keeps everybody from taking the directory until the guard is dropped, without changing anything in it: a read-only
    /// one will do. `WouldBlock` when somebody has it; `None` when nobody can be kept from it, because nobody has ever
    /// taken it or its lock cannot be opened.
    fn guard(&self, dir: &Path) -> io::Result<Option<Box<dyn DirLock>>>;
    /// Names of the files in a directory, in no order.
    fn list(&self, dir: &Path) -> io::Result<Vec<String>>;
    /// Length of a file in bytes.
    fn len(&self, path: &Path) -> io::Result<u64>;
    /// A file's contents, `bytes_max` at most; a longer file is an error, so a stray giant cannot take the memory.
    fn read(&self, path: &Path, bytes_max: u64) -> io::Result<Vec<u8>>;
    /// Opens a file for reading anywhere in it. It stays readable when its name is removed or given to another file.
    fn open(&self, path: &Path) -> io::Result<Box<dyn DiskRead>>;
    /// Gives a file a second name, which must be free. The second name is as durable as `sync_dir` makes it.
    fn link(&self, from: &Path, to: &Path) -> io::Result<()>;
    /// Creates an empty file, replacing an old one.
    fn create(&self, path: &Path) -> io::Result<Box<dyn DiskFile>>;
    /// Renames within a directory, replacing the target atomically.
    fn rename(&self, from: &Path, to: &Path) -> io::Result<()>;
    /// Makes durable what an earlier process wrote into a file. What that process was told is lost stays lost.
    fn sync(&self, path: &Path) -> io::Result<()>;
    /// Removes a file; an absent one is fine.
    fn remove(&self, path: &Path) -> io::Result<()>;
    /// Makes the names in a directory durable.
    fn sync_dir(&self, dir: &Path) -> io::Result<()>;
}

/// A file being written, from its beginning, by one writer.
pub trait DiskFile: Debug + Send {
    /// Writes all bytes at the end. After an error any part of them may be in the file.
    fn append(&mut self, bytes: &[u8]) -> io::Result<()>;
    /// Makes everything appended so far durable. After an error nothing can be said about bytes since the last `Ok`,
    /// and asking again proves nothing: the kernel may have marked the lost pages clean.
    fn sync(&mut self) -> io::Result<()>;
}

/// A file being read, by any number of threads.
pub trait DiskRead: Debug + Send + Sync {
    /// Length in bytes.
    fn len(&self) -> io::Result<u64>;
    /// Returns true for a file without contents.
    fn is_empty(&self) -> io::Result<bool> {
        self.len().map(|len| len == 0)
    }
    /// Fills `buffer` from `offset` on; a file that ends before is an error.
    fn read_at(&self, offset: u64, buffer: &mut [u8]) -> io::Result<()>;
}

/// Holds a directory; dropping it lets go.
pub trait DirLock: Debug + Send + Sync {}

/// Replaces a file as a whole: after a crash either the old or the new contents are there.
pub fn replace(disk: &dyn Disk, dir: &Path, name: &str, contents: &[u8]) -> io::Result<()> {
    let fresh = dir.join(format!("{name}.new"));
    let written = (|| {
        let mut file = disk.create(&fresh)?;
        file.append(contents)?;
        file.sync()?;
        disk.rename(&fresh, &dir.join(name))
    })();
    if written.is_err() {
        // Best effort: on a full disk the half-written file would stand in the way of the next attempt.
        disk.remove(&fresh).ok();
    }
    written?;
    disk.sync_dir(dir)
}

/// The operating system's files.
#[derive(Clone, Copy, Debug, Default)]
pub struct RealDisk;

#[derive(Debug)]
struct RealRead(File);

#[derive(Debug)]
struct RealFile(File);

#[derive(Debug)]
struct RealLock {
    /// The lock lives as long as the open file.
    _file: File,
}

impl DirLock for RealLock {}

impl Disk for RealDisk {
    fn make_dir(&self, dir: &Path) -> io::Result<()> {
        DirBuilder::new().recursive(true).mode(0o700).create(dir)
    }

    fn lock(&self, dir: &Path) -> io::Result<Box<dyn DirLock>> {
        let file = OpenOptions::new().read(true).write(true).create(true).truncate(false).open(dir.join(LOCK_NAME))?;
        flock(&file, FlockOperation::NonBlockingLockExclusive)?;
        Ok(Box::new(RealLock { _file: file }))
    }

    fn guard(&self, dir: &Path) -> io::Result<Option<Box<dyn DirLock>>> {
        let file = match File::open(dir.join(LOCK_NAME)) {
            Err(error) if matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::PermissionDenied) => {
                return Ok(None);
            }
            other => other?,
        };
        flock(&file, FlockOperation::NonBlockingLockShared)?;
        Ok(Some(Box::new(RealLock { _file: file })))
    }

    fn list(&self, dir: &Path) -> io::Result<Vec<String>> {
        let mut names = Vec::new();
        for entry in std::fs::read_dir(dir)? {
            // A name that is not UTF-8 is not ours.
            if let Ok(name) = entry?.file_name().into_string() {
                names.push(name);
            }
        }
        Ok(names)
    }

    fn len(&self, path: &Path) -> io::Result<u64> {
        std::fs::metadata(path).map(|meta| meta.len())
    }

    fn read(&self, path: &Path, bytes_max: u64) -> io::Result<Vec<u8>> {
        let file = File::open(path)?;
        let mut bytes = Vec::with_capacity(file.metadata()?.len().min(bytes_max) as usize);
        file.take(bytes_max.saturating_add(1)).read_to_end(&mut bytes)?;
        if bytes_max < bytes.len() as u64 { Err(too_long(bytes_max)) } else { Ok(bytes) }
    }

    fn open(&self, path: &Path) -> io::Result<Box<dyn DiskRead>> {
        Ok(Box::new(RealRead(File::open(path)?)))
    }

    fn link(&self, from: &Path, to: &Path) -> io::Result<()> {
        std::fs::hard_link(from, to)
    }

    fn create(&self, path: &Path) -> io::Result<Box<dyn DiskFile>> {
        Ok(Box::new(RealFile(File::create(path)?)))
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        std::fs::rename(from, to)
    }

    fn sync(&self, path: &Path) -> io::Result<()> {
        File::open(path)?.sync_data()
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        match std::fs::remove_file(path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
            other => other,
        }
    }

    fn sync_dir(&self, dir: &Path) -> io::Result<()> {
        File::open(dir)?.sync_all()
    }
}

impl DiskRead for RealRead {
    fn len(&self) -> io::Result<u64> {
        self.0.metadata().map(|meta| meta.len())
    }

    fn read_at(&self, offset: u64, buffer: &mut [u8]) -> io::Result<()> {
        self.0.read_exact_at(buffer, offset)
    }
}

impl DiskFile for RealFile {
    fn append(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.0.write_all(bytes)
    }

    fn sync(&mut self) -> io::Result<()> {
        self.0.sync_data()
    }
}

pub(crate) fn too_long(bytes_max: u64) -> io::Error {
    io::Error::new(io::ErrorKind::FileTooLarge, format!("longer than the {bytes_max} bytes that are expected here"))
}
