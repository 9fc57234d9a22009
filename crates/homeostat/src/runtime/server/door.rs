//! The store, as soon as it is open: requests come in before.

use std::sync::{Arc, OnceLock};

use homeostat_promql::SourceError;
use homeostat_store_series::SeriesStore;

use super::relays::Relays;

/// What is told until the store is open.
pub(super) const OPENING: &str = "the store is reading its log; try again in a moment";

/// Holds the store once it is open, with the way from it to other stores.
#[derive(Debug, Default)]
pub(super) struct Door(OnceLock<(SeriesStore, Arc<Relays>)>);

impl Door {
    /// Lets requests through from now on.
    pub(super) fn open(&self, store: SeriesStore, relays: Arc<Relays>) {
        // A second store would be our own mistake; the first one stays.
        drop(self.0.set((store, relays)));
    }

    /// The store, if it is open.
    pub(super) fn store(&self) -> Option<&SeriesStore> {
        self.0.get().map(|(store, _)| store)
    }

    /// The store with the way on, if it is open.
    pub(super) fn both(&self) -> Option<(&SeriesStore, &Relays)> {
        self.0.get().map(|(store, relays)| (store, &**relays))
    }

    /// The store, for a query.
    pub(super) fn readable(&self) -> Result<&SeriesStore, SourceError> {
        self.store().ok_or_else(|| SourceError::Storage(OPENING.into()))
    }
}
