//! `log`: somebody left the debug log on, and every line is a write of its own, on the thread that serves requests.
//!
//! Blocking on purpose: that is the fault. Nothing is synced: a program that waits for its device has another one.

use std::{
    fs::{File, OpenOptions},
    io::{self, Seek, Write},
    path::Path,
    sync::{Mutex, PoisonError},
};

/// Size at which the log begins anew: a demonstration that runs for days does not fill the disk.
const LOG_BYTES_MAX: u64 = 64 << 20;

/// The log with its count of lines.
#[derive(Debug)]
pub struct DebugLog {
    inner: Mutex<Inner>,
}

#[derive(Debug)]
struct Inner {
    file: File,
    bytes: u64,
    lines: u64,
}

impl DebugLog {
    /// Creates or continues the log at `path`.
    pub fn open(path: &Path) -> io::Result<Self> {
        let file = OpenOptions::new().create(true).append(true).open(path)?;
        let bytes = file.metadata()?.len();
        Ok(Self { inner: Mutex::new(Inner { file, bytes, lines: 0 }) })
    }

    /// Writes `lines` lines about a request, each by itself.
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
            inner.bytes += text.len() as u64;
            inner.lines += 1;
        }
        Ok(())
    }

    /// Lines so far.
    pub fn lines(&self) -> u64 {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner).lines
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_written_and_counted() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("debug.log");
        let log = DebugLog::open(&path).unwrap();
        log.write("GET /items/1", 3).unwrap();
        log.write("GET /items/2", 2).unwrap();
        assert_eq!(log.lines(), 5);
        let text = std::fs::read_to_string(path).unwrap();
        assert_eq!(text.lines().count(), 5);
        assert_eq!(text.lines().next(), Some("DEBUG step=0 request=GET /items/1"));
    }
}
