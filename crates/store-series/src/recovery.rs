//! The log read into a head: what a start finds.

use std::{collections::HashMap, path::Path, time::Duration};

use homeostat_model::Labels;
use homeostat_store_wal::TornTail;
use homeostat_wire::series::{
    Malformed,
    record::{Record, decode},
};

use crate::{
    error::OpenError,
    exemplar::Ring,
    head::{Head, LabelHasher},
    metadata::Families,
};

/// What opening found.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Recovery {
    /// Records read from the log.
    pub records: u64,
    /// Samples found in them.
    pub samples: u64,
    /// Series in memory.
    pub series: u64,
    /// Blocks.
    pub blocks: u64,
    /// Samples in them.
    pub block_samples: u64,
    /// What the last run left unfinished in the log, if anything: never acknowledged.
    pub torn_tail: Option<TornTail>,
    /// How long it took.
    pub took: Duration,
}

/// Reads the log into a head.
pub(crate) struct Replay {
    head: Head,
    hasher: LabelHasher,
    exemplars: Ring,
    families: Families,
    /// What references of the log mean.
    refs: HashMap<u64, u32, foldhash::fast::RandomState>,
    records: u64,
    bytes: u64,
    failed: Option<(u64, Malformed)>,
}

/// What the log has given.
pub(crate) struct Replayed {
    pub(crate) head: Head,
    pub(crate) hasher: LabelHasher,
    pub(crate) exemplars: Ring,
    pub(crate) families: Families,
    pub(crate) records: u64,
    pub(crate) bytes: u64,
}

impl Replay {
    pub(crate) fn new(exemplars_max: usize) -> Self {
        Self {
            head: Head::default(),
            hasher: LabelHasher::default(),
            exemplars: Ring::new(exemplars_max),
            families: Families::default(),
            refs: HashMap::default(),
            records: 0,
            bytes: 0,
            failed: None,
        }
    }

    /// Takes the next record.
    pub(crate) fn record(&mut self, seq: u64, payload: &[u8]) {
        if self.failed.is_some() {
            return;
        }
        self.records += 1;
        self.bytes += payload.len() as u64;
        match decode(payload) {
            Ok(record) => self.apply(record),
            Err(error) => self.failed = Some((seq, error)),
        }
    }

    /// Ends; an intact record that could not be read is an error.
    pub(crate) fn finish(mut self, log_dir: &Path) -> Result<Replayed, OpenError> {
        if let Some((seq, source)) = self.failed {
            return Err(OpenError::Record { seq, dir: log_dir.to_owned(), source });
        }
        self.head.begin_generation();
        let Self { head, hasher, exemplars, families, records, bytes, .. } = self;
        Ok(Replayed { head, hasher, exemplars, families, records, bytes })
    }

    fn apply(&mut self, record: Record<'_>) {
        for (reference, packed) in &record.definitions {
            if let Some(id) = self.head.restore(self.hasher.hash(packed), packed, *reference) {
                self.refs.insert(*reference, id);
            }
        }
        for ((reference, t_ms, value), start_ms) in record.floats.with_starts() {
            if let Some(id) = self.refs.get(&reference) {
                self.head.restore_float(*id, t_ms, *value, start_ms);
            }
        }
        for ((reference, t_ms, value), start_ms) in record.histograms.with_starts() {
            if let Some(id) = self.refs.get(&reference) {
                self.head.restore_histogram(*id, t_ms, value, start_ms);
            }
        }
        for exemplar in &record.exemplars {
            let series = self.refs.get(&exemplar.series).and_then(|id| self.head.get(*id));
            let labels: Option<Labels> = series.map(|series| series.labels.clone());
            if let Some(labels) = labels {
                self.exemplars.offer(&labels, exemplar.labels, exemplar.t_ms, exemplar.value);
            }
        }
        for said in &record.metadata {
            self.families.learn(*said);
        }
    }
}
