//! The canary judge under any counts and times: it never panics, its numbers stay finite, and written to JSON and read
//! back it is the same judge.
#![no_main]

use homeostat_judge_canary::CanaryJudge;
use homeostat_model::{
    OutcomeCounts, Span, Timestamp, VersionName,
    evidence::Evidence,
    objective::Sli,
    outcome::{OutcomeClass, THRESHOLDS_MAX},
    rollout::CanaryTest,
};
use libfuzzer_sys::fuzz_target;

const THRESHOLD: Span = Span::from_ms(100);

fuzz_target!(|bytes: &[u8]| {
    let mut bytes = bytes.iter().copied();
    let mut next = || bytes.next();
    let Some(tolerance) = next() else { return };
    let test = CanaryTest {
        alpha: 0.001,
        beta: 0.05,
        tolerance: f64::from(tolerance) / 256.0,
        min_events: 5,
        grace: Span::ZERO,
        slis: vec![Sli::Availability, Sli::Latency { threshold: THRESHOLD }],
    };
    let name = |text: &str| VersionName::new(text).expect("a valid name");
    let mut now = Timestamp::from_unix_ms(0);
    let mut judge = CanaryJudge::new(&test, name("v2"), name("v1"), now);
    while let (Some(step), Some(canary), Some(baseline)) = (next(), counts(&mut next), counts(&mut next)) {
        now = now + Span::from_ms(u64::from(step) * u64::from(step));
        judge.record(now, &canary, &baseline, &[THRESHOLD]);
    }
    let Evidence::Canary { ln_e, slis, .. } = judge.evidence() else { panic!("another kind of evidence") };
    assert!(ln_e.is_finite() && slis.iter().all(|sli| sli.ln_e_worse.is_finite() && sli.ln_e_not_worse.is_finite()));
    let written = serde_json::to_string(&judge).expect("a judge can be written");
    assert_eq!(serde_json::from_str::<CanaryJudge>(&written).expect("and read back"), judge);
});

/// Counts from three bytes; a high bit makes a class huge.
fn counts(next: &mut impl FnMut() -> Option<u8>) -> Option<OutcomeCounts> {
    let (ok, bad, slow) = (next()?, next()?, next()?);
    let wide = |byte: u8| if byte < 0x80 { u64::from(byte) } else { 1 << (byte & 0x3f) };
    let mut counts = OutcomeCounts::of(OutcomeClass::Ok, wide(ok));
    counts += OutcomeCounts::of(OutcomeClass::ServerError, wide(bad));
    counts.slow = [wide(slow); THRESHOLDS_MAX];
    Some(counts)
}
