//! 100,000 objectives with the four default rules, advanced and judged once per tick of 100 ms, on one core.
//!
//! `cargo bench -p homeostat-judge-slo` prints the CPU time of a tick when none, 1 %, 10 % and all of them get events in
//! it, and the memory that they then take. The budget is the tick itself: 1 us an objective. CPU time comes from the
//! scheduler's own count, so that a busy machine does not spoil it; where there is none, it is wall time.

use std::{fs, time::Instant};

use homeostat_judge_slo::ObjectiveJudge;
use homeostat_model::{
    Objective, ObjectiveName, ServiceName, Span, Timestamp,
    evidence::EventCounts,
    objective::{BurnRule, OnPage, Sli, Target},
};

type Failure = Box<dyn std::error::Error>;

const OBJECTIVES: usize = 100_000;
const TICK: Span = Span::from_ms(100);
const TICKS: u64 = 100;

fn main() -> Result<(), Failure> {
    let objective = objective()?;
    for percent in [0, 1, 10, 100] {
        let mut judges: Vec<ObjectiveJudge> =
            (0..OBJECTIVES).map(|_| ObjectiveJudge::new(&objective, Timestamp::from_unix_ms(0))).collect();
        let mut times_ms: Vec<f64> = (1..=TICKS).map(|tick| step(&mut judges, tick, percent)).collect();
        times_ms.sort_by(f64::total_cmp);
        let at = |share: usize| times_ms.get((times_ms.len() - 1) * share / 100).copied().unwrap_or_default();
        let mib = judges.iter().map(ObjectiveJudge::memory_bytes).sum::<usize>() as f64 / f64::from(1 << 20);
        #[expect(clippy::print_stdout, reason = "a benchmark speaks to a terminal")]
        {
            println!(
                "{percent:>3} % with events: min {:>6.1} ms   median {:>6.1} ms   p99 {:>6.1} ms a tick, {mib:>7.1} MiB after {TICKS} ticks",
                at(0),
                at(50),
                at(99)
            );
        }
    }
    Ok(())
}

/// Nanoseconds that this thread has been on a CPU.
fn cpu_ns() -> Option<u64> {
    fs::read_to_string("/proc/thread-self/schedstat").ok()?.split_whitespace().next()?.parse().ok()
}

/// One tick: those whose turn it is get events, all are judged. Returns milliseconds.
fn step(judges: &mut [ObjectiveJudge], tick: u64, percent: u64) -> f64 {
    let now = Timestamp::from_unix_ms(0) + Span::from_ns(TICK.ns() * tick);
    let (begin, cpu_begin) = (Instant::now(), cpu_ns());
    let mut changes = 0;
    for (index, judge) in judges.iter_mut().enumerate() {
        if (index as u64 * 37 + tick * 61) % 100 < percent {
            judge.record(now, EventCounts { good: 20, bad: u64::from(index % 7 == 0) });
        }
        changes += judge.evaluate(now).len();
    }
    std::hint::black_box(changes);
    let cpu = cpu_ns().zip(cpu_begin).map(|(end, begin)| end.saturating_sub(begin) as f64 / 1e6);
    cpu.unwrap_or_else(|| begin.elapsed().as_secs_f64() * 1e3)
}

fn objective() -> Result<Objective, Failure> {
    Ok(Objective {
        name: ObjectiveName::new("checkout")?,
        display_name: "checkout".to_owned(),
        service: ServiceName::new("shop")?,
        routes: Vec::new(),
        version: None,
        sli: Sli::Availability,
        target: Target::new(0.999)?,
        period: Span::from_days(30),
        fast_window: Span::from_secs(10),
        min_events: 100,
        burn_rules: BurnRule::DEFAULTS.to_vec(),
        on_page: OnPage::Notify,
        receivers: Vec::new(),
        indicator: None,
    })
}
