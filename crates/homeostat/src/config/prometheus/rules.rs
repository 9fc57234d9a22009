//! Files of recording and alerting rules.
//!
//! Everything that is wrong is told at once: keys, names, expressions, templates. What rules do is in `judge-rules`.
//! Source: prometheus.io/docs/prometheus/latest/configuration/recording_rules.

use std::{
    collections::BTreeSet,
    io,
    path::{Path, PathBuf},
};

use homeostat_judge_rules::{
    Alerting, Group, Rule, RuleKind,
    group::{bad_label, bad_record},
    template::Template,
};
use homeostat_promql::{Expr, ParseOptions, ast::ValueType, parse};
use homeostat_sense_scrape::discover::listing::matching;

use super::{
    raw::Count,
    scalars::{PromDuration, Text},
};
use crate::config::{
    problem::{Problem, Problems, Severity},
    read::{Any, Context, Entries, Read, record},
    source::{At, Source, Sources},
    tree,
};

/// What groups have that do not say otherwise, and the language that they are written in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RuleDefaults {
    /// Time between two evaluations.
    pub interval_ms: i64,
    /// How far back expressions look.
    pub query_offset_ms: i64,
    /// What of the language is switched on.
    pub language: ParseOptions,
}

impl Default for RuleDefaults {
    /// Those of Prometheus, with the whole language.
    fn default() -> Self {
        Self { interval_ms: 60_000, query_offset_ms: 0, language: ParseOptions::all() }
    }
}

/// Rules that can be evaluated.
#[derive(Clone, Debug)]
pub struct RuleSet {
    /// In the order of the files.
    pub groups: Vec<Group>,
    /// What is accepted but probably meant otherwise.
    pub warnings: Problems,
}

record! {
    /// A file of rules.
    RuleFile {
        /// Groups of rules.
        "groups" groups: Vec<RawGroup> => default "[]";
    }
}

record! {
    /// Rules that are evaluated one after the other.
    RawGroup {
        /// Unique within the file.
        "name" name: Text => required;
        /// Time between two evaluations.
        "interval" interval: PromDuration => optional;
        /// How far back expressions look.
        "query_offset" query_offset: PromDuration => optional;
        /// Series or alerts of one rule at most; 0 for any number.
        "limit" limit: Count => default "0";
        /// Labels of all rules.
        "labels" labels: Entries<Text, Text> => optional;
        /// No effect here; Thanos reads it.
        "partial_response_strategy" partial_response_strategy: Any => optional;
        /// In order.
        "rules" rules: Vec<At<RawRule>> => default "[]";
    }
}

record! {
    /// A rule.
    RawRule {
        /// The metric that is recorded.
        "record" record: Text => optional;
        /// The alert.
        "alert" alert: Text => optional;
        /// What is evaluated.
        "expr" expr: Text => required;
        /// How long an element must be there before its alert fires.
        "for" wait: PromDuration => optional;
        /// How long an alert goes on firing when its element is gone.
        "keep_firing_for" keep: PromDuration => optional;
        /// Labels that are set.
        "labels" labels: Entries<Text, Text> => optional;
        /// What people are told.
        "annotations" annotations: Entries<Text, Text> => optional;
    }
}

/// Reads and checks files of rules.
pub fn load(paths: &[PathBuf], defaults: RuleDefaults) -> Result<RuleSet, Problems> {
    let (mut all, mut problems) = (Vec::new(), Vec::new());
    for path in paths {
        let (sources, _, found) = Sources::read(path);
        problems.extend(found);
        all.extend(sources.0);
    }
    compile(&Sources(all), problems, defaults)
}

/// Checks a text; `name` stands for the file's name.
pub fn load_str(name: &str, text: &str, defaults: RuleDefaults) -> Result<RuleSet, Problems> {
    compile(&Sources::of_text(name, text), Vec::new(), defaults)
}

fn compile(sources: &Sources, problems: Vec<Problem>, defaults: RuleDefaults) -> Result<RuleSet, Problems> {
    let mut cx = Context::new(problems, &|_| None);
    let mut groups = Vec::new();
    for (file, source) in (0_u16..).zip(&sources.0) {
        let parsed = tree::parse(&source.name, &source.text, file, &mut cx.problems);
        let mut names = BTreeSet::new();
        for document in parsed.documents.iter().filter(|document| document.data != tree::Data::Null) {
            let Some(file) = RuleFile::read(document, &mut cx) else { continue };
            for raw in file.groups.iter().flat_map(|at| &at.value) {
                groups.extend(group(raw, source, defaults, &mut names, &mut cx));
            }
        }
    }
    let failed = cx.problems.iter().any(|problem| problem.severity == Severity::Error);
    let problems = Problems::new(cx.problems, sources, &cx.secrets);
    if failed { Err(problems) } else { Ok(RuleSet { groups, warnings: problems }) }
}

fn group(
    raw: &RawGroup,
    source: &Source,
    defaults: RuleDefaults,
    names: &mut BTreeSet<String>,
    cx: &mut Context<'_>,
) -> Option<Group> {
    let name = raw.name.as_ref()?;
    if name.value.0.is_empty() {
        cx.error(name.place, "a group has an empty name", "write what its rules are about");
    }
    if !names.insert(name.value.0.clone()) {
        let help = "give each group of a file a name of its own";
        cx.error(name.place, format!("there is a second group `{}`", name.value.0), help);
    }
    let interval_ms = raw.interval.as_ref().map_or(defaults.interval_ms, |at| millis(at.value));
    let shared = labels(raw.labels.as_ref(), cx);
    let rules = raw.rules.iter().flat_map(|at| &at.value);
    let rules = rules.filter_map(|raw| rule(raw, &shared, defaults, cx)).collect();
    Some(Group {
        file: source.name.clone(),
        name: name.value.0.clone(),
        // An interval of nothing is the default, as in Prometheus.
        interval_ms: if interval_ms > 0 { interval_ms } else { defaults.interval_ms },
        query_offset_ms: raw.query_offset.as_ref().map_or(defaults.query_offset_ms, |at| millis(at.value)),
        limit: usize::try_from(raw.limit.as_ref()?.value.0).unwrap_or(usize::MAX),
        rules,
    })
}

fn millis(duration: PromDuration) -> i64 {
    i64::try_from(duration.0.as_millis()).unwrap_or(i64::MAX)
}

type Pairs = Vec<(String, At<String>)>;

fn labels(raw: Option<&At<Entries<Text, Text>>>, cx: &mut Context<'_>) -> Pairs {
    let mut pairs = Pairs::new();
    for (name, value) in raw.iter().flat_map(|at| &at.value.0) {
        match bad_label(&name.value.0) {
            Some(bad) => cx.error(name.place, bad, "choose another name"),
            None => pairs.push((name.value.0.clone(), At::new(value.value.0.clone(), value.place))),
        }
    }
    pairs
}

fn rule(raw: &At<RawRule>, shared: &Pairs, defaults: RuleDefaults, cx: &mut Context<'_>) -> Option<Rule> {
    let RawRule { record, alert, expr, wait, keep, labels: own, annotations } = &raw.value;
    let own = labels(own.as_ref(), cx);
    let expr = expr.as_ref().and_then(|at| expression(at, defaults.language, cx));
    let inherited = shared.iter().filter(|(name, _)| !own.iter().any(|(known, _)| known == name));
    let pairs: Pairs = inherited.chain(&own).cloned().collect();
    match (record, alert) {
        (Some(record), None) => {
            if let Some(bad) = bad_record(&record.value.0) {
                cx.error(record.place, bad, "write a metric's name, such as `job:requests:rate5m`");
            }
            let only_alerts = [
                ("for", wait.as_ref().map(|at| at.place)),
                ("keep_firing_for", keep.as_ref().map(|at| at.place)),
                ("annotations", annotations.as_ref().map(|at| at.place)),
            ];
            for (key, place) in only_alerts {
                if let Some(place) = place {
                    let help = "leave it out, or write `alert` instead of `record`";
                    cx.error(place, format!("`{key}` belongs to alerts, and this rule records"), help);
                }
            }
            let labels = pairs.into_iter().map(|(name, value)| (name, Template::plain(&value.value))).collect();
            Some(Rule { name: record.value.0.clone(), expr: expr?, labels, kind: RuleKind::Recording })
        }
        (None, Some(alert)) => {
            if alert.value.0.is_empty() {
                cx.error(alert.place, "an alert has an empty name", "write what is wrong when it fires");
            }
            let annotations = texts(annotations.as_ref());
            let kind = RuleKind::Alerting(Alerting {
                for_ms: wait.as_ref().map_or(0, |at| millis(at.value)),
                keep_firing_for_ms: keep.as_ref().map_or(0, |at| millis(at.value)),
                annotations: templates(annotations, cx),
            });
            let labels = templates(pairs, cx);
            Some(Rule { name: alert.value.0.clone(), expr: expr?, labels, kind })
        }
        (Some(_), Some(alert)) => {
            cx.error(alert.place, "a rule has both `record` and `alert`", "make two rules of it");
            None
        }
        (None, None) => {
            if cx.is_sound(raw.place) {
                cx.error(raw.place, "a rule has neither `record` nor `alert`", "write `record: NAME` or `alert: NAME`");
            }
            None
        }
    }
}

fn texts(raw: Option<&At<Entries<Text, Text>>>) -> Pairs {
    let pairs = raw.iter().flat_map(|at| &at.value.0);
    pairs.map(|(name, value)| (name.value.0.clone(), At::new(value.value.0.clone(), value.place))).collect()
}

fn templates(pairs: Pairs, cx: &mut Context<'_>) -> Vec<(String, Template)> {
    let parsed = pairs.into_iter().filter_map(|(name, value)| match Template::parse(&value.value) {
        Ok(template) => Some((name, template)),
        Err(error) => {
            let help =
                "see the template reference of Prometheus; braces that are no template are written `{{ \"{{\" }}`";
            cx.error(value.place, format!("the template of `{name}` cannot be read: {error}"), help);
            None
        }
    });
    parsed.collect()
}

fn expression(at: &At<Text>, language: ParseOptions, cx: &mut Context<'_>) -> Option<Expr> {
    match parse(&at.value.0, &language) {
        Ok(expr) if matches!(expr.value_type(), ValueType::Vector | ValueType::Scalar) => Some(expr),
        Ok(_) => {
            let help = "a rule needs a number for each series: put a function such as `rate` around a range";
            cx.error(at.place, "the expression is neither an instant vector nor a scalar", help);
            None
        }
        Err(errors) => {
            for error in errors.iter() {
                cx.error(
                    at.place,
                    format!("the expression cannot be read: {error}"),
                    "line and column count within it",
                );
            }
            None
        }
    }
}

/// The files that patterns stand for, each once. Relative ones start at `dir`. A pattern may stand for nothing, as in
/// Prometheus, also because its directory is not there; one that cannot be read is a problem.
pub fn files(patterns: &[PathBuf], dir: &Path) -> Result<Vec<PathBuf>, Problems> {
    let (mut found, mut problems) = (Vec::new(), Vec::new());
    for pattern in patterns {
        let path = dir.join(pattern);
        match matching(&path) {
            Ok(files) => found.extend(files),
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => problems.push(
                Problem::error(format!("cannot list the files of `{}`: {error}", path.display()))
                    .help("make its directory readable for the user that runs homeostat, or leave the pattern out"),
            ),
        }
    }
    if !problems.is_empty() {
        return Err(Problems::new(problems, &Sources::default(), &[]));
    }
    let mut seen = BTreeSet::new();
    found.retain(|path| seen.insert(path.clone()));
    Ok(found)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn problems(text: &str) -> String {
        load_str("rules.yml", text, RuleDefaults::default()).expect_err("it should not be accepted").to_string()
    }

    #[test]
    fn a_usual_file_is_read() {
        let set = load_str(
            "rules.yml",
            "groups:
- name: example
  interval: 15s
  limit: 10
  query_offset: 1m
  labels: {team: a, severity: none}
  rules:
  - record: job:up:sum
    expr: sum by (job) (up)
    labels: {kind: '{{ not a template'}
  - alert: Down
    expr: |
      up == 0
        and on (job) job:up:sum > 0
    for: 5m
    keep_firing_for: 1m
    labels: {severity: page}
    annotations:
      summary: '{{ $labels.instance }} is down'
- name: defaults
  rules: []
",
            RuleDefaults::default(),
        );
        let set = set.unwrap_or_else(|problems| panic!("{problems}"));
        let [example, defaults] = set.groups.as_slice() else { panic!("{:?}", set.groups) };
        assert_eq!((example.interval_ms, example.query_offset_ms, example.limit), (15_000, 60_000, 10));
        assert_eq!((defaults.interval_ms, defaults.rules.len()), (60_000, 0));
        let [record, alert] = example.rules.as_slice() else { panic!("{:?}", example.rules) };
        assert_eq!(record.labels[2].1.text(), "{{ not a template");
        assert_eq!(alert.query(), "up == 0 and on (job) job:up:sum > 0");
        assert_eq!(alert.alerting().unwrap().for_ms, 300_000);
        let labels: Vec<_> = alert.labels.iter().map(|(name, value)| (name.as_str(), value.text())).collect();
        assert_eq!(labels, [("team", "a"), ("severity", "page")]);
    }

    #[test]
    fn all_problems_are_told_at_once_with_their_places() {
        let said = problems(
            "groups:
- name: a
  intervall: 5m
  rules:
  - record: 'a{b=\"c\"}'
    expr: up
    for: 5m
  - alert: x
    expr: sum(up
    annotations: {summary: '{{ $labels.a }'}
  - record: r
    alert: s
    expr: up
  - expr: up
  - record: r
    expr: up[5m]
    labels: {__name__: x}
- name: a
  rules: [{alert: '', expr: up, labels: {a: '{{ nope }}'}}]
",
        );
        for expected in [
            "rules.yml:3:3",
            "write `interval`",
            "braces stand in the name",
            "`for` belongs to alerts",
            "unclosed left parenthesis",
            "rules.yml:9:11",
            "the template of `summary` cannot be read: unexpected '}' in action",
            "both `record` and `alert`",
            "neither `record` nor `alert`",
            "neither an instant vector nor a scalar",
            "the name is not set by a label",
            "a second group `a`",
            "an alert has an empty name",
            "function \"nope\" not defined",
        ] {
            assert!(said.contains(expected), "{expected}:\n{said}");
        }
    }

    proptest::proptest! {
        #[test]
        fn no_text_stops_us(from in 0..300_usize, len in 0..40_usize, put in "[\\-:{}\\[\\]'\"&*! \na-f$(.|0-9]{0,8}") {
            let text = "groups:
- name: example
  interval: 15s
  labels: {team: a}
  rules:
  - record: job:up:sum
    expr: sum by (job) (up)
  - alert: Down
    expr: |
      up == 0
        and on (job) job:up:sum > 0
    for: 5m
    labels: {severity: page}
    annotations:
      summary: '{{ $labels.instance }} is {{ if true }}down{{ end }} {{ $value | printf \"%.2f\" }}'
";
            let text: String = text.chars().take(from).chain(put.chars()).chain(text.chars().skip(from + len)).collect();
            match load_str("rules.yml", &text, RuleDefaults::default()) {
                Ok(set) => proptest::prop_assert!(set.groups.len() < 3),
                Err(problems) => proptest::prop_assert!(problems.errors() > 0),
            }
        }
    }

    #[test]
    fn patterns_stand_for_files() {
        let dir = tempfile::tempdir().unwrap();
        for name in ["b.yml", "a.yml", "c.txt"] {
            std::fs::write(dir.path().join(name), "").unwrap();
        }
        let found = files(&["*.yml".into(), "a.yml".into(), "missing.yml".into(), "no/*.yml".into()], dir.path());
        let expected: Vec<_> = ["a.yml", "b.yml", "missing.yml"].map(|name| dir.path().join(name)).into();
        assert_eq!(found.unwrap_or_else(|problems| panic!("{problems}")), expected);
        let said = files(&["*.yml".into(), "c.txt/*.yml".into()], dir.path()).unwrap_err().to_string();
        assert!(said.contains("cannot list the files of") && said.contains("c.txt/*.yml"), "{said}");
    }
}
