//! What else was measured while a profile was taken: requests, latencies, switches, calls of the kernel, the collector.
//!
//! Numbers come under the names of the corpus (docs/format/cases.md). Most mean something only for each request: `read` turns
//! them into that, so that twice the load is the same behaviour.
//!
//! Invariant: what was not measured is absent, never zero.

use std::collections::BTreeMap;

/// Numbers of one side by name, as they were measured.
pub type Evidence = BTreeMap<String, f64>;

/// Names of the numbers that `homeostat up` hands in, where it has measured them: of goroutines in Go programs, of threads in
/// others.
pub const MEASURED_IN_UP: &[&str] = &[
    "requests_per_second",
    "seconds",
    "p50_ms",
    "p99_ms",
    "cpu_seconds",
    "runqueue_wait_ms_per_s",
    "tcp_opens_per_s",
    "voluntary_switches",
    "involuntary_switches",
    "rss_bytes",
    "goroutines",
    "goroutines_grown",
    "threads",
    "threads_grown",
];

/// A number that two sides can be compared by.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Metric {
    /// Its name.
    pub(crate) name: &'static str,
    /// What is measured.
    source: &'static str,
    per: Per,
    /// Added to both sides before their ratio is taken: what is so little is the same as nothing.
    pub(crate) little: f64,
}

/// What a number is divided by.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Per {
    /// It stands for itself.
    Nothing,
    /// It is a rate: by the rate of requests.
    RequestOfRate,
    /// It is a total of the whole time: by the number of requests.
    RequestOfTotal,
    /// It is a total in seconds: by the number of requests, in milliseconds.
    MillisPerRequest,
    /// It is a total: by time.
    Second,
}

const fn metric(name: &'static str, source: &'static str, per: Per, little: f64) -> Metric {
    Metric { name, source, per, little }
}

/// All that is compared. `little` is what an idle process of the reference machine shows.
pub(crate) const METRICS: &[Metric] = &[
    metric("requests_per_second", "requests_per_second", Per::Nothing, 1.0),
    metric("p50_ms", "p50_ms", Per::Nothing, 0.5),
    metric("p99_ms", "p99_ms", Per::Nothing, 2.0),
    metric("cpu_ms_per_request", "cpu_seconds", Per::MillisPerRequest, 0.02),
    metric("cpu_seconds_per_second", "cpu_seconds", Per::Second, 0.02),
    metric("voluntary_switches_per_request", "voluntary_switches", Per::RequestOfTotal, 0.2),
    metric("voluntary_switches_per_second", "voluntary_switches", Per::Second, 20.0),
    metric("involuntary_switches_per_second", "involuntary_switches", Per::Second, 20.0),
    metric("runqueue_wait_ms_per_s", "runqueue_wait_ms_per_s", Per::Nothing, 5.0),
    metric("reads_per_request", "read_calls_per_s", Per::RequestOfRate, 0.2),
    metric("writes_per_request", "write_calls_per_s", Per::RequestOfRate, 0.2),
    metric("syncs_per_request", "fsync_calls_per_s", Per::RequestOfRate, 0.02),
    metric("connections_per_request", "tcp_opens_per_s", Per::RequestOfRate, 0.05),
    metric("calls_out_per_request", "store_calls_per_request", Per::Nothing, 0.2),
    metric("connections_out_per_request", "store_connections_per_s", Per::RequestOfRate, 0.02),
    metric("device_wait_ms_per_request", "disk_wait_ms_per_request", Per::Nothing, 0.2),
    metric("goroutines_grown", "goroutines_grown", Per::Nothing, 50.0),
    metric("threads_grown", "threads_grown", Per::Nothing, 10.0),
    metric("goroutines", "goroutines", Per::Nothing, 10.0),
    metric("threads", "threads", Per::Nothing, 4.0),
    metric("collections_per_second", "gc_cycles", Per::Second, 0.5),
    metric("collections_per_request", "gc_cycles", Per::RequestOfTotal, 0.001),
    metric("collector_pause_ms_per_second", "gc_pause_ms", Per::Second, 0.5),
    metric("allocated_bytes_per_request", "alloc_bytes", Per::RequestOfTotal, 500.0),
    metric("resident_bytes", "rss_bytes", Per::Nothing, 8e6),
    metric("heap_bytes", "heap_bytes", Per::Nothing, 4e6),
];

/// Reads a metric; `None` when it was not measured, or cannot be related to requests.
pub(crate) fn read(evidence: &Evidence, metric: &Metric) -> Option<f64> {
    let known = |name: &str| evidence.get(name).copied().filter(|value| value.is_finite() && 0.0 <= *value);
    let value = known(metric.source)?;
    let rate = || known("requests_per_second").filter(|rate| 0.0 < *rate);
    let seconds = || known("seconds").filter(|seconds| 0.0 < *seconds);
    match metric.per {
        Per::Nothing => Some(value),
        Per::RequestOfRate => Some(value / rate()?),
        Per::RequestOfTotal => Some(value / (rate()? * seconds()?)),
        Per::MillisPerRequest => Some(1000.0 * value / (rate()? * seconds()?)),
        Per::Second => Some(value / seconds()?),
    }
}
