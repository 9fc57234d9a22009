//! What a destination counts of itself, under Prometheus' names where it has some.

use std::sync::{
    Mutex, PoisonError,
    atomic::{AtomicI64, AtomicU64, Ordering},
};

use homeostat_wire::exposition::{Exposition, FamilyKind};

use crate::{carrier::Written, entry::Head};

/// Counters of one destination.
#[derive(Debug, Default)]
pub(crate) struct Counters {
    samples: AtomicU64,
    histograms: AtomicU64,
    bytes: AtomicU64,
    failed: AtomicU64,
    retried: AtomicU64,
    dropped_full: AtomicU64,
    dropped_old: AtomicU64,
    pending: AtomicI64,
    newest_sent_ms: AtomicI64,
    panicked: AtomicU64,
    /// The last thing that went wrong; empty once it works again.
    trouble: Mutex<String>,
}

/// One of the counters.
type Value = fn(&Counters) -> &AtomicU64;

/// Why samples are never sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Dropped {
    /// The log was full.
    QueueFull,
    /// They are older than the limit.
    TooOld,
}

impl Counters {
    pub(crate) fn came(&self, samples: u64) {
        self.pending.fetch_add(samples as i64, Ordering::Relaxed);
    }

    fn went(&self, samples: u64) {
        self.pending.fetch_sub(samples as i64, Ordering::Relaxed);
    }

    /// A request was answered: all of it was taken, or as much as the destination says.
    pub(crate) fn sent(&self, heads: &[Head], bytes: usize, written: Option<Written>) {
        let sum = |count: fn(&Head) -> u32| heads.iter().map(|head| u64::from(count(head))).sum::<u64>();
        let (samples, histograms) = (sum(|head| head.samples), sum(|head| head.histograms));
        let all = Written { samples, histograms };
        let Written { samples: taken, histograms: taken_histograms } = written.unwrap_or(all);
        // A receiver that counts what nobody has sent does not make more of it.
        let (taken, taken_histograms) = (taken.min(samples), taken_histograms.min(histograms));
        self.samples.fetch_add(taken, Ordering::Relaxed);
        self.histograms.fetch_add(taken_histograms, Ordering::Relaxed);
        self.failed.fetch_add(samples - taken + histograms - taken_histograms, Ordering::Relaxed);
        self.went(samples + histograms);
        if taken + taken_histograms > 0 {
            let newest = heads.iter().map(|head| head.newest_ms).max().unwrap_or(i64::MIN);
            self.newest_sent_ms.fetch_max(newest, Ordering::Relaxed);
        }
        self.bytes.fetch_add(bytes as u64, Ordering::Relaxed);
    }

    /// It works again.
    pub(crate) fn well(&self) {
        self.trouble.lock().unwrap_or_else(PoisonError::into_inner).clear();
    }

    /// A lane ended by a fault of ours.
    pub(crate) fn panicked(&self) {
        self.panicked.fetch_add(1, Ordering::Relaxed);
    }

    /// How often one did.
    pub(crate) fn panics(&self) -> u64 {
        self.panicked.load(Ordering::Relaxed)
    }

    pub(crate) fn failed(&self, samples: u64) {
        self.failed.fetch_add(samples, Ordering::Relaxed);
        self.went(samples);
    }

    pub(crate) fn retried(&self, samples: u64) {
        self.retried.fetch_add(samples, Ordering::Relaxed);
    }

    pub(crate) fn dropped(&self, samples: u64, why: Dropped) {
        let counter = match why {
            Dropped::QueueFull => &self.dropped_full,
            Dropped::TooOld => &self.dropped_old,
        };
        counter.fetch_add(samples, Ordering::Relaxed);
        self.went(samples);
    }

    /// Notes what is wrong; true when it was not known yet.
    pub(crate) fn trouble(&self, why: &str) -> bool {
        let mut trouble = self.trouble.lock().unwrap_or_else(PoisonError::into_inner);
        let news = trouble.as_str() != why;
        why.clone_into(&mut trouble);
        news
    }

    /// Appends all families of one destination, or of several: a family stands together in the text.
    pub(crate) fn write(all: &[(&str, &str, &Self, u64)], out: &mut String) {
        let mut exposition = Exposition::new(out);
        let read = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        let counters: [(&str, &str, Value); 5] = [
            ("samples_total", "Samples sent.", |c| &c.samples),
            ("histograms_total", "Native histograms sent.", |c| &c.histograms),
            ("bytes_total", "Bytes of requests sent, packed.", |c| &c.bytes),
            ("samples_failed_total", "Samples that the destination refused for good.", |c| &c.failed),
            ("samples_retried_total", "Samples that were sent again.", |c| &c.retried),
        ];
        for (name, help, value) in counters {
            let mut family = exposition.family(&format!("prometheus_remote_storage_{name}"), FamilyKind::Counter, help);
            for (remote, url, counters, _) in all {
                family.count(&[("remote_name", remote), ("url", url)], read(value(counters)));
            }
        }
        let help = "Samples that are never sent, by reason.";
        let name = "prometheus_remote_storage_samples_dropped_total";
        let mut family = exposition.family(name, FamilyKind::Counter, help);
        for (remote, url, counters, _) in all {
            for (reason, counter) in [("queue_full", &counters.dropped_full), ("too_old", &counters.dropped_old)] {
                family.count(&[("remote_name", remote), ("url", url), ("reason", reason)], read(counter));
            }
        }
        let help = "How often a sender of this destination ended by a fault of ours, and was started again.";
        let mut family = exposition.family("homeostat_relay_panics_total", FamilyKind::Counter, help);
        for (remote, url, counters, _) in all {
            family.count(&[("remote_name", remote), ("url", url)], counters.panics());
        }
        let mut gauge = |name: &str, help: &str, value: &dyn Fn(&Self, u64) -> f64| {
            let mut family = exposition.family(name, FamilyKind::Gauge, help);
            for (remote, url, counters, bytes) in all {
                family.sample(&[("remote_name", remote), ("url", url)], value(counters, *bytes));
            }
        };
        let name = "prometheus_remote_storage_samples_pending";
        gauge(name, "Samples that wait to be sent.", &|c, _| c.pending.load(Ordering::Relaxed).max(0) as f64);
        let name = "prometheus_remote_storage_queue_highest_sent_timestamp_seconds";
        let help = "Time of the newest sample sent, in seconds since 1970.";
        gauge(name, help, &|c, _| c.newest_sent_ms.load(Ordering::Relaxed) as f64 / 1000.0);
        gauge("homeostat_relay_queue_bytes", "Bytes of the queue on disk.", &|_, bytes| bytes as f64);
        let help = "1 while the destination cannot be reached or refuses what is sent.";
        gauge("homeostat_relay_failing", help, &|c, _| {
            f64::from(u8::from(!c.trouble.lock().unwrap_or_else(PoisonError::into_inner).is_empty()))
        });
    }
}
