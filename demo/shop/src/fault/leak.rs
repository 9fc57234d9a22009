//! `leak`: every request keeps a page of memory in a list that only grows, and searches that list first.
//!
//! So it shows twice: latency creeps up with every request, and at the cap requests fail as they do on a machine that
//! is out of memory, while the machine that runs the demonstration lives on.

use std::sync::{Mutex, PoisonError};

/// Bytes kept at most: enough to be seen in any process list, small enough for any machine that builds the demo.
pub const LEAK_BYTES_MAX: usize = 512 << 20;

/// What was never given back.
#[derive(Debug, Default)]
pub struct Leak {
    kept: Mutex<Vec<Vec<u64>>>,
}

/// The cap is reached; nothing more can be kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("out of memory: {LEAK_BYTES_MAX} bytes are kept")]
pub struct OutOfMemory;

impl Leak {
    /// Looks through all sessions that were kept for this one's number, then keeps `bytes` more.
    /// Returns the words that the search read.
    pub fn remember(&self, session: u64, bytes: usize) -> Result<u64, OutOfMemory> {
        let mut kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        let words: usize = kept.iter().map(Vec::len).sum();
        if LEAK_BYTES_MAX < (words * 8).saturating_add(bytes) {
            return Err(OutOfMemory);
        }
        // No early exit: the newest session is never the wanted one, and the search must not be optimised away.
        let found = kept.iter().flatten().filter(|word| **word == session).count();
        std::hint::black_box(found);
        kept.push(vec![session.wrapping_add(1); bytes.div_ceil(8)]);
        Ok(words as u64)
    }

    /// Bytes kept so far.
    pub fn bytes(&self) -> usize {
        self.kept.lock().unwrap_or_else(PoisonError::into_inner).iter().map(|page| page.len() * 8).sum()
    }

    /// Gives everything back: the switch was turned off.
    pub fn clear(&self) {
        *self.kept.lock().unwrap_or_else(PoisonError::into_inner) = Vec::new();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_request_keeps_memory_and_searches_all_of_it() {
        let leak = Leak::default();
        let read: Vec<_> = (0..4).map(|session| leak.remember(session, 8_000).unwrap()).collect();
        assert_eq!(read, [0, 1_000, 2_000, 3_000]);
        assert_eq!(leak.bytes(), 32_000);
        leak.clear();
        assert_eq!(leak.bytes(), 0);
    }

    #[test]
    fn the_cap_refuses_before_it_allocates() {
        let leak = Leak::default();
        assert_eq!(leak.remember(1, LEAK_BYTES_MAX + 1), Err(OutOfMemory));
        assert_eq!(leak.bytes(), 0);
    }
}
