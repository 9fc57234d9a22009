//! `log`: somebody left the debug log on, and it syncs every line, on the thread that serves requests.
//!
//! Blocking on purpose: that is the fault. On a file system in memory a sync costs nothing and the fault stays mild.

use std::{
    fs::{File, OpenOptions},
    io::{self, Seek, Write},
    path::Path,
    sync::{Mutex, PoisonError},
};

/// Size at which the log begins anew: a demonstration that runs for days does not fill the disk.
const LOG_BYTES_MAX: u64 = 64 << 20;

/// The log with its line and sync counts.
#[derive(Debug)]
pub struct DebugLog {
    inner: Mutex<Inner>,
}

#[derive(Debug)]
struct Inner {
    file: File,
    bytes: u64,
    syncs: u64,
}

impl DebugLog {
    /// Creates or continues the log at `path`.
    pub fn open(path: &Path) -> io::Result<Self> {
        let file = OpenOptions::new().create(true).append(true).open(path)?;
        let bytes = file.metadata()?.len();
        Ok(Self { inner: Mutex::new(Inner { file, bytes, syncs: 0 }) })
    }

    /// Writes `lines` lines about a request, each synced before the next.
    pub fn write(&self, request: &str, lines: u32) -> io::Result<()> {
        let mut inner = self.inner.lock().unwrap_or_else(PoisonError::into_inner);
        for line in 0..lines {
            let text = format!("DEBUG step={line} request={request}\n");
            if LOG_BYTES_MAX < inner.bytes + text.len() as u64 {
                inner.file.set_len(0)?;
                inner.file.rewind()?;
                inner.bytes = 0;
            }
            inner.file.write_all(text.as_bytes())?;
            inner.file.sync_data()?;
            inner.bytes += text.len() as u64;
            inner.syncs += 1;
        }
        Ok(())
    }

    /// Syncs so far.
    pub fn syncs(&self) -> u64 {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner).syncs
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_line_is_synced_by_itself() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("debug.log");
        let log = DebugLog::open(&path).unwrap();
        log.write("GET /items/1", 3).unwrap();
        log.write("GET /items/2", 2).unwrap();
        assert_eq!(log.syncs(), 5);
        let text = std::fs::read_to_string(path).unwrap();
        assert_eq!(text.lines().count(), 5);
        assert_eq!(text.lines().next(), Some("DEBUG step=0 request=GET /items/1"));
    }
}
