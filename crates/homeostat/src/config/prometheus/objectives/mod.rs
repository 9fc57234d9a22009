//! Objectives whose indicator is a query: documents of OpenSLO (`openslo/v1`) and of Sloth (`prometheus/v1`).
//!
//! A query of either says with `{{.window}}` where its window goes. What a document says and this cannot do is refused with
//! a reason, never ignored (decision 0062).
//! Not here: the two forms (`sloth`, `openslo`), what is recorded and alerted (`judge-rules`), objectives that the gateway
//! measures (`check::objectives`).

mod openslo;
mod sloth;

use std::{collections::BTreeSet, path::Path};

use homeostat_judge_rules::{
    Group,
    group::bad_label,
    objectives::{QueryObjective, compile},
};

use super::{rules::RuleDefaults, scalars::Text};
use crate::config::{
    problem::{Problems, Severity as Gravity},
    read::{Context, Entries, lookup},
    scalar::Number,
    source::{At, Source, Sources},
    tree::{self, Data, Node},
};

/// Days of a period unless a document says otherwise, as in Sloth.
const PERIOD_DAYS: u32 = 30;
/// What begins the names of labels that rules of objectives set themselves.
const OWN_LABELS: &str = "sloth_";

/// Reads the documents of a file or of a directory's `*.yaml` files, and makes rules of them.
pub fn load(path: &Path, defaults: RuleDefaults) -> Result<Vec<Group>, Problems> {
    let (sources, _, problems) = Sources::read(path);
    let mut cx = Context::new(problems, &|_| None);
    let groups = groups(&sources, defaults, &mut cx);
    finish(groups, &sources, cx)
}

/// Checks a text; `name` stands for the file's name.
pub fn load_str(name: &str, text: &str, defaults: RuleDefaults) -> Result<Vec<Group>, Problems> {
    let sources = Sources::of_text(name, text);
    let mut cx = Context::new(Vec::new(), &|_| None);
    let groups = groups(&sources, defaults, &mut cx);
    finish(groups, &sources, cx)
}

fn finish(groups: Vec<Group>, sources: &Sources, cx: Context<'_>) -> Result<Vec<Group>, Problems> {
    let failed = cx.problems.iter().any(|problem| problem.severity == Gravity::Error);
    if failed { Err(Problems::new(cx.problems, sources, &cx.secrets)) } else { Ok(groups) }
}

fn groups(sources: &Sources, defaults: RuleDefaults, cx: &mut Context<'_>) -> Vec<Group> {
    let mut documents: Vec<(&Source, Node)> = Vec::new();
    for (file, source) in (0_u16..).zip(&sources.0) {
        let parsed = tree::parse(&source.name, &source.text, file, &mut cx.problems);
        documents.extend(parsed.documents.into_iter().map(|document| (source, document)));
    }
    let named = openslo::Named::of(&documents, cx);
    let mut objectives = Vec::new();
    for (source, document) in &documents {
        objectives.extend(of_document(document, &named, cx).into_iter().map(|objective| (*source, objective)));
    }
    let (mut groups, mut known) = (Vec::new(), BTreeSet::new());
    for (source, objective) in objectives {
        let id = format!("{}-{}", objective.value.service, objective.value.name);
        if !known.insert(id.clone()) {
            let help = "give each objective of a service a name of its own";
            cx.error(objective.place, format!("there is a second objective `{id}`"), help);
        }
        match compile(&objective.value, &source.name, defaults.interval_ms, defaults.language) {
            Ok(made) => groups.extend(made),
            Err(problem) => {
                let help = "check the query as it stands there with `promtool query` or the console";
                cx.error(objective.place, format!("a query of `{id}` cannot be used: {problem}"), help);
            }
        }
    }
    groups
}

fn word<'n>(document: &'n Node, key: &str) -> Option<&'n str> {
    let Data::Mapping(entries) = &document.data else { return None };
    match &lookup(entries, key)?.data {
        Data::Plain(text) | Data::Quoted(text) => Some(text),
        _ => None,
    }
}

fn of_document(document: &Node, known: &openslo::Named, cx: &mut Context<'_>) -> Vec<At<QueryObjective>> {
    match (word(document, "version"), word(document, "apiVersion"), word(document, "kind")) {
        (Some("prometheus/v1"), ..) => sloth::of_document(document, cx),
        (_, Some("openslo/v1"), Some("SLO")) => openslo::of_document(document, known, cx),
        // Named by `metricSourceRef` and `service`; everything is in this store.
        (_, Some("openslo/v1"), Some("SLI" | "DataSource" | "Service")) => Vec::new(),
        (_, Some("openslo/v1"), Some(kind)) => {
            let help = "take the document out: a page and a ticket by burn rate are made for each objective";
            cx.error(document.place, format!("documents of the kind `{kind}` are not understood here"), help);
            Vec::new()
        }
        _ if document.data == Data::Null => Vec::new(),
        _ => {
            let help = "write `version: prometheus/v1` (Sloth), or `apiVersion: openslo/v1` with `kind: SLO`";
            cx.error(document.place, "this is no objective that is understood", help);
            Vec::new()
        }
    }
}

/// Pairs of names and texts, the names checked.
fn labels(raw: Option<&At<Entries<Text, Text>>>, cx: &mut Context<'_>) -> Vec<(String, String)> {
    let mut pairs = Vec::new();
    for (name, value) in raw.iter().flat_map(|at| &at.value.0) {
        let own = name.value.0.starts_with(OWN_LABELS) || name.value.0 == "alertname";
        let bad = bad_label(&name.value.0).or(own.then_some("the rules of objectives set this label themselves"));
        match bad {
            Some(bad) => cx.error(name.place, bad, "choose another name"),
            None => pairs.push((name.value.0.clone(), value.value.0.clone())),
        }
    }
    pairs
}

/// The text of a query, if it is one as it stands.
fn query<'q>(at: &'q At<Text>, cx: &mut Context<'_>) -> Option<&'q str> {
    let text = at.value.0.trim();
    if text.contains("${") {
        let help = "write the value itself: variables of the environment are not filled in within queries";
        cx.error(at.place, "the query has a `${` in it", help);
        return None;
    }
    Some(text)
}

/// A target in percent; `factor` is what makes it one.
fn percent(target: &At<Number>, factor: f64, cx: &mut Context<'_>) -> Option<f64> {
    let percent = target.value.0 * factor;
    if percent > 0.0 && percent < 100.0 {
        // 99.9 and not 99.90000000000001.
        return Some((percent * 1e9).round() / 1e9);
    }
    let help = "an objective lies between nothing and everything, such as 99.9 percent";
    cx.error(target.place, "this objective cannot be missed, or not be reached", help);
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    const SLOTH: &str = r#"
version: "prometheus/v1"
service: "myservice"
labels: {owner: "myteam"}
slos:
  - name: "requests-availability"
    objective: 99.9
    description: "Common SLO."
    labels: {category: availability}
    sli:
      events:
        error_query: sum(rate(http_requests_total{job="myservice",code=~"(5..|429)"}[{{.window}}]))
        total_query: sum(rate(http_requests_total{job="myservice"}[{{.window}}]))
    alerting:
      name: "MyServiceHighErrorRate"
      labels: {category: "availability"}
      annotations: {summary: "High error rate on '{{$labels.sloth_service}}'"}
      page_alert: {labels: {severity: "pageteam"}}
      ticket_alert: {disable: true}
"#;

    const OPEN: &str = "
apiVersion: openslo/v1
kind: SLI
metadata: {name: availability}
spec:
  ratioMetric:
    counter: true
    good: {metricSource: {type: Prometheus, spec: {query: 'http_requests_total{code!~\"5..\"}'}}}
    total: {metricSource: {type: Prometheus, spec: {query: 'http_requests_total'}}}
---
apiVersion: openslo/v1
kind: SLO
metadata: {name: web, displayName: The web}
spec:
  service: shop
  indicatorRef: availability
  timeWindow: [{duration: 4w, isRolling: true}]
  budgetingMethod: Occurrences
  objectives: [{target: 0.99}, {targetPercent: 99.9}]
---
apiVersion: openslo/v1
kind: DataSource
metadata: {name: here}
spec: {type: Prometheus}
";

    fn read(text: &str) -> Vec<Group> {
        load_str("slo.yml", text, RuleDefaults::default()).unwrap_or_else(|problems| panic!("{problems}"))
    }

    #[test]
    fn documents_of_sloth_are_read() {
        let groups = read(SLOTH);
        let [recordings, meta, alerts] = groups.as_slice() else { panic!("{groups:?}") };
        assert_eq!((recordings.rules.len(), meta.rules.len(), alerts.rules.len()), (8, 7, 1));
        let page = &alerts.rules[0];
        let labels: Vec<_> = page.labels.iter().map(|(name, value)| (name.as_str(), value.text())).collect();
        assert_eq!(labels, [("category", "availability"), ("sloth_severity", "page"), ("severity", "pageteam")]);
        assert_eq!(page.alerting().unwrap().annotations.len(), 2);
    }

    #[test]
    fn documents_of_openslo_are_read() {
        let groups = read(OPEN);
        assert_eq!(groups.len(), 6);
        assert_eq!(groups[0].name, "sloth-slo-sli-recordings-shop-web-1");
        assert_eq!(
            groups[3].rules[0].query(),
            "1 - ((sum(rate(http_requests_total{code!~\"5..\"}[5m]))) / (sum(rate(http_requests_total[5m]))))"
        );
        assert_eq!(groups[0].rules[7].name, "slo:sli_error:ratio_rate4w");
        assert_eq!(groups[1].rules[0].query(), "vector(0.99)");
    }

    proptest::proptest! {
        #[test]
        fn no_text_stops_us(open: bool, from in 0..900_usize, len in 0..40_usize, put in "[\\-:{}\\[\\]'\" \na-f.0-9]{0,8}") {
            let text = if open { OPEN } else { SLOTH };
            let text: String = text.chars().take(from).chain(put.chars()).chain(text.chars().skip(from + len)).collect();
            if let Err(problems) = load_str("slo.yml", &text, RuleDefaults::default()) {
                proptest::prop_assert!(problems.errors() > 0);
            }
        }
    }

    #[test]
    fn labels_of_openslo_are_carried_and_no_alerts_are_none() {
        let groups = read(
            &OPEN
                .replace("displayName: The web", "labels: {team: core}")
                .replace("  budgetingMethod: Occurrences", "  budgetingMethod: Occurrences\n  alertPolicies: []"),
        );
        assert_eq!(groups.len(), 4, "no groups of alerts");
        let labels = &groups[0].rules[0].labels;
        assert!(labels.iter().any(|(name, value)| name == "team" && value.text() == "core"), "{labels:?}");
    }

    fn refused(text: &str, expected: &str) {
        let said = load_str("slo.yml", text, RuleDefaults::default()).expect_err(text).to_string();
        assert!(said.contains(expected), "{expected}:\n{said}");
    }

    #[test]
    fn sources_that_are_referred_to_are_there_and_are_of_this_store() {
        let named = OPEN.replace("good: {metricSource: {", "good: {metricSource: {metricSourceRef: here, ");
        assert_eq!(read(&named).len(), 6);
        refused(&named.replace("name: here", "name: there"), "there is no `DataSource` of the name `here`");
        let other = named.replace("spec: {type: Prometheus}", "spec: {type: Datadog}");
        refused(&other, "the `DataSource` `here` is of the type `Datadog`");
        let (_, source) = OPEN.rsplit_once("---").unwrap();
        refused(&format!("{named}---{source}"), "a second `DataSource` of the name `here`");
    }

    #[test]
    fn nothing_is_dropped_silently() {
        refused(&OPEN.replace("displayName: The web", "labels: {team: [core]}"), "slo.yml:13");
        refused(&OPEN.replace("displayName: The web", "labels: {sloth_id: x}"), "set this label themselves");
        refused(
            &OPEN.replace("  service: shop", "  service: shop\n  alertPolicies: [{kind: AlertPolicy}]"),
            "`[]` for no alerts",
        );
        refused(&OPEN.replace("kind: DataSource", "kind: AlertPolicy"), "`AlertPolicy` are not understood");
        refused(&OPEN.replace("{target: 0.99}", "{target: 0.99, timeSliceTarget: 1}"), "`timeSliceTarget` is not");
        refused(&OPEN.replace("Occurrences", "Timeslices"), "budgeting method");
        let (sli, slo) = OPEN.split_once("---").unwrap();
        refused(&format!("{sli}---{sli}---{slo}"), "a second `SLI` of the name `availability`");
        refused(&OPEN.replace("query: 'http_requests_total'", "query: '${TOTAL}'"), "`${` in it");
        refused(&SLOTH.replace("http_requests_total{job=\"myservice\"}", "${TOTAL}"), "variables of the environment");
        refused(
            &SLOTH.replace("labels: {owner: \"myteam\"}", "labels: {__name__: x}"),
            "the name is not set by a label",
        );
        refused(&SLOTH.replace("severity: \"pageteam\"", "alertname: x"), "set this label themselves");
        assert_eq!(read(&format!("---\n---\n{OPEN}---\n")).len(), 6, "empty documents are none");
    }

    #[test]
    fn all_problems_are_told() {
        let bad = SLOTH.replace("objective: 99.9", "objective: 100").replace(
            "total_query: sum(rate(http_requests_total{job=\"myservice\"}[{{.window}}]))",
            "total_query: sum(x)",
        );
        for expected in ["slo.yml:7:16", "cannot be missed", "does not say where its window goes"] {
            refused(&bad, expected);
        }
        let open_braces = SLOTH.replace(
            "sum(rate(http_requests_total{job=\"myservice\"}",
            "sum(rate(http_requests_total{job=\"myservice\"",
        );
        refused(&open_braces, "a query of `myservice-requests-availability` cannot be used");
        let bad =
            OPEN.replace("indicatorRef: availability", "indicatorRef: other").replace("duration: 4w", "duration: 1M");
        refused(&bad, "there is no `SLI` of the name `other`");
        refused(&bad, "`1M` is not a duration");
        refused(&OPEN.replace("duration: 4w", "duration: 3d"), "this time window is not understood");
        refused("kind: x\n", "this is no objective");
    }
}
