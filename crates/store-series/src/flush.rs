//! From the head into a block.
//!
//! Steps: freeze (a new segment of the log begins), write the block, name it in the manifest together with the place
//! from which the log is still needed, give up the frozen samples, drop the log before that place. A crash between any
//! two of them loses nothing and doubles nothing: either the manifest names the block and the log is read from behind
//! it, or neither.
//!
//! Not here: when to flush (`worker`).

use std::{sync::Arc, time::Duration};

use homeostat_store_wal::Flush;
use homeostat_wire::series::manifest::BlockEntry;

use crate::{
    block::{BlockWriter, Dictionary},
    error::FlushError,
    head::Frozen,
    merge::{Merge, Runs},
    store::Shared,
};

/// Series that are copied out of the head at once: a few dozen microseconds under its lock.
const SERIES_AT_ONCE: usize = 128;
/// How long the log may take to write what is carried over; a disk that takes longer is in trouble, and the flush is
/// tried again.
const CARRY_OVER_WAIT: Duration = Duration::from_mins(1);

/// Moves everything that is in the head now into a block. Gives it, or `None` when there was nothing.
pub(crate) fn flush(shared: &Shared) -> Result<Option<BlockEntry>, FlushError> {
    let Some((frozen, log_from)) = freeze(shared)? else { return Ok(None) };
    let entry = write(shared, frozen)?;
    shared.catalog.add(entry, log_from)?;
    // Readers look into the head first and into the blocks afterwards, so from here on nobody misses anything.
    shared.head_mut().release();
    shared.log.truncate_before(log_from).map_err(FlushError::Log)?;
    Ok(entry)
}

/// Freezes the head; what the log must not lose with its old segments goes into a new one first.
fn freeze(shared: &Shared) -> Result<Option<(Frozen, u64)>, FlushError> {
    let (frozen, log_from, carried) = {
        let mut head = shared.head_mut();
        if head.samples() == 0 {
            return Ok(None);
        }
        let Some(frozen) = head.freeze() else { return Ok(None) };
        let log_from = shared.log.next_seq();
        let mut ticket = None;
        for (at, record) in shared.carry_over(&mut head).iter().enumerate() {
            let append = if at == 0 {
                homeostat_store_wal::Wal::append_in_new_segment
            } else {
                homeostat_store_wal::Wal::append
            };
            ticket = Some(append(&shared.log, record, Flush::Grouped)?);
        }
        (frozen, log_from, ticket)
    };
    shared.log_since_flush.store(0, std::sync::atomic::Ordering::Relaxed);
    if let Some(ticket) = carried {
        let _ = ticket.wait(CARRY_OVER_WAIT)?;
    }
    Ok(Some((frozen, log_from)))
}

fn write(shared: &Shared, frozen: Frozen) -> Result<Option<BlockEntry>, FlushError> {
    let plan = Plan::new(shared, frozen);
    let (disk, dir) = (Arc::clone(shared.catalog.disk()), shared.catalog.blocks_dir());
    let mut writer =
        BlockWriter::new(disk, &dir, shared.catalog.next_number(), plan.dictionary, frozen.span, frozen.version)?;
    let written = plan.order.chunks(SERIES_AT_ONCE).try_for_each(|ids| {
        let view = shared.head().frozen_view(ids);
        for (id, series) in ids.iter().zip(view.series) {
            let sequences = series.runs(&view.pages, i64::MIN, i64::MAX, None);
            let sequences = sequences.into_iter().map(|run| Box::new(std::iter::once(Ok(run))) as Runs<'_>).collect();
            writer.add::<FlushError>(
                plan.pairs.of(*id),
                Merge::runs(sequences).map(|run| run.map_err(FlushError::Read)),
            )?;
        }
        Ok(())
    });
    match written {
        Ok(()) => Ok(writer.finish()?),
        Err(error) => {
            writer.abandon();
            Err(error)
        }
    }
}

/// What is written, in which order.
struct Plan {
    dictionary: Dictionary,
    pairs: Pairs,
    /// Series with frozen samples, in the order of their labels.
    order: Vec<u32>,
}

/// The pairs of every series, ascending, one series after the other.
struct Pairs {
    starts: Vec<u32>,
    pairs: Vec<u32>,
}

impl Pairs {
    fn of(&self, id: u32) -> &[u32] {
        let at = id as usize;
        let (start, end) = (self.starts.get(at).copied().unwrap_or(0), self.starts.get(at + 1).copied().unwrap_or(0));
        self.pairs.get(start as usize..end as usize).unwrap_or_default()
    }
}

impl Plan {
    /// Numbers the pairs of all series that have frozen samples. The head is locked for one label name at a time.
    fn new(shared: &Shared, frozen: Frozen) -> Self {
        let mut starts = vec![0_u32];
        let mut included = Vec::with_capacity(frozen.series as usize);
        let mut total = 0;
        for first in (0..frozen.series).step_by(8 * SERIES_AT_ONCE) {
            let head = shared.head();
            for id in first..frozen.series.min(first + 8 * SERIES_AT_ONCE as u32) {
                let labels = head.get(id).filter(|_| head.has_frozen(id)).map_or(0, |series| series.labels.len());
                included.push(labels > 0);
                total += labels as u32;
                starts.push(total);
            }
        }
        let mut cursors = starts.clone();
        let mut pairs = vec![0; total as usize];
        let mut dictionary = Dictionary::default();
        let mut pair = 0;
        let is_included = |id: &u32| included.get(*id as usize).copied().unwrap_or(false);
        for (text, place) in sorted_names(shared, frozen) {
            let mut values: Vec<(String, Vec<u32>)> = {
                let head = shared.head();
                let values = head.index().names().get(place).map(crate::head::Name::values).unwrap_or_default();
                let listed = values.iter().map(|value| {
                    (value.text.to_string(), value.series.iter().copied().filter(|id| is_included(id)).collect())
                });
                listed.filter(|(_, series): &(String, Vec<u32>)| !series.is_empty()).collect()
            };
            values.sort_unstable();
            for (_, series) in &values {
                for id in series {
                    if let Some(cursor) = cursors.get_mut(*id as usize)
                        && let Some(slot) = pairs.get_mut(*cursor as usize)
                    {
                        *slot = pair;
                        *cursor += 1;
                    }
                }
                pair += 1;
            }
            if !values.is_empty() {
                dictionary.names.push((text, values.into_iter().map(|(value, _)| value).collect()));
            }
        }
        let pairs = Pairs { starts, pairs };
        let mut order: Vec<u32> = (0..frozen.series).filter(|id| is_included(id)).collect();
        order.sort_unstable_by(|a, b| pairs.of(*a).cmp(pairs.of(*b)));
        Self { dictionary, pairs, order }
    }
}

/// Names that frozen series may have, with their places in the index.
fn sorted_names(shared: &Shared, frozen: Frozen) -> Vec<(String, usize)> {
    let head = shared.head();
    let names = head.index().names().iter().take(frozen.names).enumerate();
    let mut names: Vec<(String, usize)> = names.map(|(place, name)| (name.text.to_string(), place)).collect();
    names.sort_unstable();
    names
}
