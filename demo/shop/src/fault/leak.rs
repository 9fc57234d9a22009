//! `leak`: every request puts entries into a map that nobody ever empties.
//!
//! So it shows twice: a map that grows is moved to twice the room again and again, which takes longer each time while everybody
//! waits; and at the cap requests fail as they do on a machine that is out of memory, while the machine that runs the
//! demonstration lives on.

use std::{
    collections::HashMap,
    sync::{Mutex, PoisonError},
};

/// Entries kept at most: what they take is seen in any process list, and small enough for any machine that builds the demo.
pub const ENTRIES_MAX: usize = 14 << 20;
/// Bytes of an entry: a key, a value, and the byte that a table of the standard library keeps beside them. A table has room for
/// between 8/7 and 16/7 of its entries; those of 14 Mi are one of 16 Mi.
const ENTRY_BYTES: usize = 17;

/// What was never given back.
#[derive(Debug, Default)]
pub struct Leak {
    kept: Mutex<HashMap<u64, u64>>,
}

/// The cap is reached; nothing more can be kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("out of memory: {ENTRIES_MAX} entries are kept")]
pub struct OutOfMemory;

impl Leak {
    /// Keeps so many new entries about a session. Returns how many there are.
    pub fn remember(&self, session: u64, entries: usize) -> Result<usize, OutOfMemory> {
        let mut kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        if ENTRIES_MAX < kept.len().saturating_add(entries) {
            return Err(OutOfMemory);
        }
        let first = kept.len() as u64;
        for key in first..first + entries as u64 {
            kept.insert(key, session);
        }
        Ok(kept.len())
    }

    /// Bytes of the entries kept so far.
    pub fn bytes(&self) -> usize {
        self.kept.lock().unwrap_or_else(PoisonError::into_inner).len() * ENTRY_BYTES
    }

    /// Gives everything back: the switch was turned off.
    pub fn clear(&self) {
        *self.kept.lock().unwrap_or_else(PoisonError::into_inner) = HashMap::new();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_request_keeps_its_entries_for_ever() {
        let leak = Leak::default();
        let kept: Vec<_> = (0..4).map(|session| leak.remember(session, 1_000).unwrap()).collect();
        assert_eq!(kept, [1_000, 2_000, 3_000, 4_000]);
        assert_eq!(leak.bytes(), 68_000);
        leak.clear();
        assert_eq!(leak.bytes(), 0);
    }

    #[test]
    fn the_cap_refuses_before_it_allocates() {
        let leak = Leak::default();
        assert_eq!(leak.remember(1, ENTRIES_MAX + 1), Err(OutOfMemory));
        assert_eq!(leak.bytes(), 0);
    }
}
