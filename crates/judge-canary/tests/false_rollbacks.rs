//! The promise that matters most, measured: a canary that is no worse is rolled back with probability at most alpha,
//! over a whole rollout in which the judge is asked after every tick.
//!
//! A generous alpha makes a broken bound visible within few runs; the seed is fixed, so the result is too.
#![cfg(test)]

use homeostat_judge_canary::simulate::{Run, Scenario, Simulator, Summary};
use homeostat_model::Span;

const RUNS: u64 = 1_000;

fn check(baseline_error: f64, requests_per_s: f64, canary_share: f64, tolerance: f64) {
    let scenario = Scenario {
        baseline_error,
        canary_error: (baseline_error + tolerance).min(1.0),
        requests_per_s,
        canary_share,
        duration: Span::from_secs(10),
        alpha: 0.2,
        tolerance,
        events_min: 1,
    };
    let simulator = Simulator::new(scenario.clone()).expect("a sound scenario");
    let runs: Vec<Run> = (0..RUNS).map(|run| simulator.run(1, run)).collect();
    let summary = Summary::of(&runs).expect("there are runs");
    assert!(summary.detected_interval.low <= scenario.alpha, "{} of {RUNS} in {scenario:?}", summary.detected);
    // A bound that is kept by never deciding would be worth nothing.
    let worse = Scenario { canary_error: (scenario.canary_error * 10.0).clamp(0.3, 1.0), ..scenario };
    let simulator = Simulator::new(worse.clone()).expect("a sound scenario");
    let found = (0..20).filter(|run| simulator.run(2, *run).detected_after.is_some()).count();
    assert_eq!(found, 20, "in {worse:?}");
}

#[test]
fn at_a_good_baseline() {
    check(0.001, 2_000.0, 0.05, 0.0);
}

#[test]
fn at_a_bad_baseline() {
    check(0.05, 2_000.0, 0.05, 0.0);
}

#[test]
fn at_equal_shares_and_with_the_canary_in_the_majority() {
    check(0.01, 2_000.0, 0.5, 0.0);
    check(0.01, 2_000.0, 0.9, 0.0);
}

#[test]
fn with_little_traffic_where_blocks_span_many_ticks() {
    check(0.02, 200.0, 0.05, 0.0);
}

#[test]
fn just_within_the_tolerance() {
    check(0.001, 2_000.0, 0.05, 0.01);
}
