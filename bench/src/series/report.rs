//! The figures of all rounds, as a table and as a file.

use std::{collections::BTreeMap, fmt, time::Duration};

use serde_json::json;

use crate::{
    figures::{Millis, Spread},
    machine::Machine,
    series::{bodies::Load, sender::Sent, servers::Kind},
};

/// What taking in a load cost.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Intake {
    /// Samples a second and core: samples over CPU seconds until the last acknowledgement.
    samples_per_core: f64,
    /// Samples a second on the wall.
    samples_per_s: f64,
    /// CPU seconds of ten million samples, with everything that was put off and the compaction.
    cpu_s_per_10m: f64,
    /// Peak of the resident memory.
    rss_bytes: u64,
    /// Bytes on disk after compaction over samples.
    bytes_per_sample: f64,
    /// Acknowledgement: median and 99th percentile.
    acknowledged_ms: (f64, f64),
    /// Requests put off by the server.
    put_off: usize,
}

impl Intake {
    pub(crate) fn of(load: &Load, sent: &Sent, busy: Duration, settled: Duration, rss: u64, bytes: u64) -> Self {
        let samples = load.samples as f64;
        let mut sorted = sent.acknowledged_ms.clone();
        sorted.sort_unstable_by(f64::total_cmp);
        let rank = |share: f64| sorted.get((share * sorted.len() as f64) as usize).copied().unwrap_or_default();
        Self {
            samples_per_core: samples / busy.as_secs_f64().max(0.01),
            samples_per_s: samples / sent.wall.as_secs_f64(),
            cpu_s_per_10m: settled.as_secs_f64() * 1e7 / samples,
            rss_bytes: rss,
            bytes_per_sample: bytes as f64 / samples,
            acknowledged_ms: (rank(0.5), rank(0.99)),
            put_off: sent.put_off,
        }
    }
}

/// A query's time in milliseconds, median of its repetitions, and how many entries its answer had.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Answered {
    pub(crate) ms: f64,
    pub(crate) entries: usize,
}

impl Answered {
    pub(crate) fn of(took: Vec<f64>, entries: usize) -> Self {
        Self { ms: Millis::of(took).map_or(0.0, |millis| millis.p50), entries }
    }
}

/// What one server did in one round.
#[derive(Clone, Debug, Default)]
pub(crate) struct Round {
    pub(crate) every_15s: Intake,
    pub(crate) every_1s: Intake,
    pub(crate) cold_start_ms: f64,
    pub(crate) rss_queried_bytes: u64,
    pub(crate) queries: Vec<(&'static str, Answered)>,
}

impl fmt::Display for Round {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Intake { samples_per_core, rss_bytes, bytes_per_sample, put_off, .. } = self.every_15s;
        let mib = rss_bytes >> 20;
        write!(f, "{samples_per_core:>9.0} samples/s and core, {mib:>5} MiB, {bytes_per_sample:>5.2} B a sample")?;
        write!(f, ", started in {:>6.0} ms", self.cold_start_ms)?;
        if put_off > 0 {
            write!(f, ", {put_off} requests put off")?;
        }
        Ok(())
    }
}

/// A figure that is compared: its name, how to read it, and which way is better.
struct Figure {
    name: &'static str,
    read: fn(&Round) -> f64,
    more_is_better: bool,
}

const FIGURES: [Figure; 12] = [
    Figure { name: "ingest_per_core", read: |r| r.every_15s.samples_per_core, more_is_better: true },
    Figure { name: "ingest_wall", read: |r| r.every_15s.samples_per_s, more_is_better: true },
    Figure { name: "cpu_s_per_10m_samples", read: |r| r.every_15s.cpu_s_per_10m, more_is_better: false },
    Figure { name: "rss", read: |r| r.every_15s.rss_bytes as f64, more_is_better: false },
    Figure { name: "rss_after_queries", read: |r| r.rss_queried_bytes as f64, more_is_better: false },
    Figure { name: "bytes_per_sample", read: |r| r.every_15s.bytes_per_sample, more_is_better: false },
    Figure { name: "acknowledged_ms_p50", read: |r| r.every_15s.acknowledged_ms.0, more_is_better: false },
    Figure { name: "acknowledged_ms_p99", read: |r| r.every_15s.acknowledged_ms.1, more_is_better: false },
    Figure { name: "cold_start_ms", read: |r| r.cold_start_ms, more_is_better: false },
    Figure { name: "ingest_per_core_1s", read: |r| r.every_1s.samples_per_core, more_is_better: true },
    Figure { name: "rss_1s", read: |r| r.every_1s.rss_bytes as f64, more_is_better: false },
    Figure { name: "bytes_per_sample_1s", read: |r| r.every_1s.bytes_per_sample, more_is_better: false },
];

/// All rounds of all servers.
#[derive(Debug)]
pub(crate) struct Report {
    machine: Machine,
    quick: bool,
    series: usize,
    rounds: BTreeMap<&'static str, Vec<Round>>,
}

impl Report {
    pub(crate) fn new(machine: Machine, quick: bool, series: usize) -> Self {
        Self { machine, quick, series, rounds: BTreeMap::new() }
    }

    pub(crate) fn add(&mut self, kind: Kind, round: Round) {
        self.rounds.entry(kind.name()).or_default().push(round);
    }

    fn spread(&self, server: &str, read: impl Fn(&Round) -> f64) -> Option<Spread> {
        Spread::of(self.rounds.get(server)?.iter().map(read).collect())
    }

    /// Ours over the better peer, of medians; `None` where one of them was not measured.
    fn ratio(&self, read: impl Fn(&Round) -> f64 + Copy, more_is_better: bool) -> Option<f64> {
        let ours = self.spread(Kind::Homeostat.name(), read)?.median;
        let peers = Kind::ALL.iter().filter(|kind| **kind != Kind::Homeostat);
        let peers = peers.filter_map(|kind| Some(self.spread(kind.name(), read)?.median));
        let best = if more_is_better { peers.reduce(f64::max) } else { peers.reduce(f64::min) };
        best.filter(|best| *best > 0.0).map(|best| ours / best)
    }

    /// Entries of each query's answer in the last round: who finds less is not faster.
    fn entries(&self, server: &str) -> BTreeMap<&'static str, usize> {
        let last = self.rounds.get(server).and_then(|rounds| rounds.last());
        last.map_or_else(BTreeMap::new, |round| round.queries.iter().map(|(name, a)| (*name, a.entries)).collect())
    }

    fn query_names(&self) -> Vec<&'static str> {
        let first = self.rounds.values().flatten().next();
        first.map_or_else(Vec::new, |round| round.queries.iter().map(|(name, _)| *name).collect())
    }

    pub(crate) fn print(&self) {
        let servers: Vec<_> = self.rounds.keys().copied().collect();
        print!("\n{:<26}", "median (min to max)");
        for server in &servers {
            print!("{server:>38}");
        }
        println!("{:>14}", "ours/better");
        for Figure { name, read, more_is_better } in FIGURES {
            self.line(name, &servers, read, more_is_better);
        }
        println!("queries, ms");
        for name in self.query_names() {
            self.line(name, &servers, query_ms(name), false);
        }
    }

    fn line(&self, name: &str, servers: &[&str], read: impl Fn(&Round) -> f64 + Copy, more_is_better: bool) {
        print!("{name:<26}");
        for server in servers {
            let Spread { min, median, max, .. } = self.spread(server, read).unwrap_or_default();
            print!("{:>38}", format!("{} ({} to {})", short(median), short(min), short(max)));
        }
        match self.ratio(read, more_is_better) {
            Some(ratio) => println!("{ratio:>14.2}"),
            None => println!("{:>14}", "-"),
        }
    }

    pub(crate) fn json(&self) -> serde_json::Value {
        let mut servers = serde_json::Map::new();
        for server in self.rounds.keys() {
            let figures =
                FIGURES.iter().map(|figure| (figure.name.to_owned(), json!(self.spread(server, figure.read))));
            let mut all: serde_json::Map<_, _> = figures.collect();
            let queries = self.query_names().into_iter();
            let queries = queries.map(|name| (name.to_owned(), json!(self.spread(server, query_ms(name)))));
            all.insert("query_ms".to_owned(), serde_json::Value::Object(queries.collect()));
            all.insert("query_entries".to_owned(), json!(self.entries(server)));
            servers.insert((*server).to_owned(), serde_json::Value::Object(all));
        }
        let mut ratios: serde_json::Map<_, _> = FIGURES
            .iter()
            .map(|figure| (figure.name.to_owned(), json!(self.ratio(figure.read, figure.more_is_better))))
            .collect();
        let queries = self.query_names().into_iter();
        let queries = queries.map(|name| (name.to_owned(), json!(self.ratio(query_ms(name), false))));
        ratios.insert("queries".to_owned(), serde_json::Value::Object(queries.collect()));
        json!({
            "machine": self.machine,
            "quick": self.quick,
            "series": self.series,
            "acknowledged_means": {
                "homeostat": "on disk (fsync)", "prometheus": "in memory", "victoria-metrics": "in memory"
            },
            "servers": servers,
            "ratios_to_better_peer": ratios,
        })
    }
}

fn query_ms(name: &str) -> impl Fn(&Round) -> f64 + Copy + '_ {
    move |round| round.queries.iter().find(|(n, _)| *n == name).map_or(0.0, |(_, answered)| answered.ms)
}

/// Four digits, with k, M or G behind large numbers.
fn short(value: f64) -> String {
    match value.abs() {
        size if size >= 1e9 => format!("{:.2}G", value / 1e9),
        size if size >= 1e6 => format!("{:.2}M", value / 1e6),
        size if size >= 1e4 => format!("{:.1}k", value / 1e3),
        size if size >= 100.0 => format!("{value:.0}"),
        _ => format!("{value:.2}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_better_peer_is_the_one_to_beat() {
        let machine = Machine::here();
        let mut report = Report::new(machine, true, 1);
        let round = |rss, per_core| Round {
            every_15s: Intake { rss_bytes: rss, samples_per_core: per_core, ..Intake::default() },
            ..Round::default()
        };
        report.add(Kind::Homeostat, round(50, 300.0));
        report.add(Kind::Prometheus, round(200, 100.0));
        report.add(Kind::VictoriaMetrics, round(100, 200.0));
        let json = report.json();
        assert_eq!(json.pointer("/ratios_to_better_peer/rss"), Some(&json!(0.5)));
        assert_eq!(json.pointer("/ratios_to_better_peer/ingest_per_core"), Some(&json!(1.5)));
    }
}
