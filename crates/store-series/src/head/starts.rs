//! Since when samples in order count: for each series the changes, because a counter keeps its start for days.
//!
//! A series gets a place with its first start, and what is kept of it lies there, in lists that series without starts have
//! no place in: the start of its newest sample, so that whether a sample changes it is one comparison; and its changes, so
//! that a sender of deltas, each of which is a change, costs no look-up. Each generation begins its own lists of changes,
//! since those of an earlier one leave with their samples.
//!
//! Not here: late samples, each of which has its own start (`late`).
//! Invariants: changes are in order of time; a series that has had a start has an entry for its first sample of every
//! generation.

use homeostat_model::{TimeMs, sample::START_UNKNOWN};

use super::Head;

/// The place of a series none of whose samples had a start.
pub(super) const NO_STARTS: u32 = u32::MAX;

/// From a sample's time on, since when samples count: [`START_UNKNOWN`] when they do not say.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Since {
    pub(super) t_ms: TimeMs,
    pub(super) start_ms: TimeMs,
}

/// Starts of the newest samples of series that have had one.
#[derive(Debug, Default)]
pub(super) struct Newest(Vec<Slot>);

#[derive(Clone, Copy, Debug)]
struct Slot {
    start_ms: TimeMs,
    /// The generation of the sample.
    generation: u32,
}

/// The changes of one or more generations, by the places of their series.
#[derive(Debug, Default)]
pub(super) struct Changes {
    lists: Vec<Vec<Since>>,
    /// Changes that the lists have room for.
    room: usize,
}

impl Changes {
    fn push(&mut self, at: u32, change: Since) {
        self.extend(at as usize, &[change]);
    }

    fn extend(&mut self, at: usize, changes: &[Since]) {
        if self.lists.len() <= at {
            self.lists.resize_with(at + 1, Vec::new);
        }
        if let Some(list) = self.lists.get_mut(at) {
            let room = list.capacity();
            if room == 0 {
                // Most counters keep their start; a list would begin with room for four.
                list.reserve_exact(changes.len());
            }
            list.extend_from_slice(changes);
            self.room += list.capacity() - room;
        }
    }

    /// Those of the series at a place.
    pub(super) fn of(&self, at: u32) -> &[Since] {
        self.lists.get(at as usize).map(Vec::as_slice).unwrap_or_default()
    }

    /// Bytes that they take: a list for each place, and the room of the lists.
    pub(super) fn bytes(&self) -> usize {
        self.lists.len() * size_of::<Vec<Since>>() + self.room * size_of::<Since>()
    }

    /// Returns true when one of them says since when.
    pub(super) fn has_known(&self) -> bool {
        self.lists.iter().flatten().any(|change| change.start_ms != START_UNKNOWN)
    }

    /// Takes over what was written later.
    pub(super) fn absorb(&mut self, later: Self) {
        if self.lists.is_empty() {
            *self = later;
            return;
        }
        for (at, list) in later.lists.iter().enumerate().filter(|(_, list)| !list.is_empty()) {
            self.extend(at, list);
        }
    }
}

impl Newest {
    /// Gives a place; no sample was seen there.
    fn add(&mut self) -> u32 {
        self.0.push(Slot { start_ms: START_UNKNOWN, generation: 0 });
        (self.0.len() - 1) as u32
    }

    /// Notes the start of a newer sample; false when it is that of the sample before, of the same generation.
    fn changes(&mut self, at: u32, generation: u32, start_ms: TimeMs) -> bool {
        let Some(slot) = self.0.get_mut(at as usize) else { return false };
        let changes = slot.generation != generation || slot.start_ms != start_ms;
        *slot = Slot { start_ms, generation };
        changes
    }
}

impl Head {
    /// Notes since when a sample in order counts, of a series that has had a start or has one now.
    pub(super) fn note_start(&mut self, id: u32, t_ms: TimeMs, start_ms: TimeMs) {
        let Some(series) = self.series.get_mut(id as usize) else { return };
        if series.starts == NO_STARTS {
            series.starts = self.newest_starts.add();
        }
        if self.newest_starts.changes(series.starts, self.generation, start_ms) {
            self.active.starts.push(series.starts, Since { t_ms, start_ms });
        }
    }

    /// Gives up the places of series that are gone. Nothing is frozen at that time.
    pub(super) fn repack_starts(&mut self) {
        let old = std::mem::take(&mut self.newest_starts);
        let mut changes = std::mem::take(&mut self.active.starts.lists);
        for series in &mut self.series {
            let at = series.starts as usize;
            if let Some(slot) = old.0.get(at) {
                series.starts = self.newest_starts.0.len() as u32;
                self.newest_starts.0.push(*slot);
                self.active.starts.lists.push(changes.get_mut(at).map(std::mem::take).unwrap_or_default());
            }
        }
        self.active.starts.room = self.active.starts.lists.iter().map(Vec::capacity).sum();
    }
}

/// The changes that matter to samples between two instants.
pub(super) fn within(changes: &[Since], start_ms: TimeMs, end_ms: TimeMs) -> &[Since] {
    let from = changes.partition_point(|change| change.t_ms <= start_ms).saturating_sub(1);
    let to = changes.partition_point(|change| change.t_ms <= end_ms);
    changes.get(from..to).unwrap_or_default()
}

/// Since when the samples at these times count, which ascend; nothing when none says.
pub(super) fn of(changes: &[Since], t_ms: &[TimeMs]) -> Vec<TimeMs> {
    if changes.iter().all(|change| change.start_ms == START_UNKNOWN) {
        return Vec::new();
    }
    let mut changes = changes.iter().peekable();
    let mut start_ms = START_UNKNOWN;
    let at = |t_ms: &TimeMs| {
        while let Some(change) = changes.next_if(|change| change.t_ms <= *t_ms) {
            start_ms = change.start_ms;
        }
        start_ms
    };
    t_ms.iter().map(at).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_start_holds_until_the_next_one() {
        let changes = [(10, 5), (30, START_UNKNOWN), (50, 45)].map(|(t_ms, start_ms)| Since { t_ms, start_ms });
        assert_eq!(of(&changes, &[0, 10, 20, 30, 40, 50, 60]), [0, 5, 5, 0, 0, 45, 45]);
        assert_eq!(of(&changes, &[60]), [45]);
        assert!(of(&changes[1..2], &[30, 40]).is_empty());
        for (from, to, count) in [(0, 100, 3), (10, 10, 1), (20, 29, 1), (20, 30, 2), (51, 60, 1), (0, 9, 0)] {
            let cut = within(&changes, from, to);
            assert_eq!(cut.len(), count, "{from} to {to}");
            let times: Vec<_> = (from..=to).collect();
            assert!(of(cut, &times).iter().eq(&of(&changes, &times)) || of(cut, &times).is_empty());
        }
    }
}
