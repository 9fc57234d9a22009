//! The store, as soon as it is open: requests come in before.

use std::sync::OnceLock;

use homeostat_promql::SourceError;
use homeostat_store_series::SeriesStore;

/// What is told until the store is open.
pub(super) const OPENING: &str = "the store is reading its log; try again in a moment";

/// Holds the store once it is open.
#[derive(Debug, Default)]
pub(super) struct Door(OnceLock<SeriesStore>);

impl Door {
    /// Lets requests through from now on.
    pub(super) fn open(&self, store: SeriesStore) {
        // A second store would be our own mistake; the first one stays.
        drop(self.0.set(store));
    }

    /// The store, if it is open.
    pub(super) fn store(&self) -> Option<&SeriesStore> {
        self.0.get()
    }

    /// The store, for a query.
    pub(super) fn readable(&self) -> Result<&SeriesStore, SourceError> {
        self.store().ok_or_else(|| SourceError::Storage(OPENING.into()))
    }
}
