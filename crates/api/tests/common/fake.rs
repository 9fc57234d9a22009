//! A backend with one of everything, which remembers what it was asked.

use std::sync::{Arc, Mutex};

use homeostat_api::backend::{
    Answer, AuditEntry, Backend, ConfigStatus, Health, IncidentDetail, OperateError, Operation, PartHealth, StoreError,
    StreamItem, TrafficSample,
};
use homeostat_model::{
    ActionId, ActionMode, Actor, CellId, CellKey, ChangeEvent, ChangeKind, IncidentId, Objective, ObjectiveName,
    OutcomeClass, OutcomeCounts, OutcomeDelta, ReceiverName, RolloutName, RouteName, ServiceName, Span, Timestamp,
    VersionName, Weight,
    action::{ActionRecord, ActionState, Initiator, Plan, Purpose},
    evidence::{EventCounts, Evidence, SliEvidence},
    incident::{BlackBox, CellLatency, Exemplar, Incident, Milestone, Stage, Subject, TickCounts},
    objective::{BurnRule, OnPage, Severity, Sli, Target},
    rollout::{CanaryTest, Gate, Phase, Rollout, Start, Step},
    verdict::CanaryVerdict,
    view::{BurnRuleView, ObjectiveView, RolloutView, ServiceView, VersionView, View, WindowView},
};
use tokio::sync::broadcast;

/// Items that a stream may be behind before it loses the oldest.
pub(crate) const STREAM_ITEMS_MAX: usize = 4;

pub(crate) struct Fake {
    pub(crate) ready: bool,
    /// Items sent the moment somebody subscribes.
    pub(crate) burst: usize,
    pub(crate) asked: Mutex<Vec<(Operation, String, String)>>,
    pub(crate) stream: broadcast::Sender<Arc<StreamItem>>,
}

impl Default for Fake {
    fn default() -> Self {
        let stream = broadcast::channel(STREAM_ITEMS_MAX).0;
        Self { ready: true, burst: 0, asked: Mutex::default(), stream }
    }
}

impl Fake {
    pub(crate) fn send(&self, item: StreamItem) {
        drop(self.stream.send(Arc::new(item)));
    }
}

pub(crate) fn traffic(good: u64) -> StreamItem {
    let sample = TrafficSample { service: "shop".to_owned(), version: "v1".to_owned(), good, bad: 0 };
    StreamItem::Traffic { at: at(0), versions: vec![sample] }
}

impl Backend for Fake {
    fn view(&self) -> Arc<View> {
        Arc::new(view())
    }

    fn subscribe(&self) -> broadcast::Receiver<Arc<StreamItem>> {
        let receiver = self.stream.subscribe();
        (0..self.burst).for_each(|n| self.send(traffic(n as u64)));
        receiver
    }

    fn operate(&self, operation: Operation, by: Actor, reason: String) -> Answer<'_, Result<(), OperateError>> {
        let answer = match &operation {
            Operation::Rollout { rollout, .. } if rollout.as_str() == "shop" => Ok(()),
            Operation::Rollout { rollout, .. } if rollout.as_str() == "frozen" => {
                Err(OperateError::Refused("v2 is frozen; `start_frozen` overrides it".to_owned()))
            }
            Operation::Rollout { rollout, .. } if rollout.as_str() == "stuck" => Err(OperateError::Unavailable),
            Operation::Announce { change } if change.service.as_ref().is_some_and(|name| name.as_str() != "shop") => {
                Err(OperateError::NotFound("there is no such service".to_owned()))
            }
            Operation::Rollout { rollout, .. } => {
                Err(OperateError::NotFound(format!("there is no rollout `{rollout}`")))
            }
            _ => Ok(()),
        };
        self.asked.lock().unwrap().push((operation, by.to_string(), reason));
        Box::pin(async { answer })
    }

    fn incidents(&self, before: Option<IncidentId>, limit: usize) -> Answer<'_, Result<Vec<Incident>, StoreError>> {
        let newest = before.map_or(5, |id| id.0 - 1);
        let found = (1..=newest).rev().take(limit).map(incident).collect();
        Box::pin(async { Ok(found) })
    }

    fn incident(&self, id: IncidentId) -> Answer<'_, Result<Option<IncidentDetail>, StoreError>> {
        Box::pin(async move {
            match id.0 {
                1..=5 => Ok(Some(IncidentDetail {
                    incident: incident(id.0),
                    actions: vec![action()],
                    has_black_box: id.0 != 5,
                })),
                13 => Err(StoreError("the disk does not answer".to_owned())),
                _ => Ok(None),
            }
        })
    }

    fn black_box(&self, id: IncidentId) -> Answer<'_, Result<Option<BlackBox>, StoreError>> {
        Box::pin(async move { Ok((1..=4).contains(&id.0).then(black_box)) })
    }

    fn audit(&self, limit: usize) -> Answer<'_, Result<Vec<AuditEntry>, StoreError>> {
        let asked = self.asked.lock().unwrap();
        let line = |(operation, by, reason): &(Operation, String, String)| AuditEntry {
            at: at(0),
            by: Actor::new(by),
            what: serde_json::to_string(operation).unwrap(),
            reason: reason.clone(),
        };
        let lines = asked.iter().rev().take(limit).map(line).collect();
        Box::pin(async { Ok(lines) })
    }

    fn config(&self) -> ConfigStatus {
        ConfigStatus {
            generation: 2,
            accepted_at: at(0),
            problems: vec!["a.yaml:1:1: no".to_owned()],
            notes: vec!["listeners changed: this takes a restart".to_owned()],
            rejected_at: Some(at(1)),
        }
    }

    fn reload(&self, _: Actor) -> Answer<'_, ConfigStatus> {
        let status = ConfigStatus { generation: 3, problems: Vec::new(), rejected_at: None, ..self.config() };
        Box::pin(async { status })
    }

    fn health(&self) -> Health {
        let detail = if self.ready { String::new() } else { "the disk is full; free 1 GiB".to_owned() };
        Health { ready: self.ready, parts: vec![PartHealth { part: "journal".to_owned(), ok: self.ready, detail }] }
    }

    fn metrics(&self, out: &mut String) {
        out.push_str("# HELP homeostat_up Whether it runs.\n# TYPE homeostat_up gauge\nhomeostat_up 1\n");
    }
}

fn at(ms: i64) -> Timestamp {
    Timestamp::from_unix_ms(1_750_000_000_000 + ms)
}

fn counts(good: u64, bad: u64) -> EventCounts {
    EventCounts { good, bad }
}

fn weight(percent: f64) -> Weight {
    Weight::from_percent(percent).unwrap()
}

fn name<T: std::str::FromStr<Err: std::fmt::Debug>>(text: &str) -> T {
    text.parse().unwrap()
}

fn key(version: &str) -> CellKey {
    CellKey { route: name::<RouteName>("web"), service: name("shop"), version: name(version) }
}

fn evidence() -> Evidence {
    Evidence::Canary {
        canary: name("v2"),
        baseline: name("v1"),
        since: at(0),
        ln_e: 8.1,
        ln_e_needed: 6.9,
        alpha: 0.001,
        tolerance: 0.01,
        slis: vec![SliEvidence {
            sli: Sli::Latency { threshold: Span::from_ms(250) },
            canary: counts(20, 11),
            baseline: counts(400, 0),
            ln_e_worse: 8.1,
            ln_e_not_worse: -3.0,
        }],
    }
}

fn action() -> ActionRecord {
    let split = |canary: f64| vec![(name("v1"), weight(100.0 - canary)), (name("v2"), weight(canary))];
    ActionRecord {
        plan: Plan {
            id: ActionId(7),
            purpose: Purpose::Rollback,
            service: name("shop"),
            rollout: Some(name("shop")),
            from: split(5.0),
            to: split(0.0),
            initiator: Initiator::Rollout { rollout: name("shop") },
            evidence: evidence(),
            ttl: Span::from_hours(24),
        },
        proposed_at: at(100),
        state: ActionState::Verified { at: at(2_000) },
        incident: Some(IncidentId(3)),
        expires_at: Some(at(86_400_000)),
        ahead_of_disk: false,
    }
}

fn change() -> ChangeEvent {
    ChangeEvent {
        at: at(-1_000),
        kind: ChangeKind::Deploy,
        service: Some(name("shop")),
        version: Some(name("v2")),
        summary: "v2 began".to_owned(),
        by: Actor::new("pipeline"),
    }
}

fn incident(id: u64) -> Incident {
    Incident {
        id: IncidentId(id),
        title: "shop v2 fails 35 % of its requests".to_owned(),
        service: name::<ServiceName>("shop"),
        subject: Subject::Canary { rollout: name("shop"), canary: name("v2"), baseline: name("v1") },
        severity: Severity::Page,
        stage: Stage::Closed,
        began_at: at(0),
        opened_at: at(100),
        closed_at: Some(at(2_000)),
        evidence: vec![evidence()],
        requests_harmed: 11,
        requests_total: 431,
        actions: vec![ActionId(7)],
        changes: vec![change()],
        milestones: vec![Milestone { at: at(0), what: "first_bad".to_owned(), detail: "503 from v2".to_owned() }],
        explanation: None,
    }
}

fn black_box() -> BlackBox {
    let delta = OutcomeDelta { cell: CellId(1), counts: OutcomeCounts::of(OutcomeClass::ServerError, 3) };
    BlackBox {
        from: at(-60_000),
        to: at(2_000),
        cells: vec![(CellId(0), key("v1")), (CellId(1), key("v2"))],
        ticks: vec![TickCounts { at: at(0), deltas: vec![delta] }],
        latencies: vec![CellLatency { cell: CellId(1), buckets: vec![(1_000, 3), (2_000, 4)] }],
        latency_seconds: Vec::new(),
        exemplars: vec![Exemplar {
            at: at(0),
            cell: CellId(1),
            class: OutcomeClass::ServerError,
            status: 503,
            method: "POST".to_owned(),
            path: "/orders/*".to_owned(),
            latency: Span::from_ms(3),
            endpoint: Some("127.0.0.1:9".to_owned()),
            trace_id: None,
        }],
        changes: vec![change()],
        incomplete: false,
        profiles: Vec::new(),
        kernel: Vec::new(),
    }
}

fn view() -> View {
    let window = WindowView {
        window: Span::from_secs(60),
        events: counts(990, 10),
        burn_rate: Some(10.0),
        coverage: 1.0,
        enough: true,
    };
    let rules =
        BurnRule::DEFAULTS.map(|rule| BurnRuleView { rule, long: window, short: window, firing: false }).to_vec();
    let version = |version: &str, share: f64, cell| VersionView {
        name: name::<VersionName>(version),
        weight: weight(share),
        last_10s: counts(100, 1),
        cells: vec![(CellId(cell), key(version))],
    };
    let sli = Sli::Availability;
    View {
        at: at(0),
        services: vec![ServiceView {
            name: name("shop"),
            versions: vec![version("v1", 95.0, 0), version("v2", 5.0, 1)],
        }],
        objectives: vec![ObjectiveView {
            objective: Objective {
                name: name::<ObjectiveName>("shop-availability"),
                display_name: "Shop answers".to_owned(),
                service: name("shop"),
                routes: Vec::new(),
                version: None,
                sli,
                target: Target::new(0.999).unwrap(),
                period: Span::from_days(30),
                fast_window: Span::from_secs(1),
                min_events: 20,
                burn_rules: BurnRule::DEFAULTS.to_vec(),
                on_page: OnPage::Notify,
                receivers: vec![name::<ReceiverName>("chat")],
                indicator: None,
            },
            fast: window,
            period: WindowView { burn_rate: None, ..window },
            budget_left: Some(0.7),
            rules,
        }],
        rollouts: vec![RolloutView {
            rollout: Rollout {
                name: name::<RolloutName>("shop"),
                service: name("shop"),
                baseline: name("v1"),
                canary: name("v2"),
                steps: vec![Step { weight: weight(5.0), gate: Gate::Evidence { at_least: Span::ZERO } }],
                test: CanaryTest {
                    alpha: 0.001,
                    beta: 0.05,
                    tolerance: 0.01,
                    min_events: 10,
                    grace: Span::ZERO,
                    slis: vec![sli],
                },
                mode: ActionMode::Auto,
                start: Start::Manual,
                progress_deadline: Span::from_hours(1),
                verify_window: Span::from_secs(5),
                freeze: Span::from_hours(24),
                receivers: Vec::new(),
            },
            phase: Phase::RolledBack { at: at(110), frozen_until: at(86_400_000) },
            weight: Weight::ZERO,
            verdict: Some(CanaryVerdict::Worse { evidence: evidence() }),
            canary: counts(20, 11),
            baseline: counts(400, 0),
        }],
        open_incidents: vec![incident(5)],
        actions: vec![action()],
        changes: vec![change()],
        receivers: vec![name("chat")],
        break_glass: false,
    }
}
