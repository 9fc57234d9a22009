//! How samples leave the head: frozen, read, and given up once they are in a block.
//!
//! Freezing costs nothing: a new generation begins, and each series notes at its next sample which pages were there
//! before. A flush that fails leaves everything as it is; the next freeze takes what has come since along.
//!
//! Not here: files (`block::writer`), the order of steps (`flush`).
//! Invariants: frozen pages never change; while a flush is under way numbers of series do not change.

use std::{collections::HashMap, sync::Arc};

use homeostat_model::TimeMs;
use homeostat_wire::series::footer::BlockVersion;

use super::{Head, HeadSeries, HeadView, Part, Series, Slot, page::NO_PAGE, spread, view::Beside};

/// What is frozen.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Frozen {
    /// Times of the oldest and the newest sample.
    pub(crate) span: (TimeMs, TimeMs),
    /// Series with a lower number may have some.
    pub(crate) series: u32,
    /// Label names with a lower place in the index may belong to them.
    pub(crate) names: usize,
    /// What a block must be able to hold for them.
    pub(crate) version: BlockVersion,
}

impl Head {
    /// From now on every series has its labels written to the log again before its first sample.
    pub(crate) fn begin_generation(&mut self) {
        self.generation += 1;
    }

    /// Freezes everything that is there; `None` when there is nothing.
    pub(crate) fn freeze(&mut self) -> Option<Frozen> {
        self.begin_generation();
        let active = std::mem::take(&mut self.active);
        self.frozen.absorb(active);
        let span = self.frozen.span?;
        let version = if self.frozen.has_starts() { BlockVersion::Starts } else { BlockVersion::Plain };
        Some(Frozen { span, series: self.series.len() as u32, names: self.index.names().len(), version })
    }

    /// The last of a series' frozen pages.
    fn frozen_page(&self, series: &Series) -> u32 {
        if series.written == self.generation { series.frozen } else { series.page }
    }

    /// Returns true when a series has frozen samples.
    pub(crate) fn has_frozen(&self, id: u32) -> bool {
        self.get(id).is_some_and(|series| self.frozen_page(series) != NO_PAGE)
            || self.frozen.histograms.contains_key(&id)
            || self.frozen.late.contains_key(&id)
    }

    /// Copies the frozen samples of some series, each of which gets an entry.
    pub(crate) fn frozen_view(&self, ids: &[u32]) -> HeadView {
        let mut pages = Vec::new();
        let mut series = Vec::with_capacity(ids.len());
        for id in ids {
            let Some(entry) = self.get(*id) else { continue };
            let first_page = pages.len();
            pages.extend(self.pages.chain(self.frozen_page(entry)).copied());
            let mut beside = Beside::default();
            self.frozen.add_to(&mut beside, (*id, entry.starts), TimeMs::MIN, TimeMs::MAX);
            series.push(HeadSeries { labels: entry.labels.clone(), pages: first_page..pages.len(), beside });
        }
        HeadView { series, pages: Arc::new(pages) }
    }

    /// Gives up what is frozen: it is in a block. Series that nobody has written since the flush before this one go too.
    pub(crate) fn release(&mut self) {
        let generation = self.generation;
        for series in &mut self.series {
            if series.written == generation {
                let frozen = std::mem::replace(&mut series.frozen, NO_PAGE);
                if frozen != NO_PAGE && series.page == frozen {
                    series.page = NO_PAGE;
                } else if frozen != NO_PAGE {
                    self.pages.cut(series.page, frozen);
                }
                self.pages.free_chain(frozen);
            } else {
                self.pages.free_chain(std::mem::replace(&mut series.page, NO_PAGE));
            }
        }
        let frozen = std::mem::take(&mut self.frozen);
        for (id, samples) in frozen.histograms {
            if let Some(last) = samples.last()
                && !self.active.histograms.contains_key(&id)
            {
                self.last_histograms.insert(id, last.clone());
            }
        }
        let idle_before = std::mem::replace(&mut self.flushed, generation);
        if self.series.iter().any(|series| series.written < idle_before) {
            self.forget(idle_before);
        }
    }

    /// Forgets series without samples that nobody has written since a generation began.
    fn forget(&mut self, since: u32) {
        let mut next = 0;
        let number = |series: &Series| {
            let stays = since <= series.written || series.page != NO_PAGE;
            next += u32::from(stays);
            if stays { next - 1 } else { NO_PAGE }
        };
        let numbers: Vec<u32> = self.series.iter().map(number).collect();
        let renumber = |id: u32| numbers.get(id as usize).copied().filter(|new| *new != NO_PAGE);
        let mut ids = 0..;
        self.series.retain(|_| ids.next().and_then(renumber).is_some());
        self.series.shrink_to_fit();
        self.repack_starts();
        self.table.retain(|slot: &mut Slot| {
            let new = renumber(slot.id);
            slot.id = new.unwrap_or(slot.id);
            new.is_some()
        });
        self.table.shrink_to_fit(|slot| spread(slot.hash));
        self.index.renumber(&renumber);
        self.ranks.renumber(&renumber);
        self.active.renumber(&renumber);
        let last = std::mem::take(&mut self.last_histograms);
        self.last_histograms = rekeyed(last, &renumber);
    }
}

impl Part {
    /// Takes over what was written later.
    fn absorb(&mut self, later: Self) {
        for (id, samples) in later.histograms {
            self.histograms.entry(id).or_default().extend(samples);
        }
        for (id, late) in later.late {
            self.late.entry(id).or_default().absorb(late);
        }
        self.starts.absorb(later.starts);
        self.histogram_bytes += later.histogram_bytes;
        self.samples += later.samples;
        self.span = match (self.span, later.span) {
            (Some((a, b)), Some((c, d))) => Some((a.min(c), b.max(d))),
            (one, other) => one.or(other),
        };
    }

    /// Returns true when one of its samples says since when it counts.
    fn has_starts(&self) -> bool {
        self.starts.has_known() || self.late.values().any(|late| !late.starts.is_empty())
    }

    fn renumber(&mut self, renumber: &dyn Fn(u32) -> Option<u32>) {
        self.histograms = rekeyed(std::mem::take(&mut self.histograms), renumber);
        self.late = rekeyed(std::mem::take(&mut self.late), renumber);
    }
}

fn rekeyed<V>(map: HashMap<u32, V>, renumber: &dyn Fn(u32) -> Option<u32>) -> HashMap<u32, V> {
    map.into_iter().filter_map(|(id, value)| Some((renumber(id)?, value))).collect()
}
