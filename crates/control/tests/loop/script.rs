//! The scripts' language. Declarations gather until `reload`; everything else happens at once.
//!
//! ```text
//! service NAME VERSION=PERCENT… [routes=N] [slow=SPAN]
//! rollout NAME SERVICE BASELINE>CANARY PERCENT:GATE[:SPAN],… [mode= start= progress= verify= freeze= tolerance= min= grace= sli=SPAN]
//! objective NAME SERVICE TARGET% SEVERITY:FACTOR:LONG:SHORT,… [rollback] [min=]
//! guard [cooldown=] [rate=] [routes=] [traffic=] [ttl=] [approval=] [mode=]
//! remove NAME            forget a rollout or objective
//! reload                 apply the declarations
//! load SPAN SERVICE=RATE… [SERVICE/VERSION=ERRORS%[/SLOW%]]… [late:SERVICE/VERSION=RATE]…
//!                        late: so many a second of what was sent before end now, failed, whatever the split is
//! load-until-shift …      ends with the first shift; without one the test fails
//! idle SPAN
//! start|start-frozen|pause|resume|promote|abort ROLLOUT [REASON]
//! approve|reject|undo A-N [REASON]      extend A-N SPAN
//! break-glass on|off
//! change SERVICE|* SUMMARY…
//! explain INC-N MISSING…
//! hold-shifts | release-shifts          the gateway stops or goes on carrying shifts out
//! applied A-N [ahead]                   failed A-N REASON
//! restart SPAN
//! forget SPAN RECORDS    a restart on a journal that lacks records; the snapshot is from before them
//! show splits|phases|actions|incidents
//! ```

use std::{collections::BTreeMap, fmt::Write as _};

use expect_test::Expect;
use homeostat_control::{Command, ControlledService, Event};
use homeostat_model::{
    ActionId, ActionMode, Actor, CellId, CellKey, ChangeEvent, ChangeKind, IncidentId, Objective, ReceiverName,
    RolloutName, ServiceName, Span, Timestamp, VersionName, Weight,
    action::{Decision, Split},
    explanation::Explanation,
    notice::NoticeStatus,
    objective::{BurnRule, OnPage, Severity, Sli, Target},
    rollout::{CanaryTest, Gate, Phase, Rollout, Start, Step, Verb},
};

use crate::harness::{Fault, Loop, START};

/// Runs a script and compares what comes out, then runs it again with the state written and read back now and then.
pub(crate) fn check(script: &str, expected: &Expect) {
    let said = run(script, 0);
    for restore_every in [1_009, 7] {
        assert_eq!(said, run(script, restore_every), "the state was written and read back every {restore_every} steps");
    }
    expected.assert_eq(&flush_left(&said));
}

/// Without the indentation that all lines share: expected texts lose theirs as well.
fn flush_left(text: &str) -> String {
    let indent = text.lines().map(|line| line.len() - line.trim_start().len()).min().unwrap_or(0);
    text.lines().flat_map(|line| [&line[indent..], "\n"]).collect()
}

/// Runs a script and gives what comes out.
pub(crate) fn run(script: &str, restore_every: u64) -> String {
    let mut stage = Stage { world: Loop::new(restore_every), said: String::new() };
    for line in script.lines().map(str::trim).filter(|line| !line.is_empty() && !line.starts_with('#')) {
        stage.line(line);
    }
    stage.said
}

/// Replaces all declarations of services, rollouts and objectives.
pub(crate) fn declare(world: &mut Loop, declarations: &str) {
    world.spec.services.clear();
    world.spec.rollouts.clear();
    world.spec.objectives.clear();
    for line in declarations.lines() {
        let words: Vec<&str> = line.split_whitespace().collect();
        match words[0] {
            "service" => declare_service(world, &words),
            "rollout" => declare_rollout(world, &words),
            "objective" => declare_objective(world, &words),
            _ => declare_guard(world, &words),
        }
    }
    bind_cells(world);
}

struct Stage {
    world: Loop,
    said: String,
}

impl Stage {
    fn line(&mut self, line: &str) {
        let words: Vec<&str> = line.split_whitespace().collect();
        let reason = || words[2..].join(" ");
        let actor = || Actor::new("ann");
        match words[0] {
            "service" => declare_service(&mut self.world, &words),
            "rollout" => declare_rollout(&mut self.world, &words),
            "objective" => declare_objective(&mut self.world, &words),
            "guard" => declare_guard(&mut self.world, &words),
            "remove" => {
                self.world.spec.rollouts.retain(|r| r.name.as_str() != words[1]);
                self.world.spec.objectives.retain(|o| o.name.as_str() != words[1]);
            }
            "reload" => {
                bind_cells(&mut self.world);
                self.step(Event::Configured(Box::new(self.world.spec.clone())));
            }
            "load" | "load-until-shift" => self.load(&words),
            "idle" => {
                let until = self.world.now + span(words[1]);
                let out = self.world.idle(until);
                self.say(out);
            }
            "start" | "start-frozen" | "pause" | "resume" | "promote" | "abort" => {
                let verb = match words[0] {
                    "start" => Verb::Start,
                    "start-frozen" => Verb::StartFrozen,
                    "pause" => Verb::Pause,
                    "resume" => Verb::Resume,
                    "promote" => Verb::Promote,
                    _ => Verb::Abort,
                };
                let rollout = RolloutName::new(words[1]).unwrap();
                self.step(Event::Rollout { rollout, verb, by: actor(), reason: reason() });
            }
            "approve" | "reject" | "undo" | "extend" => {
                let decision = match words[0] {
                    "approve" => Decision::Approve,
                    "reject" => Decision::Reject,
                    "undo" => Decision::Undo,
                    _ => Decision::Extend { ttl: span(words[2]) },
                };
                let action = action(words[1]);
                self.step(Event::Decide { action, decision, by: actor(), reason: reason() });
            }
            "break-glass" => {
                self.step(Event::BreakGlass { engaged: words[1] == "on", by: actor(), reason: reason() });
            }
            "change" => {
                let service = (words[1] != "*").then(|| ServiceName::new(words[1]).unwrap());
                let (at, kind, summary) = (self.world.now, ChangeKind::Deploy, reason());
                self.step(Event::Changed(ChangeEvent { at, kind, service, version: None, summary, by: actor() }));
            }
            "explain" => {
                let incident = IncidentId(words[1].strip_prefix("INC-").unwrap().parse().unwrap());
                let explanation = Explanation { at: self.world.now, missing: vec![reason()], ..Explanation::default() };
                self.step(Event::Explained { incident, explanation: Box::new(explanation) });
            }
            "hold-shifts" => self.world.applies = false,
            "release-shifts" => self.world.applies = true,
            "applied" => {
                self.world.table = self.world.control.desired_splits();
                let ahead_of_disk = words.get(2) == Some(&"ahead");
                self.step(Event::Applied { action: action(words[1]), ahead_of_disk });
            }
            "failed" => self.step(Event::Failed { action: action(words[1]), reason: reason() }),
            "restart" => {
                let out = self.world.restart(span(words[1]));
                self.say(out);
            }
            "forget" => {
                let out = self.world.restart_with_a_hole(span(words[1]), words[2].parse().unwrap());
                self.say(out);
            }
            "show" => self.show(words[1]),
            other => panic!("unknown line: {other}"),
        }
    }

    fn step(&mut self, event: Event) {
        let out = self.world.step(event);
        self.say(out);
    }

    fn load(&mut self, words: &[&str]) {
        let mut rates = BTreeMap::new();
        let mut faults: BTreeMap<_, Fault> = BTreeMap::new();
        for word in &words[2..] {
            let (whom, how) = word.split_once('=').unwrap();
            let (is_late, whom) = whom.strip_prefix("late:").map_or((false, whom), |whom| (true, whom));
            if let Some((service, version)) = whom.split_once('/') {
                let of = (ServiceName::new(service).unwrap(), VersionName::new(version).unwrap());
                let fault = faults.entry(of).or_default();
                if is_late {
                    fault.late = how.parse().unwrap();
                } else {
                    let (errors, slow) = how.split_once('/').unwrap_or((how, "0%"));
                    (fault.errors, fault.slow) = (percent(errors), percent(slow));
                }
            } else {
                rates.insert(ServiceName::new(whom).unwrap(), how.parse().unwrap());
            }
        }
        let until = self.world.now + span(words[1]);
        while self.world.now < until {
            let out = self.world.tick(&rates, &faults);
            let shifted = out.iter().any(|(_, command)| matches!(command, Command::Shift { .. }));
            self.say(out);
            if shifted && words[0] == "load-until-shift" {
                return;
            }
        }
        assert_eq!(words[0], "load", "no shift within {}", words[1]);
    }

    fn say(&mut self, out: Vec<(Timestamp, Command)>) {
        for (at, command) in out {
            writeln!(self.said, "{:>9} {}", clock(at), brief(&command)).unwrap();
        }
    }

    fn show(&mut self, what: &str) {
        let view = self.world.control.view(self.world.now);
        let lines: Vec<String> = match what {
            "splits" => {
                self.world.control.desired_splits().iter().map(|(s, split)| format!("{s} {}", shares(split))).collect()
            }
            "phases" => {
                view.rollouts.iter().map(|r| format!("{} {} {}", r.rollout.name, r.weight, phase(&r.phase))).collect()
            }
            "actions" => {
                let line = |a: &homeostat_model::action::ActionRecord| {
                    format!("{} {} {}", a.plan.id, a.plan.purpose.label(), state(&a.state))
                };
                view.actions.iter().rev().map(line).collect()
            }
            "incidents" => view.open_incidents.iter().map(|i| format!("{} {:?} {}", i.id, i.stage, i.title)).collect(),
            other => panic!("unknown: {other}"),
        };
        for line in lines {
            writeln!(self.said, "{:>9} ~ {line}", clock(self.world.now)).unwrap();
        }
    }
}

/// One command in one line; milestones and evidence of incidents are shown where the incident closes.
fn brief(command: &Command) -> String {
    match command {
        Command::Shift { permit } => {
            let plan = permit.plan();
            format!("SHIFT {} {} {} {}", plan.id, plan.purpose.label(), plan.service, shares(&plan.to))
        }
        Command::RecordAction(record) => {
            format!("action {} {}: {}", record.plan.id, record.plan.purpose.label(), state(&record.state))
        }
        Command::RecordIncident(incident) => {
            let mut line = format!(
                "incident {} {:?}, began {}, harmed {} of {}",
                incident.id,
                incident.stage,
                clock(incident.began_at),
                incident.requests_harmed,
                incident.requests_total
            );
            if incident.closed_at.is_some() {
                for m in &incident.milestones {
                    write!(line, "\n{:>9}   | {:>7} {}: {}", "", clock(m.at), m.what, m.detail).unwrap();
                }
            }
            line
        }
        Command::FreezeBlackBox { incident, cells, from, to } => {
            format!("record {incident} {} cells {}..{}", cells.len(), clock(*from), clock(*to))
        }
        Command::Notify(notice) => {
            let status = if notice.status == NoticeStatus::Firing { "firing" } else { "resolved" };
            let (label, note) = (|name| &notice.labels[name], |name| &notice.annotations[name]);
            let text = if notice.status == NoticeStatus::Firing { note("summary") } else { note("description") };
            format!("notify {} {status} {} ({}): {text}", notice.receiver, label("alertname"), label("severity"))
        }
        Command::RolloutMoved { rollout, phase: to } => format!("moved {rollout} {}", phase(to)),
        Command::Refuse { reason } => format!("REFUSED {reason}"),
    }
}

fn state(state: &homeostat_model::action::ActionState) -> String {
    use homeostat_model::action::ActionState as S;
    match state {
        S::AwaitingApproval { until } => format!("awaits approval until {}", clock(*until)),
        S::Refused { reason, .. } => format!("refused: {reason}"),
        S::Unverified { reason, .. } => format!("unverified: {reason}"),
        S::Undone { reason, .. } => format!("undone: {reason}"),
        S::Failed { reason, .. } => format!("failed: {reason}"),
        other => other.label().to_owned(),
    }
}

fn phase(phase: &Phase) -> String {
    match phase {
        Phase::Progressing { step, .. } => format!("in step {}", step + 1),
        Phase::Paused { step, reason, .. } => format!("paused in step {}: {reason}", step + 1),
        Phase::RolledBack { frozen_until, .. } => format!("rolled back, frozen until {}", clock(*frozen_until)),
        Phase::Aborted { reason, .. } => format!("aborted: {reason}"),
        other => other.label().to_owned(),
    }
}

fn shares(split: &Split) -> String {
    split.iter().map(|(version, weight)| format!("{version}={weight}")).collect::<Vec<_>>().join(" ")
}

/// Milliseconds since the start, in seconds.
fn clock(at: Timestamp) -> String {
    let ms = (at.unix_ns() - START.unix_ns()) as f64 / 1e6;
    format!("{:.3}s", ms / 1e3)
}

pub(crate) fn span(text: &str) -> Span {
    let digits = text.trim_end_matches(char::is_alphabetic);
    let number: u64 = digits.parse().unwrap();
    match &text[digits.len()..] {
        "ms" => Span::from_ms(number),
        "s" => Span::from_secs(number),
        "m" => Span::from_mins(number),
        "h" => Span::from_hours(number),
        "d" => Span::from_days(number),
        other => panic!("unknown unit: {other}"),
    }
}

fn percent(text: &str) -> f64 {
    text.trim_end_matches('%').parse::<f64>().unwrap() / 100.0
}

fn weight(text: &str) -> Weight {
    Weight::from_percent(text.trim_end_matches('%').parse().unwrap()).unwrap()
}

fn mode(text: &str) -> ActionMode {
    match text {
        "observe" => ActionMode::Observe,
        "approve" => ActionMode::Approve,
        _ => ActionMode::Auto,
    }
}

fn action(text: &str) -> ActionId {
    ActionId(text.trim_start_matches("A-").parse().unwrap())
}

fn declare_service(world: &mut Loop, words: &[&str]) {
    let (mut split, mut routes, mut thresholds) = (Split::new(), 1, Vec::new());
    for word in &words[2..] {
        match word.split_once('=').unwrap() {
            ("routes", n) => routes = n.parse().unwrap(),
            ("slow", threshold) => thresholds.push(span(threshold)),
            (version, share) => split.push((VersionName::new(version).unwrap(), weight(share))),
        }
    }
    let name = ServiceName::new(words[1]).unwrap();
    world.spec.services.retain(|s| s.name != name);
    world.spec.services.push(ControlledService {
        versions: split.iter().map(|(version, _)| version.clone()).collect(),
        routes: (0..routes).map(|n| format!("{name}-{n}").parse().unwrap()).collect(),
        split,
        thresholds,
        name,
    });
    world.spec.receivers = vec![ReceiverName::new("ops").unwrap()];
}

/// Cells keep their ids; new ones get the next.
fn bind_cells(world: &mut Loop) {
    let mut next = world.spec.cells.iter().map(|(id, _)| id.0 + 1).max().unwrap_or(0);
    let services = &world.spec.services;
    let served = |key: &CellKey| services.iter().any(|s| s.name == key.service && s.versions.contains(&key.version));
    world.spec.cells.retain(|(_, key)| served(key));
    for service in &world.spec.services {
        for (route, version) in service.routes.iter().flat_map(|r| service.versions.iter().map(move |v| (r, v))) {
            let key = CellKey { route: route.clone(), service: service.name.clone(), version: version.clone() };
            if world.spec.cells.iter().all(|(_, known)| *known != key) {
                world.spec.cells.push((CellId(next), key));
                next += 1;
            }
        }
    }
}

fn declare_rollout(world: &mut Loop, words: &[&str]) {
    let (baseline, canary) = words[3].split_once('>').unwrap();
    let step = |text: &str| {
        let parts: Vec<&str> = text.split(':').collect();
        let at_least = parts.get(2).map_or(Span::ZERO, |text| span(text));
        let gate = match parts[1] {
            "pause" => Gate::Pause { at_least },
            "evidence" => Gate::Evidence { at_least },
            _ => Gate::Manual,
        };
        Step { weight: weight(parts[0]), gate }
    };
    let mut rollout = Rollout {
        name: RolloutName::new(words[1]).unwrap(),
        service: ServiceName::new(words[2]).unwrap(),
        baseline: VersionName::new(baseline).unwrap(),
        canary: VersionName::new(canary).unwrap(),
        steps: words[4].split(',').map(step).collect(),
        test: CanaryTest {
            alpha: 0.001,
            beta: 0.05,
            tolerance: 0.01,
            min_events: 10,
            grace: Span::ZERO,
            slis: vec![Sli::Availability],
        },
        mode: ActionMode::Auto,
        start: Start::Manual,
        progress_deadline: Span::from_hours(1),
        verify_window: Span::from_secs(30),
        freeze: Span::from_hours(2),
        receivers: Vec::new(),
    };
    for word in &words[5..] {
        match word.split_once('=').unwrap() {
            ("mode", text) => rollout.mode = mode(text),
            ("start", text) => rollout.start = if text == "auto" { Start::Auto } else { Start::Manual },
            ("progress", text) => rollout.progress_deadline = span(text),
            ("verify", text) => rollout.verify_window = span(text),
            ("freeze", text) => rollout.freeze = span(text),
            ("tolerance", text) => rollout.test.tolerance = percent(text),
            ("min", text) => rollout.test.min_events = text.parse().unwrap(),
            ("grace", text) => rollout.test.grace = span(text),
            ("sli", text) => rollout.test.slis.push(Sli::Latency { threshold: span(text) }),
            (other, _) => panic!("unknown: {other}"),
        }
    }
    world.spec.rollouts.retain(|r| r.name != rollout.name);
    world.spec.rollouts.push(rollout);
}

fn declare_objective(world: &mut Loop, words: &[&str]) {
    let rule = |text: &str| {
        let parts: Vec<&str> = text.split(':').collect();
        BurnRule {
            severity: if parts[0] == "page" { Severity::Page } else { Severity::Ticket },
            factor: parts[1].parse().unwrap(),
            long: span(parts[2]),
            short: span(parts[3]),
        }
    };
    let mut objective = Objective {
        name: words[1].parse().unwrap(),
        display_name: words[1].to_owned(),
        service: ServiceName::new(words[2]).unwrap(),
        routes: Vec::new(),
        version: None,
        sli: Sli::Availability,
        target: Target::new(percent(words[3])).unwrap(),
        period: Span::from_days(1),
        fast_window: Span::from_secs(1),
        min_events: 100,
        burn_rules: words[4].split(',').map(rule).collect(),
        on_page: OnPage::Notify,
        receivers: Vec::new(),
        indicator: None,
    };
    for word in &words[5..] {
        match word.split_once('=') {
            None => objective.on_page = OnPage::ProposeRollback,
            Some((_, text)) => objective.min_events = text.parse().unwrap(),
        }
    }
    world.spec.objectives.retain(|o| o.name != objective.name);
    world.spec.objectives.push(objective);
}

fn declare_guard(world: &mut Loop, words: &[&str]) {
    let guard = &mut world.spec.guard;
    for word in &words[1..] {
        match word.split_once('=').unwrap() {
            ("cooldown", text) => guard.cooldown = span(text),
            ("rate", text) => guard.actions_per_hour_max = text.parse().unwrap(),
            ("routes", text) => guard.routes_max = text.parse().unwrap(),
            ("traffic", text) => guard.traffic_max = weight(text),
            ("ttl", text) => guard.ttl_max = span(text),
            ("approval", text) => guard.approval_ttl = span(text),
            ("mode", text) => guard.default_mode = mode(text),
            (other, _) => panic!("unknown: {other}"),
        }
    }
}
