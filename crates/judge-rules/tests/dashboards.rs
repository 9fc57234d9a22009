//! What is recorded of an objective answers what Sloth's dashboards ask.
//!
//! Source: the names, labels, joins and functions in the queries of Sloth's two dashboards ("High level Sloth SLOs" and
//! "SLO / Detail", grafana.com 14643 and 14348), with the dashboard's variables filled in.

#![expect(clippy::unwrap_used, clippy::panic, reason = "a test may stop")]

mod common;

use std::{collections::BTreeMap, sync::Arc};

use common::Store;
use homeostat_judge_rules::{
    Environment, GroupState, Surroundings,
    objectives::{Indicator, ObjectiveAlerts, QueryObjective, Severity, compile},
};
use homeostat_model::{Labels, SampleValue, TimeMs};
use homeostat_promql::{
    ParseOptions,
    eval::{Options, Value, evaluate_instant},
    parse,
};

const MINUTE_MS: i64 = 60_000;
/// 1970-01-03T00:00:00Z: two days after the first event, within January.
const NOW_MS: TimeMs = 2 * 24 * 60 * MINUTE_MS;
/// How often rules are evaluated.
const EVERY_MS: i64 = 5 * MINUTE_MS;

fn objective() -> QueryObjective {
    QueryObjective {
        service: "shop".to_owned(),
        name: "requests".to_owned(),
        target_percent: 99.0,
        period_days: 30,
        indicator: Indicator::Events {
            errors: "sum(rate(errors_total[{{.window}}]))".to_owned(),
            total: "sum(rate(requests_total[{{.window}}]))".to_owned(),
        },
        labels: vec![("team".to_owned(), "buying".to_owned())],
        alerts: ObjectiveAlerts {
            page: Some(Severity::default()),
            ticket: Some(Severity::default()),
            ..ObjectiveAlerts::default()
        },
    }
}

/// Two days of ten requests a second of which one in five hundred fails, and in the last ten hours every fourth.
fn two_days() -> Store {
    let mut store = Store::default();
    let (requests, errors) =
        (Labels::new([("__name__", "requests_total")]), Labels::new([("__name__", "errors_total")]));
    let trouble_ms = NOW_MS - 600 * MINUTE_MS;
    let mut failed = 0.0;
    for minute in 0..=NOW_MS / MINUTE_MS {
        let t_ms = minute * MINUTE_MS;
        store.add(&requests, t_ms, minute as f64 * 600.0);
        store.add(&errors, t_ms, failed);
        failed += if t_ms < trouble_ms { 1.2 } else { 150.0 };
    }
    let environment = Environment {
        options: Options::default(),
        language: ParseOptions::all(),
        external_labels: Labels::empty(),
        external_url: String::new(),
    };
    let groups = compile(&objective(), "slo.yml", EVERY_MS, ParseOptions::all()).unwrap();
    let mut states: Vec<_> = groups.into_iter().map(|group| GroupState::new(Arc::new(group))).collect();
    for t_ms in (EVERY_MS..=NOW_MS).step_by(EVERY_MS as usize) {
        for state in &mut states {
            for rule in 0..state.group().rules.len() {
                let around = Surroundings { source: &store, environment: &environment, is_cancelled: &|| false };
                let samples = state.evaluate(rule, t_ms, around).unwrap();
                for (labels, t_ms, value) in samples {
                    let SampleValue::Float(value) = value else { panic!("no histograms") };
                    store.add(&labels, t_ms, value);
                }
            }
        }
    }
    store
}

/// The value of the only series of an answer.
fn value(store: &Store, query: &str) -> f64 {
    let query = query.replace("SLO", "sloth_service=\"shop\",sloth_slo=\"requests\"");
    let expr = parse(&query, &ParseOptions::default()).unwrap_or_else(|errors| panic!("{query}: {errors:?}"));
    let answer = evaluate_instant(store, &expr, NOW_MS, &Options::default(), &|| false).unwrap();
    match answer.value {
        Value::Vector(elements) => match elements.as_slice() {
            [element] => match element.value {
                SampleValue::Float(value) => value,
                SampleValue::Histogram(_) => panic!("{query}: a histogram"),
            },
            others => panic!("{query}: {} series", others.len()),
        },
        other => panic!("{query}: {other:?}"),
    }
}

#[test]
fn panels_of_the_detail_dashboard_show_what_happened() {
    let store = two_days();
    let near = |query: &str, expected: f64| {
        let found = value(&store, query);
        assert!((found - expected).abs() < 0.02 * expected.abs().max(0.01), "{query}: {found} instead of {expected}");
    };
    near("1 - (max(slo:sli_error:ratio_rate5m{SLO}) OR on() vector(0))", 0.75);
    near("slo:objective:ratio{SLO}", 0.99);
    near("1 - slo:objective:ratio{SLO}", 0.01);
    near("slo:current_burn_rate:ratio{SLO}", 25.0);
    near("slo:error_budget:ratio{SLO}", 0.01);
    near("slo:time_period:days{SLO}", 30.0);
    // All errors of the recorded time, by its own average: 38 hours at 0.2 % and 10 at 25 %.
    let burnt = (38.0 * 0.002 + 10.0 * 0.25) / 48.0 / 0.01;
    near("slo:period_burn_rate:ratio{SLO}", burnt);
    near("sum(slo:period_error_budget_remaining:ratio{SLO}) or on() vector(1)", 1.0 - burnt);
    // Of this month, hour by hour, as a share of the whole month's budget: 38 hours and 10.
    let month = |window: &str| {
        format!(
            "1-(sum_over_time((slo:sli_error:ratio_rate1h{{SLO}} * on() group_left() (month() == bool vector(1)))\
             [{window}]) / on(sloth_id) (slo:error_budget:ratio{{SLO}} * on() group_left() (24 * days_in_month())))"
        )
    };
    near(&month("32d:1h"), 1.0 - (38.0 * 0.002 + 10.0 * 0.25) / (0.01 * 24.0 * 31.0));
    near("sum(ALERTS{SLO, sloth_severity=\"page\", alertstate=\"firing\"}) or vector(0)", 1.0);
    near("sum(ALERTS{SLO, sloth_severity=\"ticket\", alertstate=\"firing\"}) or vector(0)", 1.0);
    near("sloth_slo_info{SLO}", 1.0);
}

#[test]
fn the_overview_counts_and_sorts_objectives() {
    let store = two_days();
    let one = |query: &str| assert!((value(&store, query) - 1.0).abs() < 1e-9, "{query}");
    one("count(sloth_slo_info)");
    one("count(count(sloth_slo_info) by (sloth_service))");
    one("count(slo:current_burn_rate:ratio > 1)");
    one("count(slo:period_error_budget_remaining:ratio < 0) or vector(0)");
    one("count(topk(10, slo:current_burn_rate:ratio))");
    one("count(bottomk(10, slo:period_error_budget_remaining:ratio))");
    one("count(ALERTS{alertstate=\"firing\", sloth_severity=\"page\"})");
}

#[test]
fn variables_of_the_dashboards_find_their_values() {
    let store = two_days();
    let with_name = |name: &str| store.0.keys().filter(|labels| labels.metric() == Some(name)).collect::<Vec<_>>();
    let info = with_name("sloth_slo_info");
    let [info] = info.as_slice() else { panic!("{} series", info.len()) };
    let shown: BTreeMap<_, _> = info.iter().collect();
    for (name, value) in [
        ("sloth_service", "shop"),
        ("sloth_slo", "requests"),
        ("sloth_id", "shop-requests"),
        ("sloth_objective", "99"),
        ("team", "buying"),
    ] {
        assert_eq!(shown.get(name), Some(&value), "{name}");
    }
    let windows = store.0.keys().filter(|labels| labels.metric().is_some_and(|name| name.contains("sli_error")));
    let windows: Vec<_> = windows.map(|labels| labels.value("sloth_window")).collect();
    assert_eq!(windows.len(), 8, "{windows:?}");
}
