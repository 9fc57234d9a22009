//! What an operator may ask for: flush now, merge everything, delete series, take a snapshot, look at the largest.

use std::{collections::HashMap, path::Path, sync::atomic::Ordering};

use homeostat_model::TimeMs;
use homeostat_promql::Matcher;
use homeostat_wire::series::{
    manifest::{BlockEntry, Gone},
    postings,
};

use crate::{
    error::{CatalogError, UpkeepError},
    flush::flush,
    plan,
    select::select,
    stats::{TopEntry, top},
    store::SeriesStore,
    worker::{drop_old, merge_next},
};

/// How often a deletion begins anew when a merge changes the blocks under it.
const DELETE_TRIES_MAX: usize = 10;

impl SeriesStore {
    /// Moves everything in memory into a block. Takes as long as writing it; not for async threads.
    pub fn flush(&self) -> Result<(), UpkeepError> {
        let shared = self.shared();
        let _alone = shared.flushing();
        if flush(shared)?.is_some() {
            shared.counters.flushes.fetch_add(1, Ordering::Relaxed);
        }
        Ok(())
    }

    /// Moves everything in memory into a block and merges blocks until they are as few and small as they get. Takes as
    /// long as rewriting them; not for async threads.
    pub fn compact_fully(&self) -> Result<(), UpkeepError> {
        self.flush()?;
        let shared = self.shared();
        let _alone = shared.merging();
        drop_old(shared)?;
        while merge_next(shared, plan::to_merge_fully)? {}
        Ok(())
    }

    /// Deletes samples from `start_ms` to `end_ms` of all series that meet all matchers of one of the sets. They are not
    /// seen from now on; their space is freed when blocks are merged. What is appended later is not concerned. Takes as
    /// long as a flush; not for async threads.
    pub fn delete(&self, sets: &[&[Matcher]], start_ms: TimeMs, end_ms: TimeMs) -> Result<(), UpkeepError> {
        self.flush()?;
        let catalog = &self.shared().catalog;
        let mut tried = 1;
        loop {
            let mut gone = Vec::new();
            for live in catalog.live().iter().filter(|live| live.block.overlaps(start_ms, end_ms)) {
                let mut series = Vec::new();
                for set in sets {
                    series.extend(select(&*live.block, set)?);
                }
                series.sort_unstable();
                series.dedup();
                if !series.is_empty() {
                    let mut list = Vec::new();
                    postings::encode(&series, &mut list);
                    gone.push(Gone { block: live.entry.number, min_ms: start_ms, max_ms: end_ms, series: list });
                }
            }
            match catalog.delete(gone) {
                Err(CatalogError::Overtaken) if tried < DELETE_TRIES_MAX => tried += 1,
                done => return Ok(done?),
            }
        }
    }

    /// Makes a copy of everything that is stored now under `dir`, by second names for the files: quick, and without
    /// space until the originals go. The copy opens like any store. Exemplars and metadata are not in it.
    pub fn snapshot_into(&self, dir: &Path) -> Result<(), UpkeepError> {
        self.flush()?;
        let io = |source| UpkeepError::Io { what: "write a snapshot into", path: dir.to_owned(), source };
        self.shared().catalog.link_into(dir).map_err(io)
    }

    /// What the manifest says about all blocks, in the order in which their samples were written.
    pub fn blocks(&self) -> Vec<BlockEntry> {
        self.shared().entries()
    }

    /// The values of a label that most series have, with the number of series in memory; `__name__` gives the largest
    /// metrics.
    pub fn top_values(&self, name: &str, limit: usize) -> Vec<TopEntry> {
        let head = self.shared().head();
        let values = head.index().name(name).map(crate::head::Name::values).unwrap_or_default();
        let entry =
            |value: &crate::head::Value| TopEntry { text: value.text.to_string(), count: value.series.len() as u64 };
        top(values.iter().map(entry).collect(), limit)
    }

    /// As [`Self::top_values`], for the newest block: what the numbers were a while ago, to see what grows.
    pub fn top_values_before(&self, name: &str, limit: usize) -> Result<Vec<TopEntry>, UpkeepError> {
        let live = self.shared().catalog.live();
        let mut entries = Vec::new();
        if let Some(live) = live.last() {
            let count = |text: &str, count| entries.push(TopEntry { text: text.to_owned(), count });
            live.block.for_each_count(name, count).map_err(homeostat_promql::SourceError::from)?;
        }
        Ok(top(entries, limit))
    }

    /// The labels with most different values, with the number of values.
    pub fn top_labels(&self, limit: usize) -> Vec<TopEntry> {
        let head = self.shared().head();
        let entry =
            |name: &crate::head::Name| TopEntry { text: name.text.to_string(), count: name.values().len() as u64 };
        top(head.index().names().iter().map(entry).collect(), limit)
    }

    /// Values that grew fastest since the newest block, with the number of series they gained.
    pub fn top_growth(&self, name: &str, limit: usize) -> Result<Vec<TopEntry>, UpkeepError> {
        let before: HashMap<String, u64> =
            self.top_values_before(name, usize::MAX)?.into_iter().map(|entry| (entry.text, entry.count)).collect();
        let grown = self.top_values(name, usize::MAX).into_iter().filter_map(|entry| {
            let gained = entry.count.saturating_sub(before.get(&entry.text).copied().unwrap_or(0));
            (gained > 0).then_some(TopEntry { count: gained, ..entry })
        });
        Ok(top(grown.collect(), limit))
    }
}
