//! One line per question to the guard, one line per answer.
#![expect(clippy::needless_raw_string_hashes, reason = "expect-test writes its literals this way")]

use std::fmt::Write as _;

use expect_test::{Expect, expect};
use homeostat_model::{
    ActionId, RolloutName, ServiceName, VersionName, Weight,
    action::Split,
    evidence::{EventCounts, Evidence},
    objective::BurnRule,
};
use proptest::prelude::*;

use super::*;

fn split(canary_percent: f64) -> Split {
    let canary = Weight::from_percent(canary_percent).unwrap();
    vec![(VersionName::new("v1").unwrap(), canary.complement()), (VersionName::new("v2").unwrap(), canary)]
}

fn canary(ln_e: f64) -> Evidence {
    Evidence::Canary {
        canary: VersionName::new("v2").unwrap(),
        baseline: VersionName::new("v1").unwrap(),
        since: Timestamp::from_unix_ms(0),
        ln_e,
        ln_e_needed: 6.9,
        alpha: 0.001,
        tolerance: 0.01,
        slis: vec![],
    }
}

fn burn(long_rate: f64, short_rate: f64) -> Evidence {
    Evidence::Burn {
        objective: "fast".parse().unwrap(),
        rule: BurnRule::DEFAULTS[0],
        long_rate,
        short_rate,
        long: EventCounts { good: 1, bad: 9 },
        coverage: 1.0,
    }
}

fn recovery(bad: u64) -> Evidence {
    Evidence::Recovery {
        since: Timestamp::from_unix_ms(0),
        watched: Span::from_secs(9),
        after: EventCounts { good: 100 - bad, bad },
        bad_share_max: 0.05,
    }
}

fn plan(service: &str, purpose: Purpose, from: f64, to: f64, evidence: Evidence) -> Plan {
    let rollout: RolloutName = "r".parse().unwrap();
    Plan {
        id: ActionId(1),
        purpose,
        service: ServiceName::new(service).unwrap(),
        rollout: Some(rollout.clone()),
        from: split(from),
        to: split(to),
        initiator: Initiator::Rollout { rollout },
        evidence,
        ttl: Span::from_hours(1),
    }
}

fn by_person(mut plan: Plan) -> Plan {
    plan.initiator = Initiator::Person { actor: Actor::new("ann") };
    plan.evidence = Evidence::Person { reason: "because".to_owned() };
    plan
}

struct Bench {
    guard: Guard,
    said: String,
}

impl Bench {
    fn new(limits: GuardLimits) -> Self {
        Self { guard: Guard::new(limits), said: String::new() }
    }

    fn ask(&mut self, at_secs: i64, label: &str, plan: Plan, mode: ActionMode) {
        let now = Timestamp::from_unix_ms(at_secs * 1000);
        let answer = match self.guard.admit(now, plan, mode, 2) {
            Ok(permit) => format!("admitted: {}", permit.because()),
            Err(refused) => format!("refused: {}", refused.refusal),
        };
        writeln!(self.said, "{at_secs}s {label}: {answer}").unwrap();
    }

    fn done(self, expected: &Expect) {
        expected.assert_eq(&self.said);
    }
}

#[test]
fn evidence_must_carry_the_purpose() {
    use Purpose::{Abort, Advance, Promote, Rollback, Undo};
    let mut bench = Bench::new(GuardLimits { cooldown: Span::ZERO, ..GuardLimits::default() });
    let mut ask = |label: &str, purpose, evidence| {
        bench.ask(0, label, plan("shop", purpose, 5.0, 5.0, evidence), ActionMode::Auto);
    };
    ask("rollback, proof", Rollback, canary(7.0));
    ask("rollback, half a proof", Rollback, canary(6.8));
    ask("rollback, no number", Rollback, canary(f64::NAN));
    ask("advance, nothing against it", Advance, canary(0.0));
    ask("advance, shown worse", Advance, canary(7.0));
    ask("promote, shown worse", Promote, canary(7.0));
    ask("abort, whatever", Abort, canary(0.0));
    ask("rollback, both windows burn", Rollback, burn(20.0, 15.0));
    ask("rollback, one window burns", Rollback, burn(20.0, 14.0));
    ask("advance, on a burn", Advance, burn(20.0, 15.0));
    ask("undo, not recovered", Undo, recovery(30));
    ask("undo, recovered", Undo, recovery(3));
    ask("undo, canary numbers", Undo, canary(7.0));
    ask("a person's reason without a person", Advance, Evidence::Person { reason: "trust me".to_owned() });
    bench.done(&expect![[r#"
        0s rollback, proof: admitted: ln e 7.00 reaches 6.90; protective; mode auto
        0s rollback, half a proof: refused: its evidence does not reach the threshold
        0s rollback, no number: refused: its evidence does not reach the threshold
        0s advance, nothing against it: admitted: not shown worse: ln e 0.00 is below 6.90; moves 0% on 2 routes; action 2 of 60 within the hour; mode auto
        0s advance, shown worse: refused: its evidence does not reach the threshold
        0s promote, shown worse: refused: its evidence does not reach the threshold
        0s abort, whatever: admitted: stopped with ln e at 0.00; protective; mode auto
        0s rollback, both windows burn: admitted: burn rates 20.0 and 15.0 reach 14.4 on both windows; protective; mode auto
        0s rollback, one window burns: refused: its evidence does not reach the threshold
        0s advance, on a burn: refused: its evidence does not reach the threshold
        0s undo, not recovered: admitted: bad share 0.3000 after the action is above 0.0500; moves 0% on 2 routes; action 5 of 60 within the hour; mode auto
        0s undo, recovered: refused: its evidence does not reach the threshold
        0s undo, canary numbers: refused: its evidence does not reach the threshold
        0s a person's reason without a person: refused: its evidence does not reach the threshold
    "#]]);
}

#[test]
fn modes_bind_automation_and_not_people() {
    let mut bench = Bench::new(GuardLimits { cooldown: Span::ZERO, ..GuardLimits::default() });
    let rollback = || plan("shop", Purpose::Rollback, 5.0, 0.0, canary(9.0));
    let advance = || plan("shop", Purpose::Advance, 0.0, 5.0, canary(0.0));
    for (label, mode) in
        [("observe", ActionMode::Observe), ("approve", ActionMode::Approve), ("auto", ActionMode::Auto)]
    {
        bench.ask(0, label, rollback(), mode);
        bench.ask(0, label, advance(), mode);
        bench.ask(0, &format!("{label}, person"), by_person(advance()), mode);
    }
    bench.guard.set_break_glass(true);
    bench.ask(1, "break-glass", rollback(), ActionMode::Auto);
    bench.ask(1, "break-glass, person", by_person(rollback()), ActionMode::Auto);
    let approved = bench.guard.admit_approved(Timestamp::from_unix_ms(1000), rollback(), &Actor::new("bob"), 2);
    writeln!(bench.said, "1s approved: {}", approved.unwrap().because()).unwrap();
    bench.done(&expect![[r#"
        0s observe: refused: the mode is `observe`: what would have been done is recorded, nothing is done
        0s observe: refused: the mode is `observe`: what would have been done is recorded, nothing is done
        0s observe, person: admitted: a person asked: because; moves 5% on 2 routes; action 1 of 60 within the hour
        0s approve: refused: the mode is `approve`: somebody has to approve it
        0s approve: refused: the mode is `approve`: somebody has to approve it
        0s approve, person: admitted: a person asked: because; moves 5% on 2 routes; action 2 of 60 within the hour
        0s auto: admitted: ln e 9.00 reaches 6.90; protective; mode auto
        0s auto: admitted: not shown worse: ln e 0.00 is below 6.90; moves 5% on 2 routes; action 4 of 60 within the hour; mode auto
        0s auto, person: admitted: a person asked: because; moves 5% on 2 routes; action 5 of 60 within the hour
        1s break-glass: refused: break-glass: a person has switched all automatic actions off
        1s break-glass, person: admitted: a person asked: because; protective
        1s approved: ln e 9.00 reaches 6.90; protective; approved by bob
    "#]]);
}

#[test]
fn limits_bind_exposure_and_not_protection() {
    let limits = GuardLimits {
        routes_max: 2,
        traffic_max: Weight::from_percent(20.0).unwrap(),
        actions_per_hour_max: 3,
        ..GuardLimits::default()
    };
    let mut bench = Bench::new(limits);
    let advance = |service| plan(service, Purpose::Advance, 0.0, 5.0, canary(0.0));
    let rollback = |service| plan(service, Purpose::Rollback, 50.0, 0.0, canary(9.0));
    bench.ask(0, "too much at once", plan("a", Purpose::Advance, 5.0, 50.0, canary(0.0)), ActionMode::Auto);
    bench.ask(
        0,
        "too much, by a person",
        by_person(plan("a", Purpose::Advance, 5.0, 50.0, canary(0.0))),
        ActionMode::Auto,
    );
    bench.ask(0, "first", advance("a"), ActionMode::Auto);
    bench.ask(10, "again, too soon", advance("a"), ActionMode::Auto);
    bench.ask(10, "again, by a person", by_person(advance("a")), ActionMode::Auto);
    bench.ask(10, "another service", advance("b"), ActionMode::Auto);
    bench.ask(100, "rate reached", advance("c"), ActionMode::Auto);
    bench.ask(
        100,
        "promotion by a person, rate reached",
        by_person(plan("c", Purpose::Promote, 5.0, 100.0, canary(0.0))),
        ActionMode::Auto,
    );
    bench.ask(100, "protection passes", rollback("a"), ActionMode::Auto);
    bench.ask(3599, "the hour slides", advance("c"), ActionMode::Auto);
    bench.ask(3600, "one left the hour, four were in it", advance("c"), ActionMode::Auto);
    bench.ask(3610, "two more left it", advance("c"), ActionMode::Auto);
    bench.guard.set_limits(GuardLimits { actions_per_hour_max: 60, cooldown: Span::ZERO, ..GuardLimits::default() });
    bench.ask(
        3611,
        "promotion moves all",
        by_person(plan("c", Purpose::Promote, 5.0, 100.0, canary(0.0))),
        ActionMode::Auto,
    );
    bench.guard.set_limits(GuardLimits { routes_max: 1, ..GuardLimits::default() });
    bench.ask(9999, "too many routes", advance("c"), ActionMode::Auto);
    bench.ask(9999, "too many routes, but protective", rollback("c"), ActionMode::Auto);
    bench.done(&expect![[r#"
        0s too much at once: refused: it moves 45% of the traffic, the limit is 20%
        0s too much, by a person: refused: it moves 45% of the traffic, the limit is 20%
        0s first: admitted: not shown worse: ln e 0.00 is below 6.90; moves 5% on 2 routes; action 1 of 3 within the hour; mode auto
        10s again, too soon: refused: the service cools down for another 20s after the last action
        10s again, by a person: admitted: a person asked: because; moves 5% on 2 routes; action 2 of 3 within the hour
        10s another service: admitted: not shown worse: ln e 0.00 is below 6.90; moves 5% on 2 routes; action 3 of 3 within the hour; mode auto
        100s rate reached: refused: 3 actions in the last hour, the limit is 3
        100s promotion by a person, rate reached: refused: 3 actions in the last hour, the limit is 3
        100s protection passes: admitted: ln e 9.00 reaches 6.90; protective; mode auto
        3599s the hour slides: refused: 4 actions in the last hour, the limit is 3
        3600s one left the hour, four were in it: refused: 3 actions in the last hour, the limit is 3
        3610s two more left it: admitted: not shown worse: ln e 0.00 is below 6.90; moves 5% on 2 routes; action 2 of 3 within the hour; mode auto
        3611s promotion moves all: admitted: a person asked: because; moves 95% on 2 routes; action 3 of 60 within the hour
        9999s too many routes: refused: it touches 2 routes, the limit is 1
        9999s too many routes, but protective: admitted: ln e 9.00 reaches 6.90; protective; mode auto
    "#]]);
}

#[test]
fn a_ttl_is_at_least_a_second_and_at_most_the_limit() {
    let mut bench = Bench::new(GuardLimits { ttl_max: Span::from_hours(2), ..GuardLimits::default() });
    for ttl in [Span::ZERO, Span::from_ms(999), Span::from_secs(1), Span::from_hours(2), Span::from_hours(3)] {
        let plan = Plan { ttl, ..plan("shop", Purpose::Rollback, 5.0, 0.0, canary(9.0)) };
        bench.ask(0, &ttl.to_string(), plan, ActionMode::Auto);
    }
    bench.done(&expect![[r#"
        0s 0ms: refused: its TTL of 0ms is not between 1 s and 2h
        0s 999ms: refused: its TTL of 999ms is not between 1 s and 2h
        0s 1s: admitted: ln e 9.00 reaches 6.90; protective; mode auto
        0s 2h: admitted: ln e 9.00 reaches 6.90; protective; mode auto
        0s 3h: refused: its TTL of 3h is not between 1 s and 2h
    "#]]);
}

/// The slow and obvious rate limiter.
fn naive_rate(admitted: &[i64], now: i64) -> usize {
    admitted.iter().filter(|at| now - **at < 3_600_000).count()
}

proptest! {
    #[test]
    fn the_sliding_hour_is_exact(gaps in prop::collection::vec((0_i64..900_000, any::<bool>()), 1..200), limit in 1_u32..12) {
        let mut guard = Guard::new(GuardLimits { actions_per_hour_max: limit, cooldown: Span::ZERO, ..GuardLimits::default() });
        let (mut now_ms, mut admitted) = (0, Vec::new());
        for (gap, protective) in gaps {
            now_ms += gap;
            let plan = if protective {
                plan("shop", Purpose::Rollback, 5.0, 0.0, canary(9.0))
            } else {
                plan("shop", Purpose::Advance, 0.0, 5.0, canary(0.0))
            };
            // A restart at any point changes nothing.
            guard = serde_json::from_str(&serde_json::to_string(&guard).unwrap()).unwrap();
            let room = naive_rate(&admitted, now_ms) < limit as usize;
            let now = Timestamp::from_unix_ms(now_ms);
            match guard.admit(now, plan, ActionMode::Auto, 1) {
                Ok(_) => { prop_assert!(protective || room); admitted.push(now_ms); }
                Err(refused) => {
                    prop_assert!(!protective && !room);
                    // The promised instant is the first at which it passes.
                    let at = guard.retry_at(now, &refused.refusal).unwrap();
                    prop_assert!(naive_rate(&admitted, at.unix_ms()) < limit as usize);
                    prop_assert!(naive_rate(&admitted, at.unix_ms() - 1) >= limit as usize);
                }
            }
        }
    }
}
