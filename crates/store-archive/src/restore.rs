//! A backup into a directory: every byte checked, and a file of its own for what makes it a store written last.

use std::{
    fs::{self, File},
    io::Write as _,
    path::Path,
};

use futures_util::StreamExt as _;
use object_store::ObjectStoreExt as _;

use crate::{
    Archive, ArchiveError, Progress,
    files::{Sum, io_error, sum},
    index::IndexedFile,
};

/// What a restore has done.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Restored {
    /// The backup's name.
    pub name: String,
    /// Files of the backup.
    pub files: u64,
    /// Their bytes.
    pub bytes: u64,
    /// Files that had to be fetched; the others were there from an attempt before.
    pub files_fetched: u64,
}

/// Names by which a directory is known as a store.
#[derive(Clone, Copy, Debug)]
pub struct Marks<'a> {
    /// The file that makes a directory a store; it is written last.
    pub last: &'a str,
    /// What a store has that is in use, or was; no backup has it.
    pub used: &'a str,
}

impl Marks<'_> {
    fn refuse(self, dir: &Path) -> Result<(), ArchiveError> {
        let any = [self.last, self.used].iter().any(|name| dir.join(name).exists());
        if any { Err(ArchiveError::NotEmpty { dir: dir.to_owned() }) } else { Ok(()) }
    }
}

impl Archive {
    /// Fetches a backup (the latest one unless a name is given) into `dir`. Its last file is written when everything
    /// else is on disk and nobody has begun to use the directory meanwhile; a directory that is a store already is not
    /// touched. An attempt that was interrupted goes on where it stopped. Writes files on the thread that polls it.
    pub async fn restore(
        &self,
        name: Option<&str>,
        dir: &Path,
        marks: Marks<'_>,
        mut progress: impl FnMut(Progress),
    ) -> Result<Restored, ArchiveError> {
        marks.refuse(dir)?;
        let last = marks.last;
        let name = if let Some(name) = name {
            name.to_owned()
        } else {
            let none = || ArchiveError::NoBackup { name: None, place: self.url() };
            self.backups().await?.pop().ok_or_else(none)?
        };
        let index = self.read_index(&name).await?;
        let bad = |detail: String| ArchiveError::Index { name: name.clone(), detail };
        let bytes = index.files.iter().try_fold(0_u64, |sum, file| sum.checked_add(file.bytes));
        let bytes = bytes.ok_or_else(|| bad("its files are longer than any disk".to_owned()))?;
        if index.files.iter().filter(|file| file.path == last).count() != 1 {
            return Err(bad(format!("it has no `{last}`, or several: it is no backup of a store")));
        }
        let mut at = Progress { done: 0, all: bytes };
        let mut done = Restored { name, bytes, files: index.files.len() as u64, files_fetched: 0 };
        let (ends, files): (Vec<_>, Vec<_>) = index.files.into_iter().partition(|file| file.path == last);
        for file in files.iter().chain(&ends) {
            let to = dir.join(&file.path);
            if file.path == last {
                marks.refuse(dir)?;
            }
            if !is_there(&to, file)? {
                let before = at.done;
                self.fetch(file, &to, &mut |got| progress(Progress { done: before + got, ..at })).await?;
                done.files_fetched += 1;
            }
            at.done += file.bytes;
            progress(at);
        }
        Ok(done)
    }

    /// Fetches one file beside its name, checks it, and gives it its name.
    async fn fetch(&self, file: &IndexedFile, to: &Path, told: &mut dyn FnMut(u64)) -> Result<(), ArchiveError> {
        let from = self.object(&file.sha256);
        let folder = to.parent().unwrap_or(to);
        fs::create_dir_all(folder).map_err(io_error("create", folder))?;
        let mut fresh_name = to.as_os_str().to_owned();
        fresh_name.push(".new");
        let fresh = Path::new(&fresh_name);
        let mut out = File::create(fresh).map_err(io_error("create", fresh))?;
        let answer = self.store().get(&from).await.map_err(|source| self.remote("read", &from, source))?;
        let (mut sum, mut got) = (Sum::default(), 0);
        let mut pieces = answer.into_stream();
        while let Some(piece) = pieces.next().await {
            let piece = piece.map_err(|source| self.remote("read", &from, source))?;
            got += piece.len() as u64;
            if file.bytes < got {
                break;
            }
            sum.add(&piece);
            out.write_all(&piece).map_err(io_error("write", fresh))?;
            told(got);
        }
        let found = sum.finish();
        if got != file.bytes || found != file.sha256 {
            // Best effort: the next attempt begins it anew.
            fs::remove_file(fresh).ok();
            return Err(ArchiveError::Damaged { object: file.sha256.clone(), place: self.url(), found });
        }
        out.sync_all().map_err(io_error("write", fresh))?;
        fs::rename(fresh, to).map_err(io_error("rename", fresh))?;
        File::open(folder).and_then(|folder| folder.sync_all()).map_err(io_error("write", folder))
    }
}

/// Returns true for a file with the right contents.
fn is_there(path: &Path, file: &IndexedFile) -> Result<bool, ArchiveError> {
    let same_length = fs::metadata(path).is_ok_and(|meta| meta.is_file() && meta.len() == file.bytes);
    Ok(same_length && sum(path)? == file.sha256)
}
