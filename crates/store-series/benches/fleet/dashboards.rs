//! The dashboards of `./dev bench series`, evaluated here: what is left of a query when HTTP and JSON are taken away.

use homeostat_promql::{
    ParseOptions,
    eval::{Options, evaluate_instant, evaluate_range},
    parse,
};
use homeostat_store_series::{LabelQuery, SeriesStore};

use crate::{Failure, thread_ns};

const ROUNDS: usize = 7;

/// Asks each of them some times and prints the median of CPU time.
pub(crate) fn all(store: &SeriesStore, place: &str, (start_ms, end_ms): (i64, i64)) -> Result<(), Failure> {
    let instant = |name, query| timed(place, name, || instant(store, query, end_ms));
    let range = |name, query, step_ms| timed(place, name, || ranged(store, query, (start_ms, end_ms, step_ms)));
    instant("instant_selector", r#"http_requests_total{job="job-3",code="500"}"#)?;
    range("rate_5m_by_job", "sum by (job) (rate(http_requests_total[5m]))", 15_000)?;
    instant(
        "histogram_quantile_10k",
        r#"histogram_quantile(0.99, sum by (job, le) (rate(http_request_duration_seconds_bucket{job=~"job-[0-8]"}[5m])))"#,
    )?;
    instant("topk_10", "topk(10, rate(http_requests_total[5m]))")?;
    instant("all_series", r#"count({__name__=~".+"})"#)?;
    // The time cuts through blocks, as that of a dashboard does.
    let plain = LabelQuery { start_ms: start_ms + 1, end_ms, ..LabelQuery::default() };
    timed(place, "label_values", || Ok(store.snapshot().label_values("instance", &plain)?.len()))?;
    timed(place, "label_names", || Ok(store.snapshot().label_names(&plain)?.len()))?;
    instant("regex_selector", r#"sum by (queue) (queue_depth{instance=~"10\\.0\\..*7:9100",queue=~"q[1-5]"})"#)?;
    let up = [homeostat_promql::Matcher::new("__name__", homeostat_promql::MatcherOp::Equal, "up")?];
    let matched = LabelQuery { sets: &[&up], ..plain };
    timed(place, "series_match", || Ok(store.snapshot().series(&matched)?.len()))?;
    timed(place, "label_values_match", || Ok(store.snapshot().label_values("instance", &matched)?.len()))?;
    range("max_over_time", r#"max by (kind) (max_over_time(process_memory_bytes{region="region-1"}[5m]))"#, 60_000)?;
    range(
        "error_ratio_by_job",
        r#"sum by (job) (rate(http_requests_total{code=~"5.."}[5m])) / sum by (job) (rate(http_requests_total[5m]))"#,
        30_000,
    )
}

fn instant(store: &SeriesStore, query: &str, t_ms: i64) -> Result<usize, Failure> {
    let expr = parse(query, &ParseOptions::default()).map_err(|errors| format!("{errors:?}"))?;
    let answer = evaluate_instant(&store.snapshot(), &expr, t_ms, &Options::default(), &|| false)?;
    Ok(size_of_val(&answer))
}

/// Evaluates a range query.
pub(crate) fn ranged(store: &SeriesStore, query: &str, steps: (i64, i64, i64)) -> Result<usize, Failure> {
    let expr = parse(query, &ParseOptions::default()).map_err(|errors| format!("{errors:?}"))?;
    let answer = evaluate_range(&store.snapshot(), &expr, steps, &Options::default(), &|| false)?;
    Ok(size_of_val(&answer))
}

/// Prints the median of some rounds.
pub(crate) fn timed(place: &str, name: &str, ask: impl Fn() -> Result<usize, Failure>) -> Result<(), Failure> {
    let mut times = Vec::new();
    for _ in 0..ROUNDS {
        let began = thread_ns();
        std::hint::black_box(ask()?);
        times.push(thread_ns() - began);
    }
    let first = times.first().copied().unwrap_or(0);
    times.sort_unstable();
    let median = times.get(times.len() / 2).copied().unwrap_or(0);
    println!("  {place}: {name:<24} {:>8.2} ms, the first time {:>8.2}", median as f64 / 1e6, first as f64 / 1e6);
    Ok(())
}
