//! What the store does on its own: moving the head into blocks, merging blocks, dropping what is too old, ranking series.
//!
//! A thread each, so that a long merge never holds up a flush: memory is what runs out first. All sleep until they are
//! told that there is something to do, or until it is time to try again after a failure.
//!
//! ```text
//! appends ── head is large ──▶ flusher ── new block ──▶ merger
//! ```

use std::{
    io,
    sync::{
        Arc, Condvar, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    thread::JoinHandle,
    time::Duration,
};

use homeostat_model::error_chain::chain;

use crate::{compact::compact, error::CompactError, flush::flush, plan, store::Shared};

/// First pause after a failure; doubles up to [`RETRY_MAX`].
const RETRY_FIRST: Duration = Duration::from_millis(200);
/// Longest pause: space that was freed is used soon.
const RETRY_MAX: Duration = Duration::from_secs(10);

/// What the threads are told.
#[derive(Debug, Default)]
pub(crate) struct Orders {
    state: Mutex<State>,
    changed: Condvar,
    /// As in `state`, for loops that look often.
    stop: AtomicBool,
}

#[derive(Debug, Default)]
#[expect(clippy::struct_excessive_bools, reason = "each is an order of its own")]
struct State {
    flush: bool,
    merge: bool,
    rank: bool,
    stop: bool,
}

#[derive(Clone, Copy, Debug)]
enum Task {
    Flush,
    Merge,
    /// Series get their place in the order of their labels, for queries over many.
    Rank,
}

impl Orders {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn want_flush(&self) {
        let mut state = self.lock();
        if !state.flush {
            state.flush = true;
            self.changed.notify_all();
        }
    }

    pub(crate) fn want_merge(&self) {
        self.lock().merge = true;
        self.changed.notify_all();
    }

    pub(crate) fn want_ranks(&self) {
        let mut state = self.lock();
        if !state.rank {
            state.rank = true;
            self.changed.notify_all();
        }
    }

    pub(crate) fn stopping(&self) -> &AtomicBool {
        &self.stop
    }

    fn stop(&self) {
        self.stop.store(true, Ordering::Relaxed);
        self.lock().stop = true;
        self.changed.notify_all();
    }

    /// Waits until a task is wanted, or for `pause` when it failed and shall be tried again; false at the end.
    fn wait(&self, task: Task, retry: Option<Duration>) -> bool {
        let mut state = self.lock();
        loop {
            if state.stop {
                return false;
            }
            let wanted = match task {
                Task::Flush => &mut state.flush,
                Task::Merge => &mut state.merge,
                Task::Rank => &mut state.rank,
            };
            if retry.is_none() && std::mem::take(wanted) {
                return true;
            }
            state = match retry {
                None => self.changed.wait(state).unwrap_or_else(PoisonError::into_inner),
                Some(pause) => {
                    let waited = self.changed.wait_timeout_while(state, pause, |state| !state.stop);
                    let (mut state, _) = waited.unwrap_or_else(PoisonError::into_inner);
                    match task {
                        Task::Flush => state.flush = false,
                        Task::Merge => state.merge = false,
                        Task::Rank => state.rank = false,
                    }
                    return !state.stop;
                }
            };
        }
    }
}

/// The threads of a store; dropping it ends them.
#[derive(Debug)]
pub(crate) struct Workers {
    shared: Arc<Shared>,
    threads: Mutex<Vec<JoinHandle<()>>>,
}

impl Workers {
    pub(crate) fn start(shared: &Arc<Shared>) -> io::Result<Self> {
        let workers = Self { shared: Arc::clone(shared), threads: Mutex::default() };
        for (name, task) in [("series-flush", Task::Flush), ("series-merge", Task::Merge), ("series-rank", Task::Rank)]
        {
            let shared = Arc::clone(shared);
            let thread = std::thread::Builder::new().name(name.to_owned()).spawn(move || run(&shared, task))?;
            workers.threads.lock().unwrap_or_else(PoisonError::into_inner).push(thread);
        }
        Ok(workers)
    }

    /// Ends the threads and waits for what they are doing.
    pub(crate) fn stop(&self) {
        self.shared.orders.stop();
        let threads = std::mem::take(&mut *self.threads.lock().unwrap_or_else(PoisonError::into_inner));
        for thread in threads {
            // A thread that panicked has said so; there is nothing to add.
            thread.join().ok();
        }
    }
}

impl Drop for Workers {
    fn drop(&mut self) {
        self.stop();
    }
}

fn run(shared: &Shared, task: Task) {
    let mut retry = None;
    while shared.orders.wait(task, retry) {
        let done = match task {
            Task::Flush => flush_once(shared),
            Task::Merge => upkeep(shared),
            Task::Rank => {
                rank(shared);
                Ok(())
            }
        };
        retry = match done {
            Ok(()) => None,
            Err(()) => Some(retry.map_or(RETRY_FIRST, |pause: Duration| (pause * 2).min(RETRY_MAX))),
        };
    }
}

fn flush_once(shared: &Shared) -> Result<(), ()> {
    let _alone = shared.flushing();
    let done = flush(shared);
    if matches!(done, Ok(Some(_))) {
        shared.counters.flushes.fetch_add(1, Ordering::Relaxed);
        shared.orders.want_merge();
    }
    note(shared, "samples cannot be moved into a block; trying again", done.map(|_| ()), |troubles| &mut troubles.flush)
}

/// Ranks the head's series. The head is locked while labels are taken out and ranks are put in, not in between.
fn rank(shared: &Shared) {
    let ranking = {
        let head = shared.head();
        if !head.wants_ranks() {
            return;
        }
        head.to_rank()
    };
    let ranks = ranking.ranks();
    shared.head_mut().set_ranks(ranks, &ranking);
}

/// Drops and merges blocks until all is well.
pub(crate) fn upkeep(shared: &Shared) -> Result<(), ()> {
    let _alone = shared.merging();
    let done = (|| {
        drop_old(shared)?;
        while merge_next(shared, plan::to_merge)? {}
        Ok(())
    })();
    let done = match done {
        Err(CompactError::Stopped) => Ok(()),
        other => other,
    };
    note(shared, "blocks cannot be merged; trying again", done, |troubles| &mut troubles.merge)
}

/// Drops blocks that are too old or too much.
pub(crate) fn drop_old(shared: &Shared) -> Result<(), CompactError> {
    let dropped = plan::to_drop(&shared.entries(), shared.rules());
    if !dropped.is_empty() {
        shared.catalog.remove(&dropped)?;
        shared.counters.dropped.fetch_add(dropped.len() as u64, Ordering::Relaxed);
    }
    Ok(())
}

/// Merges what `choose` says; false when there was nothing to do.
pub(crate) fn merge_next(
    shared: &Shared,
    choose: fn(&[homeostat_wire::series::manifest::BlockEntry], plan::Rules) -> Option<std::ops::Range<usize>>,
) -> Result<bool, CompactError> {
    let live = shared.catalog.live();
    let entries: Vec<_> = live.iter().map(|live| live.entry).collect();
    let Some(range) = choose(&entries, shared.rules()) else { return Ok(false) };
    let cutoff = plan::cutoff(&entries, shared.rules());
    let inputs = live.get(range).unwrap_or_default();
    compact(&shared.catalog, inputs, cutoff, shared.orders.stopping())?;
    shared.counters.merges.fetch_add(1, Ordering::Relaxed);
    Ok(true)
}

/// Keeps the outcome for `stats`; says it once when it turns bad.
fn note<E: std::error::Error>(
    shared: &Shared,
    what: &'static str,
    done: Result<(), E>,
    which: fn(&mut crate::store::Troubles) -> &mut Option<String>,
) -> Result<(), ()> {
    let mut troubles = shared.troubles();
    let slot = which(&mut troubles);
    match done {
        Ok(()) => {
            *slot = None;
            Ok(())
        }
        Err(error) => {
            let said = chain(&error);
            if slot.is_none() {
                tracing::error!(error = said, what);
            }
            *slot = Some(said);
            Err(())
        }
    }
}
