//! What the queue and the courier count of themselves.

use std::sync::{
    Mutex, PoisonError,
    atomic::{AtomicU64, Ordering},
};

/// Why a window is never shipped.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Dropped {
    /// The queue was full, and it was the oldest.
    QueueFull,
    /// It waited for longer than windows are of use, or came while the clock was ahead by that long.
    TooOld,
    /// The server will never take it.
    Refused,
    /// The server has failed over it again and again.
    GivenUp,
    /// The disk did not take it, and memory for such windows is bounded.
    DiskFull,
    /// It is larger than a window may be.
    TooLarge,
    /// Its record cannot be read.
    Unreadable,
}

impl Dropped {
    /// All reasons.
    pub const ALL: [Self; 7] =
        [Self::QueueFull, Self::TooOld, Self::Refused, Self::GivenUp, Self::DiskFull, Self::TooLarge, Self::Unreadable];

    /// As a label's value.
    pub const fn name(self) -> &'static str {
        match self {
            Self::QueueFull => "queue_full",
            Self::TooOld => "too_old",
            Self::Refused => "refused",
            Self::GivenUp => "given_up",
            Self::DiskFull => "disk_full",
            Self::TooLarge => "too_large",
            Self::Unreadable => "unreadable",
        }
    }
}

/// Counts since the start, and how it stands now.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Tally {
    /// Windows put into the queue.
    pub queued: u64,
    /// Windows that the server has, repetitions included.
    pub shipped: u64,
    /// Those of them that it had before.
    pub repeated: u64,
    /// Attempts that were to be made again.
    pub retried: u64,
    /// Bytes of bodies that the server has taken.
    pub bytes: u64,
    /// Windows that are never shipped, in the order of [`Dropped::ALL`].
    pub dropped: [u64; Dropped::ALL.len()],
    /// What is wrong with the server or the way there; empty when nothing is.
    pub server_trouble: String,
    /// Why the queue cannot be read; empty when it can.
    pub queue_trouble: String,
}

#[derive(Debug, Default)]
pub(crate) struct Counters {
    queued: AtomicU64,
    shipped: AtomicU64,
    repeated: AtomicU64,
    retried: AtomicU64,
    bytes: AtomicU64,
    dropped: [AtomicU64; Dropped::ALL.len()],
    pub(crate) server_trouble: Trouble,
    pub(crate) queue_trouble: Trouble,
}

/// What is wrong with something; empty when nothing is.
#[derive(Debug, Default)]
pub(crate) struct Trouble(Mutex<String>);

impl Trouble {
    /// Notes what is wrong, or that nothing is any more; true when that is news.
    pub(crate) fn note(&self, why: &str) -> bool {
        let mut trouble = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let news = trouble.as_str() != why;
        why.clone_into(&mut trouble);
        news
    }

    fn get(&self) -> String {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

impl Counters {
    pub(crate) fn queued(&self) {
        self.queued.fetch_add(1, Ordering::Relaxed);
    }

    pub(crate) fn shipped(&self, bytes: usize, repeated: bool) {
        self.shipped.fetch_add(1, Ordering::Relaxed);
        self.repeated.fetch_add(u64::from(repeated), Ordering::Relaxed);
        self.bytes.fetch_add(bytes as u64, Ordering::Relaxed);
    }

    pub(crate) fn retried(&self) {
        self.retried.fetch_add(1, Ordering::Relaxed);
    }

    pub(crate) fn dropped(&self, why: Dropped, windows: u64) {
        let counter = Dropped::ALL.iter().position(|reason| *reason == why).and_then(|at| self.dropped.get(at));
        if let Some(counter) = counter {
            counter.fetch_add(windows, Ordering::Relaxed);
        }
    }

    pub(crate) fn tally(&self) -> Tally {
        let load = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        Tally {
            queued: load(&self.queued),
            shipped: load(&self.shipped),
            repeated: load(&self.repeated),
            retried: load(&self.retried),
            bytes: load(&self.bytes),
            dropped: self.dropped.each_ref().map(load),
            server_trouble: self.server_trouble.get(),
            queue_trouble: self.queue_trouble.get(),
        }
    }
}
