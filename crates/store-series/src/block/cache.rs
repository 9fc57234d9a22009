//! Pages of blocks that were read lately, in bounded memory.
//!
//! Two halves: what is read goes into the young one; when that is full it becomes the old one and what was old is
//! forgotten, unless it was asked for in the meantime. The kernel keeps the files' pages as well; what is saved here is
//! checking and taking apart.
//!
//! Invariant: never more bytes than allowed, plus one page.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError},
};

use foldhash::fast::RandomState;

use super::page::Page;

/// Which page: number of the block, offset of the page.
type Key = (u64, u64);

/// Pages by place.
#[derive(Debug)]
pub(crate) struct PageCache {
    half_bytes: usize,
    halves: Mutex<Halves>,
}

#[derive(Debug, Default)]
struct Halves {
    young: HashMap<Key, Arc<Page>, RandomState>,
    old: HashMap<Key, Arc<Page>, RandomState>,
    young_bytes: usize,
    old_bytes: usize,
}

impl PageCache {
    pub(crate) fn new(bytes_max: usize) -> Self {
        Self { half_bytes: bytes_max / 2, halves: Mutex::default() }
    }

    /// A page, or what `load` gives.
    pub(crate) fn get<E>(&self, key: Key, load: impl FnOnce() -> Result<Page, E>) -> Result<Arc<Page>, E> {
        if let Some(page) = self.find(key) {
            return Ok(page);
        }
        // Not under the lock: two readers may load the same page once.
        let page = Arc::new(load()?);
        self.lock().put(key, Arc::clone(&page), self.half_bytes);
        Ok(page)
    }

    fn find(&self, key: Key) -> Option<Arc<Page>> {
        let mut halves = self.lock();
        if let Some(page) = halves.young.get(&key) {
            return Some(Arc::clone(page));
        }
        let page = halves.old.remove(&key)?;
        halves.old_bytes = halves.old_bytes.saturating_sub(page.memory_bytes());
        halves.put(key, Arc::clone(&page), self.half_bytes);
        Some(page)
    }

    /// Bytes in memory.
    pub(crate) fn bytes(&self) -> usize {
        let halves = self.lock();
        halves.young_bytes + halves.old_bytes
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Halves> {
        self.halves.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Halves {
    fn put(&mut self, key: Key, page: Arc<Page>, half_bytes: usize) {
        let bytes = page.memory_bytes();
        if half_bytes < self.young_bytes + bytes {
            self.old = std::mem::take(&mut self.young);
            self.old_bytes = std::mem::take(&mut self.young_bytes);
        }
        match self.young.insert(key, page) {
            None => self.young_bytes += bytes,
            Some(before) => self.young_bytes = self.young_bytes + bytes - before.memory_bytes(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_asked_for_stays_and_memory_is_bounded() {
        let cache = PageCache::new(100_000);
        let load = |loads: &mut usize| {
            *loads += 1;
            Ok::<_, ()>(Page::raw(vec![0; 1000]))
        };
        let mut loads = 0;
        for number in 0..1000 {
            cache.get((1, number), || load(&mut loads)).unwrap();
            cache.get((0, 0), || load(&mut loads)).unwrap();
            assert!(cache.bytes() < 102_000);
        }
        assert_eq!(loads, 1001, "the page that is asked for all the time is loaded once");
    }
}
