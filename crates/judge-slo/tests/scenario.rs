//! What an objective's rules say while traffic comes and goes, as scripts.
//!
//! ```text
//! slo NAME TARGET% [min=EVENTS] [every=MS] [period=SPAN] [rule=page:FACTOR:LONG/SHORT]…
//! traffic FROM..TO [ok=RATE/s] [err=RATE/s]
//! gap FROM..TO                  nobody counted
//! restart AT                    the judge is written and read back
//! show AT SPAN…                 windows at that time
//! rules AT                      what the rules say at that time
//! ```
//! Spans and times are `90s`, `5m`, `1h`, `3d`. Without rules the four of the workbook hold. A line that is not indented
//! by two spaces is a change: when, `page`, `ticket` or `ok`, and the burn rates of both windows.

#![expect(clippy::needless_raw_string_hashes, reason = "expect-test writes them when it updates a text")]
#![expect(clippy::unwrap_used, clippy::panic, reason = "short helpers of tests, which may fail loudly")]

use std::{fmt::Write, ops::Range};

use expect_test::{Expect, expect};
use homeostat_judge_slo::ObjectiveJudge;
use homeostat_model::{
    Objective, ObjectiveName, ServiceName, Span, Timestamp,
    evidence::EventCounts,
    objective::{BurnRule, OnPage, Severity, Sli, Target},
    view::WindowView,
};

const START: Timestamp = Timestamp::from_unix_ms(1_700_000_000_000 / 3_600_000 * 3_600_000);

struct Script {
    objective: Objective,
    every_ms: u64,
    traffic: Vec<(Range<u64>, u64, u64)>,
    gaps: Vec<Range<u64>>,
    restarts: Vec<u64>,
    shows: Vec<(u64, Vec<Span>)>,
    rules: Vec<u64>,
}

fn ms(text: &str) -> u64 {
    let (number, unit) = text.split_at(text.find(|c: char| c.is_ascii_alphabetic()).unwrap());
    let unit_ms = match unit {
        "ms" => 1.0,
        "s" => 1e3,
        "m" => 6e4,
        "h" => 3.6e6,
        "d" => 8.64e7,
        _ => panic!("unit in {text}"),
    };
    (number.parse::<f64>().unwrap() * unit_ms) as u64
}

fn range(text: &str) -> Range<u64> {
    let (from, to) = text.split_once("..").unwrap();
    ms(from)..ms(to)
}

fn rate(words: &[&str], key: &str) -> u64 {
    let found = words.iter().find_map(|word| word.strip_prefix(key)?.strip_prefix('=')?.strip_suffix("/s"));
    found.map_or(0, |number| number.parse().unwrap())
}

fn rule(text: &str) -> BurnRule {
    let parts: Vec<&str> = text.split([':', '/']).collect();
    let &[severity, factor, long, short] = parts.as_slice() else { panic!("rule {text}") };
    BurnRule {
        severity: if severity == "page" { Severity::Page } else { Severity::Ticket },
        factor: factor.parse().unwrap(),
        long: Span::from_ms(ms(long)),
        short: Span::from_ms(ms(short)),
    }
}

fn parse(text: &str) -> Script {
    let mut lines = text.lines().map(|line| line.split_whitespace().collect::<Vec<_>>());
    let head = lines.next().unwrap();
    let [_, name, target, options @ ..] = head.as_slice() else { panic!("slo NAME TARGET%") };
    let option = |key: &str| options.iter().find_map(|word| word.strip_prefix(key)?.strip_prefix('='));
    let rules: Vec<BurnRule> = options.iter().filter_map(|word| word.strip_prefix("rule=")).map(rule).collect();
    let mut script = Script {
        objective: Objective {
            name: ObjectiveName::new(name).unwrap(),
            display_name: (*name).to_owned(),
            service: ServiceName::new("shop").unwrap(),
            routes: Vec::new(),
            version: None,
            sli: Sli::Availability,
            target: Target::new(target.strip_suffix('%').unwrap().parse::<f64>().unwrap() / 100.0).unwrap(),
            period: Span::from_ms(ms(option("period").unwrap_or("30d"))),
            fast_window: Span::from_secs(10),
            min_events: option("min").map_or(10, |number| number.parse().unwrap()),
            burn_rules: if rules.is_empty() { BurnRule::DEFAULTS.to_vec() } else { rules },
            on_page: OnPage::Notify,
            receivers: Vec::new(),
            indicator: None,
        },
        every_ms: option("every").map_or(1_000, |number| number.parse().unwrap()),
        traffic: Vec::new(),
        gaps: Vec::new(),
        restarts: Vec::new(),
        shows: Vec::new(),
        rules: Vec::new(),
    };
    for words in lines {
        match words.as_slice() {
            ["traffic", when, rates @ ..] => script.traffic.push((range(when), rate(rates, "ok"), rate(rates, "err"))),
            ["gap", when] => script.gaps.push(range(when)),
            ["rules", at] => script.rules.push(ms(at)),
            ["restart", at] => script.restarts.push(ms(at)),
            ["show", at, spans @ ..] => {
                script.shows.push((ms(at), spans.iter().map(|span| Span::from_ms(ms(span))).collect()));
            }
            _ => panic!("{words:?}"),
        }
    }
    script
}

fn clock(at_ms: u64) -> String {
    format!("{}m{:04.1}s", at_ms / 60_000, (at_ms % 60_000) as f64 / 1e3)
}

fn burn(view: &WindowView) -> String {
    format!("{}={}", view.window, view.burn_rate.map_or("-".to_owned(), |rate| format!("{rate:.1}")))
}

/// Rates are per second and steps may be shorter: what a step gets is the difference of the rounded-down totals.
fn events_of(script: &Script, from_ms: u64) -> EventCounts {
    let mut events = EventCounts::default();
    for (range, ok, err) in script.traffic.iter().filter(|(range, _, _)| range.contains(&from_ms)) {
        let part = |rate: u64| {
            let total = |at: u64| rate * (at - range.start) / 1_000;
            total(from_ms + script.every_ms) - total(from_ms)
        };
        events += EventCounts { good: part(*ok), bad: part(*err) };
    }
    events
}

fn check(text: &str, expected: &Expect) {
    let script = parse(text);
    let times = script.traffic.iter().map(|(range, _, _)| range.end).chain(script.gaps.iter().map(|gap| gap.end));
    let end = times.chain(script.shows.iter().map(|(at, _)| *at)).max().unwrap();
    let mut judge = ObjectiveJudge::new(&script.objective, START);
    let mut shown = String::new();
    for at_ms in (0..=end).step_by(script.every_ms as usize) {
        let now = START + Span::from_ms(at_ms);
        for gap in script.gaps.iter().filter(|gap| gap.end == at_ms) {
            judge.gap(START + Span::from_ms(gap.start), now);
        }
        if script.restarts.contains(&at_ms) {
            let text = serde_json::to_string(&judge).unwrap();
            judge = serde_json::from_str(&text).unwrap();
        }
        if script.gaps.iter().any(|gap| gap.contains(&at_ms)) {
            continue;
        }
        judge.record(now, events_of(&script, at_ms));
        for change in judge.evaluate(now) {
            let view = &change.view;
            let word = if view.firing { view.rule.severity.label() } else { "ok" };
            let name = &script.objective.name;
            writeln!(shown, "{} {word:<6} {name} burn {} {}", clock(at_ms), burn(&view.short), burn(&view.long))
                .unwrap();
        }
        for rule in judge.burn(now).iter().filter(|_| script.rules.contains(&at_ms)) {
            let word = match (rule.firing, rule.long.enough && rule.short.enough) {
                (true, _) => "fires",
                (false, true) => "holds",
                (false, false) => "not enough evidence",
            };
            writeln!(shown, "  {} burn {} {}: {word}", clock(at_ms), burn(&rule.short), burn(&rule.long)).unwrap();
        }
        for (_, spans) in script.shows.iter().filter(|(at, _)| *at == at_ms) {
            for span in spans {
                let view = judge.window(now, *span);
                let enough = if view.enough { "" } else { ", not enough" };
                writeln!(
                    shown,
                    "  {} burn {}, {} good, {} bad, coverage {:.3}{enough}",
                    clock(at_ms),
                    burn(&view),
                    view.events.good,
                    view.events.bad,
                    view.coverage
                )
                .unwrap();
            }
            let left = judge.budget_left(now).map_or("unknown".to_owned(), |left| format!("{:.1}%", left * 100.0));
            writeln!(shown, "  {} budget left {left}", clock(at_ms)).unwrap();
        }
    }
    expected.assert_eq(&shown);
}

#[test]
fn fast_burn_pages_then_clears() {
    check(
        "slo checkout 99.9%
         traffic  0m..5m   ok=100/s
         traffic  5m..10m  ok=85/s err=15/s
         traffic 10m..70m  ok=100/s
         show 6m 5m 1h",
        &expect![[r#"
            5m31.0s page   checkout burn 5m=16.0 1h=14.5
              6m00.0s burn 5m=30.5, 29085 good, 915 bad, coverage 1.000
              6m00.0s burn 1h=25.3, 35185 good, 915 bad, coverage 0.100
              6m00.0s budget left -2434.6%
            14m31.0s ok     checkout burn 5m=14.0 1h=51.6
            30m00.0s page   checkout burn 30m=25.0 6h=25.0
            38m48.0s ok     checkout burn 30m=5.9 6h=19.3
        "#]],
    );
}

#[test]
fn a_total_outage_at_three_nines_pages_after_0_864_minutes() {
    // 14.4 x 0.1 % of an hour: 51.84 s, after an hour of good traffic at the same rate. Source: SRE workbook, table 5-8.
    check(
        "slo checkout 99.9% every=100 rule=page:14.4:1h/5m
         traffic 0m..60m ok=100/s
         traffic 60m..61m err=100/s",
        &expect![[r#"
            60m51.8s page   checkout burn 5m=173.1 1h=14.4
        "#]],
    );
}

#[test]
fn a_total_outage_at_two_nines_pages_after_8_64_minutes() {
    check(
        "slo checkout 99% every=100 rule=page:14.4:1h/5m
         traffic 0m..60m ok=100/s
         traffic 60m..70m err=100/s",
        &expect![[r#"
            68m38.2s page   checkout burn 5m=100.0 1h=14.4
        "#]],
    );
}

#[test]
fn a_slow_burn_makes_a_ticket_and_no_page() {
    // 0.35 % at 99.9 %: 3.5 times as fast as planned.
    check(
        "slo checkout 99.9%
         traffic 0h..24h ok=2000/s
         traffic 24h..48h ok=1993/s err=7/s
         traffic 48h..51h ok=2000/s
         show 48h 2h 1d 3d",
        &expect![[r#"
            2015m59.0s ticket checkout burn 6h=3.5 3d=1.0
            2674m00.0s ticket checkout burn 2h=3.5 1d=3.0
              2880m00.0s burn 2h=3.5, 14232020 good, 49980 bad, coverage 1.000
              2880m00.0s burn 1d=3.5, 172077620 good, 604380 bad, coverage 1.000
              2880m00.0s burn 3d=1.7, 344997200 good, 604800 bad, coverage 0.667
              2880m00.0s budget left -75.0%
            2897m00.0s ok     checkout burn 2h=3.0 1d=3.5
        "#]],
    );
}

#[test]
fn too_few_events_are_no_evidence() {
    check(
        "slo quiet 99.9% min=600
         traffic 0m..9m err=1/s
         show 9m 5m 1h
         traffic 9m..11m err=1/s",
        &expect![[r#"
              9m00.0s burn 5m=1000.0, 0 good, 300 bad, coverage 1.000, not enough
              9m00.0s burn 1h=1000.0, 0 good, 541 bad, coverage 0.150, not enough
              9m00.0s budget left -99900.0%
            9m59.0s page   quiet burn 5m=1000.0 1h=1000.0
        "#]],
    );
}

#[test]
fn silence_does_not_clear_a_page_until_the_long_window_is_empty() {
    check(
        "slo checkout 99.9% rule=page:14.4:1h/5m
         traffic 0m..5m ok=100/s
         traffic 5m..8m err=100/s
         show 20m 5m 1h
         show 70m 5m 1h",
        &expect![[r#"
            5m04.0s page   checkout burn 5m=16.7 1h=16.4
              20m00.0s burn 5m=-, 0 good, 0 bad, coverage 1.000, not enough
              20m00.0s burn 1h=375.0, 30000 good, 18000 bad, coverage 0.333
              20m00.0s budget left -37400.0%
            67m59.0s ok     checkout burn 5m=- 1h=-
              70m00.0s burn 5m=-, 0 good, 0 bad, coverage 1.000, not enough
              70m00.0s burn 1h=-, 0 good, 0 bad, coverage 1.000, not enough
              70m00.0s budget left -37400.0%
        "#]],
    );
}

#[test]
fn one_good_event_after_silence_clears_a_page() {
    check(
        "slo checkout 99.9% rule=page:14.4:1h/5m
         traffic 0m..5m ok=100/s
         traffic 5m..8m err=100/s
         traffic 20m..20.1m ok=1/s",
        &expect![[r#"
            5m04.0s page   checkout burn 5m=16.7 1h=16.4
            20m00.0s ok     checkout burn 5m=0.0 1h=375.0
        "#]],
    );
}

#[test]
fn unmeasured_time_is_not_uptime() {
    // The same hour, once watched and idle, once not watched: the events are equal, the coverage is not.
    check(
        "slo checkout 99.9% period=1h
         traffic 0m..30m ok=99/s err=1/s
         show 60m 1h 5m",
        &expect![[r#"
            30m00.0s page   checkout burn 30m=10.0 6h=10.0
              60m00.0s burn 1h=10.0, 178101 good, 1799 bad, coverage 1.000
              60m00.0s burn 5m=-, 0 good, 0 bad, coverage 1.000, not enough
              60m00.0s budget left -900.0%
        "#]],
    );
    check(
        "slo checkout 99.9% period=1h
         traffic 0m..30m ok=99/s err=1/s
         gap 30m..59m
         restart 59m
         show 60m 1h 5m",
        &expect![[r#"
            59m00.0s page   checkout burn 30m=10.0 6h=10.0
              60m00.0s burn 1h=10.0, 178101 good, 1799 bad, coverage 0.517
              60m00.0s burn 5m=-, 0 good, 0 bad, coverage 0.200, not enough
              60m00.0s budget left -900.0%
        "#]],
    );
}

#[test]
fn a_page_survives_a_restart() {
    check(
        "slo checkout 99.9% rule=page:14.4:1h/5m
         traffic 0m..5m ok=100/s
         traffic 5m..20m ok=50/s err=50/s
         gap 7m..9m
         restart 9m
         restart 15m
         traffic 20m..30m ok=100/s
         show 20m 5m 1h",
        &expect![[r#"
            5m08.0s page   checkout burn 5m=15.0 1h=14.6
              20m00.0s burn 5m=498.3, 15050 good, 14950 bad, coverage 1.000
              20m00.0s burn 1h=360.8, 69100 good, 39000 bad, coverage 0.300
              20m00.0s budget left -35977.7%
            24m51.0s ok     checkout burn 5m=13.3 1h=284.3
        "#]],
    );
}

#[test]
fn the_first_minutes_of_measuring_are_not_enough_evidence() {
    // A new data directory, and everything fails: the rule waits until its short window has been measured once.
    check(
        "slo checkout 99.9% rule=page:14.4:1h/5m
         traffic 0m..10m err=100/s
         rules 4m
         rules 6m",
        &expect![[r#"
              4m00.0s burn 5m=1000.0 1h=1000.0: not enough evidence
            5m00.0s page   checkout burn 5m=1000.0 1h=1000.0
              6m00.0s burn 5m=1000.0 1h=1000.0: fires
        "#]],
    );
    // A restart in between adds nothing to what was measured, but takes nothing from it either.
    check(
        "slo checkout 99.9% rule=page:14.4:1h/5m
         traffic 0m..10m err=100/s
         gap 2m..4m
         restart 4m
         rules 6m",
        &expect![[r#"
              6m00.0s burn 5m=1000.0 1h=1000.0: not enough evidence
            7m00.0s page   checkout burn 5m=1000.0 1h=1000.0
        "#]],
    );
    // Time alone is enough: the events may all have come early.
    check(
        "slo checkout 99.9% rule=page:14.4:1h/5m
         traffic 0m..4m err=100/s
         traffic 4m..20m ok=0/s",
        &expect![[r#"
            5m00.0s page   checkout burn 5m=1000.0 1h=1000.0
        "#]],
    );
}
