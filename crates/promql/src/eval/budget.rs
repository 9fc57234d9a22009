//! What one query may hold at a time: samples and bytes.
//!
//! Whoever keeps values takes from the budget and gives back what it took when the values go; [`Held`] does the second
//! part by itself. Several workers of one query share its budget.

use std::sync::{
    Arc,
    atomic::{AtomicU64, Ordering::Relaxed},
};

use super::{error::EvalError, limits::Limits};

/// What one query may hold, and what it holds.
#[derive(Debug)]
pub(super) struct Budget {
    samples: AtomicU64,
    bytes: AtomicU64,
    limits: Limits,
}

impl Budget {
    /// A budget of which nothing is taken yet.
    pub(super) fn new(limits: Limits) -> Arc<Self> {
        Arc::new(Self { samples: AtomicU64::new(0), bytes: AtomicU64::new(0), limits })
    }

    fn take(&self, samples: u64, bytes: u64) -> Result<(), EvalError> {
        // What is in memory cannot come near the end of a u64.
        let samples = self.samples.fetch_add(samples, Relaxed).wrapping_add(samples);
        let bytes = self.bytes.fetch_add(bytes, Relaxed).wrapping_add(bytes);
        if samples > self.limits.samples_max {
            return Err(EvalError::TooManySamples { limit: self.limits.samples_max });
        }
        if bytes > self.limits.memory_bytes_max {
            return Err(EvalError::TooMuchMemory { limit: self.limits.memory_bytes_max });
        }
        Ok(())
    }

    fn give_back(&self, samples: u64, bytes: u64) {
        self.samples.fetch_sub(samples, Relaxed);
        self.bytes.fetch_sub(bytes, Relaxed);
    }
}

/// A part of the budget, given back when this goes.
#[derive(Debug)]
pub(super) struct Held {
    budget: Arc<Budget>,
    samples: u64,
    bytes: u64,
}

impl Held {
    /// Nothing yet.
    pub(super) fn new(budget: &Arc<Budget>) -> Self {
        Self { budget: Arc::clone(budget), samples: 0, bytes: 0 }
    }

    /// Takes more; an error when the budget does not have it.
    pub(super) fn add(&mut self, samples: u64, bytes: u64) -> Result<(), EvalError> {
        self.samples += samples;
        self.bytes += bytes;
        self.budget.take(samples, bytes)
    }

    /// Gives everything back.
    pub(super) fn let_go(&mut self) {
        self.budget.give_back(self.samples, self.bytes);
        (self.samples, self.bytes) = (0, 0);
    }

    /// Holds exactly this from now on.
    pub(super) fn set(&mut self, samples: u64, bytes: u64) -> Result<(), EvalError> {
        if (samples, bytes) == (self.samples, self.bytes) {
            return Ok(());
        }
        self.let_go();
        self.add(samples, bytes)
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        self.let_go();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_goes_is_given_back() {
        let budget = Budget::new(Limits { samples_max: 10, ..Limits::default() });
        let mut a = Held::new(&budget);
        assert!(a.add(8, 100).is_ok());
        {
            let mut b = Held::new(&budget);
            assert!(matches!(b.add(3, 0), Err(EvalError::TooManySamples { limit: 10 })));
        }
        let mut c = Held::new(&budget);
        assert!(c.add(2, 0).is_ok() && c.set(1, 0).is_ok() && a.set(9, 0).is_ok());
        drop((a, c));
        assert_eq!((budget.samples.load(Relaxed), budget.bytes.load(Relaxed)), (0, 0));
    }
}
