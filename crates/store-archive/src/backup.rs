//! Files of a directory into an archive: what is not there yet, then the index.

use std::{collections::HashMap, path::Path};

use object_store::{ObjectStoreExt as _, PutPayload, WriteMultipart};

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

impl Archive {
    /// Backs all files below `dir` up under `name`; none of them may change meanwhile. Reads files on the thread that
    /// polls it. What an earlier backup has sent, finished or not, is not sent again.
    pub async fn back_up(
        &self,
        dir: &Path,
        name: &str,
        mut progress: impl FnMut(Progress),
    ) -> Result<BackedUp, ArchiveError> {
        let files = list(dir)?;
        let mut at = Progress { done: 0, all: files.iter().map(|(_, bytes)| bytes).sum() };
        let known = self.known().await?;
        let mut there = self.objects().await?;
        let mut done = BackedUp::default();
        let mut index = Index { format: FORMAT, files: Vec::with_capacity(files.len()) };
        for (path, bytes) in files {
            let file = dir.join(&path);
            let end_sha256 = end_sum(&file, bytes)?;
            let key = (path, bytes, end_sha256);
            let sha256 = match known.get(&key) {
                Some(sha256) => sha256.clone(),
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
            let (path, bytes, end_sha256) = key;
            index.files.push(IndexedFile { path, bytes, sha256, end_sha256 });
        }
        let text = serde_json::to_vec_pretty(&index).unwrap_or_default();
        let to = self.index(name);
        let put = self.store.put(&to, PutPayload::from(text)).await;
        put.map_err(|source| self.remote("write", &to, source))?;
        Ok(done)
    }

    /// Checksums of files by path, length and end, as the latest backup says.
    async fn known(&self) -> Result<HashMap<(String, u64, String), String>, ArchiveError> {
        let Some(latest) = self.backups().await?.pop() else { return Ok(HashMap::new()) };
        let index = match self.read_index(&latest).await {
            // It is of no use for anybody; the new backup reads everything.
            Err(ArchiveError::Index { .. }) => return Ok(HashMap::new()),
            other => other?,
        };
        Ok(index.files.into_iter().map(|file| ((file.path, file.bytes, file.end_sha256), file.sha256)).collect())
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
                self.store.put(&to, PutPayload::from(piece)).await.map(drop).map_err(refused)
            } else {
                Err(ArchiveError::Changed { path: file.to_owned() })
            };
        }
        let piece_bytes = PIECE_BYTES.max(bytes.div_ceil(PIECES_MAX) as usize);
        let upload = self.store.put_multipart(&to).await.map_err(refused)?;
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
        let done = sending.await;
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
