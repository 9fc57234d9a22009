//! An open file as a source of bytes: it can be read after it was deleted, and while it is not in memory.

use std::{fs::File, os::unix::fs::FileExt as _};

use homeostat_gosym::ReadAt;

/// A file that stays open.
#[derive(Debug)]
pub(crate) struct FileBytes {
    file: File,
    len_bytes: u64,
}

impl FileBytes {
    pub(crate) fn new(file: File) -> Self {
        let len_bytes = file.metadata().map_or(0, |metadata| metadata.len());
        Self { file, len_bytes }
    }

    #[cfg(feature = "bpf")]
    pub(crate) fn file(&self) -> &File {
        &self.file
    }
}

impl ReadAt for FileBytes {
    fn read_at(&self, offset: u64, into: &mut [u8]) -> bool {
        self.file.read_exact_at(into, offset).is_ok()
    }

    fn len_bytes(&self) -> u64 {
        self.len_bytes
    }
}
