//! The four resolutions of an objective's history, and which of them answers for a window.
//!
//! | slots | length | answers for windows up to |
//! |---|---|---|
//! | 6,000 of 10 ms | 60 s | 60 s |
//! | 3,600 of 1 s | 1 h | 1 h |
//! | 4,320 of 1 min | 3 d | 3 d |
//! | 720 of 1 h | 30 d | 30 d |
//!
//! A window is rounded up to whole slots and ends with the newest one, which has only just begun; so it reaches back
//! between its length and one slot less: a window of 1 h forgets between 59 min 59 s and 1 h.
//! Slot borders of a finer ring include those of the coarser ones: when no second has passed, no minute has.

use homeostat_model::{Span, Timestamp, evidence::EventCounts};

use crate::ring::Ring;

pub(crate) type Ticks = Ring<u32, 10_000_000, 6_000>;
pub(crate) type Seconds = Ring<u32, 1_000_000_000, 3_600>;
pub(crate) type Minutes = Ring<u32, 60_000_000_000, 4_320>;
pub(crate) type Hours = Ring<u64, 3_600_000_000_000, 720>;

/// The longest window that has an answer: 30 days.
pub const HISTORY_MAX: Span = Hours::LENGTH;

/// Memory of an objective's slots when every single one has seen an event, in bytes: 12 each in the three finer rings,
/// 24 each in the hours; 180 KiB together.
pub const RINGS_BYTES_MAX: usize = Ticks::BYTES_MAX + Seconds::BYTES_MAX + Minutes::BYTES_MAX + Hours::BYTES_MAX;

/// Memory of an objective that has seen nothing, with the four default rules, in bytes.
pub const IDLE_BYTES_MAX: usize = 1_024;

const _: () = assert!(RINGS_BYTES_MAX == 180 * 1_024);

/// History at all four resolutions.
#[derive(Clone, Debug)]
pub(crate) struct Rings {
    pub(crate) ticks: Ticks,
    pub(crate) seconds: Seconds,
    pub(crate) minutes: Minutes,
    pub(crate) hours: Hours,
}

/// A window as its ring sees it: which ring, how many slots.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Window {
    Ticks(u32),
    Seconds(u32),
    Minutes(u32),
    Hours(u32),
}

impl Window {
    /// The finest resolution that reaches back far enough; windows beyond 30 days are cut to that.
    pub(crate) fn of(span: Span) -> Self {
        if span <= Ticks::LENGTH {
            Self::Ticks(Ticks::slots(span))
        } else if span <= Seconds::LENGTH {
            Self::Seconds(Seconds::slots(span))
        } else if span <= Minutes::LENGTH {
            Self::Minutes(Minutes::slots(span))
        } else {
            Self::Hours(Hours::slots(span))
        }
    }
}

impl Rings {
    pub(crate) fn new(now: Timestamp, windows: &[Window]) -> Self {
        let mut rings = Self {
            ticks: Ring::new(now, &[]),
            seconds: Ring::new(now, &[]),
            minutes: Ring::new(now, &[]),
            hours: Ring::new(now, &[]),
        };
        rings.set_windows(windows);
        rings
    }

    /// Replaces the windows over which sums are kept.
    pub(crate) fn set_windows(&mut self, windows: &[Window]) {
        let lengths = |of: fn(&Window) -> Option<u32>| windows.iter().filter_map(of).collect::<Vec<_>>();
        self.ticks.set_windows(&lengths(|w| if let Window::Ticks(slots) = w { Some(*slots) } else { None }));
        self.seconds.set_windows(&lengths(|w| if let Window::Seconds(slots) = w { Some(*slots) } else { None }));
        self.minutes.set_windows(&lengths(|w| if let Window::Minutes(slots) = w { Some(*slots) } else { None }));
        self.hours.set_windows(&lengths(|w| if let Window::Hours(slots) = w { Some(*slots) } else { None }));
    }

    /// Returns whether events fell out of any window.
    pub(crate) fn advance(&mut self, now: Timestamp) -> bool {
        let mut lost = false;
        // In this order: a coarser slot can only have ended if a finer one has.
        let _ = self.ticks.advance(now, &mut lost)
            && self.seconds.advance(now, &mut lost)
            && self.minutes.advance(now, &mut lost)
            && self.hours.advance(now, &mut lost);
        lost
    }

    pub(crate) fn record(&mut self, counts: EventCounts) {
        self.ticks.record(counts);
        self.seconds.record(counts);
        self.minutes.record(counts);
        self.hours.record(counts);
    }

    pub(crate) fn sum(&self, now: Timestamp, window: Window) -> EventCounts {
        match window {
            Window::Ticks(slots) => self.ticks.sum(now, slots),
            Window::Seconds(slots) => self.seconds.sum(now, slots),
            Window::Minutes(slots) => self.minutes.sum(now, slots),
            Window::Hours(slots) => self.hours.sum(now, slots),
        }
    }

    pub(crate) fn next_expiry(&self, window: Window) -> Option<Timestamp> {
        match window {
            Window::Ticks(slots) => self.ticks.next_expiry(slots),
            Window::Seconds(slots) => self.seconds.next_expiry(slots),
            Window::Minutes(slots) => self.minutes.next_expiry(slots),
            Window::Hours(slots) => self.hours.next_expiry(slots),
        }
    }

    pub(crate) fn heap_bytes(&self) -> usize {
        self.ticks.heap_bytes() + self.seconds.heap_bytes() + self.minutes.heap_bytes() + self.hours.heap_bytes()
    }
}
