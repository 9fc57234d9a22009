//! Files of a directory into an archive: what is not there yet, then the index.

use std::{collections::HashMap, path::Path};

use object_store::{ObjectStoreExt as _, PutMode, PutOptions, PutPayload, WriteMultipart};

use crate::{
    Archive, ArchiveError, Progress,
    files::{PIECE_BYTES, Pieces, Sum, end_sum, list, sum},
    index::{FORMAT, Index, IndexedFile},
};

/// Pieces of one file that are under way at once: 32 MiB of memory.
const PIECES_AT_ONCE: usize = 4;
/// Pieces of one file at most: S3 takes 10,000.
const PIECES_MAX: u64 = 9_000;

/// What a backup has done.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct BackedUp {
    /// Files of the backup.
    pub files: u64,
    /// Their bytes.
    pub bytes: u64,
    /// Files that had to be sent.
    pub files_sent: u64,
    /// Their bytes.
    pub bytes_sent: u64,
}

/// How names of files end that are written once and never changed.
const BLOCK_ENDING: &str = ".block";

/// The latest backup.
#[derive(Default)]
struct Known {
    name: String,
    /// Its blocks by path.
    blocks: HashMap<String, IndexedFile>,
}

/// A file's path, length, and checksum of its end.
type FileEnd = (String, u64, String);

fn with_ends(dir: &Path) -> Result<Vec<FileEnd>, ArchiveError> {
    let files = list(dir)?.into_iter().map(|(path, bytes)| {
        let end_sha256 = end_sum(&dir.join(&path), bytes)?;
        Ok((path, bytes, end_sha256))
    });
    files.collect()
}

impl Archive {
    /// Backs all files below `dir` up under `name`, which must be free; none of them may change meanwhile. Reads files on
    /// the thread that polls it. What an earlier backup has sent, finished or not, is not sent again. Nothing is sent when
    /// the latest backup is one of another store.
    pub async fn back_up(
        &self,
        dir: &Path,
        name: &str,
        mut progress: impl FnMut(Progress),
    ) -> Result<BackedUp, ArchiveError> {
        let files = with_ends(dir)?;
        let mut at = Progress { done: 0, all: files.iter().map(|(_, bytes, _)| bytes).sum() };
        let known = self.known().await?;
        self.refuse_other_store(dir, &files, &known)?;
        let mut there = self.objects().await?;
        let mut done = BackedUp::default();
        let mut index = Index { format: FORMAT, files: Vec::with_capacity(files.len()) };
        for (path, bytes, end_sha256) in files {
            let file = dir.join(&path);
            let sha256 = match known.blocks.get(&path) {
                // Blocks never change; everything else may, and be of the same length with the same end.
                Some(block) => block.sha256.clone(),
                None => sum(&file)?,
            };
            if there.get(&sha256) != Some(&bytes) {
                let before = at.done;
                self.send(&file, bytes, &sha256, &mut |sent| progress(Progress { done: before + sent, ..at })).await?;
                there.insert(sha256.clone(), bytes);
                (done.files_sent, done.bytes_sent) = (done.files_sent + 1, done.bytes_sent + bytes);
            }
            at.done += bytes;
            progress(at);
            (done.files, done.bytes) = (done.files + 1, done.bytes + bytes);
            index.files.push(IndexedFile { path, bytes, sha256, end_sha256 });
        }
        let text = serde_json::to_vec_pretty(&index)
            .map_err(|error| ArchiveError::Index { name: name.to_owned(), detail: error.to_string() })?;
        let to = self.index(name);
        let only_if_free = PutOptions::from(PutMode::Create);
        match self.store().put_opts(&to, PutPayload::from(text), only_if_free).await {
            Err(object_store::Error::AlreadyExists { .. }) => {
                Err(ArchiveError::Exists { name: name.to_owned(), place: self.url() })
            }
            Err(source) => Err(self.remote("write", &to, source)),
            Ok(_) => Ok(done),
        }
    }

    /// The blocks of the latest backup.
    async fn known(&self) -> Result<Known, ArchiveError> {
        let Some(name) = self.backups().await?.pop() else { return Ok(Known::default()) };
        let index = match self.read_index(&name).await {
            // It is of no use for anybody; the new backup reads everything.
            Err(ArchiveError::Index { .. }) => return Ok(Known::default()),
            other => other?,
        };
        let blocks = index.files.into_iter().filter(|file| file.path.ends_with(BLOCK_ENDING));
        Ok(Known { name, blocks: blocks.map(|file| (file.path.clone(), file)).collect() })
    }

    /// Blocks are written once, under a number that is never given again: two of one name are of two stores.
    fn refuse_other_store(&self, dir: &Path, files: &[FileEnd], known: &Known) -> Result<(), ArchiveError> {
        let differs = |(path, bytes, end): &&FileEnd| {
            known.blocks.get(path).is_some_and(|block| (block.bytes, &block.end_sha256) != (*bytes, end))
        };
        match files.iter().find(differs) {
            None => Ok(()),
            Some((path, ..)) => {
                Err(ArchiveError::Foreign { path: dir.join(path), name: known.name.clone(), place: self.url() })
            }
        }
    }

    /// Sends one file; it appears under its name when all of it is there.
    async fn send(&self, file: &Path, bytes: u64, sha256: &str, told: &mut dyn FnMut(u64)) -> Result<(), ArchiveError> {
        let to = self.object(sha256);
        let refused = |source| self.remote("write", &to, source);
        let mut pieces = Pieces::of(file)?;
        let mut sum = Sum::default();
        if bytes <= PIECE_BYTES as u64 {
            let piece = pieces.next(PIECE_BYTES)?;
            sum.add(&piece);
            return if sum.finish() == sha256 {
                self.store().put(&to, PutPayload::from(piece)).await.map(drop).map_err(refused)
            } else {
                Err(ArchiveError::Changed { path: file.to_owned() })
            };
        }
        let piece_bytes = PIECE_BYTES.max(bytes.div_ceil(PIECES_MAX) as usize);
        let upload = self.store().put_multipart(&to).await.map_err(refused)?;
        let mut upload = WriteMultipart::new_with_chunk_size(upload, piece_bytes);
        let mut sent = 0;
        let sending = async {
            loop {
                let piece = pieces.next(piece_bytes)?;
                if piece.is_empty() {
                    return Ok(());
                }
                sum.add(&piece);
                sent += piece.len() as u64;
                upload.wait_for_capacity(PIECES_AT_ONCE).await.map_err(refused)?;
                upload.put(piece.into());
                told(sent);
            }
        };
        let done: Result<(), ArchiveError> = sending.await;
        let same = sum.finish() == sha256;
        if done.is_ok() && same {
            return upload.finish().await.map(drop).map_err(refused);
        }
        // Best effort: what a bucket keeps of an upload that was given up is a matter of its own rules.
        upload.abort().await.ok();
        done?;
        Err(ArchiveError::Changed { path: file.to_owned() })
    }
}
