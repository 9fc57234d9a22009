//! Objectives whose events are counted by queries: their own cells, apart from the traffic of the gateway.
#![cfg(test)]

use homeostat_control::{Command, Control, Event, event::ControlSpec};
use homeostat_model::{
    CellId, CellKey, Objective, ObjectiveName, OutcomeClass, OutcomeCounts, OutcomeDelta, RouteName, ServiceName, Span,
    Timestamp, VersionName,
    objective::{BurnRule, Indicator, IndicatorForm, OnPage, Severity, Sli, Target},
};

fn objective(indicator: Option<Indicator>) -> Objective {
    Objective {
        name: ObjectiveName::new("orders").unwrap(),
        display_name: "orders".to_owned(),
        service: ServiceName::new("warehouse").unwrap(),
        routes: Vec::new(),
        version: None,
        sli: Sli::Availability,
        target: Target::new(0.99).unwrap(),
        period: Span::from_hours(1),
        fast_window: Span::from_secs(10),
        min_events: 10,
        burn_rules: vec![BurnRule {
            severity: Severity::Page,
            factor: 10.0,
            long: Span::from_secs(30),
            short: Span::from_secs(5),
        }],
        on_page: OnPage::Notify,
        receivers: Vec::new(),
        indicator,
    }
}

fn indicator(total: &str) -> Indicator {
    Indicator {
        part: "orders_failed_total".to_owned(),
        part_is_good: false,
        total: total.to_owned(),
        form: IndicatorForm::Counter,
    }
}

/// No service of the gateway is called `warehouse`; the cell's counts belong to the objective alone.
fn spec(indicator: Option<Indicator>) -> ControlSpec {
    let key = CellKey {
        route: RouteName::new("orders").unwrap(),
        service: ServiceName::new("warehouse").unwrap(),
        version: VersionName::new("queries").unwrap(),
    };
    ControlSpec {
        cells: vec![(CellId(3), key)],
        indicators: vec![(CellId(3), ObjectiveName::new("orders").unwrap())],
        objectives: vec![objective(indicator)],
        ..ControlSpec::default()
    }
}

fn at(seconds: u64) -> Timestamp {
    Timestamp::from_unix_ms(0) + Span::from_secs(seconds)
}

fn tick(good: u64, bad: u64) -> Event {
    let mut counts = OutcomeCounts::of(OutcomeClass::Ok, good);
    counts += OutcomeCounts::of(OutcomeClass::ServerError, bad);
    Event::Tick { deltas: vec![OutcomeDelta { cell: CellId(3), counts }] }
}

fn incidents(commands: &[Command]) -> usize {
    commands.iter().filter(|command| matches!(command, Command::RecordIncident(_))).count()
}

#[test]
fn a_burning_budget_of_queries_pages_like_any_other() {
    let mut control = Control::new(at(0));
    control.step(at(0), Event::Configured(Box::new(spec(Some(indicator("orders_total"))))));
    let mut opened = 0;
    for second in 1..60 {
        let bad = if second < 40 { 0 } else { 50 };
        opened += incidents(&control.step(at(second), tick(100 - bad, bad)));
    }
    assert!(opened > 0);
    let view = control.view(at(0));
    let found = view.objectives.first().unwrap();
    assert!(found.rules.iter().any(|rule| rule.firing));
    assert_eq!(found.period.events.total(), 5900);
    // A snapshot remembers whose cell it is.
    let restored = Control::restore(&control.snapshot().unwrap()).unwrap();
    assert_eq!(restored.view(at(0)), view);
}

#[test]
fn another_query_is_another_history() {
    let mut control = Control::new(at(0));
    control.step(at(0), Event::Configured(Box::new(spec(Some(indicator("orders_total"))))));
    control.step(at(1), tick(5, 5));
    let seen = |control: &Control| control.view(at(0)).objectives.first().unwrap().period.events.total();
    control.step(at(2), Event::Configured(Box::new(spec(Some(indicator("orders_total"))))));
    assert_eq!(seen(&control), 10);
    control.step(at(3), Event::Configured(Box::new(spec(Some(indicator("shop_orders_total"))))));
    assert_eq!(seen(&control), 0);
    control.step(at(4), tick(1, 0));
    assert_eq!(seen(&control), 1);
}

#[test]
fn time_that_nobody_counted_is_not_uptime() {
    let mut control = Control::new(at(0));
    control.step(at(0), Event::Configured(Box::new(spec(Some(indicator("orders_total"))))));
    control.step(at(100), tick(10, 0));
    let coverage = |control: &Control| control.view(at(0)).objectives.first().unwrap().period.coverage;
    let before = coverage(&control);
    let objective = ObjectiveName::new("orders").unwrap();
    control.step(at(101), Event::Unmeasured { objective: objective.clone(), from: at(20), to: at(70) });
    assert!(coverage(&control) < before, "{before}");
    let half = coverage(&control);
    // What lies in the future, or ends before it begins, is nothing.
    control.step(at(101), Event::Unmeasured { objective: objective.clone(), from: at(500), to: at(900) });
    control.step(at(101), Event::Unmeasured { objective, from: at(70), to: at(20) });
    assert_eq!(coverage(&control).to_bits(), half.to_bits());
}
