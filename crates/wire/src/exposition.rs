//! Encoder of the Prometheus text format, version 0.0.4.
//!
//! A family is opened once with its help and type, then its samples follow: the format forbids coming back to a family
//! later, and borrowing makes that impossible to write by accident. Names and texts are escaped here, so that a label
//! value from outside can never break a line.
//!
//! Not here: what is measured (each room counts for itself), serving it (`api`).
//! Invariant: whatever the inputs, the output consists of well-formed lines; each ends with a newline.
//! Source: Prometheus, "Exposition formats", text-based format.

use std::fmt::Write as _;

/// What a scraper is told as the media type.
pub const CONTENT_TYPE: &str = "text/plain; version=0.0.4; charset=utf-8";

/// What kind of numbers a family holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FamilyKind {
    /// Only ever grows; by custom its name ends in `_total`.
    Counter,
    /// Goes up and down.
    Gauge,
    /// Cumulative buckets with sum and count.
    Histogram,
}

impl FamilyKind {
    const fn label(self) -> &'static str {
        match self {
            Self::Counter => "counter",
            Self::Gauge => "gauge",
            Self::Histogram => "histogram",
        }
    }
}

/// Writes families one after another to the end of a text.
#[derive(Debug)]
pub struct Exposition<'a> {
    out: &'a mut String,
}

/// An open family; samples are written as they come. A family without samples leaves only its two comment lines.
#[derive(Debug)]
pub struct Family<'a> {
    out: &'a mut String,
    name: String,
}

/// A histogram's state at one instant.
#[derive(Clone, Copy, Debug)]
pub struct HistogramSample<'a> {
    /// Inclusive upper bound and the count of this bucket alone (not cumulative); ascending by bound.
    pub buckets: &'a [(f64, u64)],
    /// Observations above the last bound.
    pub above: u64,
    /// Sum of all observed values.
    pub sum: f64,
}

impl<'a> Exposition<'a> {
    /// Appends to `out`, which holds whole lines or nothing.
    pub fn new(out: &'a mut String) -> Self {
        Self { out }
    }

    /// Opens a family. Its name must not have been used before in this text.
    /// Characters that a metric name cannot have become `_`.
    pub fn family(&mut self, name: &str, kind: FamilyKind, help: &str) -> Family<'_> {
        let name = clean_name(name, |c| c == ':');
        self.out.push_str("# HELP ");
        self.out.push_str(&name);
        self.out.push(' ');
        escape(self.out, help, Quoted::No);
        self.out.push_str("\n# TYPE ");
        self.out.push_str(&name);
        self.out.push(' ');
        self.out.push_str(kind.label());
        self.out.push('\n');
        Family { out: self.out, name }
    }
}

impl Family<'_> {
    /// One sample. Labels in the order given; no name twice.
    pub fn sample(&mut self, labels: &[(&str, &str)], value: f64) {
        self.line("", labels, None, |out| push_value(out, value));
    }

    /// One sample of a whole number, exact beyond 2^53.
    pub fn count(&mut self, labels: &[(&str, &str)], value: u64) {
        self.line("", labels, None, |out| push_count(out, value));
    }

    /// One histogram: cumulative buckets up to `+Inf`, then sum and count.
    pub fn histogram(&mut self, labels: &[(&str, &str)], histogram: HistogramSample<'_>) {
        let mut cumulative = 0_u64;
        for (bound, count) in histogram.buckets {
            cumulative = cumulative.saturating_add(*count);
            self.line("_bucket", labels, Some(*bound), |out| push_count(out, cumulative));
        }
        let count = cumulative.saturating_add(histogram.above);
        self.line("_bucket", labels, Some(f64::INFINITY), |out| push_count(out, count));
        self.line("_sum", labels, None, |out| push_value(out, histogram.sum));
        self.line("_count", labels, None, |out| push_count(out, count));
    }

    fn line(&mut self, suffix: &str, labels: &[(&str, &str)], le: Option<f64>, value: impl FnOnce(&mut String)) {
        self.out.push_str(&self.name);
        self.out.push_str(suffix);
        let mut separator = '{';
        for (name, text) in labels {
            self.out.push(separator);
            separator = ',';
            self.out.push_str(&clean_name(name, |_| false));
            self.out.push_str("=\"");
            escape(self.out, text, Quoted::Yes);
            self.out.push('"');
        }
        if let Some(bound) = le {
            self.out.push(separator);
            separator = ',';
            self.out.push_str("le=\"");
            push_value(self.out, bound);
            self.out.push('"');
        }
        if separator == ',' {
            self.out.push('}');
        }
        self.out.push(' ');
        value(self.out);
        self.out.push('\n');
    }
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Quoted {
    Yes,
    No,
}

fn escape(out: &mut String, text: &str, quoted: Quoted) {
    for c in text.chars() {
        match c {
            '\\' => out.push_str("\\\\"),
            '\n' => out.push_str("\\n"),
            '"' if quoted == Quoted::Yes => out.push_str("\\\""),
            // Some readers split lines at a bare carriage return.
            '\r' => out.push(' '),
            c => out.push(c),
        }
    }
}

fn clean_name(name: &str, also: impl Fn(char) -> bool) -> String {
    let allowed = |at: usize, c: char| c == '_' || also(c) || c.is_ascii_alphabetic() || (at > 0 && c.is_ascii_digit());
    let clean: String = name.chars().enumerate().map(|(at, c)| if allowed(at, c) { c } else { '_' }).collect();
    if clean.is_empty() { "_".to_owned() } else { clean }
}

fn push_value(out: &mut String, value: f64) {
    match value {
        v if v.is_nan() => out.push_str("NaN"),
        f64::INFINITY => out.push_str("+Inf"),
        f64::NEG_INFINITY => out.push_str("-Inf"),
        v => {
            // Writing to a `String` cannot fail.
            let _ = write!(out, "{v}");
        }
    }
}

fn push_count(out: &mut String, value: u64) {
    let _ = write!(out, "{value}");
}

#[cfg(test)]
mod tests {
    use expect_test::expect;
    use proptest::prelude::*;

    use super::*;

    fn text(write: impl FnOnce(&mut Exposition<'_>)) -> String {
        let mut out = String::new();
        write(&mut Exposition::new(&mut out));
        out
    }

    #[test]
    fn families_samples_and_escapes() {
        let text = text(|exposition| {
            let mut requests =
                exposition.family("requests_total", FamilyKind::Counter, "Requests.\nAll \"of\" them\\.");
            requests.count(&[("route", "a\"b\\c\nd"), ("code", "200")], u64::MAX);
            requests.count(&[], 0);
            exposition.family("9 bad-name", FamilyKind::Gauge, "x").sample(&[("le-bel", "")], f64::NAN);
            exposition.family("empty", FamilyKind::Gauge, "Nothing yet.");
        });
        expect![[r#"
            # HELP requests_total Requests.\nAll "of" them\\.
            # TYPE requests_total counter
            requests_total{route="a\"b\\c\nd",code="200"} 18446744073709551615
            requests_total 0
            # HELP __bad_name x
            # TYPE __bad_name gauge
            __bad_name{le_bel=""} NaN
            # HELP empty Nothing yet.
            # TYPE empty gauge
        "#]]
        .assert_eq(&text);
    }

    #[test]
    fn histograms_are_cumulative_and_end_at_infinity() {
        let text = text(|exposition| {
            exposition.family("wait_seconds", FamilyKind::Histogram, "Wait.").histogram(
                &[("part", "disk")],
                HistogramSample { buckets: &[(0.005, 2), (0.1, 0), (1.0, 3)], above: 1, sum: 4.25 },
            );
        });
        expect![[r#"
            # HELP wait_seconds Wait.
            # TYPE wait_seconds histogram
            wait_seconds_bucket{part="disk",le="0.005"} 2
            wait_seconds_bucket{part="disk",le="0.1"} 2
            wait_seconds_bucket{part="disk",le="1"} 5
            wait_seconds_bucket{part="disk",le="+Inf"} 6
            wait_seconds_sum{part="disk"} 4.25
            wait_seconds_count{part="disk"} 6
        "#]]
        .assert_eq(&text);
    }

    proptest! {
        /// Whatever a label value holds, it stays on its line and comes back unchanged when unescaped.
        #[test]
        fn label_values_survive(value in "[^\r]*") {
            let text = text(|exposition| {
                exposition.family("m", FamilyKind::Gauge, "h").sample(&[("l", &value)], 1.0);
            });
            prop_assert_eq!(text.split('\n').count(), 4);
            let line = text.split('\n').nth(2).unwrap_or_default();
            let quoted = line.strip_prefix("m{l=\"").and_then(|rest| rest.strip_suffix("\"} 1")).unwrap();
            let mut plain = String::new();
            let mut chars = quoted.chars();
            while let Some(c) = chars.next() {
                match (c, if c == '\\' { chars.next() } else { None }) {
                    ('\\', Some('n')) => plain.push('\n'),
                    ('\\', Some(c)) | (c, _) => plain.push(c),
                }
            }
            prop_assert_eq!(plain, value);
        }
    }
}
