//! Work that may be shared: evaluation says what can be done at the same time, somebody else has threads.
//!
//! Not here: threads, and how many a query gets (whoever implements [`Workers`]).
//! Invariant: answers do not depend on who did which part, nor on how many did.

/// Those who work on a query.
pub trait Workers {
    /// How many can work at the same time, the caller among them; 1 when nobody helps.
    fn width(&self) -> usize;
    /// Calls `work` once, on this thread, and meanwhile `help` on at most `wanted` others that are idle now; there may be
    /// none. Returns when all calls have.
    fn together(&self, wanted: usize, help: &(dyn Fn() + Sync), work: &mut dyn FnMut());
}

/// The caller, and nobody else.
#[derive(Clone, Copy, Debug)]
pub struct Alone;

impl Workers for Alone {
    fn width(&self) -> usize {
        1
    }

    fn together(&self, _: usize, _: &(dyn Fn() + Sync), work: &mut dyn FnMut()) {
        work();
    }
}
