//! An address, and the store behind it.

use std::{
    fmt, fs, io,
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use object_store::{
    ObjectStore, RetryConfig,
    aws::{AmazonS3Builder, AmazonS3ConfigKey},
    local::LocalFileSystem,
    path::Path as ObjectPath,
};
use thiserror::Error;

use crate::connector::Hyper;

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

/// Why there is no place at an address.
#[derive(Debug, Error)]
pub enum PlaceError {
    /// The address cannot be understood.
    #[error("`{url}` is no place for objects; write a directory, file:///DIR or s3://BUCKET/PREFIX")]
    Url {
        /// As the user wrote it.
        url: String,
    },
    /// The directory cannot be made.
    #[error("cannot create {dir}")]
    Dir {
        /// Which.
        dir: PathBuf,
        /// The system's answer.
        #[source]
        source: io::Error,
    },
    /// The settings do not fit together.
    #[error("cannot use {url}")]
    Settings {
        /// As the user wrote it.
        url: String,
        /// What is wrong.
        #[source]
        source: Box<object_store::Error>,
    },
    /// The client for a bucket could not be made.
    #[error("cannot connect to buckets")]
    Client(#[source] io::Error),
}

/// A directory, or a part of a bucket.
#[derive(Clone, Debug)]
pub struct Place {
    store: Arc<dyn ObjectStore>,
    prefix: String,
    url: String,
    dir: Option<PathBuf>,
}

impl Place {
    /// Opens a directory (`/DIR` or `file:///DIR`, created if need be) or a bucket (`s3://BUCKET/PREFIX`). A bucket takes
    /// its settings from `settings`: names as `AWS_ACCESS_KEY_ID`, `AWS_ENDPOINT_URL`, in any case; others are ignored.
    /// Nothing is sent yet.
    pub fn open(
        url: &str,
        settings: impl IntoIterator<Item = (String, String)>,
        waits: Waits,
    ) -> Result<Self, PlaceError> {
        let no_place = || PlaceError::Url { url: url.to_owned() };
        let failed = |source| PlaceError::Settings { url: url.to_owned(), source: Box::new(source) };
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
            let connector = Hyper::new(waits).map_err(PlaceError::Client)?;
            let retries = RetryConfig { retry_timeout: waits.retries, ..RetryConfig::default() };
            let store = builder.with_http_connector(connector).with_retry(retries).build().map_err(failed)?;
            let prefix = prefix.trim_matches('/').to_owned();
            return Ok(Self { store: Arc::new(store), prefix, url: url.to_owned(), dir: None });
        }
        let dir = PathBuf::from(url.strip_prefix("file://").unwrap_or(url));
        if url.is_empty() || url.contains("://") && !dir.is_absolute() {
            return Err(no_place());
        }
        Self::directory(&dir, url)
    }

    /// Opens a directory, which is created if need be. `url` is how it is called in messages.
    pub fn directory(dir: &Path, url: &str) -> Result<Self, PlaceError> {
        fs::create_dir_all(dir).map_err(|source| PlaceError::Dir { dir: dir.to_owned(), source })?;
        let store = LocalFileSystem::new_with_prefix(dir);
        let store = store.map_err(|source| PlaceError::Settings { url: url.to_owned(), source: Box::new(source) })?;
        let (store, prefix) = (Arc::new(store.with_fsync(true)), String::new());
        Ok(Self { store, prefix, url: url.to_owned(), dir: Some(dir.to_owned()) })
    }

    /// A place in memory or in a test, with objects of its own. `url` is how it is called in messages.
    pub fn of(store: Arc<dyn ObjectStore>, url: &str) -> Self {
        Self { store, prefix: String::new(), url: url.to_owned(), dir: None }
    }

    /// The objects.
    pub fn store(&self) -> &dyn ObjectStore {
        &*self.store
    }

    /// The directory, where it is one.
    pub fn dir(&self) -> Option<&Path> {
        self.dir.as_deref()
    }

    /// The address as the user wrote it.
    pub fn url(&self) -> &str {
        &self.url
    }

    /// The name of an object in this place; its parts are divided by `/`.
    pub fn path(&self, name: &str) -> ObjectPath {
        [self.prefix.as_str(), name].into_iter().flat_map(|part| part.split('/')).collect()
    }
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.url)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_directories_and_buckets() {
        let dir = tempfile::tempdir().unwrap();
        let text = dir.path().join("new").display().to_string();
        let place = Place::open(&text, [], Waits::default()).unwrap();
        assert_eq!((place.dir().map(Path::is_dir), place.path("a/b").as_ref()), (Some(true), "a/b"));
        let place = Place::open(&format!("file://{text}"), [], Waits::default()).unwrap();
        assert_eq!(place.dir(), Some(Path::new(&text)));
        let settings = [("AWS_REGION".to_owned(), "x".to_owned()), ("HOME".to_owned(), "/".to_owned())];
        let place = Place::open("s3://bucket/some/prefix/", settings, Waits::default()).unwrap();
        assert_eq!((place.dir(), place.path("a/b").as_ref()), (None, "some/prefix/a/b"));
        for url in ["", "s3://", "s3:///x", "gs://bucket", "file://relative"] {
            assert!(matches!(Place::open(url, [], Waits::default()), Err(PlaceError::Url { .. })), "{url}");
        }
    }
}
