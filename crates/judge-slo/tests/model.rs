//! The judge against a naive model that keeps every event, and against a copy of itself that was written and read back.

#![expect(clippy::unwrap_used, clippy::indexing_slicing, reason = "short helpers of tests, which may fail loudly")]

use homeostat_judge_slo::{HISTORY_MAX, IDLE_BYTES_MAX, ObjectiveJudge, RINGS_BYTES_MAX};
use homeostat_model::{
    Objective, ObjectiveName, ServiceName, Span, Timestamp,
    evidence::EventCounts,
    objective::{BurnRule, OnPage, Severity, Sli, Target},
};
use proptest::prelude::*;

fn objective(period: Span, fast_window: Span, burn_rules: Vec<BurnRule>) -> Objective {
    Objective {
        name: ObjectiveName::new("o").unwrap(),
        display_name: "o".to_owned(),
        service: ServiceName::new("s").unwrap(),
        routes: Vec::new(),
        version: None,
        sli: Sli::Availability,
        target: Target::new(0.99).unwrap(),
        period,
        fast_window,
        min_events: 20,
        burn_rules,
        on_page: OnPage::Notify,
        receivers: Vec::new(),
        indicator: None,
    }
}

/// Windows at every resolution, also such as no rule uses and such as are no whole number of slots.
fn spans() -> Vec<Span> {
    vec![
        Span::from_ms(10),
        Span::from_ms(25),
        Span::from_secs(10),
        Span::from_secs(60),
        Span::from_ms(60_010),
        Span::from_mins(5),
        Span::from_mins(60),
        Span::from_secs(3_601),
        Span::from_hours(6),
        Span::from_days(3),
        Span::from_hours(73),
        Span::from_days(30),
        Span::from_days(40),
    ]
}

fn rules() -> Vec<BurnRule> {
    let rule = |factor, long, short| BurnRule { severity: Severity::Page, factor, long, short };
    vec![
        rule(10.0, Span::from_secs(30), Span::from_ms(500)),
        rule(2.0, Span::from_mins(10), Span::from_secs(20)),
        rule(1.0, Span::from_hours(6), Span::from_mins(30)),
        rule(0.5, Span::from_days(20), Span::from_days(1)),
    ]
}

#[derive(Clone, Debug)]
enum Step {
    Record { after: Span, good: u64, bad: u64 },
    Late { before: Span, good: u64, bad: u64 },
    Idle { after: Span },
    Gap { before: Span, length: Span },
    Restart,
}

fn step() -> impl Strategy<Value = Step> {
    let span = prop_oneof![
        8 => (0..100_u64).prop_map(Span::from_ms),
        4 => (0..90_u64).prop_map(Span::from_secs),
        2 => (0..5_000_u64).prop_map(Span::from_secs),
        1 => (0..100_u64).prop_map(Span::from_hours),
        1 => prop_oneof![Just(31_u64), Just(600), Just(100_000)].prop_map(Span::from_days),
    ];
    let count = prop_oneof![0..3_u64, 0..1_000_u64];
    prop_oneof![
        8 => (span.clone(), count.clone(), count.clone()).prop_map(|(after, good, bad)| Step::Record { after, good, bad }),
        1 => (span.clone(), count.clone(), count).prop_map(|(before, good, bad)| Step::Late { before, good, bad }),
        2 => span.clone().prop_map(|after| Step::Idle { after }),
        1 => (span.clone(), span).prop_map(|(before, length)| Step::Gap { before, length }),
        1 => Just(Step::Restart),
    ]
}

/// Keeps every event and every unmeasured time.
struct Naive {
    now: Timestamp,
    events: Vec<(Timestamp, EventCounts)>,
    unmeasured: Vec<(Timestamp, Timestamp)>,
    firing: Vec<bool>,
}

impl Naive {
    fn width(window: Span) -> Span {
        let widths = [(60, Span::from_ms(10)), (3_600, Span::from_secs(1)), (259_200, Span::from_mins(1))];
        let fits = widths.iter().find(|(secs, _)| window <= Span::from_secs(*secs));
        fits.map_or(Span::from_hours(1), |(_, width)| *width)
    }

    fn events(&self, now: Timestamp, window: Span) -> EventCounts {
        let (window, now) = (window.min(HISTORY_MAX), now.max(self.now));
        let width = Self::width(window);
        let oldest = now.slot(width) - window.ns().div_ceil(width.ns()) as i64 + 1;
        let inside = self.events.iter().filter(|(at, _)| oldest <= at.slot(width));
        inside.fold(EventCounts::default(), |mut sum, (_, counts)| {
            sum += *counts;
            sum
        })
    }

    /// Length of the union, by counting how many unmeasured times begin and end at each border.
    fn coverage(&self, now: Timestamp, window: Span) -> f64 {
        let window = window.min(HISTORY_MAX);
        let begin = now - window;
        let mut borders: Vec<(Timestamp, i32)> = Vec::new();
        for (from, to) in &self.unmeasured {
            borders.push(((*from).clamp(begin, now), 1));
            borders.push(((*to).clamp(begin, now), -1));
        }
        borders.sort_unstable();
        let (mut depth, mut since, mut unmeasured) = (0, begin, 0);
        for (at, change) in borders {
            if 0 < depth {
                unmeasured += at.since(since).ns();
            }
            (depth, since) = (depth + change, at);
        }
        1.0 - unmeasured as f64 / window.ns() as f64
    }

    fn evaluate(&mut self) {
        for (index, rule) in rules().iter().enumerate() {
            let burns = |events: EventCounts| {
                events.bad_share().map(|share| rule.factor <= share / (1.0 - 0.99) * (1.0 + 1e-9))
            };
            let (long, short) = (self.events(self.now, rule.long), self.events(self.now, rule.short));
            // Half a nanosecond of slack: shares are not whole numbers.
            let measured = self.coverage(self.now, rule.long) * rule.long.ns() as f64 + 0.5 >= rule.short.ns() as f64;
            self.firing[index] = 20 <= long.total()
                && burns(long) == Some(true)
                && burns(short).unwrap_or(self.firing[index])
                && (measured || self.firing[index]);
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    #[test]
    fn windows_coverage_and_rules_agree(steps in prop::collection::vec(step(), 1..80), ahead in 0..200_000_000_u64) {
        let start = Timestamp::from_unix_ms(1_700_000_000_123);
        let objective = objective(Span::from_days(7), Span::from_secs(5), rules());
        let mut judge = ObjectiveJudge::new(&objective, start);
        let mut naive =
            Naive { now: start, events: Vec::new(), unmeasured: vec![(Timestamp::MIN, start)], firing: vec![false; 4] };
        for step in steps {
            match step {
                Step::Record { after, good, bad } => {
                    naive.now = naive.now + after;
                    naive.events.push((naive.now, EventCounts { good, bad }));
                    judge.record(naive.now, EventCounts { good, bad });
                }
                Step::Late { before, good, bad } => {
                    naive.events.push((naive.now, EventCounts { good, bad }));
                    judge.record(naive.now - before, EventCounts { good, bad });
                }
                Step::Idle { after } => {
                    naive.now = naive.now + after;
                    judge.advance(naive.now);
                }
                Step::Gap { before, length } => {
                    let (from, to) = (naive.now - before, naive.now - before + length);
                    naive.unmeasured.push((from, to));
                    judge.gap(from, to);
                }
                Step::Restart => judge = serde_json::from_str(&serde_json::to_string(&judge).unwrap()).unwrap(),
            }
            // Nothing may change before the instant that the judge names, unless something is recorded.
            let next = judge.next_change();
            let mut patient = judge.clone();
            patient.evaluate(naive.now);
            if patient.next_change().is_none_or(|next| naive.now + Span::from_ns(ahead) < next) {
                prop_assert_eq!(patient.evaluate(naive.now + Span::from_ns(ahead)), vec![], "{:?}", next);
            }
            naive.evaluate();
            judge.evaluate(naive.now);
            let firing: Vec<bool> = judge.burn(naive.now).iter().map(|view| view.firing).collect();
            prop_assert_eq!(&firing, &naive.firing);
            // Now, and as seen from later without anything happening.
            for now in [naive.now, naive.now + Span::from_ns(ahead)] {
                for span in spans().into_iter().chain(rules().iter().flat_map(|rule| [rule.long, rule.short])) {
                    let view = judge.window(now, span);
                    prop_assert_eq!(view.events, naive.events(now, span), "{} at {:?}", span, now);
                    prop_assert!((view.coverage - naive.coverage(now, span)).abs() < 1e-9, "{} {}", span, view.coverage);
                    prop_assert_eq!(view.enough, 20 <= view.events.total());
                }
            }
        }
    }

    #[test]
    fn a_judge_that_was_read_back_goes_on_the_same_way(before in prop::collection::vec(step(), 1..40), after in prop::collection::vec(step(), 1..40)) {
        let start = Timestamp::from_unix_ms(1_700_000_000_123);
        let mut judge = ObjectiveJudge::new(&objective(Span::from_days(7), Span::from_secs(5), rules()), start);
        let mut now = start;
        for step in before {
            apply(&mut judge, &mut now, &step);
        }
        let text = serde_json::to_string(&judge).unwrap();
        let mut copy: ObjectiveJudge = serde_json::from_str(&text).unwrap();
        for step in after {
            let mut copy_now = now;
            prop_assert_eq!(apply(&mut judge, &mut now, &step), apply(&mut copy, &mut copy_now, &step));
            prop_assert_eq!(serde_json::to_string(&judge).unwrap(), serde_json::to_string(&copy).unwrap());
        }
    }
}

fn apply(judge: &mut ObjectiveJudge, now: &mut Timestamp, step: &Step) -> Vec<homeostat_judge_slo::RuleChange> {
    match *step {
        Step::Record { after, good, bad } => {
            *now = *now + after;
            judge.record(*now, EventCounts { good, bad });
        }
        Step::Late { before, good, bad } => judge.record(*now - before, EventCounts { good, bad }),
        Step::Idle { after } => *now = *now + after,
        Step::Gap { before, length } => judge.gap(*now - before, *now - before + length),
        Step::Restart => {}
    }
    judge.evaluate(*now)
}

#[test]
fn an_idle_objective_takes_less_than_a_kibibyte_and_a_busy_one_no_more_than_stated() {
    let start = Timestamp::from_unix_ms(1_700_000_000_000);
    let objective = objective(Span::from_days(30), Span::from_secs(10), BurnRule::DEFAULTS.to_vec());
    let mut judge = ObjectiveJudge::new(&objective, start);
    assert!(judge.memory_bytes() <= IDLE_BYTES_MAX, "{}", judge.memory_bytes());
    // An event in every slot of every ring: a month by hours, three days by minutes, an hour by seconds, a minute by ticks.
    let (mut now, mut most) = (start, 0);
    for (step, count) in [
        (Span::from_hours(1), 720),
        (Span::from_mins(1), 4_320),
        (Span::from_secs(1), 3_600),
        (Span::from_ms(10), 6_000),
    ] {
        for _ in 0..count {
            now = now + step;
            judge.record(now, EventCounts { good: 1, bad: 0 });
            most = most.max(judge.memory_bytes());
        }
    }
    assert_eq!(judge.window(now, Span::from_secs(60)).events.good, 6_000);
    assert!(most <= RINGS_BYTES_MAX + IDLE_BYTES_MAX, "{most}");
    assert!(RINGS_BYTES_MAX * 9 / 10 < most, "{most}: the rings were not full");
    judge.advance(now + Span::from_days(31));
    assert!(judge.memory_bytes() <= IDLE_BYTES_MAX, "what is old is given back: {}", judge.memory_bytes());
}

#[test]
fn damaged_states_are_refused() {
    let start = Timestamp::from_unix_ms(1_700_000_000_000);
    let mut judge = ObjectiveJudge::new(&objective(Span::from_days(30), Span::from_secs(10), rules()), start);
    for step in 1..4 {
        judge.record(start + Span::from_ms(10 * step), EventCounts { good: 1, bad: 2 });
    }
    let text = serde_json::to_string(&judge).unwrap();
    assert!(serde_json::from_str::<ObjectiveJudge>(&text).is_ok());
    for (from, to, words) in [
        ("[1,1,2]", "[0,1,2]", "slots"),
        ("[1,1,2]", "[1,0,0]", "slots"),
        ("[1,1,2]", "[9999,1,2]", "slots"),
        ("\"firing\":[false,", "\"firing\":[", "3 firing flags for 4 rules"),
        ("\"gaps\":[", "\"gaps\":[[5,4],", "gaps"),
    ] {
        assert!(text.contains(from), "{text}");
        let error = serde_json::from_str::<ObjectiveJudge>(&text.replacen(from, to, 1)).unwrap_err().to_string();
        assert!(error.contains(words), "{error}");
    }
}

#[test]
fn new_settings_keep_the_history() {
    let start = Timestamp::from_unix_ms(1_700_000_000_000);
    let old = objective(Span::from_days(30), Span::from_secs(10), rules());
    let mut judge = ObjectiveJudge::new(&old, start);
    for second in 0..600 {
        judge.record(start + Span::from_secs(second), EventCounts { good: 90, bad: 10 });
    }
    let now = start + Span::from_secs(600);
    judge.evaluate(now);
    let kept = rules()[1];
    let added =
        BurnRule { severity: Severity::Ticket, factor: 10.0, long: Span::from_mins(7), short: Span::from_secs(90) };
    judge.reconfigure(&objective(Span::from_hours(1), Span::from_secs(20), vec![added, kept]));
    let firing: Vec<bool> = judge.burn(now).iter().map(|view| view.firing).collect();
    assert_eq!(firing, [false, true], "the rule that stays goes on firing");
    assert_eq!(
        judge.evaluate(now).iter().map(|change| (change.index, change.view.firing)).collect::<Vec<_>>(),
        [(0, true)]
    );
    assert_eq!(judge.burn(now)[0].long.events, EventCounts { good: 419 * 90, bad: 4_190 });
}
