//! Nanoseconds per tick: ten objectives with four burn rules each, one rollout in progress, two changed cells a tick.
//! `cargo bench -p homeostat-control --bench tick`
#![expect(
    clippy::unwrap_used,
    clippy::print_stdout,
    clippy::indexing_slicing,
    reason = "a benchmark stops at the first surprise and prints"
)]

use std::time::Instant;

use homeostat_control::{Control, ControlSpec, ControlledService, Event};
use homeostat_model::{
    ActionId, ActionMode, Actor, CellId, CellKey, Objective, OutcomeClass, OutcomeCounts, OutcomeDelta, Span,
    Timestamp, Weight,
    objective::{BurnRule, OnPage, Sli, Target},
    outcome::TICK,
    rollout::{CanaryTest, Gate, Rollout, Start, Step, Verb},
};

const ROUNDS: usize = 5;
const TICKS: u32 = 100_000;

fn spec() -> ControlSpec {
    let key = |version: &str| CellKey {
        route: "all".parse().unwrap(),
        service: "shop".parse().unwrap(),
        version: version.parse().unwrap(),
    };
    let objective = |n: u32| Objective {
        name: format!("objective-{n}").parse().unwrap(),
        display_name: String::new(),
        service: "shop".parse().unwrap(),
        routes: Vec::new(),
        version: None,
        sli: Sli::Availability,
        target: Target::new(0.999).unwrap(),
        period: Span::from_days(30),
        fast_window: Span::from_secs(1),
        min_events: 100,
        burn_rules: BurnRule::DEFAULTS.to_vec(),
        on_page: OnPage::Notify,
        receivers: Vec::new(),
        indicator: None,
    };
    let rollout = Rollout {
        name: "r".parse().unwrap(),
        service: "shop".parse().unwrap(),
        baseline: "v1".parse().unwrap(),
        canary: "v2".parse().unwrap(),
        steps: vec![Step { weight: Weight::from_percent(5.0).unwrap(), gate: Gate::Manual }],
        test: CanaryTest {
            alpha: 0.001,
            beta: 0.05,
            tolerance: 0.01,
            min_events: 50,
            grace: Span::ZERO,
            slis: vec![Sli::Availability],
        },
        mode: ActionMode::Auto,
        start: Start::Manual,
        progress_deadline: Span::from_days(1),
        verify_window: Span::from_secs(30),
        freeze: Span::from_days(1),
        receivers: Vec::new(),
    };
    ControlSpec {
        services: vec![ControlledService {
            name: "shop".parse().unwrap(),
            versions: vec!["v1".parse().unwrap(), "v2".parse().unwrap()],
            routes: vec!["all".parse().unwrap()],
            split: vec![("v1".parse().unwrap(), Weight::FULL), ("v2".parse().unwrap(), Weight::ZERO)],
            thresholds: Vec::new(),
        }],
        cells: vec![(CellId(0), key("v1")), (CellId(1), key("v2"))],
        objectives: (0..10).map(objective).collect(),
        rollouts: vec![rollout],
        ..ControlSpec::default()
    }
}

fn main() {
    let mut ns_per_tick: Vec<f64> = (0..ROUNDS)
        .map(|_| {
            let mut now = Timestamp::from_unix_ms(2_000_000_000_000);
            let mut control = Control::new(now);
            control.step(now, Event::Configured(Box::new(spec())));
            let by = Actor::new("bench");
            let start = Event::Rollout { rollout: "r".parse().unwrap(), verb: Verb::Start, by, reason: String::new() };
            control.step(now, start);
            control.step(now, Event::Applied { action: ActionId(1), ahead_of_disk: false });
            let delta = |cell, ok| OutcomeDelta { cell: CellId(cell), counts: OutcomeCounts::of(OutcomeClass::Ok, ok) };
            let mut commands = 0;
            let began = Instant::now();
            for _ in 0..TICKS {
                now = now + TICK;
                commands += control.step(now, Event::Tick { deltas: vec![delta(0, 19), delta(1, 1)] }).len();
                std::hint::black_box(control.next_deadline());
            }
            assert_eq!(commands, 0);
            began.elapsed().as_nanos() as f64 / f64::from(TICKS)
        })
        .collect();
    ns_per_tick.sort_by(f64::total_cmp);
    println!(
        "control tick, 10 objectives, 1 rollout, 2 cells: median {:.0} ns, min {:.0}, max {:.0} ({ROUNDS} rounds of {TICKS})",
        ns_per_tick[ROUNDS / 2],
        ns_per_tick[0],
        ns_per_tick[ROUNDS - 1]
    );
}
