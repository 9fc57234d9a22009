//! Cost of one tick of the judge: one or two SLIs, quiet and busy ticks, with and without tolerance.
#![expect(clippy::print_stdout, reason = "a benchmark speaks to a terminal")]

use std::{hint::black_box, time::Instant};

use homeostat_judge_canary::CanaryJudge;
use homeostat_model::{
    OutcomeClass, OutcomeCounts, Span, Timestamp, VersionName, name::NameError, objective::Sli, outcome::TICK,
    rollout::CanaryTest,
};

const TICKS: u32 = 1_000_000;
const THRESHOLD: Span = Span::from_ms(100);

fn main() -> Result<(), NameError> {
    println!("{:<44} {:>12}", "case", "ns per tick");
    for (slis, tolerance) in [(1, 0.0), (1, 0.01), (2, 0.0), (2, 0.01)] {
        for (what, baseline_bad) in [("quiet", 0), ("with errors", 1)] {
            let rounds: Result<Vec<f64>, NameError> = (0..5).map(|_| round(slis, tolerance, baseline_bad)).collect();
            let mut rounds = rounds?;
            rounds.sort_by(f64::total_cmp);
            let name = format!("{slis} SLI(s), tolerance {tolerance}, {what}");
            println!(
                "{name:<44} {:>12.0}   (of 5 rounds, sorted: {rounds:.0?})",
                rounds.get(2).copied().unwrap_or(f64::NAN)
            );
        }
    }
    Ok(())
}

fn round(slis: usize, tolerance: f64, baseline_bad: u64) -> Result<f64, NameError> {
    let test = CanaryTest {
        alpha: 0.001,
        beta: 0.05,
        tolerance,
        min_events: 5,
        grace: Span::ZERO,
        slis: [Sli::Availability, Sli::Latency { threshold: THRESHOLD }].into_iter().take(slis).collect(),
    };
    let mut now = Timestamp::default();
    let mut judge = CanaryJudge::new(&test, VersionName::new("v2")?, VersionName::new("v1")?, now);
    let canary = OutcomeCounts::of(OutcomeClass::Ok, 1);
    let mut baseline = OutcomeCounts::of(OutcomeClass::Ok, 19);
    baseline += OutcomeCounts::of(OutcomeClass::ServerError, baseline_bad);
    let begun = Instant::now();
    for _ in 0..TICKS {
        now = now + TICK;
        judge.record(now, black_box(&canary), black_box(&baseline), &[THRESHOLD]);
        black_box(judge.verdict(now));
    }
    Ok(begun.elapsed().as_secs_f64() * 1e9 / f64::from(TICKS))
}
