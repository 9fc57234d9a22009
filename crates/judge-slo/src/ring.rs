//! Event counts in slots of one width, with one running sum per window.
//!
//! Only slots in which something happened are kept, oldest first, so an idle ring costs nothing and a quiet one little.
//! The newest slot stays open beside them and takes all counts; it is filed once time has left it. Each window remembers
//! its sum over the filed slots and the oldest slot that still belongs to it: when time moves on, it takes off what falls
//! out. Every slot is filed once and taken off once per window, however long the window is.
//!
//! Slots are numbered from the epoch and stored as the low 32 bits of their number: no slot gets older than the ring,
//! which is far below 2^31 slots, so differences are exact.
//!
//! Invariants: the sum of a window equals the sum of its filed slots; filed slots are younger than the ring is long, not
//! empty, and ascend.

use std::collections::VecDeque;

use homeostat_model::{Span, Timestamp, evidence::EventCounts};

/// How a slot stores a count.
pub(crate) trait Count: Copy {
    /// The largest count of one slot; more is cut off.
    const MAX: u64;
    /// From a count that is at most `MAX`.
    fn store(count: u64) -> Self;
    /// The count.
    fn load(self) -> u64;
}

impl Count for u32 {
    /// 4.3 thousand million: 71 million events a second in the widest slot that uses it, a minute.
    const MAX: u64 = u32::MAX as u64;
    fn store(count: u64) -> Self {
        count as Self
    }
    fn load(self) -> u64 {
        u64::from(self)
    }
}

impl Count for u64 {
    /// So that the sum of a thousand slots does not overflow.
    const MAX: u64 = u64::MAX >> 10;
    fn store(count: u64) -> Self {
        count
    }
    fn load(self) -> u64 {
        self
    }
}

/// A filed slot.
#[derive(Clone, Copy, Debug)]
struct Slot<C> {
    /// Low bits of its number.
    number: u32,
    good: C,
    bad: C,
}

impl<C: Count> Slot<C> {
    fn counts(&self) -> EventCounts {
        EventCounts { good: self.good.load(), bad: self.bad.load() }
    }
}

/// A window that ends with the newest slot.
#[derive(Clone, Copy, Debug)]
struct Window {
    /// Its length, the open slot included.
    slots: u32,
    /// Sequence number of its oldest filed slot.
    tail: u32,
    /// Over its filed slots.
    sum: EventCounts,
}

/// `SLOTS` slots of `WIDTH_NS` nanoseconds.
#[derive(Clone, Debug)]
pub(crate) struct Ring<C, const WIDTH_NS: u64, const SLOTS: u32> {
    /// Number of the open slot.
    head: i64,
    open: EventCounts,
    filed: VecDeque<Slot<C>>,
    /// Sequence number of the first filed slot; counts what was dropped, modulo 2^32.
    first: u32,
    windows: Box<[Window]>,
}

impl<C: Count, const WIDTH_NS: u64, const SLOTS: u32> Ring<C, WIDTH_NS, SLOTS> {
    /// Width of a slot.
    pub(crate) const WIDTH: Span = Span::from_ns(WIDTH_NS);
    /// Length of the whole ring.
    pub(crate) const LENGTH: Span = Span::from_ns(WIDTH_NS * SLOTS as u64);
    /// Memory of all slots, when each has seen an event.
    pub(crate) const BYTES_MAX: usize = SLOTS as usize * size_of::<Slot<C>>();

    /// An empty ring that keeps sums over the windows, which are given in slots.
    pub(crate) fn new(now: Timestamp, windows: &[u32]) -> Self {
        let mut ring = Self {
            head: now.slot(Self::WIDTH),
            open: EventCounts::default(),
            filed: VecDeque::new(),
            first: 0,
            windows: Box::default(),
        };
        ring.set_windows(windows);
        ring
    }

    /// Slots of a window, at least one, at most the whole ring; what is not a whole number is rounded up.
    pub(crate) fn slots(window: Span) -> u32 {
        window.ns().div_ceil(WIDTH_NS).clamp(1, u64::from(SLOTS)) as u32
    }

    /// Replaces the windows; costs a look at every filed slot.
    pub(crate) fn set_windows(&mut self, windows: &[u32]) {
        let mut lengths = windows.to_vec();
        lengths.sort_unstable();
        lengths.dedup();
        let window = |slots: &u32| {
            let outside = self.filed.partition_point(|slot| *slots <= self.age(slot));
            let sum = self.sum_of(outside..self.filed.len());
            Window { slots: *slots, tail: self.first.wrapping_add(outside as u32), sum }
        };
        self.windows = lengths.iter().map(window).collect();
    }

    /// Adds to the open slot.
    pub(crate) fn record(&mut self, counts: EventCounts) {
        self.open += counts;
        self.open.good = self.open.good.min(C::MAX);
        self.open.bad = self.open.bad.min(C::MAX);
    }

    /// Moves on to the slot of `now`. Returns whether that is another one, and sets `lost` when events fell out of a
    /// window by that.
    pub(crate) fn advance(&mut self, now: Timestamp, lost: &mut bool) -> bool {
        let head = now.slot(Self::WIDTH);
        if head <= self.head {
            return false;
        }
        let passed = head.abs_diff(self.head);
        self.file();
        self.head = head;
        if self.filed.is_empty() {
            return true;
        }
        if u64::from(SLOTS) <= passed {
            self.clear();
            *lost = true;
        } else {
            *lost |= self.expire();
        }
        true
    }

    /// Returns the events of a window that ends with the slot of `now`, or with the open slot if that is later.
    /// One of the ring's own windows costs as much as fell out of it since the last call of `advance`; any other
    /// costs a look at each of its slots.
    pub(crate) fn sum(&self, now: Timestamp, slots: u32) -> EventCounts {
        let passed = now.slot(Self::WIDTH).saturating_sub(self.head).max(0);
        // What `advance(now)` would leave of the window: that many slots of those that the ring knows.
        let Some(slots_left) =
            u32::try_from(passed).ok().and_then(|passed| slots.checked_sub(passed)).filter(|n| 0 < *n)
        else {
            return EventCounts::default();
        };
        let mut sum = EventCounts::default();
        if let Some(window) = self.windows.iter().find(|window| window.slots == slots) {
            let tail = window.tail.wrapping_sub(self.first) as usize;
            sum = window.sum;
            for slot in self.filed.range(tail.min(self.filed.len())..).take_while(|s| slots_left <= self.age(s)) {
                sum -= slot.counts();
            }
        } else {
            for slot in self.filed.iter().rev().take_while(|slot| self.age(slot) < slots_left) {
                sum += slot.counts();
            }
        }
        sum += self.open;
        sum
    }

    /// When the oldest events of one of the ring's own windows fall out of it, if nothing new happens.
    pub(crate) fn next_expiry(&self, slots: u32) -> Option<Timestamp> {
        let window = self.windows.iter().find(|window| window.slots == slots)?;
        let oldest = match self.filed.get(window.tail.wrapping_sub(self.first) as usize) {
            Some(slot) => self.head - i64::from(self.age(slot)),
            None if 0 < self.open.total() => self.head,
            None => return None,
        };
        Some(Self::start_of(oldest.saturating_add(i64::from(slots))))
    }

    /// Number of the open slot.
    pub(crate) fn head(&self) -> i64 {
        self.head
    }

    /// Non-empty slots, oldest first: age in slots, counts. The open one has age 0 and comes last.
    pub(crate) fn iter(&self) -> impl Iterator<Item = (u32, EventCounts)> {
        let open = (0 < self.open.total()).then_some((0, self.open));
        self.filed.iter().map(|slot| (self.age(slot), slot.counts())).chain(open)
    }

    /// A ring with these slots, as `iter` gives them; `None` when they are not in order or too old.
    pub(crate) fn restore(head: i64, slots: impl IntoIterator<Item = (u32, EventCounts)>) -> Option<Self> {
        let mut ring = Self::new(Self::start_of(head), &[]);
        let mut before = SLOTS;
        for (age, counts) in slots {
            if before <= age || counts.total() == 0 {
                return None;
            }
            before = age;
            ring.record(counts);
            if 0 < age {
                ring.head = head.checked_sub(i64::from(age))?;
                ring.file();
                ring.head = head;
            }
        }
        Some(ring)
    }

    /// Bytes on the heap.
    pub(crate) fn heap_bytes(&self) -> usize {
        self.filed.capacity() * size_of::<Slot<C>>() + self.windows.len() * size_of::<Window>()
    }

    fn start_of(slot: i64) -> Timestamp {
        Timestamp::from_unix_ns(slot.saturating_mul(WIDTH_NS as i64))
    }

    fn age(&self, slot: &Slot<C>) -> u32 {
        (self.head as u32).wrapping_sub(slot.number)
    }

    fn sum_of(&self, range: std::ops::Range<usize>) -> EventCounts {
        self.filed.range(range).fold(EventCounts::default(), |mut sum, slot| {
            sum += slot.counts();
            sum
        })
    }

    /// Files the open slot unless it is empty.
    fn file(&mut self) {
        let counts = std::mem::take(&mut self.open);
        if counts.total() == 0 {
            return;
        }
        if self.filed.len() == self.filed.capacity() {
            // Doubles like the standard growth, but never beyond what the ring can hold.
            let room = (self.filed.len() * 2).clamp(4, SLOTS as usize);
            self.filed.reserve_exact(room.saturating_sub(self.filed.len()));
        }
        let (good, bad) = (C::store(counts.good), C::store(counts.bad));
        self.filed.push_back(Slot { number: self.head as u32, good, bad });
        for window in &mut self.windows {
            window.sum += counts;
        }
    }

    /// Takes what is too old off the windows, then out of the ring. Returns whether any window lost something.
    fn expire(&mut self) -> bool {
        let (head, first) = (self.head as u32, self.first);
        let mut lost = false;
        for window in &mut self.windows {
            while let Some(slot) = self.filed.get(window.tail.wrapping_sub(first) as usize)
                && window.slots <= head.wrapping_sub(slot.number)
            {
                window.sum -= slot.counts();
                window.tail = window.tail.wrapping_add(1);
                lost = true;
            }
        }
        while self.filed.front().is_some_and(|slot| SLOTS <= head.wrapping_sub(slot.number)) {
            self.filed.pop_front();
            self.first = self.first.wrapping_add(1);
        }
        // Gives the memory of busier times back, seldom enough not to matter.
        if self.filed.capacity() > 64 && self.filed.len() * 4 < self.filed.capacity() {
            self.filed.shrink_to(self.filed.len() * 2);
        }
        lost
    }

    fn clear(&mut self) {
        self.filed = VecDeque::new();
        for window in &mut self.windows {
            window.tail = self.first;
            window.sum = EventCounts::default();
        }
    }
}
