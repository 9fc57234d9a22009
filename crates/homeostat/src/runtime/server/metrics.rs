//! The store's own metrics.

use homeostat_store_series::Stats;
use homeostat_wire::exposition::{Exposition, FamilyKind};

/// Appends what the store counts of itself.
pub(super) fn store(stats: &Stats, out: &mut String) {
    let mut exposition = Exposition::new(out);
    for (name, help, value) in [
        ("homeostat_series_in_memory", "Series in memory.", stats.head_series),
        ("homeostat_series_samples_in_memory", "Samples in memory.", stats.head_samples),
        ("homeostat_series_pages_bytes", "Bytes of the pages that hold samples in memory.", stats.head_bytes),
        ("homeostat_series_exemplars", "Exemplars in memory.", stats.exemplars),
        ("homeostat_series_log_bytes", "Bytes of the log on disk.", stats.log_bytes),
        ("homeostat_series_log_queue_bytes", "Bytes that wait for the disk.", stats.log_queue_bytes),
        ("homeostat_series_log_failing", "1 while the disk refuses the log.", u64::from(stats.log_error.is_some())),
    ] {
        exposition.family(name, FamilyKind::Gauge, help).count(&[], value);
    }
    if let Some(newest_ms) = stats.newest_ms {
        let help = "Time of the newest sample, in seconds since 1970.";
        exposition
            .family("homeostat_series_newest_timestamp_seconds", FamilyKind::Gauge, help)
            .sample(&[], newest_ms as f64 / 1000.0);
    }
    for (name, help, value) in [
        ("homeostat_series_created_total", "Series created.", stats.series_created),
        ("homeostat_series_repeated_total", "Samples that were stored already.", stats.accepted.repeated),
        ("homeostat_series_busy_total", "Batches refused because the disk did not keep up.", stats.busy),
    ] {
        exposition.family(name, FamilyKind::Counter, help).count(&[], value);
    }
    let mut accepted =
        exposition.family("homeostat_series_accepted_total", FamilyKind::Counter, "What was stored, by kind.");
    accepted.count(&[("kind", "float")], stats.accepted.floats);
    accepted.count(&[("kind", "histogram")], stats.accepted.histograms);
    accepted.count(&[("kind", "exemplar")], stats.accepted.exemplars);
    let mut rejected = exposition.family(
        "homeostat_series_rejected_total",
        FamilyKind::Counter,
        "Samples that were not stored, by reason.",
    );
    for (reason, count) in &stats.rejected {
        rejected.count(&[("reason", reason.as_str())], *count);
    }
}
