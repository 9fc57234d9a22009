//! Overviews: what there is and how it stands, one line each.

use std::fmt::Write as _;

use homeostat_api::backend::{AuditEntry, ConfigStatus, Health};
use homeostat_model::{
    ChangeEvent, Timestamp,
    action::ActionRecord,
    rollout::Phase,
    verdict::{CanaryVerdict, Missing},
    view::{RolloutView, View, WindowView},
};

use super::{Style, Tone, count, duration, incident, percent, plain, table, utc, wrap};

/// `homeostat status`.
pub(crate) fn status(view: &View, health: &Health, config: &ConfigStatus, style: Style) -> String {
    let mut out = String::new();
    let (word, tone) = if health.ready { ("ready", Tone::Good) } else { ("not ready", Tone::Bad) };
    out.push_str(&style.paint(tone, word));
    let _ = write!(out, " · configuration {} of {}", config.generation, utc(config.accepted_at));
    out.push_str(if view.break_glass {
        " · automatic actions are OFF (break-glass)\n"
    } else {
        " · automatic actions on\n"
    });
    for part in health.parts.iter().filter(|part| !part.ok) {
        out.push_str(
            &style.paint(Tone::Bad, &wrap(&format!("{}: {}", part.part, plain(&part.detail)), "  ", style.width)),
        );
    }
    if let Some(at) = config.rejected_at {
        let _ = writeln!(out, "  a newer configuration was refused at {}; the old one keeps running:", utc(at));
        config.problems.iter().for_each(|problem| out.push_str(&wrap(&plain(problem), "    ", style.width)));
    }
    for note in &config.notes {
        out.push_str(&style.paint(Tone::Bad, &wrap(&plain(note), "  ", style.width)));
    }
    let mut part = |text: String| {
        if !text.is_empty() {
            out.push('\n');
            out.push_str(&text);
        }
    };
    part(services(view, style));
    part(objectives(view, style));
    part(rollouts(&view.rollouts, style));
    part(incident::list(&view.open_incidents, style));
    out
}

fn services(view: &View, style: Style) -> String {
    let rows = view.services.iter().flat_map(|service| {
        service.versions.iter().map(move |version| {
            vec![
                service.name.to_string(),
                version.name.to_string(),
                version.weight.to_string(),
                count(version.last_10s.total()),
                version.last_10s.bad_share().map_or_else(|| "-".to_owned(), percent),
            ]
        })
    });
    table(&["SERVICE", "VERSION", "SHARE", "REQUESTS/10S", "FAILED"], &rows.collect::<Vec<_>>(), style)
}

fn objectives(view: &View, style: Style) -> String {
    let burn = |window: &WindowView| match window.burn_rate {
        Some(rate) if window.enough => format!("{rate:.1}"),
        _ => "not enough evidence".to_owned(),
    };
    let rows = view.objectives.iter().map(|objective| {
        let firing: Vec<_> =
            objective.rules.iter().filter(|rule| rule.firing).map(|rule| rule.rule.severity.label()).collect();
        vec![
            objective.objective.name.to_string(),
            format!("{}", objective.objective.target.share()),
            objective.budget_left.map_or_else(|| "unmeasured".to_owned(), percent),
            percent(objective.period.coverage),
            burn(&objective.fast),
            if firing.is_empty() { "-".to_owned() } else { firing.join(", ") },
        ]
    });
    table(&["OBJECTIVE", "TARGET", "BUDGET LEFT", "MEASURED", "BURN NOW", "FIRING"], &rows.collect::<Vec<_>>(), style)
}

/// `homeostat rollout list`.
pub(crate) fn rollouts(rollouts: &[RolloutView], style: Style) -> String {
    let row = |view: &RolloutView| {
        let rollout = &view.rollout;
        vec![
            rollout.name.to_string(),
            format!("{} over {}", rollout.canary, rollout.baseline),
            phase(&view.phase, rollout.steps.len()),
            view.weight.to_string(),
            view.verdict.as_ref().map_or_else(|| "-".to_owned(), verdict),
        ]
    };
    let rows: Vec<_> = rollouts.iter().map(row).collect();
    table(&["ROLLOUT", "CANARY", "PHASE", "SHARE", "VERDICT"], &rows, style)
}

fn phase(phase: &Phase, steps: usize) -> String {
    match phase {
        Phase::Idle => "idle".to_owned(),
        Phase::Progressing { step, .. } => format!("step {} of {steps}", step + 1),
        Phase::Paused { step, reason, .. } if reason.is_empty() => format!("paused in step {} of {steps}", step + 1),
        Phase::Paused { step, reason, .. } => format!("paused in step {} of {steps}: {}", step + 1, plain(reason)),
        Phase::Promoted { .. } => "promoted".to_owned(),
        Phase::RolledBack { frozen_until, .. } => format!("rolled back, frozen until {}", utc(*frozen_until)),
        Phase::Aborted { reason, .. } => format!("aborted: {}", plain(reason)),
    }
}

fn verdict(verdict: &CanaryVerdict) -> String {
    match verdict {
        CanaryVerdict::Worse { .. } => "worse".to_owned(),
        CanaryVerdict::NotWorse { .. } => "not worse".to_owned(),
        CanaryVerdict::NotEnoughEvidence { missing } => match missing {
            Missing::Grace { left } => format!("grace time, {} left", duration(*left)),
            Missing::CanaryEvents { have, need } => {
                format!("not enough evidence: {} of {} requests", count(*have), count(*need))
            }
            Missing::BaselineEvents => "not enough evidence: the baseline has no requests".to_owned(),
            Missing::Certainty => "not enough evidence yet".to_owned(),
        },
    }
}

/// `homeostat action list`.
pub(crate) fn actions(actions: &[ActionRecord], style: Style) -> String {
    let row = |action: &ActionRecord| {
        vec![
            action.plan.id.to_string(),
            utc(action.proposed_at),
            action.plan.purpose.label().to_owned(),
            action.plan.service.to_string(),
            action.state.label().to_owned(),
            action.incident.map_or_else(|| "-".to_owned(), |id| id.to_string()),
        ]
    };
    let rows: Vec<_> = actions.iter().map(row).collect();
    table(&["ACTION", "PROPOSED", "PURPOSE", "SERVICE", "STATE", "INCIDENT"], &rows, style)
}

/// `homeostat audit`.
pub(crate) fn audit(entries: &[AuditEntry], style: Style) -> String {
    let row = |entry: &AuditEntry| vec![utc(entry.at), entry.by.to_string(), plain(&entry.what), plain(&entry.reason)];
    let rows: Vec<_> = entries.iter().map(row).collect();
    table(&["WHEN", "WHO", "WHAT", "WHY"], &rows, style)
}

/// `homeostat change list`.
pub(crate) fn changes(changes: &[ChangeEvent], style: Style) -> String {
    let row = |change: &ChangeEvent| {
        vec![
            utc(change.at),
            change.kind.label().to_owned(),
            change.service.as_ref().map_or_else(|| "all".to_owned(), ToString::to_string),
            change.version.as_ref().map_or_else(|| "-".to_owned(), ToString::to_string),
            change.by.to_string(),
            plain(&change.summary),
        ]
    };
    let rows: Vec<_> = changes.iter().map(row).collect();
    table(&["WHEN", "KIND", "SERVICE", "VERSION", "WHO", "WHAT"], &rows, style)
}

/// One event of the stream as a line; `None` for what says nothing to a reader.
pub(crate) fn event(name: &str, data: &serde_json::Value) -> Option<String> {
    let at = data
        .get("at")
        .and_then(serde_json::Value::as_i64)
        .map_or_else(String::new, |ns| utc(Timestamp::from_unix_ns(ns)));
    match name {
        "lagged" => Some(format!("{} items were missed: this reader was too slow", data.get("missed")?)),
        "command" => {
            let command = data.get("command")?;
            let word = command.get("command").and_then(serde_json::Value::as_str).unwrap_or("command");
            Some(plain(&format!("{at}  {word}  {command}")))
        }
        "traffic" => {
            let versions = data.get("versions")?.as_array()?.iter().map(|version| {
                let text = |name| version.get(name).and_then(serde_json::Value::as_str).unwrap_or("?");
                let number = |name| version.get(name).and_then(serde_json::Value::as_u64).unwrap_or(0);
                format!("{}/{} {} good {} bad", text("service"), text("version"), number("good"), number("bad"))
            });
            Some(plain(&format!("{at}  traffic  {}", versions.collect::<Vec<_>>().join(", "))))
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use expect_test::expect;
    use homeostat_api::backend::PartHealth;
    use homeostat_model::{
        Actor, ChangeKind, Span, Weight,
        evidence::EventCounts,
        view::{ServiceView, VersionView},
    };

    use super::*;

    const STYLE: Style = Style { width: 100, color: false, whole_rows: false };

    #[test]
    fn the_status_names_what_is_wrong_first() {
        let at = Timestamp::from_unix_ms(1_750_000_000_000);
        let version = |name: &str, percent: f64, good, bad| VersionView {
            name: name.parse().unwrap(),
            weight: Weight::from_percent(percent).unwrap(),
            last_10s: EventCounts { good, bad },
            cells: Vec::new(),
        };
        let view = View {
            services: vec![ServiceView {
                name: "shop".parse().unwrap(),
                versions: vec![version("v1", 95.0, 19_000, 0), version("v2", 5.0, 0, 0)],
            }],
            break_glass: true,
            ..View::default()
        };
        let part =
            PartHealth { part: "journal".to_owned(), ok: false, detail: "the disk is full; free 1 GiB".to_owned() };
        let health = Health { ready: false, parts: vec![part] };
        let config = ConfigStatus {
            generation: 3,
            accepted_at: at,
            problems: vec!["shop.yaml:7:3: unknown key `wieght`; did you mean `weight`?".to_owned()],
            notes: vec!["the API's addresses changed: this takes a restart, everything else is in force".to_owned()],
            rejected_at: Some(at + Span::from_secs(60)),
        };
        expect![[r"
            not ready · configuration 3 of 2025-06-15 15:06:40.000 UTC · automatic actions are OFF (break-glass)
              journal: the disk is full; free 1 GiB
              a newer configuration was refused at 2025-06-15 15:07:40.000 UTC; the old one keeps running:
                shop.yaml:7:3: unknown key `wieght`; did you mean `weight`?
              the API's addresses changed: this takes a restart, everything else is in force

            SERVICE  VERSION  SHARE  REQUESTS/10S  FAILED
            shop     v1       95%    19,000        0 %
            shop     v2       5%     0             -
        "]]
        .assert_eq(&status(&view, &health, &config, STYLE));
    }

    #[test]
    fn changes_are_lines() {
        let change = |service: Option<&str>, kind, summary: &str| ChangeEvent {
            at: Timestamp::from_unix_ms(1_750_000_000_000),
            kind,
            service: service.map(|name| name.parse().unwrap()),
            version: service.map(|_| "v2".parse().unwrap()),
            summary: summary.to_owned(),
            by: Actor::new("pipeline"),
        };
        let page = changes(
            &[change(Some("shop"), ChangeKind::Deploy, "build 7"), change(None, ChangeKind::Flag, "cdn\u{1b} off")],
            STYLE,
        );
        expect![[r"
            WHEN                         KIND    SERVICE  VERSION  WHO       WHAT
            2025-06-15 15:06:40.000 UTC  deploy  shop     v2       pipeline  build 7
            2025-06-15 15:06:40.000 UTC  flag    all      -        pipeline  cdn  off
        "]]
        .assert_eq(&page);
    }

    #[test]
    fn verdicts_and_phases_are_sentences() {
        let missing = |missing| verdict(&CanaryVerdict::NotEnoughEvidence { missing });
        assert_eq!(missing(Missing::CanaryEvents { have: 3, need: 1_000 }), "not enough evidence: 3 of 1,000 requests");
        assert_eq!(missing(Missing::Grace { left: Span::from_ms(1_500) }), "grace time, 1.5 s left");
        let paused = Phase::Paused { step: 1, since: Timestamp::default(), reason: "by hand".to_owned() };
        assert_eq!(phase(&paused, 5), "paused in step 2 of 5: by hand");
    }

    #[test]
    fn events_and_audits_are_lines_without_control_characters() {
        let command = serde_json::json!({ "at": 1_750_000_000_000_000_000_i64, "command": { "command": "notify", "x": "a\u{1b}b" } });
        let line = event("command", &command).unwrap();
        assert!(line.starts_with("2025-06-15 15:06:40.000 UTC  notify  {"), "{line}");
        assert!(!line.contains('\u{1b}'));
        assert_eq!(
            event("lagged", &serde_json::json!({ "missed": 7 })).unwrap(),
            "7 items were missed: this reader was too slow"
        );
        assert_eq!(event("view", &serde_json::json!({})), None);
        let entry = AuditEntry {
            at: Timestamp::from_unix_ms(1_750_000_000_000),
            by: Actor::new("admin"),
            what: "abort rollout shop".to_owned(),
            reason: "bad\nnews".to_owned(),
        };
        expect![[r"
            WHEN                         WHO    WHAT                WHY
            2025-06-15 15:06:40.000 UTC  admin  abort rollout shop  bad news
        "]]
        .assert_eq(&audit(&[entry], STYLE));
    }
}
