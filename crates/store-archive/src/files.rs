//! Files of a directory and their checksums.

use std::{
    fs::{self, File},
    io::{self, Read as _, Seek as _, SeekFrom},
    path::{Path, PathBuf},
};

use sha2::{Digest as _, Sha256};

use crate::ArchiveError;

/// Bytes that are read, sent or written at once.
pub(crate) const PIECE_BYTES: usize = 8 << 20;
/// The end of a file by which it is recognised.
const END_BYTES: u64 = 64 << 10;

pub(crate) fn io_error(what: &'static str, path: &Path) -> impl FnOnce(io::Error) -> ArchiveError + use<> {
    let path = path.to_owned();
    move |source| ArchiveError::Io { what, path, source }
}

/// All files below a directory: path with `/` between parts, and length; sorted.
pub(crate) fn list(dir: &Path) -> Result<Vec<(String, u64)>, ArchiveError> {
    let mut files = Vec::new();
    let mut open = vec![(dir.to_owned(), String::new())];
    while let Some((dir, prefix)) = open.pop() {
        for entry in fs::read_dir(&dir).map_err(io_error("list", &dir))? {
            let entry = entry.map_err(io_error("list", &dir))?;
            let path = entry.path();
            let meta = entry.metadata().map_err(io_error("look at", &path))?;
            // A name that is not UTF-8 is not ours.
            let Ok(name) = entry.file_name().into_string() else { continue };
            if meta.is_dir() {
                open.push((path, format!("{prefix}{name}/")));
            } else if meta.is_file() {
                files.push((format!("{prefix}{name}"), meta.len()));
            }
        }
    }
    files.sort();
    Ok(files)
}

/// Reads a file piece by piece.
pub(crate) struct Pieces {
    path: PathBuf,
    file: File,
}

impl Pieces {
    pub(crate) fn of(path: &Path) -> Result<Self, ArchiveError> {
        let file = File::open(path).map_err(io_error("open", path))?;
        Ok(Self { path: path.to_owned(), file })
    }

    /// The next piece of `bytes_max` at most; empty at the end.
    pub(crate) fn next(&mut self, bytes_max: usize) -> Result<Vec<u8>, ArchiveError> {
        let mut piece = Vec::with_capacity(bytes_max);
        let read = (&self.file).take(bytes_max as u64).read_to_end(&mut piece);
        read.map_err(io_error("read", &self.path))?;
        Ok(piece)
    }
}

/// The checksum of a whole file.
pub(crate) fn sum(path: &Path) -> Result<String, ArchiveError> {
    let mut pieces = Pieces::of(path)?;
    let mut sum = Sum::default();
    loop {
        let piece = pieces.next(PIECE_BYTES)?;
        if piece.is_empty() {
            return Ok(sum.finish());
        }
        sum.add(&piece);
    }
}

/// The checksum of a file's end.
pub(crate) fn end_sum(path: &Path, bytes: u64) -> Result<String, ArchiveError> {
    let mut pieces = Pieces::of(path)?;
    let seek = pieces.file.seek(SeekFrom::Start(bytes.saturating_sub(END_BYTES)));
    seek.map_err(io_error("read", path))?;
    let mut sum = Sum::default();
    sum.add(&pieces.next(END_BYTES as usize)?);
    Ok(sum.finish())
}

/// A checksum under construction.
#[derive(Default)]
pub(crate) struct Sum(Sha256);

impl Sum {
    pub(crate) fn add(&mut self, bytes: &[u8]) {
        self.0.update(bytes);
    }

    /// In hexadecimal digits.
    pub(crate) fn finish(self) -> String {
        let digit = |nibble: u8| char::from_digit(nibble.into(), 16).unwrap_or('0');
        self.0.finalize().iter().flat_map(|byte| [digit(byte >> 4), digit(byte & 15)]).collect()
    }
}
