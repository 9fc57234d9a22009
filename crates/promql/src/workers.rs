//! Work that may be shared: evaluation says what can be done at the same time, somebody else has threads.
//!
//! Not here: threads, and how many a query gets (whoever implements [`Workers`]).
//! Invariant: answers do not depend on who did which part, nor on how many did.

/// Those who work on a query.
pub trait Workers {
    /// How many can work at the same time, the caller among them; 1 when nobody helps.
    fn width(&self) -> usize;
    /// Calls `work`, and meanwhile `help` on each other thread that is idle; returns when all calls have. Helpers are not
    /// waited for: there may be none.
    fn together(&self, help: &(dyn Fn() + Sync), work: &mut dyn FnMut());
}

/// The caller, and nobody else.
#[derive(Clone, Copy, Debug)]
pub struct Alone;

impl Workers for Alone {
    fn width(&self) -> usize {
        1
    }

    fn together(&self, _: &(dyn Fn() + Sync), work: &mut dyn FnMut()) {
        work();
    }
}
