//! Rules over a small store in memory: what is written, what fires, what is sent.

#![expect(clippy::unwrap_used, reason = "helpers of tests fail by panicking")]

mod common;

use std::sync::Arc;

use common::Store;

use homeostat_judge_rules::{
    Alerting, Environment, Group, GroupState, Rule, RuleKind, Surroundings, template::Template,
};
use homeostat_model::{Labels, SampleValue, TimeMs, sample::is_stale};
use homeostat_promql::{ParseOptions, eval::Options, parse};

fn set(store: &mut Store, name: &str, instance: &str, t_ms: TimeMs, value: f64) {
    store.add(&Labels::new([("__name__", name), ("instance", instance)]), t_ms, value);
}

fn rule(name: &str, expr: &str, labels: &[(&str, &str)], kind: RuleKind) -> Rule {
    let labels = labels.iter().map(|(name, value)| ((*name).to_owned(), Template::parse(value).unwrap()));
    Rule { name: name.to_owned(), expr: parse(expr, &ParseOptions::all()).unwrap(), labels: labels.collect(), kind }
}

fn alerting(for_s: i64, keep_s: i64) -> RuleKind {
    let annotations = vec![(
        "summary".to_owned(),
        Template::parse("{{ $labels.instance }} is at {{ $value }}{{ range query \"up\" }} {{ .Value }}{{ end }}")
            .unwrap(),
    )];
    RuleKind::Alerting(Alerting { for_ms: for_s * 1000, keep_firing_for_ms: keep_s * 1000, annotations })
}

struct World {
    store: Store,
    state: GroupState,
    environment: Environment,
}

impl World {
    fn new(rules: Vec<Rule>, limit: usize) -> Self {
        let group = Group {
            file: "rules.yml".to_owned(),
            name: "g".to_owned(),
            interval_ms: 60_000,
            query_offset_ms: 0,
            limit,
            rules,
        };
        let environment = Environment {
            options: Options::default(),
            language: ParseOptions::all(),
            external_labels: Labels::empty(),
            external_url: "http://h".to_owned(),
        };
        Self { store: Store::default(), state: GroupState::new(Arc::new(group)), environment }
    }

    /// Evaluates all rules at a minute and writes what comes of them; gives the samples as text.
    fn minute(&mut self, minute: i64) -> String {
        let mut said = Vec::new();
        for at in 0..self.state.group().rules.len() {
            let around = Surroundings { source: &self.store, environment: &self.environment, is_cancelled: &|| false };
            match self.state.evaluate(at, minute * 60_000, around) {
                Err(error) => said.push(format!("!! {error}")),
                Ok(samples) => {
                    for (labels, t_ms, value) in samples {
                        let SampleValue::Float(value) = value else { continue };
                        self.store.add(&labels, t_ms, value);
                        let shown = if is_stale(value) { "stale".to_owned() } else { value.to_string() };
                        said.push(format!("{labels} {shown}"));
                    }
                }
            }
        }
        said.join("\n")
    }

    fn due(&mut self, minute: i64) -> String {
        let due = self.state.due(0, minute * 60_000, 60_000);
        let shown = due.iter().map(|due| {
            let word = if due.is_resolved { "resolved" } else { "firing" };
            format!(
                "{} {word} {}..{}",
                due.labels.value("instance"),
                due.starts_at_ms / 60_000,
                due.ends_at_ms / 60_000
            )
        });
        shown.collect::<Vec<_>>().join("\n")
    }
}

#[test]
fn rules_see_what_the_rules_before_them_wrote_and_series_end() {
    let mut world = World::new(
        vec![
            rule("a:sum", "sum by (instance) (up)", &[("kind", "x"), ("instance", "")], RuleKind::Recording),
            rule("b", "a:sum * 2", &[], RuleKind::Recording),
            rule("c", "7", &[], RuleKind::Recording),
        ],
        0,
    );
    set(&mut world.store, "up", "i", 0, 3.0);
    let plain = |text: &str| text.replace(' ', "");
    assert_eq!(plain(&world.minute(0)), plain("a:sum{kind=\"x\"} 3\nb{kind=\"x\"} 6\nc 7"));
    assert_eq!(plain(&world.minute(6)), plain("a:sum{kind=\"x\"} stale\nb{kind=\"x\"} stale\nc 7"));
    set(&mut world.store, "up", "i", 420_000, 1.0);
    set(&mut world.store, "up", "j", 420_000, 1.0);
    assert!(
        world.minute(7).starts_with("!! vector contains metrics with the same labelset after applying rule labels")
    );
}

#[test]
fn an_alert_waits_fires_is_resolved_and_forgotten() {
    let mut world =
        World::new(vec![rule("Down", "up == 0", &[("severity", "page {{ $value }}")], alerting(120, 0))], 0);
    let at = |world: &mut World, minute: i64, value: f64| {
        set(&mut world.store, "up", "i", minute * 60_000, value);
        (world.minute(minute), world.due(minute))
    };
    let (said, due) = at(&mut world, 0, 0.0);
    assert!(said.contains("alertstate=\"pending\"") && said.contains("severity=\"page 0\""), "{said}");
    assert!(said.contains("ALERTS_FOR_STATE") && due.is_empty(), "{said}");
    assert!(at(&mut world, 1, 0.0).0.contains("pending"));
    let (said, due) = at(&mut world, 2, 0.0);
    assert!(
        said.contains("alertstate=\"firing\"")
            && said.contains("alertstate=\"pending\", instance=\"i\", severity=\"page 0\"} stale"),
        "{said}"
    );
    assert_eq!(due, "i firing 2..6");
    let view = homeostat_judge_rules::view::GroupView::of(&world.state, &[], None);
    assert_eq!(view.rules[0].alerting.as_ref().unwrap().alerts[0].1.annotations[0].1, "i is at 0 0");
    assert_eq!(at(&mut world, 3, 0.0).1, "", "sent a minute ago");
    assert_eq!(at(&mut world, 4, 0.0).1, "i firing 2..8");
    let (said, due) = at(&mut world, 5, 1.0);
    assert!(said.lines().all(|line| line.ends_with("stale")), "{said}");
    assert_eq!(due, "i resolved 2..5");
    assert_eq!(at(&mut world, 7, 1.0).1, "i resolved 2..5");
    assert_eq!(at(&mut world, 20, 1.0).1, "i resolved 2..5");
    assert_eq!(at(&mut world, 22, 1.0).1, "", "forgotten after a quarter of an hour");
    assert!(at(&mut world, 23, 0.0).0.contains("pending"), "it begins anew");
    assert_eq!(at(&mut world, 24, 1.0).1, "", "what never fired is not resolved");
}

#[test]
fn an_alert_may_fire_on_for_a_while() {
    let mut world = World::new(vec![rule("Down", "up == 0", &[], alerting(0, 180))], 0);
    set(&mut world.store, "up", "i", 0, 0.0);
    assert!(world.minute(0).contains("firing"));
    set(&mut world.store, "up", "i", 60_000, 1.0);
    assert!(world.minute(1).contains("firing"));
    assert!(world.minute(3).contains("firing"));
    assert!(world.minute(4).lines().all(|line| line.ends_with("stale")));
}

#[test]
fn limits_and_mistakes_are_told_and_leave_the_state() {
    let mut world = World::new(vec![rule("r", "up", &[], RuleKind::Recording)], 1);
    set(&mut world.store, "up", "i", 0, 1.0);
    world.minute(0);
    set(&mut world.store, "up", "j", 0, 1.0);
    assert_eq!(world.minute(1), "!! exceeded limit of 1 with 2 series");
    assert_eq!(world.state.health(0).0, Some("exceeded limit of 1 with 2 series"));
    let mut world = World::new(vec![rule("A", "up", &[], alerting(0, 0))], 1);
    set(&mut world.store, "up", "i", 0, 1.0);
    set(&mut world.store, "up", "j", 0, 1.0);
    assert_eq!(world.minute(0), "!! exceeded limit of 1 with 2 alerts");
    let mut world = World::new(vec![rule("A", "up", &[("instance", "")], alerting(0, 0))], 0);
    set(&mut world.store, "up", "i", 0, 1.0);
    set(&mut world.store, "up", "j", 0, 1.0);
    assert_eq!(world.minute(0), "!! vector contains metrics with the same labelset after applying alert labels");
}

#[test]
fn an_edited_rule_keeps_its_alerts() {
    let alert = |expr: &str, for_s: i64| rule("Down", expr, &[("a", "b")], alerting(for_s, 0));
    let mut world = World::new(vec![alert("up == 0", 0), alert("up == 2", 0)], 0);
    set(&mut world.store, "up", "i", 0, 0.0);
    set(&mut world.store, "up", "j", 0, 2.0);
    assert!(world.minute(0).contains("firing"));
    let since = |world: &World, at: usize| {
        world
            .state
            .alerts(at)
            .unwrap()
            .iter()
            .map(|(labels, alert)| (labels.value("instance").to_owned(), alert.active_at_ms))
            .collect::<Vec<_>>()
    };
    // The first one is edited, and a third one of the same name and labels comes before it.
    let mut edited = World::new(vec![alert("up == 5", 0), alert("up == 2", 0), alert("up <= 0", 600)], 0).state;
    edited.take_over(world.state.clone());
    world.state = edited;
    assert_eq!((since(&world, 0), since(&world, 1)), (vec![("i".to_owned(), 0)], vec![("j".to_owned(), 0)]));
    assert_eq!(since(&world, 2), []);
    // Another label makes another rule.
    let mut other = World::new(vec![rule("Down", "up == 0", &[("a", "c")], alerting(0, 0))], 0).state;
    other.take_over(world.state.clone());
    world.state = other;
    assert_eq!(since(&world, 0), []);
    // A series that an edited rule no longer makes ends.
    let mut world = World::new(vec![rule("r", "up", &[], RuleKind::Recording)], 0);
    set(&mut world.store, "up", "i", 0, 1.0);
    world.minute(0);
    let mut edited = World::new(vec![rule("r", "up > 1", &[], RuleKind::Recording)], 0).state;
    edited.take_over(world.state);
    world.state = edited;
    assert_eq!(world.minute(1).replace(' ', ""), "r{instance=\"i\"}stale");
}

#[test]
fn a_failed_evaluation_leaves_the_state_alone() {
    let mut world = World::new(vec![rule("Down", "up == 0", &[], alerting(1800, 0))], 0);
    set(&mut world.store, "up", "i", 0, 0.0);
    world.store.add(&Labels::new([("__name__", "broken")]), 0, 1.0);
    assert_eq!(world.minute(0), "!! cannot read series: the disk is broken");
    assert_eq!(world.state.alerts(0).unwrap().iter().count(), 0, "nothing has begun");
    world.store.0.remove(&Labels::new([("__name__", "broken")]));
    assert!(world.minute(1).contains("pending"));
    world.state.spoil(0, "it was not stored".to_owned());
    assert_eq!(world.state.health(0), (Some("it was not stored"), Some(60_000)));
    world.state.broke_off(0, 120_000, "our fault".to_owned());
    assert_eq!(world.state.health(0), (Some("our fault"), Some(120_000)));
    assert_eq!(world.state.alerts(0).unwrap().iter().count(), 1);
}

#[test]
fn a_restart_does_not_lose_what_was_pending_or_firing() {
    // Waits half an hour; was pending for 5 minutes, then down for 10: 25 minutes remain.
    let began = |world: &World| {
        let of = |labels: &Labels| labels.metric() == Some("ALERTS_FOR_STATE");
        let series = world.store.0.iter().find(|(labels, _)| of(labels)).unwrap().1;
        *series.last_key_value().unwrap().1 / 60.0
    };
    let run = |wait_s: i64, minutes: std::ops::Range<i64>, again: i64| {
        let rules = || vec![rule("Down", "up == 0", &[("a", "b")], alerting(wait_s, 0))];
        let mut world = World::new(rules(), 0);
        for minute in minutes.start..=again {
            set(&mut world.store, "up", "i", minute * 60_000, 0.0);
        }
        for minute in minutes {
            world.minute(minute);
        }
        world.state = World::new(rules(), 0).state;
        world.minute(again);
        began(&world)
    };
    assert!((run(1800, 0..6, 15) - 10.0).abs() < 1e-9, "the time away does not count");
    assert!((run(1800, 0..31, 40) - 0.0).abs() < 1e-9, "what fired goes on firing");
    assert!((run(1800, 0..26, 40) - 20.0).abs() < 1e-9, "ten minutes of grace");
    assert!((run(300, 0..3, 15) - 15.0).abs() < 1e-9, "short waits begin anew");
    assert!((run(1800, 0..6, 100) - 100.0).abs() < 1e-9, "an hour is too long");
}
