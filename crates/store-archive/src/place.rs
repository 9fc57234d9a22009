//! Where backups are: a directory or a bucket.

use std::collections::HashMap;

use futures_util::TryStreamExt as _;
use homeostat_store_objects::{Place, Waits};
use object_store::{ObjectStore, ObjectStoreExt as _, path::Path as ObjectPath};

use crate::{
    ArchiveError,
    index::{INDEX_BYTES_MAX, Index},
};

const OBJECTS: &str = "objects";
const BACKUPS: &str = "backups";

/// A place with backups.
#[derive(Clone, Debug)]
pub struct Archive {
    place: Place,
}

impl Archive {
    /// Opens a directory or a bucket: see [`Place::open`]. Nothing is sent yet.
    pub fn open(url: &str, settings: impl IntoIterator<Item = (String, String)>) -> Result<Self, ArchiveError> {
        Self::open_with(url, settings, Waits::default())
    }

    /// Opens a place as [`Self::open`] does, with patience of the caller's own.
    pub fn open_with(
        url: &str,
        settings: impl IntoIterator<Item = (String, String)>,
        waits: Waits,
    ) -> Result<Self, ArchiveError> {
        Ok(Self { place: Place::open(url, settings, waits)? })
    }

    pub(crate) fn store(&self) -> &dyn ObjectStore {
        self.place.store()
    }

    /// As the user wrote it.
    pub(crate) fn url(&self) -> String {
        self.place.url().to_owned()
    }

    fn path(&self, folder: &str, name: &str) -> ObjectPath {
        self.place.path(&format!("{folder}/{name}"))
    }

    /// Where contents of this checksum are.
    pub(crate) fn object(&self, sha256: &str) -> ObjectPath {
        self.path(OBJECTS, sha256)
    }

    pub(crate) fn index(&self, name: &str) -> ObjectPath {
        self.path(BACKUPS, &format!("{name}.json"))
    }

    pub(crate) fn remote(&self, what: &'static str, object: &ObjectPath, source: object_store::Error) -> ArchiveError {
        ArchiveError::Remote { what, object: object.to_string(), place: self.url(), source: Box::new(source) }
    }

    /// Checksums and lengths of all contents that are there.
    pub(crate) async fn objects(&self) -> Result<HashMap<String, u64>, ArchiveError> {
        let folder = self.path(OBJECTS, "");
        let found = self.store().list(Some(&folder)).map_ok(|meta| {
            let name = meta.location.filename().unwrap_or_default().to_owned();
            (name, meta.size)
        });
        found.try_collect().await.map_err(|source| self.remote("list", &folder, source))
    }

    /// Names of all backups, oldest first when names are instants.
    pub async fn backups(&self) -> Result<Vec<String>, ArchiveError> {
        let folder = self.path(BACKUPS, "");
        let found = self.store().list(Some(&folder)).try_filter_map(|meta| {
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
        let answer = match self.store().get(&at).await {
            Err(object_store::Error::NotFound { .. }) => {
                return Err(ArchiveError::NoBackup { name: Some(name.to_owned()), place: self.url() });
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
