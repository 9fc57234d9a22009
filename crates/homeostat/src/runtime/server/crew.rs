//! Threads that help queries over many series.
//!
//! A query works on the thread that its request was given, and whoever of the crew is idle helps; nobody is waited for.
//! Helpers are threads for one selector of a query: they begin within some fifty microseconds, where there is work for
//! a millisecond or more.
//!
//! Not here: what can be shared (`promql`).
//! Invariant: all queries together have at most as many helpers as the crew has.

use std::{
    sync::atomic::{AtomicUsize, Ordering},
    thread,
};

use homeostat_promql::Workers;

/// The helpers of all queries.
#[derive(Debug)]
pub(super) struct Crew {
    width: usize,
    idle: AtomicUsize,
}

impl Crew {
    /// As many as can work at the same time, the query's own thread among them.
    pub(super) fn new(width: usize) -> Self {
        let width = width.max(1);
        Self { width, idle: AtomicUsize::new(width - 1) }
    }

    /// One for each core, but for so many that others need.
    pub(super) fn of_machine(spared: usize) -> Self {
        Self::new(thread::available_parallelism().map_or(1, usize::from).saturating_sub(spared))
    }

    /// Takes helpers away, as many as are wanted and idle.
    fn take(&self, wanted: usize) -> Taken<'_> {
        let rest = |idle: usize| Some(idle - idle.min(wanted));
        let idle = self.idle.fetch_update(Ordering::Relaxed, Ordering::Relaxed, rest).unwrap_or(0);
        Taken { crew: self, count: idle.min(wanted) }
    }
}

/// Helpers of one query; they are idle again when this goes.
struct Taken<'c> {
    crew: &'c Crew,
    count: usize,
}

impl Drop for Taken<'_> {
    fn drop(&mut self) {
        self.crew.idle.fetch_add(self.count, Ordering::Relaxed);
    }
}

impl Workers for Crew {
    fn width(&self) -> usize {
        self.width
    }

    fn together(&self, wanted: usize, help: &(dyn Fn() + Sync), work: &mut dyn FnMut()) {
        let helpers = self.take(wanted);
        thread::scope(|scope| {
            for _ in 0..helpers.count {
                let helper = thread::Builder::new().name("query-helper".to_owned());
                // Without more threads the query's own does all.
                if helper.spawn_scoped(scope, help).is_err() {
                    break;
                }
            }
            work();
        });
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Barrier;

    use super::*;

    #[test]
    fn helpers_work_at_the_same_time_as_the_caller_and_are_idle_afterwards() {
        let crew = Crew::new(3);
        // Nobody passes before three are there.
        let (together, done) = (Barrier::new(3), AtomicUsize::new(0));
        let meet = || {
            together.wait();
            done.fetch_add(1, Ordering::Relaxed);
        };
        crew.together(7, &meet, &mut || meet());
        assert_eq!(done.load(Ordering::Relaxed), 3);
        assert_eq!(crew.idle.load(Ordering::Relaxed), 2);
    }

    #[test]
    fn a_query_that_finds_nobody_idle_works_alone() {
        let crew = Crew::new(2);
        let all = crew.take(7);
        assert_eq!(all.count, 1);
        let (helped, mut worked) = (AtomicUsize::new(0), 0);
        let help = || {
            helped.fetch_add(1, Ordering::Relaxed);
        };
        crew.together(1, &help, &mut || worked += 1);
        assert_eq!((helped.load(Ordering::Relaxed), worked), (0, 1));
        drop(all);
        assert_eq!(crew.idle.load(Ordering::Relaxed), 1);
    }

    #[test]
    fn helpers_of_a_query_that_failed_are_idle_again() {
        let crew = Crew::new(2);
        let failing = || crew.together(1, &|| panic!("a fault"), &mut || {});
        assert!(std::panic::catch_unwind(std::panic::AssertUnwindSafe(failing)).is_err());
        assert_eq!(crew.idle.load(Ordering::Relaxed), 1);
    }
}
