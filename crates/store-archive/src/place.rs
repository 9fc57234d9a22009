//! Where backups are: a directory or a bucket.

use std::{collections::HashMap, fs, path::PathBuf, sync::Arc, time::Duration};

use futures_util::TryStreamExt as _;
use object_store::{
    ObjectStore, ObjectStoreExt as _, RetryConfig,
    aws::{AmazonS3Builder, AmazonS3ConfigKey},
    local::LocalFileSystem,
    path::Path as ObjectPath,
};

use crate::{
    ArchiveError,
    connector::Hyper,
    files::io_error,
    index::{INDEX_BYTES_MAX, Index},
};

const OBJECTS: &str = "objects";
const BACKUPS: &str = "backups";

/// How long a bucket may take.
#[derive(Clone, Copy, Debug)]
pub struct Waits {
    /// To accept a connection.
    pub connect: Duration,
    /// To answer a request, and for each next piece of an answer; what is sent has time of its own beside it.
    pub request: Duration,
    /// After so long a request is not tried again.
    pub retries: Duration,
}

/// Ten seconds connect across the world, lost packets included; a minute is what a busy bucket needs at worst. Requests
/// that fail are tried again for three minutes, so a bucket that is gone is told after four.
impl Default for Waits {
    fn default() -> Self {
        let (connect, request) = (Duration::from_secs(10), Duration::from_mins(1));
        Self { connect, request, retries: Duration::from_mins(3) }
    }
}

/// A place with backups.
#[derive(Clone, Debug)]
pub struct Archive {
    pub(crate) store: Arc<dyn ObjectStore>,
    prefix: String,
    /// As the user wrote it.
    pub(crate) place: String,
}

impl Archive {
    /// Opens a directory (`/DIR` or `file:///DIR`, created if need be) or a bucket (`s3://BUCKET/PREFIX`). A bucket takes
    /// its settings from `settings`: names as `AWS_ACCESS_KEY_ID`, `AWS_ENDPOINT_URL`, in any case; others are ignored.
    /// Nothing is sent yet.
    pub fn open(url: &str, settings: impl IntoIterator<Item = (String, String)>) -> Result<Self, ArchiveError> {
        Self::open_with(url, settings, Waits::default())
    }

    /// Opens a place as [`Self::open`] does, with patience of the caller's own.
    pub fn open_with(
        url: &str,
        settings: impl IntoIterator<Item = (String, String)>,
        waits: Waits,
    ) -> Result<Self, ArchiveError> {
        let no_place = || ArchiveError::Url { url: url.to_owned() };
        if let Some(rest) = url.strip_prefix("s3://") {
            let (bucket, prefix) = rest.split_once('/').unwrap_or((rest, ""));
            if bucket.is_empty() {
                return Err(no_place());
            }
            let mut builder = AmazonS3Builder::new().with_bucket_name(bucket);
            for (name, value) in settings {
                if let Ok(key) = name.to_ascii_lowercase().parse::<AmazonS3ConfigKey>() {
                    builder = builder.with_config(key, value);
                }
            }
            let connector = Hyper::new(waits).map_err(ArchiveError::Client)?;
            let retries = RetryConfig { retry_timeout: waits.retries, ..RetryConfig::default() };
            let store = builder.with_http_connector(connector).with_retry(retries).build();
            let store = store.map_err(|source| remote("connect to", bucket, url, source))?;
            let prefix = prefix.trim_matches('/').to_owned();
            return Ok(Self { store: Arc::new(store), prefix, place: url.to_owned() });
        }
        let dir = PathBuf::from(url.strip_prefix("file://").unwrap_or(url));
        if url.is_empty() || url.contains("://") && !dir.is_absolute() {
            return Err(no_place());
        }
        fs::create_dir_all(&dir).map_err(io_error("create", &dir))?;
        let store = LocalFileSystem::new_with_prefix(&dir).map_err(|source| remote("open", "", url, source))?;
        let store = store.with_fsync(true);
        Ok(Self { store: Arc::new(store), prefix: String::new(), place: url.to_owned() })
    }

    fn path(&self, folder: &str, name: &str) -> ObjectPath {
        [self.prefix.as_str(), folder, name].into_iter().flat_map(|part| part.split('/')).collect()
    }

    /// Where contents of this checksum are.
    pub(crate) fn object(&self, sha256: &str) -> ObjectPath {
        self.path(OBJECTS, sha256)
    }

    pub(crate) fn index(&self, name: &str) -> ObjectPath {
        self.path(BACKUPS, &format!("{name}.json"))
    }

    pub(crate) fn remote(&self, what: &'static str, object: &ObjectPath, source: object_store::Error) -> ArchiveError {
        remote(what, object.as_ref(), &self.place, source)
    }

    /// Checksums and lengths of all contents that are there.
    pub(crate) async fn objects(&self) -> Result<HashMap<String, u64>, ArchiveError> {
        let folder = self.path(OBJECTS, "");
        let found = self.store.list(Some(&folder)).map_ok(|meta| {
            let name = meta.location.filename().unwrap_or_default().to_owned();
            (name, meta.size)
        });
        found.try_collect().await.map_err(|source| self.remote("list", &folder, source))
    }

    /// Names of all backups, oldest first when names are instants.
    pub async fn backups(&self) -> Result<Vec<String>, ArchiveError> {
        let folder = self.path(BACKUPS, "");
        let found = self.store.list(Some(&folder)).try_filter_map(|meta| {
            let name = meta.location.filename().and_then(|name| name.strip_suffix(".json")).map(str::to_owned);
            std::future::ready(Ok(name))
        });
        let mut names: Vec<String> =
            found.try_collect().await.map_err(|source| self.remote("list", &folder, source))?;
        names.sort();
        Ok(names)
    }

    /// Reads the index of a backup.
    pub async fn read_index(&self, name: &str) -> Result<Index, ArchiveError> {
        let at = self.index(name);
        let answer = match self.store.get(&at).await {
            Err(object_store::Error::NotFound { .. }) => {
                return Err(ArchiveError::NoBackup { name: Some(name.to_owned()), place: self.place.clone() });
            }
            other => other.map_err(|source| self.remote("read", &at, source))?,
        };
        let bad = |detail: String| ArchiveError::Index { name: name.to_owned(), detail };
        if INDEX_BYTES_MAX < answer.meta.size {
            return Err(bad(format!("{} bytes are more than an index has", answer.meta.size)));
        }
        let text = answer.bytes().await.map_err(|source| self.remote("read", &at, source))?;
        Index::read(&text).map_err(bad)
    }
}

fn remote(what: &'static str, object: &str, place: &str, source: object_store::Error) -> ArchiveError {
    ArchiveError::Remote { what, object: object.to_owned(), place: place.to_owned(), source: Box::new(source) }
}
