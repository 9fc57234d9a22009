//! What one query may cost, and how it is evaluated.

/// What one query may cost.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Samples held at once. 50 million is Prometheus' default; at 16 bytes each that is 800 MB there.
    pub samples_max: u64,
    /// Bytes held at once for values and labels. 1 GiB: 50 million numbers of 8 bytes, and labels of a million series
    /// of 300 bytes, fit well.
    pub memory_bytes_max: u64,
    /// Points in the result. 11,000 steps (a client's usual limit) of a thousand series.
    pub points_max: u64,
}

impl Default for Limits {
    fn default() -> Self {
        Self { samples_max: 50_000_000, memory_bytes_max: 1 << 30, points_max: 11_000_000 }
    }
}

/// How a query is evaluated.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Options {
    /// How long a sample is looked back for, exclusive; positive. Five minutes.
    pub lookback_ms: i64,
    /// Step of a subquery that names none; positive. One minute, the default interval between evaluations of rules.
    pub subquery_step_ms: i64,
    /// What the query may cost.
    pub limits: Limits,
    /// A function's result keeps the metric's name until the query's end, and only then loses it. Flag
    /// `promql-delayed-name-removal` of Prometheus, which its acceptance suite takes as given.
    pub delayed_name_removal: bool,
    /// Functions look at since when samples count. Flag `use-start-timestamps` of Prometheus.
    pub start_timestamps: bool,
    /// Whether a metric is a counter is read from the label `__type__` instead of guessed from its name. Flag
    /// `type-and-unit-labels` of Prometheus.
    pub type_and_unit_labels: bool,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            lookback_ms: 300_000,
            subquery_step_ms: 60_000,
            limits: Limits::default(),
            delayed_name_removal: true,
            start_timestamps: true,
            type_and_unit_labels: false,
        }
    }
}
