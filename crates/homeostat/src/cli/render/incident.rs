//! The incident page of a terminal: what broke, why we think so, when what happened, what was done.

use std::fmt::Write as _;

use homeostat_api::backend::IncidentDetail;
use homeostat_model::{
    CellId, Span, Timestamp, VersionName, Weight,
    action::{ActionRecord, ActionState, Initiator, Split},
    explanation::{Explanation, ProfileSide},
    incident::{BlackBox, Incident, Stage, Subject},
    kernel::KernelSeen,
};

use super::{
    Style, Tone, count, duration, evidence, offset, percent, plain,
    sparkline::{Axis, sparkline},
    table, utc, wrap,
};

/// Shown before the first bad response.
const LEAD: Span = Span::from_ms(500);
/// Shown after the last mark.
const TAIL: Span = Span::from_ms(500);
/// The time line covers this much after the verdict at most; what comes later is in the list of milestones.
const AFTER_VERDICT_MAX: Span = Span::from_secs(10);

/// A space at which no line is broken.
const JOINED: char = '\u{a0}';

/// The whole page; `black_box` adds the time line.
pub(crate) fn page(detail: &IncidentDetail, black_box: Option<&BlackBox>, style: Style) -> String {
    let incident = &detail.incident;
    let mut out = head(incident, style);
    section(&mut out, "Why", style);
    for sentence in incident.evidence.iter().flat_map(evidence::sentences) {
        let indent = if sentence.starts_with(' ') { "    " } else { "  " };
        out.push_str(&wrap(sentence.trim_start(), indent, style.width));
    }
    if let Some(explanation) = &incident.explanation {
        explained(&mut out, explanation, style);
    }
    match black_box {
        Some(black_box) => timeline(&mut out, incident, black_box, style),
        None if detail.has_black_box => {}
        None => out.push_str("\n  no recording is kept with this incident\n"),
    }
    section(&mut out, "Milestones, from the first bad response", style);
    for milestone in &incident.milestones {
        let prefix = format!("{:>11}  {:<12} ", offset(milestone.at, incident.began_at), plain(&milestone.what));
        out.push_str(&hanging(&prefix, &plain(&milestone.detail), style));
    }
    if !detail.actions.is_empty() {
        section(&mut out, "Actions", style);
        detail.actions.iter().for_each(|action| out.push_str(&action_card(action, style)));
    }
    if !incident.changes.is_empty() {
        section(&mut out, "Changes before it", style);
        for change in &incident.changes {
            let prefix = format!("{:>11}  ", offset(change.at, incident.began_at));
            out.push_str(&hanging(&prefix, &format!("{} (by {})", plain(&change.summary), change.by), style));
        }
    }
    out
}

fn section(out: &mut String, title: &str, style: Style) {
    out.push('\n');
    out.push_str(&style.paint(Tone::Strong, title));
    out.push('\n');
}

/// The likeliest causes with their reasons, or what is missing to name one.
fn explained(out: &mut String, explanation: &Explanation, style: Style) {
    section(out, "Likely cause", style);
    if explanation.hypotheses.is_empty() {
        out.push_str("  not enough evidence to name one\n");
    }
    for (number, cause) in (1..).zip(&explanation.hypotheses) {
        let title = format!("{} ({} %)", plain(&cause.title), cause.confidence_percent);
        out.push_str(&hanging(&format!("  {number}. "), &title, style));
        for line in &cause.evidence {
            let sign = if line.supports { '+' } else { '-' };
            out.push_str(&hanging(&format!("     {sign} "), &plain(&line.text), style));
        }
        out.push_str(&hanging("     next: ", &plain(&cause.next_check), style));
    }
    if !explanation.frames.is_empty() {
        out.push_str("  functions that moved beyond noise, good side to bad side:\n");
        for frame in &explanation.frames {
            let share = |parts: u16| percent(f64::from(parts) / 10_000.0);
            let prefix = format!("    {:>7} to {:>7}  ", share(frame.good), share(frame.bad));
            out.push_str(&hanging(&prefix, &plain(&frame.function), style));
        }
    }
    for case in &explanation.cases {
        let line = format!("alike: case {} ({}), {} %", plain(&case.id), plain(&case.pattern), case.likeness_percent);
        out.push_str(&wrap(&line, "  ", style.width));
    }
    for profile in &explanation.profiles {
        let side = if profile.side == ProfileSide::Bad { "bad" } else { "good" };
        let line = format!(
            "profile: {} of {} ({side} side), {} windows, {} samples",
            plain(&profile.kind),
            profile.version,
            profile.windows,
            count(profile.samples)
        );
        out.push_str(&wrap(&line, "  ", style.width));
    }
    for seen in &explanation.kernel {
        out.push_str(&hanging("  kernel: ", &of_kernel(seen), style));
    }
    for line in &explanation.missing {
        out.push_str(&hanging("  missing: ", &plain(line), style));
    }
}

/// One version on one side, in words.
fn of_kernel(seen: &KernelSeen) -> String {
    let side = if seen.side == ProfileSide::Bad { "bad" } else { "good" };
    let mut line = format!("{} ({side} side), {} s:", seen.version, seen.seconds);
    if let Some(us) = seen.wait_us_p99 {
        let _ = write!(line, " waits for a processor {:.1} ms (p99),", us as f64 / 1000.0);
    }
    let (own, others) = (count(seen.cpu_ms_per_s), count(seen.others_cpu_ms_per_s));
    let _ = write!(line, " works {own} ms a second, other programs {others} ms");
    if let Some(ppm) = seen.sent_again_ppm {
        let _ = write!(line, ", {} of TCP segments sent again", percent(ppm as f64 / 1e6));
    }
    line
}

/// A text behind a prefix; further lines begin below the text.
fn hanging(prefix: &str, text: &str, style: Style) -> String {
    let indent = " ".repeat(prefix.chars().count());
    let lines = wrap(text, &indent, style.width);
    let line = format!("{prefix}{}", lines.strip_prefix(&indent).unwrap_or(&lines));
    line.trim_end().to_owned() + "\n"
}

fn head(incident: &Incident, style: Style) -> String {
    let tone = if incident.stage == Stage::Closed { Tone::Strong } else { Tone::Bad };
    let title = format!("{} {}", incident.id, plain(&incident.title));
    let mut out = wrap(&title, "", style.width).lines().map(|line| style.paint(tone, line) + "\n").collect::<String>();
    let share = incident.requests_harmed as f64 / incident.requests_total.max(1) as f64;
    let harmed = format!(
        "{} of {} requests harmed ({}) since {}",
        count(incident.requests_harmed),
        count(incident.requests_total),
        percent(share),
        utc(incident.began_at),
    );
    out.push_str(&wrap(&harmed, "", style.width));
    let about = match &incident.subject {
        Subject::Canary { rollout, canary, baseline } => format!("rollout {rollout}: {canary} over {baseline}"),
        Subject::Objective { objective } => format!("objective {objective}"),
    };
    let stage = match incident.stage {
        Stage::Judged => "judged, nothing done yet",
        Stage::Acted => "acted, watching",
        Stage::Recovered => "recovered",
        Stage::Closed => "closed",
    };
    out.push_str(&wrap(
        &format!("{about} · service {} · {} · {stage}", incident.service, incident.severity.label()),
        "",
        style.width,
    ));
    out
}

/// Good and bad responses of each version around the verdict, with marks below.
fn timeline(out: &mut String, incident: &Incident, black_box: &BlackBox, style: Style) {
    let versions = versions(black_box);
    let label =
        versions.iter().map(|(version, _)| version.as_str().chars().count()).max().unwrap_or(0).max(2) + " good".len();
    // Label on the left, the largest count on the right.
    let columns = style.width.saturating_sub(2 + label + 2 + 10);
    let last = incident.milestones.iter().map(|milestone| milestone.at).max().unwrap_or(incident.opened_at);
    let to = (last + TAIL).min(incident.opened_at + AFTER_VERDICT_MAX).min(black_box.to.max(incident.opened_at + TAIL));
    let axis = Axis::new(incident.began_at - LEAD, to, columns);
    section(
        out,
        &format!("Time line, {} a column, from {}", duration(axis.bin), offset(axis.from, incident.began_at)),
        style,
    );
    for (version, cells) in &versions {
        for (what, tone) in [("good", Tone::Good), ("bad", Tone::Bad)] {
            let sums = axis.sums(series(black_box, cells, what));
            let line = style.paint(tone, &sparkline(&sums));
            let largest = count(sums.iter().copied().max().unwrap_or(0));
            let label = format!("{:<label$}", format!("{} {what}", version.as_str()));
            let _ = writeln!(out, "  {label}  {line} {largest}");
        }
    }
    marks(out, incident, &axis, label);
    if black_box.incomplete {
        out.push_str("  part of this time was not recorded\n");
    }
}

/// Versions with their cells, in the order of the cells.
fn versions(black_box: &BlackBox) -> Vec<(VersionName, Vec<CellId>)> {
    let mut out: Vec<(VersionName, Vec<CellId>)> = Vec::new();
    for (id, key) in &black_box.cells {
        match out.iter_mut().find(|(version, _)| *version == key.version) {
            Some((_, cells)) => cells.push(*id),
            None => out.push((key.version.clone(), vec![*id])),
        }
    }
    out.sort_by(|a, b| a.0.cmp(&b.0));
    out
}

fn series<'a>(
    black_box: &'a BlackBox,
    cells: &'a [CellId],
    what: &'a str,
) -> impl Iterator<Item = (Timestamp, u64)> + 'a {
    black_box.ticks.iter().map(move |tick| {
        let own = tick.deltas.iter().filter(|delta| cells.contains(&delta.cell));
        let one =
            |counts: &homeostat_model::OutcomeCounts| if what == "bad" { counts.bad() } else { counts.answered() };
        // A tick is named by its end; its requests came just before it.
        let at = tick.at - Span::from_ns(1);
        (at, own.fold(0, |sum: u64, delta| sum.saturating_add(one(&delta.counts))))
    })
}

/// One letter per milestone and change under its column, and what the letters mean.
fn marks(out: &mut String, incident: &Incident, axis: &Axis, label: usize) {
    let mut line = vec![' '; axis.columns];
    let mut legend = Vec::new();
    let letters = 'a'..='z';
    let milestones = incident.milestones.iter().map(|milestone| (milestone.at, milestone.what.clone()));
    let changes = incident.changes.iter().map(|change| (change.at, format!("{} change", change.kind.label())));
    let mut story: Vec<_> = milestones.chain(changes).collect();
    story.sort_by_key(|(at, _)| *at);
    let shown = story.iter().filter_map(|(at, what)| Some((axis.column(*at)?, what)));
    for (letter, (column, what)) in letters.zip(shown) {
        // Several in one column: the first stands for them, the legend names all.
        if let Some(place) = line.get_mut(column).filter(|place| **place == ' ') {
            *place = letter;
        }
        legend.push(format!("{letter}{JOINED}{}", plain(what)));
    }
    let line: String = line.into_iter().collect();
    let _ = writeln!(out, "  {:label$}  {}", "", line.trim_end());
    let lines = wrap(&legend.join(&format!("{JOINED} ")), &" ".repeat(label + 4), label + 4 + axis.columns);
    for line in lines.lines() {
        let _ = writeln!(out, "{}", line.replace(JOINED, " ").trim_end());
    }
}

/// What was or is to be done, and why it was allowed.
pub(crate) fn action_card(action: &ActionRecord, style: Style) -> String {
    let plan = &action.plan;
    let by = match &plan.initiator {
        Initiator::Rollout { rollout } => format!("the judge of rollout {rollout}"),
        Initiator::Objective { objective } => format!("objective {objective}"),
        Initiator::Person { actor } => actor.to_string(),
    };
    let mut out = format!(
        "  {} {} of {}: {} → {}\n",
        style.paint(Tone::Strong, &plan.id.to_string()),
        plan.purpose.label(),
        plan.service,
        split(&plan.from),
        split(&plan.to),
    );
    let mut line = |text: String| out.push_str(&wrap(&text, "      ", style.width));
    line(format!("asked for by {by}; it moves {} of the traffic", plan.traffic_moved()));
    line(state(action));
    if let Some(until) = action.expires_at {
        line(format!("holds until {} unless extended", utc(until)));
    }
    if action.ahead_of_disk {
        line("it took effect before its record was on disk, because the disk did not answer in time".to_owned());
    }
    out
}

fn split(split: &Split) -> String {
    let shares = split
        .iter()
        .filter(|(_, weight)| *weight > Weight::ZERO)
        .map(|(version, weight)| format!("{version} {weight}"));
    shares.collect::<Vec<_>>().join(", ")
}

fn state(action: &ActionRecord) -> String {
    let after = |at: &Timestamp| duration(at.since(action.proposed_at));
    match &action.state {
        ActionState::AwaitingApproval { until } => {
            format!("waits for approval until {}: `homeostat action approve {}`", utc(*until), action.plan.id)
        }
        ActionState::Refused { reason, .. } => format!("refused: {}", plain(reason)),
        ActionState::Admitted { at } => format!("admitted by the guard {} after it was proposed", after(at)),
        ActionState::Applied { at } => format!("in force {} after it was proposed", after(at)),
        ActionState::Verified { at } => format!("verified {} after it was proposed: the service recovered", after(at)),
        ActionState::Unverified { reason, .. } => format!("in force, but not verified: {}", plain(reason)),
        ActionState::Undone { reason, .. } => format!("undone: {}", plain(reason)),
        ActionState::Expired { at } => format!("ended by its time limit at {}", utc(*at)),
        ActionState::Failed { reason, .. } => format!("failed: {}", plain(reason)),
    }
}

/// One line per incident.
pub(crate) fn list(incidents: &[Incident], style: Style) -> String {
    let row = |incident: &Incident| {
        let ended = incident.closed_at.map_or_else(|| "open".to_owned(), |at| duration(at.since(incident.began_at)));
        vec![
            incident.id.to_string(),
            utc(incident.began_at),
            ended,
            incident.severity.label().to_owned(),
            count(incident.requests_harmed),
            plain(&incident.title),
        ]
    };
    let rows: Vec<_> = incidents.iter().map(row).collect();
    table(&["INCIDENT", "BEGAN", "LASTED", "SEVERITY", "HARMED", "WHAT"], &rows, style)
}

#[cfg(test)]
mod tests {
    use expect_test::expect;
    use homeostat_model::{
        ActionId, Actor, CellKey, ChangeEvent, ChangeKind, IncidentId, OutcomeClass, OutcomeCounts, OutcomeDelta,
        action::{Plan, Purpose},
        evidence::{EventCounts, Evidence, SliEvidence},
        explanation::{CaseAlike, CauseKind, EvidenceLine, FrameMoved, Hypothesis, ProfileSeen},
        incident::{Milestone, TickCounts},
        objective::{Severity, Sli},
    };

    use super::*;

    const BEGAN: Timestamp = Timestamp::from_unix_ms(1_750_000_000_000);

    fn at(ms: u64) -> Timestamp {
        BEGAN + Span::from_ms(ms)
    }

    fn detail() -> IncidentDetail {
        let counts = |bad, good| EventCounts { good, bad };
        let evidence = Evidence::Canary {
            canary: "v2".parse().unwrap(),
            baseline: "v1".parse().unwrap(),
            since: BEGAN - Span::from_secs(3),
            ln_e: 8.1,
            ln_e_needed: 6.907_755,
            alpha: 0.001,
            tolerance: 0.01,
            slis: vec![SliEvidence {
                sli: Sli::Availability,
                canary: counts(11, 20),
                baseline: counts(0, 1_400),
                ln_e_worse: 8.1,
                ln_e_not_worse: -2.0,
            }],
        };
        let share = |percent| Weight::from_percent(percent).unwrap();
        let split =
            |canary: f64| vec![("v1".parse().unwrap(), share(100.0 - canary)), ("v2".parse().unwrap(), share(canary))];
        let milestone =
            |ms, what: &str, detail: &str| Milestone { at: at(ms), what: what.to_owned(), detail: detail.to_owned() };
        IncidentDetail {
            incident: Incident {
                id: IncidentId(3),
                title: "shop v2 fails 35 % of its requests".to_owned(),
                service: "shop".parse().unwrap(),
                subject: Subject::Canary {
                    rollout: "shop".parse().unwrap(),
                    canary: "v2".parse().unwrap(),
                    baseline: "v1".parse().unwrap(),
                },
                severity: Severity::Page,
                stage: Stage::Closed,
                began_at: BEGAN,
                opened_at: at(120),
                closed_at: Some(at(2_120)),
                evidence: vec![evidence.clone()],
                requests_harmed: 11,
                requests_total: 431,
                actions: vec![ActionId(7)],
                changes: vec![ChangeEvent {
                    at: BEGAN - Span::from_secs(3),
                    kind: ChangeKind::Traffic,
                    service: Some("shop".parse().unwrap()),
                    version: Some("v2".parse().unwrap()),
                    summary: "v2 gets 5%".to_owned(),
                    by: Actor::new("pipeline"),
                }],
                milestones: vec![
                    milestone(0, "first_bad", "the first 503 of v2"),
                    milestone(120, "verdict", "worse"),
                    milestone(123, "weight_zero", "v2 gets nothing from here on"),
                    milestone(2_120, "verified", ""),
                ],
                explanation: Some(explanation()),
            },
            actions: vec![ActionRecord {
                plan: Plan {
                    id: ActionId(7),
                    purpose: Purpose::Rollback,
                    service: "shop".parse().unwrap(),
                    rollout: Some("shop".parse().unwrap()),
                    from: split(5.0),
                    to: split(0.0),
                    initiator: Initiator::Rollout { rollout: "shop".parse().unwrap() },
                    evidence,
                    ttl: Span::from_hours(24),
                },
                proposed_at: at(120),
                state: ActionState::Verified { at: at(2_120) },
                incident: Some(IncidentId(3)),
                expires_at: Some(at(86_400_000)),
                ahead_of_disk: true,
            }],
            has_black_box: true,
        }
    }

    fn explanation() -> Explanation {
        let line = |text: &str, supports| EvidenceLine { text: text.to_owned(), supports };
        Explanation {
            at: at(30_000),
            hypotheses: vec![Hypothesis {
                kind: CauseKind::Change,
                subject: "v2".to_owned(),
                title: "Traffic: v2 gets 5%".to_owned(),
                confidence_percent: 97,
                evidence: vec![line("it happened 3 s before", true), line("it is\u{1b}[31m small", false)],
                next_check: "read what the version changed".to_owned(),
            }],
            missing: vec!["no kernel signals of the machine".to_owned()],
            frames: vec![FrameMoved { function: "regexp.(*Regexp).doExecute".to_owned(), good: 12, bad: 4_150 }],
            cases: vec![CaseAlike { id: "kv-regex-2".to_owned(), pattern: "regex".to_owned(), likeness_percent: 81 }],
            profiles: vec![ProfileSeen {
                side: ProfileSide::Bad,
                version: "v2".parse().unwrap(),
                kind: "cpu".to_owned(),
                from: BEGAN,
                to: at(30_000),
                windows: 3,
                samples: 5_112,
            }],
            kernel: vec![KernelSeen {
                side: ProfileSide::Bad,
                version: "v2".parse().unwrap(),
                seconds: 61,
                wait_us_p99: Some(4_100),
                cpu_ms_per_s: 310,
                others_cpu_ms_per_s: 1_650,
                sent_again_ppm: Some(1_200),
            }],
        }
    }

    /// v1 serves all the time, v2 fails from 0 to 120 ms.
    fn black_box() -> BlackBox {
        let key = |version: &str| CellKey {
            route: "web".parse().unwrap(),
            service: "shop".parse().unwrap(),
            version: version.parse().unwrap(),
        };
        let tick = |ten_ms: i64| {
            let delta =
                |cell, class, count| OutcomeDelta { cell: CellId(cell), counts: OutcomeCounts::of(class, count) };
            let mut deltas = vec![delta(0, OutcomeClass::Ok, 19)];
            if ten_ms < 12 {
                deltas.push(delta(1, if ten_ms < 0 { OutcomeClass::Ok } else { OutcomeClass::ServerError }, 1));
            }
            TickCounts { at: Timestamp::from_unix_ms(BEGAN.unix_ms() + ten_ms * 10 + 10), deltas }
        };
        BlackBox {
            from: BEGAN - Span::from_secs(60),
            to: at(5_000),
            cells: vec![(CellId(0), key("v1")), (CellId(1), key("v2"))],
            ticks: (-6_000..500).map(tick).collect(),
            ..BlackBox::default()
        }
    }

    #[test]
    fn the_page_tells_the_whole_story() {
        let page = page(&detail(), Some(&black_box()), Style { width: 90, color: false, whole_rows: false });
        expect![[r"
            INC-3 shop v2 fails 35 % of its requests
            11 of 431 requests harmed (2.55 %) since 2025-06-15 15:06:40.000 UTC
            rollout shop: v2 over v1 · service shop · page · closed

            Why
              canary v2 against baseline v1, counted since 2025-06-15 15:06:37.000 UTC:
                v2 failed 11 of 31 (35.5 %); v1 failed 0 of 1,400 (0 %)
              the evidence that v2 is worse by more than 1.00 % weighs 3,294 (e-value); 1,000 is
              needed, so that at most 0.10 % of harmless releases are ever rolled back

            Likely cause
              1. Traffic: v2 gets 5% (97 %)
                 + it happened 3 s before
                 - it is [31m small
                 next: read what the version changed
              functions that moved beyond noise, good side to bad side:
                 0.12 % to  41.5 %  regexp.(*Regexp).doExecute
              alike: case kv-regex-2 (regex), 81 %
              profile: cpu of v2 (bad side), 3 windows, 5,112 samples
              kernel: v2 (bad side), 61 s: waits for a processor 4.1 ms (p99), works 310 ms a second,
                      other programs 1,650 ms, 0.12 % of TCP segments sent again
              missing: no kernel signals of the machine

            Time line, 50 ms a column, from -500 ms
              v1 good  ███████████████████████████████████████████████████████████████ 95
              v1 bad   ······························································· 0
              v2 good  ██████████····················································· 5
              v2 bad   ··········██▄·················································· 5
                                 a b                                       d
                       a first_bad  b verdict  c weight_zero  d verified

            Milestones, from the first bad response
                  +0 ms  first_bad    the first 503 of v2
                +120 ms  verdict      worse
                +123 ms  weight_zero  v2 gets nothing from here on
                 +2.1 s  verified

            Actions
              A-7 rollback of shop: v1 95%, v2 5% → v1 100%
                  asked for by the judge of rollout shop; it moves 5% of the traffic
                  verified 2.0 s after it was proposed: the service recovered
                  holds until 2025-06-16 15:06:40.000 UTC unless extended
                  it took effect before its record was on disk, because the disk did not answer in
                  time

            Changes before it
                 -3.0 s  v2 gets 5% (by pipeline)
        "]]
        .assert_eq(&page);
    }

    #[test]
    fn the_page_fits_narrow_terminals_and_colours_nothing_else() {
        let strip = |page: &str| {
            let mut out = String::new();
            let mut rest = page;
            while let Some((head, tail)) = rest.split_once('\u{1b}') {
                out.push_str(head);
                rest = tail.split_once('m').unwrap().1;
            }
            out + rest
        };
        for width in [40, 60, 200] {
            let plain = page(&detail(), Some(&black_box()), Style { width, color: false, whole_rows: false });
            let colored = page(&detail(), Some(&black_box()), Style { width, color: true, whole_rows: false });
            assert_eq!(strip(&colored), plain);
            for line in plain.lines().filter(|line| !line.contains('→')) {
                assert!(line.chars().count() <= width.max(60), "{width}: {line}");
            }
        }
        assert!(page(&detail(), None, Style { width: 80, color: false, whole_rows: false }).contains("Milestones"));
    }

    #[test]
    fn long_texts_go_on_below_their_beginning() {
        let style = Style { width: 30, color: false, whole_rows: false };
        assert_eq!(
            hanging("  +5 ms  ", "eleven of 20 requests failed", style),
            "  +5 ms  eleven of 20 requests\n         failed\n"
        );
        assert_eq!(hanging("  +5 ms  ", "", style), "  +5 ms\n");
    }

    #[test]
    fn the_list_has_one_line_each() {
        let page = list(&[detail().incident], Style { width: 120, color: false, whole_rows: false });
        expect![[r"
            INCIDENT  BEGAN                        LASTED  SEVERITY  HARMED  WHAT
            INC-3     2025-06-15 15:06:40.000 UTC  2.1 s   page      11      shop v2 fails 35 % of its requests
        "]]
        .assert_eq(&page);
        assert_eq!(list(&[], Style { width: 120, color: false, whole_rows: false }), "");
    }
}
