//! What intake counts of itself.

use std::{
    collections::BTreeMap,
    sync::{
        Mutex, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
};

use homeostat_wire::exposition::{Exposition, FamilyKind};

use crate::intake::{Rejected, Written};

/// Reasons that are told apart; stores have about ten.
const REASONS_MAX: usize = 32;

/// Counters of one receiver.
#[derive(Debug, Default)]
pub(crate) struct Counters {
    /// By version and status.
    requests: Mutex<BTreeMap<(&'static str, u16), u64>>,
    rejected: Mutex<BTreeMap<String, u64>>,
    samples: AtomicU64,
    histograms: AtomicU64,
    exemplars: AtomicU64,
    bytes: AtomicU64,
}

impl Counters {
    pub(crate) fn answered(&self, version: &'static str, status: u16) {
        let mut requests = self.requests.lock().unwrap_or_else(PoisonError::into_inner);
        *requests.entry((version, status)).or_default() += 1;
    }

    pub(crate) fn body(&self, bytes: usize) {
        self.bytes.fetch_add(bytes as u64, Ordering::Relaxed);
    }

    pub(crate) fn written(&self, written: Written) {
        self.samples.fetch_add(written.samples, Ordering::Relaxed);
        self.histograms.fetch_add(written.histograms, Ordering::Relaxed);
        self.exemplars.fetch_add(written.exemplars, Ordering::Relaxed);
    }

    pub(crate) fn rejected(&self, rejected: &[Rejected]) {
        let mut counts = self.rejected.lock().unwrap_or_else(PoisonError::into_inner);
        for entry in rejected {
            let known = counts.contains_key(&entry.reason) || counts.len() < REASONS_MAX;
            let reason = if known { &entry.reason } else { "other" };
            *counts.entry(reason.to_owned()).or_default() += entry.count;
        }
    }

    /// Appends all families.
    pub(crate) fn write(&self, bodies_bytes: usize, out: &mut String) {
        let mut exposition = Exposition::new(out);
        let requests = self.requests.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let mut family = exposition.family(
            "homeostat_remote_write_requests_total",
            FamilyKind::Counter,
            "Remote write requests answered.",
        );
        for ((version, status), count) in &requests {
            family.count(&[("version", version), ("code", &status.to_string())], *count);
        }
        let rejected = self.rejected.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let mut family = exposition.family(
            "homeostat_remote_write_rejected_samples_total",
            FamilyKind::Counter,
            "Samples that were not stored, by reason.",
        );
        for (reason, count) in &rejected {
            family.count(&[("reason", reason)], *count);
        }
        for (name, help, value) in [
            ("homeostat_remote_write_samples_total", "Samples stored.", &self.samples),
            ("homeostat_remote_write_histograms_total", "Native histograms stored.", &self.histograms),
            ("homeostat_remote_write_exemplars_total", "Exemplars stored.", &self.exemplars),
            ("homeostat_remote_write_body_bytes_total", "Bytes of bodies read, as sent.", &self.bytes),
        ] {
            exposition.family(name, FamilyKind::Counter, help).count(&[], value.load(Ordering::Relaxed));
        }
        let help = "Bytes of bodies that are being read or wait for a worker.";
        exposition
            .family("homeostat_remote_write_bodies_bytes", FamilyKind::Gauge, help)
            .count(&[], bodies_bytes as u64);
    }
}
