#![allow(
    clippy::all,
    clippy::pedantic,
    clippy::print_stdout,
    clippy::unwrap_used,
    clippy::allow_attributes,
    clippy::allow_attributes_without_reason,
    clippy::indexing_slicing
)]
use homeostat_model::{Labels, SampleRun};
use homeostat_promql::{eval::*, *};
use std::{sync::Arc, time::Instant};
struct Mem(Vec<(Labels, Vec<(Vec<i64>, Vec<f64>)>)>);
impl SeriesSource for Mem {
    fn select<'a>(&'a self, s: &Select<'_>) -> Result<Vec<SelectedSeries<'a>>, SourceError> {
        let (start, end) = (s.start_ms, s.end_ms);
        Ok(self
            .0
            .iter()
            .filter(|(l, _)| s.matchers.iter().all(|m| m.matches(l.value(&m.name))))
            .map(|(l, runs)| SelectedSeries {
                labels: l.clone(),
                runs: Box::new(runs.iter().filter(move |(t, _)| t[t.len() - 1] >= start && t[0] <= end).map(
                    move |(t, v)| {
                        let a = t.partition_point(|x| *x < start);
                        let b = t.partition_point(|x| *x <= end);
                        Ok(SampleRun::Floats { t_ms: t[a..b].to_vec(), values: v[a..b].to_vec() })
                    },
                )),
            })
            .collect())
    }
}
fn data(n: usize, samples: usize, step: i64) -> Mem {
    let mut all = Vec::new();
    for name in ["req_total", "mem_bytes"] {
        for i in 0..n {
            let l = Labels::new([
                ("__name__", name.to_string()),
                ("instance", format!("host-{:05}:9100", i)),
                ("job", format!("job-{}", i % 20)),
                ("cluster", "eu-west-1".into()),
                ("env", "prod".into()),
                ("pod", format!("pod-{:x}-{}", i * 7919, i)),
            ]);
            let mut runs = Vec::new();
            let mut v = 0.0;
            for c in 0..samples.div_ceil(120) {
                let t: Vec<i64> =
                    (c * 120..((c + 1) * 120).min(samples)).map(|k| k as i64 * step + (i % 15) as i64 * 100).collect();
                let vals: Vec<f64> = t
                    .iter()
                    .map(|_| {
                        v += ((i * 31) % 97) as f64;
                        v
                    })
                    .collect();
                runs.push((t, vals));
            }
            all.push((l, runs));
            if name == "mem_bytes" && samples > 10000 {
                break;
            }
        }
    }
    all.sort_by(|a, b| a.0.cmp(&b.0));
    Mem(all)
}
fn time(mem: &Mem, q: &str, range: Option<(i64, i64, i64)>, at: i64) {
    let expr = parse(q, &ParseOptions::all()).unwrap();
    let mut o = Options::default();
    o.limits.memory_bytes_max = 8 << 30;
    o.limits.points_max = 1 << 40;
    o.limits.samples_max = 1 << 40;
    let mut best = f64::MAX;
    let mut out = 0;
    for _ in 0..3 {
        let t = cpu();
        let a = match range {
            None => evaluate_instant(mem, &expr, at, &o, &|| false),
            Some(r) => evaluate_range(mem, &expr, r, &o, &|| false),
        }
        .unwrap();
        best = best.min(cpu() - t);
        out = match &a.value {
            Value::Vector(v) => v.len(),
            Value::Matrix(m) => m.iter().map(|s| s.floats.len()).sum(),
            _ => 1,
        };
    }
    println!("{:9.2} ms  {:9} points  {}{}", best * 1e3, out, q, if range.is_some() { "  (range)" } else { "" });
}
fn cpu() -> f64 {
    let s = std::fs::read_to_string("/proc/thread-self/schedstat").unwrap();
    s.split(' ').next().unwrap().parse::<f64>().unwrap() / 1e9
}
fn main() {
    let _ = Instant::now();
    if std::env::args().nth(1).as_deref() == Some("select") {
        let mem = data(100_000, 240, 15_000);
        let m = [Matcher::equal("__name__", "req_total")];
        for _ in 0..3 {
            let t = cpu();
            let all = mem.select(&Select { matchers: &m, start_ms: 3_300_001, end_ms: 3_600_000 }).unwrap();
            let t2 = cpu();
            let n: usize = all.into_iter().map(|s| s.runs.map(|r| r.unwrap().len()).sum::<usize>()).sum();
            println!("select {:.1} read {:.1} ms {n}", (t2 - t) * 1e3, (cpu() - t2) * 1e3);
        }
        return;
    }
    let _ = Arc::new(0);
    let which = std::env::args().nth(1).unwrap_or_default();
    if which == "one" {
        let mem = data(100_000, 240, 15_000);
        let q = std::env::args().nth(2).unwrap();
        let range = std::env::args().nth(3).map(|_| (600_000, 3_600_000, 15_000));
        time(&mem, &q, range, 3_600_000);
        return;
    }
    if which != "long" {
        let mem = data(100_000, 240, 15_000);
        let end = 3_600_000;
        for q in [
            "req_total",
            "sum(req_total)",
            "sum by (job) (rate(req_total[5m]))",
            "topk(10, rate(req_total[5m]))",
            "sum by (instance) (req_total)",
            "sum without (pod) (req_total)",
            "req_total / on (instance) mem_bytes",
            "req_total > 5",
            "abs(req_total)",
            "count(req_total unless mem_bytes)",
            "quantile by (job) (0.9, req_total)",
            "max_over_time(req_total[30m])",
            "count_values by (job) (\"v\", req_total % 7)",
            "label_replace(req_total, \"x\", \"$1\", \"instance\", \"host-(.*):.*\")",
        ] {
            time(&mem, q, None, end);
        }
        for q in [
            "sum by (job) (rate(req_total[5m]))",
            "topk(10, rate(req_total[5m]))",
            "sum(req_total)",
            "avg_over_time(req_total{job=\"job-1\"}[10m])",
            "quantile by (job) (0.9, req_total)",
        ] {
            time(&mem, q, Some((600_000, end, 15_000)), 0);
        }
    } else {
        let mem = data(1000, 172_800, 15_000);
        let end = 30 * 86_400_000;
        for q in [
            "sum by (job) (rate(req_total[5m]))",
            "req_total",
            "avg_over_time(req_total[1h])",
            "sum(rate(req_total[6h]))",
            "max_over_time(req_total[1d])",
        ] {
            time(&mem, q, Some((86_400_000, end, 3_600_000)), 0);
        }
    }
}
