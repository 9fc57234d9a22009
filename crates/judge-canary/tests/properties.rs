//! Promises of the judge as a whole, held against random traffic.
#![cfg(test)] // Tells the lints that helpers may panic as well.

use homeostat_judge_canary::CanaryJudge;
use homeostat_model::{
    OutcomeClass, OutcomeCounts, Span, Timestamp, VersionName,
    evidence::Evidence,
    objective::Sli,
    outcome::{THRESHOLDS_MAX, TICK},
    rollout::CanaryTest,
    verdict::{CanaryVerdict, Missing},
};
use proptest::prelude::*;

const THRESHOLD: Span = Span::from_ms(100);

fn settings(tolerance: f64) -> CanaryTest {
    CanaryTest {
        alpha: 0.001,
        beta: 0.05,
        tolerance,
        min_events: 5,
        grace: Span::ZERO,
        slis: vec![Sli::Availability, Sli::Latency { threshold: THRESHOLD }],
    }
}

fn start() -> Timestamp {
    Timestamp::from_unix_ms(1_000)
}

fn judge(test: &CanaryTest) -> CanaryJudge {
    let name = |text| VersionName::new(text).expect("a valid name");
    CanaryJudge::new(test, name("v2"), name("v1"), start())
}

fn counts(good: u64, bad: u64, slow: u64) -> OutcomeCounts {
    let mut counts = OutcomeCounts::of(OutcomeClass::Ok, good);
    counts += OutcomeCounts::of(OutcomeClass::ServerError, bad);
    counts.slow = [slow.min(good); THRESHOLDS_MAX];
    counts
}

/// One tick: canary and baseline.
type Tick = (OutcomeCounts, OutcomeCounts);

fn some_counts(most: u64) -> impl Strategy<Value = OutcomeCounts> {
    (0..most, prop_oneof![8 => Just(0), 2 => 0..3_u64], 0..2_u64).prop_map(|(good, bad, slow)| counts(good, bad, slow))
}

fn some_ticks() -> impl Strategy<Value = Vec<Tick>> {
    prop::collection::vec((some_counts(4), some_counts(30)), 1..200)
}

/// Feeds ticks that follow each other and returns the time of the last.
fn feed(judge: &mut CanaryJudge, from: Timestamp, ticks: &[Tick]) -> Timestamp {
    let mut now = from;
    for (canary, baseline) in ticks {
        now = now + TICK;
        judge.record(now, canary, baseline, &[THRESHOLD]);
    }
    now
}

/// `(worse, not worse)` of the first SLI.
fn ln_e(judge: &CanaryJudge) -> (f64, f64) {
    let Evidence::Canary { slis, .. } = judge.evidence() else { panic!("another kind of evidence") };
    (slis[0].ln_e_worse, slis[0].ln_e_not_worse)
}

proptest! {
    /// Whatever was seen: written to JSON in the middle and read back, it is the same judge to the last bit.
    #[test]
    fn state_survives_a_restart_at_any_point(ticks in some_ticks(), at in any::<prop::sample::Index>(), tolerance in 0.0..0.1_f64) {
        let (before, after) = ticks.split_at(at.index(ticks.len()));
        let mut through = judge(&settings(tolerance));
        let now = feed(&mut through, start(), before);
        let written = serde_json::to_string(&through).expect("a judge can be written");
        let mut restarted: CanaryJudge = serde_json::from_str(&written).expect("and read back");
        prop_assert_eq!(&restarted, &through);
        let end = feed(&mut through, now, after);
        feed(&mut restarted, now, after);
        prop_assert_eq!(restarted.verdict(end), through.verdict(end));
        prop_assert_eq!(serde_json::to_string(&restarted).ok(), serde_json::to_string(&through).ok());
    }

    /// One more failure of the canary in the newest tick speaks for "worse" and against "not worse"; one more of the
    /// baseline the other way round.
    #[test]
    fn failures_speak_against_whoever_fails(ticks in some_ticks(), tolerance in prop_oneof![Just(0.0), 0.0..0.1_f64]) {
        let mut before = judge(&settings(tolerance));
        let now = feed(&mut before, start(), &ticks);
        let then = |canary_bad, baseline_bad| {
            let mut judge = before.clone();
            feed(&mut judge, now, &[(counts(2 - canary_bad, canary_bad, 0), counts(20 - baseline_bad, baseline_bad, 0))]);
            ln_e(&judge)
        };
        let (same, canary_fails, baseline_fails) = (then(0, 0), then(1, 0), then(0, 1));
        prop_assert!(canary_fails.0 >= same.0 && canary_fails.1 <= same.1, "{same:?} {canary_fails:?}");
        prop_assert!(baseline_fails.0 <= same.0 && baseline_fails.1 >= same.1, "{same:?} {baseline_fails:?}");
    }

    /// Ticks without the canary's failures never raise the evidence for "worse".
    #[test]
    fn good_behaviour_is_never_held_against_the_canary(ticks in some_ticks(), good in 0..50_u64, baseline in some_counts(30)) {
        let mut judge = judge(&settings(0.0));
        let now = feed(&mut judge, start(), &ticks);
        // What waits for the other side counts with the next tick: empty the waiting first.
        let now = feed(&mut judge, now, &[(counts(1, 0, 0), counts(1, 0, 0))]);
        let before = ln_e(&judge).0;
        feed(&mut judge, now, &[(counts(good, 0, 0), baseline)]);
        prop_assert!(ln_e(&judge).0 <= before + 1e-9);
    }
}

/// `seconds` of 100 canary and 1,900 baseline requests a second; every n-th of them fails (0: none).
fn traffic(seconds: u64, canary_every: u64, baseline_every: u64) -> Vec<Tick> {
    let fails = |number: u64, every: u64| u64::from(every > 0 && number.is_multiple_of(every));
    (1..=seconds * 100)
        .map(|tick| {
            let canary_bad = fails(tick, canary_every);
            let baseline_bad = (tick * 19 - 18..=tick * 19).map(|number| fails(number, baseline_every)).sum();
            (counts(1 - canary_bad, canary_bad, 0), counts(19 - baseline_bad, baseline_bad, 0))
        })
        .collect()
}

/// Milliseconds until the verdict "worse" while `ticks` are fed, if it falls.
fn worse_after_ms(judge: &mut CanaryJudge, from: Timestamp, ticks: &[Tick]) -> Option<u64> {
    let mut now = from;
    for tick in ticks {
        now = feed(judge, now, &[*tick]);
        if matches!(judge.verdict(now), CanaryVerdict::Worse { .. }) {
            return Some(now.since(from).ms());
        }
    }
    None
}

#[test]
fn every_third_request_failing_is_found_within_a_dozen_of_them() {
    let mut judge = judge(&settings(0.0));
    let found = worse_after_ms(&mut judge, start(), &traffic(10, 3, 1_000)).expect("a verdict");
    assert!(found <= 150, "{found} ms");
}

#[test]
fn a_fault_after_an_hour_of_good_behaviour_is_found_almost_as_fast() {
    let mut judge = judge(&settings(0.0));
    let now = feed(&mut judge, start(), &traffic(3_600, 1_000, 1_000));
    assert!(!matches!(judge.verdict(now), CanaryVerdict::Worse { .. }));
    let found = worse_after_ms(&mut judge, now, &traffic(10, 3, 1_000)).expect("a verdict");
    assert!(found <= 500, "{found} ms");
}

#[test]
fn a_fault_that_hits_both_is_no_canarys_fault() {
    let mut judge = judge(&settings(0.0));
    let mut now = feed(&mut judge, start(), &traffic(60, 1_000, 1_000));
    for every in [3, 2, 1, 50] {
        let found = worse_after_ms(&mut judge, now, &traffic(60, every, every));
        assert_eq!(found, None, "every {every}th");
        now = now + Span::from_secs(60);
    }
}

#[test]
fn a_canary_like_its_baseline_passes_the_gate_and_loses_it_again_when_it_turns_bad() {
    let mut judge = judge(&settings(0.01));
    let quiet = traffic(60, 1_000, 1_000);
    let now = feed(&mut judge, start(), &quiet);
    assert!(matches!(judge.verdict(now), CanaryVerdict::NotWorse { .. }), "{:?}", judge.verdict(now));
    let now = feed(&mut judge, now, &traffic(1, 5, 1_000));
    assert!(!matches!(judge.verdict(now), CanaryVerdict::NotWorse { .. }), "{:?}", judge.verdict(now));
}

#[test]
fn slow_answers_are_found_by_the_latency_sli_alone() {
    let mut judge = judge(&settings(0.0));
    let ticks: Vec<Tick> = (0..100).map(|_| (counts(1, 0, 1), counts(19, 0, 0))).collect();
    assert!(worse_after_ms(&mut judge, start(), &ticks).expect("a verdict") <= 100);
}

#[test]
fn without_enough_evidence_it_says_what_is_missing() {
    let mut test = settings(0.0);
    test.grace = Span::from_ms(20);
    let mut judge = judge(&test);
    let missing = |judge: &CanaryJudge, now| match judge.verdict(now) {
        CanaryVerdict::NotEnoughEvidence { missing } => missing,
        other => panic!("{other:?}"),
    };
    let all_bad = [(counts(0, 4, 0), counts(19, 0, 0))];
    let now = feed(&mut judge, start(), &all_bad);
    assert_eq!(missing(&judge, now), Missing::Grace { left: Span::from_ms(10) });
    let now = feed(&mut judge, now, &all_bad);
    assert_eq!(
        missing(&judge, now),
        Missing::CanaryEvents { have: 4, need: 5 },
        "the grace time's outcomes do not count"
    );

    let alone = [(counts(10, 0, 0), counts(0, 0, 0))];
    let mut fresh = self::judge(&settings(0.0));
    let now = feed(&mut fresh, start(), &alone);
    assert_eq!(missing(&fresh, now), Missing::BaselineEvents);
    let now = feed(&mut fresh, now, &[(counts(0, 0, 0), counts(1, 0, 0))]);
    assert_eq!(missing(&fresh, now), Missing::Certainty);
}

#[test]
fn an_unmeasured_latency_is_never_called_not_worse() {
    let mut judge = judge(&settings(0.01));
    let mut now = start();
    for (canary, baseline) in traffic(120, 0, 0) {
        now = now + TICK;
        judge.record(now, &canary, &baseline, &[Span::from_ms(250)]);
    }
    assert_eq!(judge.verdict(now), CanaryVerdict::NotEnoughEvidence { missing: Missing::Certainty });
}
