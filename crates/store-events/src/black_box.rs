//! Recordings: one file per incident, an LZ4 frame of JSON.
//!
//! Not here: what is recorded (the edge that sees requests).
//! Invariants: a file appears or changes as a whole; a recording that covers less never replaces one that covers more; profiles
//! and strips that were put beside a recording stay there when a longer one replaces it.

use std::{
    io::{Read, Write},
    path::{Path, PathBuf},
};

use homeostat_model::{IncidentId, explanation::ProfileKept, incident::BlackBox, kernel::KernelStrip};
use homeostat_store_wal::{Disk, disk::replace};

use crate::error::JournalError;

/// Bytes of a compressed recording at most: 60 s of 10 ms ticks of both versions are about 1 MiB of JSON and 100 KiB
/// compressed; a service with a hundred routes stays below this.
pub const FILE_BYTES_MAX: u64 = 64 << 20;
/// Bytes of its JSON at most: eight times the above, as much as LZ4 does for such series.
pub(crate) const JSON_BYTES_MAX: u64 = 8 * FILE_BYTES_MAX;

pub(crate) const EXTENSION: &str = ".json.lz4";

pub(crate) fn file_name(id: IncidentId) -> String {
    format!("{id}{EXTENSION}")
}

/// Keeps a recording unless the one that is there covers more.
pub(crate) fn put(disk: &dyn Disk, dir: &Path, id: IncidentId, black_box: &BlackBox) -> Result<(), JournalError> {
    let old = unless_damaged(disk, dir, id)?;
    let covers_more = |old: &BlackBox| black_box.to < old.to || black_box.to == old.to && old.from <= black_box.from;
    match old {
        Some(old) if covers_more(&old) => Ok(()),
        Some(old) => {
            let BlackBox { profiles, kernel, .. } = old;
            write(disk, dir, id, &BlackBox { profiles, kernel, ..black_box.clone() })
        }
        None => write(disk, dir, id, black_box),
    }
}

/// The recording that is there; a damaged file is no reason to go without a new one, a disk that does not read is none to lose the
/// old one.
fn unless_damaged(disk: &dyn Disk, dir: &Path, id: IncidentId) -> Result<Option<BlackBox>, JournalError> {
    match get(disk, dir, id) {
        Err(JournalError::BlackBox { .. }) => Ok(None),
        other => other,
    }
}

/// Keeps profiles and strips beside a recording, in place of those that are there.
pub(crate) fn put_beside(
    disk: &dyn Disk,
    dir: &Path,
    id: IncidentId,
    profiles: Vec<ProfileKept>,
    kernel: Vec<KernelStrip>,
) -> Result<(), JournalError> {
    let recording = unless_damaged(disk, dir, id)?.unwrap_or_default();
    write(disk, dir, id, &BlackBox { profiles, kernel, ..recording })
}

fn write(disk: &dyn Disk, dir: &Path, id: IncidentId, black_box: &BlackBox) -> Result<(), JournalError> {
    let path = dir.join(file_name(id));
    let io = |source| JournalError::Io { what: "write", path: path.clone(), source };
    let json = serde_json::to_vec(black_box).map_err(std::io::Error::other).map_err(io)?;
    let compressed = compress(&json).map_err(io)?;
    within(&path, "of JSON", json.len(), JSON_BYTES_MAX)?;
    within(&path, "compressed", compressed.len(), FILE_BYTES_MAX)?;
    replace(disk, dir, &file_name(id), &compressed).map_err(io)
}

/// What is larger could be written and never be read again.
fn within(path: &Path, what: &'static str, bytes: usize, bytes_max: u64) -> Result<(), JournalError> {
    let bytes = bytes as u64;
    let too_large = || JournalError::TooLarge { path: path.to_owned(), what, bytes, bytes_max };
    if bytes_max < bytes { Err(too_large()) } else { Ok(()) }
}

/// Reads a recording; `None` when there is none.
pub(crate) fn get(disk: &dyn Disk, dir: &Path, id: IncidentId) -> Result<Option<BlackBox>, JournalError> {
    let path: PathBuf = dir.join(file_name(id));
    let bytes = match disk.read(&path, FILE_BYTES_MAX) {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
        // Older versions wrote files that are larger than what is read.
        Err(error) if error.kind() == std::io::ErrorKind::FileTooLarge => {
            return Err(JournalError::BlackBox { path, reason: error.to_string() });
        }
        Err(source) => return Err(JournalError::Io { what: "read", path, source }),
        Ok(bytes) => bytes,
    };
    let damaged = |reason: String| JournalError::BlackBox { path: path.clone(), reason };
    let json = decompress(&bytes, JSON_BYTES_MAX).map_err(damaged)?;
    serde_json::from_slice(&json).map(Some).map_err(|error| damaged(error.to_string()))
}

/// An LZ4 frame of `bytes`.
pub(crate) fn compress(bytes: &[u8]) -> std::io::Result<Vec<u8>> {
    let mut encoder = lz4_flex::frame::FrameEncoder::new(Vec::new());
    encoder.write_all(bytes)?;
    encoder.finish().map_err(std::io::Error::other)
}

/// The contents of an LZ4 frame, `bytes_max` at most.
pub(crate) fn decompress(frame: &[u8], bytes_max: u64) -> Result<Vec<u8>, String> {
    let mut bytes = Vec::new();
    let decoder = lz4_flex::frame::FrameDecoder::new(frame);
    decoder.take(bytes_max.saturating_add(1)).read_to_end(&mut bytes).map_err(|error| error.to_string())?;
    if bytes_max < bytes.len() as u64 { Err(format!("it holds more than {bytes_max} bytes")) } else { Ok(bytes) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_could_never_be_read_again_is_refused_with_what_to_do() {
        let path = Path::new("/data/black-boxes/INC-1.json.lz4");
        let max = FILE_BYTES_MAX as usize;
        assert!(within(path, "compressed", max, FILE_BYTES_MAX).is_ok());
        let said = within(path, "compressed", max + 1, FILE_BYTES_MAX).unwrap_err().to_string();
        for words in ["INC-1.json.lz4", "67108865 bytes compressed", "67108864 are read", "fewer programs"] {
            assert!(said.contains(words), "{said}");
        }
    }
}
