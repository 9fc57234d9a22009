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
#[derive(Debug)]
pub(crate) struct Counters {
    /// Part of all names: `remote_write`, `otlp`.
    protocol: &'static str,
    /// The label that requests are told apart by, beside the code of the answer.
    kind: &'static str,
    /// By kind and code.
    requests: Mutex<BTreeMap<(&'static str, u16), u64>>,
    rejected: Mutex<BTreeMap<String, u64>>,
    samples: AtomicU64,
    histograms: AtomicU64,
    exemplars: AtomicU64,
    bytes: AtomicU64,
}

impl Counters {
    /// All zero.
    pub(crate) fn named(protocol: &'static str, kind: &'static str) -> Self {
        Self {
            protocol,
            kind,
            requests: Mutex::default(),
            rejected: Mutex::default(),
            samples: AtomicU64::new(0),
            histograms: AtomicU64::new(0),
            exemplars: AtomicU64::new(0),
            bytes: AtomicU64::new(0),
        }
    }

    pub(crate) fn answered(&self, kind: &'static str, code: u16) {
        let mut requests = self.requests.lock().unwrap_or_else(PoisonError::into_inner);
        *requests.entry((kind, code)).or_default() += 1;
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
    pub(crate) fn write(&self, out: &mut String) {
        let mut exposition = Exposition::new(out);
        let name = |rest: &str| format!("homeostat_{}_{rest}", self.protocol);
        let requests = self.requests.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let mut family = exposition.family(&name("requests_total"), FamilyKind::Counter, "Requests answered.");
        for ((kind, code), count) in &requests {
            family.count(&[(self.kind, kind), ("code", &code.to_string())], *count);
        }
        let rejected = self.rejected.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let mut family = exposition.family(
            &name("rejected_samples_total"),
            FamilyKind::Counter,
            "Samples that were not stored, by reason.",
        );
        for (reason, count) in &rejected {
            family.count(&[("reason", reason)], *count);
        }
        for (rest, help, value) in [
            ("samples_total", "Samples stored.", &self.samples),
            ("histograms_total", "Native histograms stored.", &self.histograms),
            ("exemplars_total", "Exemplars stored.", &self.exemplars),
            ("body_bytes_total", "Bytes of bodies read, as sent.", &self.bytes),
        ] {
            exposition.family(&name(rest), FamilyKind::Counter, help).count(&[], value.load(Ordering::Relaxed));
        }
    }

    /// Appends what bodies of all protocols hold now.
    pub(crate) fn write_bodies(bytes: usize, out: &mut String) {
        let help = "Bytes of bodies that are being read or wait for a worker, of all protocols.";
        Exposition::new(out)
            .family("homeostat_remote_write_bodies_bytes", FamilyKind::Gauge, help)
            .count(&[], bytes as u64);
    }
}
