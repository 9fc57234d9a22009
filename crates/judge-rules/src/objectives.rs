//! Objectives whose indicator is a query, as recording rules and burn-rate alerts under the names that Sloth gave them, so
//! that dashboards made for Sloth show them.
//!
//! Intuition: the share of errors is recorded over each window once; budgets, burn rates and alerts are then cheap queries
//! over those few series.
//!
//! | group | what it records |
//! |---|---|
//! | `sloth-slo-sli-recordings-ID` | `slo:sli_error:ratio_rate5m` … `ratio_rate3d`, and over the whole period |
//! | `sloth-slo-meta-recordings-ID` | objective, budget, burn rates, what is left, `sloth_slo_info` |
//! | `sloth-slo-alerts-ID` | pages (14.4 × 1 h/5 m, 6 × 6 h/30 m) and tickets (3 × 1 d/2 h, 1 × 3 d/6 h) |
//!
//! Not here: reading documents (`homeostat`'s configuration).
//! Source: sloth.dev, "SLI, SLO and alert rules"; Google, The Site Reliability Workbook, multiwindow burn rates.

use homeostat_promql::{Expr, ParseOptions, parse};

use crate::{
    group::{Alerting, Group, Rule, RuleKind},
    template::Template,
};

/// Windows over which errors are recorded besides the period, shortest first, with their seconds.
const WINDOWS: [(&str, i64); 7] =
    [("5m", 300), ("30m", 1800), ("1h", 3600), ("2h", 7200), ("6h", 21_600), ("1d", 86_400), ("3d", 259_200)];
const DAY_S: f64 = 86_400.0;

/// An objective.
#[derive(Clone, Debug, PartialEq)]
pub struct QueryObjective {
    /// The service that it is about.
    pub service: String,
    /// Its name, unique within the service.
    pub name: String,
    /// Percent of events that must be good, between 0 and 100, both exclusive.
    pub target_percent: f64,
    /// Whole days of the period.
    pub period_days: u32,
    /// How errors are measured.
    pub indicator: Indicator,
    /// Labels of all its series.
    pub labels: Vec<(String, String)>,
    /// What is alerted.
    pub alerts: ObjectiveAlerts,
}

/// How errors are measured. In queries, `{{.window}}` stands for the window.
#[derive(Clone, Debug, PartialEq)]
pub enum Indicator {
    /// Errors and all events.
    Events {
        /// Errors within the window.
        errors: String,
        /// All events within it.
        total: String,
    },
    /// Good and all events.
    Good {
        /// Good ones within the window.
        good: String,
        /// All events within it.
        total: String,
    },
    /// The share of errors itself.
    Ratio(String),
}

/// Alerts of an objective.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct ObjectiveAlerts {
    /// Their name; the service and the objective when empty.
    pub name: String,
    /// Pairs of both.
    pub labels: Vec<(String, String)>,
    /// Texts of both.
    pub annotations: Vec<(String, String)>,
    /// The fast one; `None` when it is not wanted.
    pub page: Option<Severity>,
    /// The slow one; `None` when it is not wanted.
    pub ticket: Option<Severity>,
}

/// What one of the two alerts has for itself.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Severity {
    /// Labels.
    pub labels: Vec<(String, String)>,
    /// Annotations.
    pub annotations: Vec<(String, String)>,
}

/// Makes rules of an objective. `file` names where it is written.
///
/// Errors: what is wrong with one of its queries, in the words of the parser.
pub fn compile(
    objective: &QueryObjective,
    file: &str,
    interval_ms: i64,
    language: ParseOptions,
) -> Result<Vec<Group>, String> {
    let compiler = Compiler { objective, language, id: format!("{}-{}", objective.service, objective.name) };
    let group = |kind: &str, rules| Group {
        file: file.to_owned(),
        name: format!("sloth-slo-{kind}-{}", compiler.id),
        interval_ms,
        query_offset_ms: 0,
        limit: 0,
        rules,
    };
    let mut groups = vec![group("sli-recordings", compiler.indicators()?), group("meta-recordings", compiler.meta()?)];
    let alerts = compiler.alerts()?;
    if !alerts.is_empty() {
        groups.push(group("alerts", alerts));
    }
    Ok(groups)
}

struct Compiler<'a> {
    objective: &'a QueryObjective,
    language: ParseOptions,
    id: String,
}

type Pairs = Vec<(String, String)>;

impl Compiler<'_> {
    fn expr(&self, text: &str) -> Result<Expr, String> {
        parse(text, &self.language).map_err(|error| format!("{error} in `{text}`"))
    }

    fn record(&self, name: &str, text: &str, labels: Pairs) -> Result<Rule, String> {
        let labels = labels.into_iter().map(|(name, value)| (name, Template::plain(&value))).collect();
        Ok(Rule { name: name.to_owned(), expr: self.expr(text)?, labels, kind: RuleKind::Recording })
    }

    /// What tells the objective's series apart.
    fn identity(&self) -> [(&'static str, &str); 3] {
        let QueryObjective { service, name, .. } = self.objective;
        [("sloth_id", &self.id), ("sloth_service", service), ("sloth_slo", name)]
    }

    /// The same as a selector.
    fn selector(&self) -> String {
        let pairs = self.identity().map(|(name, value)| format!("{name}={}", homeostat_promql::quote::quote(value)));
        format!("{{{}}}", pairs.join(", "))
    }

    fn labels(&self, more: &[(&str, &str)]) -> Pairs {
        let identity = self.identity();
        let own = identity.iter().chain(more).map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
        let own: Pairs = own.collect();
        let given = self.objective.labels.iter().filter(|(name, _)| !own.iter().any(|(known, _)| known == name));
        given.cloned().chain(own.iter().cloned()).collect()
    }

    /// The period as Prometheus writes it: whole weeks are weeks.
    fn period(&self) -> String {
        match self.objective.period_days {
            days if days % 7 == 0 => format!("{}w", days / 7),
            days => format!("{days}d"),
        }
    }

    fn indicators(&self) -> Result<Vec<Rule>, String> {
        let mut rules = Vec::new();
        for (window, _) in WINDOWS {
            let name = format!("slo:sli_error:ratio_rate{window}");
            rules.push(self.record(&name, &self.errors(window), self.labels(&[("sloth_window", window)]))?);
        }
        let (period, selector) = (self.period(), self.selector());
        let all = format!(
            "sum_over_time(slo:sli_error:ratio_rate5m{selector}[{period}]) / ignoring (sloth_window) \
             count_over_time(slo:sli_error:ratio_rate5m{selector}[{period}])"
        );
        let name = format!("slo:sli_error:ratio_rate{period}");
        rules.push(self.record(&name, &all, vec![("sloth_window".to_owned(), period)])?);
        Ok(rules)
    }

    /// The share of errors within a window.
    fn errors(&self, window: &str) -> String {
        let fill = |query: &str| windowed(query, window);
        match &self.objective.indicator {
            Indicator::Events { errors, total } => format!("({}) / ({})", fill(errors), fill(total)),
            Indicator::Good { good, total } => format!("1 - (({}) / ({}))", fill(good), fill(total)),
            Indicator::Ratio(ratio) => format!("({})", fill(ratio)),
        }
    }

    fn meta(&self) -> Result<Vec<Rule>, String> {
        let (selector, period) = (self.selector(), self.period());
        let share = self.objective.target_percent / 100.0;
        let burn = |window: &str| {
            format!(
                "slo:sli_error:ratio_rate{window}{selector} / on (sloth_id, sloth_slo, sloth_service) group_left () \
                 slo:error_budget:ratio{selector}"
            )
        };
        let percent = self.objective.target_percent.to_string();
        let info = [
            ("sloth_mode", "homeostat"),
            ("sloth_objective", percent.as_str()),
            ("sloth_spec", "prometheus/v1"),
            ("sloth_version", env!("CARGO_PKG_VERSION")),
        ];
        let rules = [
            ("slo:objective:ratio", format!("vector({share})"), &[][..]),
            ("slo:error_budget:ratio", format!("vector(1 - {share})"), &[]),
            ("slo:time_period:days", format!("vector({})", self.objective.period_days), &[]),
            ("slo:current_burn_rate:ratio", burn("5m"), &[]),
            ("slo:period_burn_rate:ratio", burn(&period), &[]),
            ("slo:period_error_budget_remaining:ratio", format!("1 - slo:period_burn_rate:ratio{selector}"), &[]),
            ("sloth_slo_info", "vector(1)".to_owned(), &info),
        ];
        rules.into_iter().map(|(name, text, more)| self.record(name, &text, self.labels(more))).collect()
    }

    fn alerts(&self) -> Result<Vec<Rule>, String> {
        let alerts = &self.objective.alerts;
        let mut rules = Vec::new();
        // Share of the budget that is gone when it fires, and the two windows.
        let page = [(0.02, "5m", "1h"), (0.05, "30m", "6h")];
        let ticket = [(0.1, "2h", "1d"), (0.1, "6h", "3d")];
        for (word, severity, windows) in [("page", &alerts.page, page), ("ticket", &alerts.ticket, ticket)] {
            if let Some(severity) = severity {
                rules.push(self.alert(word, severity, windows)?);
            }
        }
        Ok(rules)
    }

    fn alert(&self, word: &str, severity: &Severity, windows: [(f64, &str, &str); 2]) -> Result<Rule, String> {
        let alerts = &self.objective.alerts;
        let text = windows.map(|(spent, short, long)| self.both(spent, short, long)).join(" or ");
        let name = if alerts.name.is_empty() { &self.id } else { &alerts.name };
        let read = |pairs: &[(String, String)], more: &[(String, String)]| {
            let given = pairs.iter().filter(|(name, _)| !more.iter().any(|(known, _)| known == name)).chain(more);
            let read = given.map(|(name, text)| {
                Template::parse(text).map(|text| (name.clone(), text)).map_err(|error| format!("{error} in `{name}`"))
            });
            read.collect::<Result<Vec<_>, String>>()
        };
        let told = |name: &str, text: String| (name.to_owned(), text);
        let usual = [
            told(
                "title",
                format!(
                    "({word}) {{{{$labels.sloth_service}}}} {{{{$labels.sloth_slo}}}} SLO error budget burn rate is too fast."
                ),
            ),
            told(
                "summary",
                "{{$labels.sloth_service}} {{$labels.sloth_slo}} SLO error budget burn rate is over expected."
                    .to_owned(),
            ),
        ];
        let mut annotations: Pairs = alerts.annotations.clone();
        annotations.retain(|(name, _)| !severity.annotations.iter().any(|(known, _)| known == name));
        annotations.extend(severity.annotations.iter().cloned());
        let mut labels: Pairs = alerts.labels.clone();
        labels.push(("sloth_severity".to_owned(), word.to_owned()));
        let kind = RuleKind::Alerting(Alerting { annotations: read(&usual, &annotations)?, ..Alerting::default() });
        Ok(Rule { name: name.clone(), expr: self.expr(&text)?, labels: read(&labels, &severity.labels)?, kind })
    }

    /// Both windows burn so fast that this share of the budget is gone after the long one.
    fn both(&self, spent: f64, short: &str, long: &str) -> String {
        let long_s = WINDOWS.iter().find(|(name, _)| *name == long).map_or(1, |(_, seconds)| *seconds);
        let factor = spent * f64::from(self.objective.period_days) * DAY_S / long_s as f64;
        // 14.4 and not 14.399999999999999.
        let factor = (factor * 1e9).round() / 1e9;
        let (selector, budget) = (self.selector(), 1.0 - self.objective.target_percent / 100.0);
        let over = |window: &str| {
            format!("max without (sloth_window) (slo:sli_error:ratio_rate{window}{selector} > ({factor} * {budget}))")
        };
        format!("({} and {})", over(short), over(long))
    }
}

/// A query with its window filled in.
fn windowed(query: &str, window: &str) -> String {
    let (mut out, mut rest) = (String::new(), query);
    while let Some((before, behind)) = rest.split_once("{{") {
        out.push_str(before);
        match behind.split_once("}}") {
            Some((word, behind)) if word.trim() == ".window" => {
                out.push_str(window);
                rest = behind;
            }
            _ => {
                out.push_str("{{");
                rest = behind;
            }
        }
    }
    out.push_str(rest);
    out
}

/// Returns true for a query that says where its window goes.
pub fn has_window(query: &str) -> bool {
    windowed(query, "") != query
}

#[cfg(test)]
mod tests {
    use super::*;

    fn objective() -> QueryObjective {
        QueryObjective {
            service: "shop".to_owned(),
            name: "requests".to_owned(),
            target_percent: 99.9,
            period_days: 30,
            indicator: Indicator::Events {
                errors: "sum(rate(http_requests_total{code=~\"5..\"}[{{.window}}]))".to_owned(),
                total: "sum(rate(http_requests_total[{{ .window }}]))".to_owned(),
            },
            labels: vec![("owner".to_owned(), "core".to_owned())],
            alerts: ObjectiveAlerts {
                name: "ShopErrors".to_owned(),
                page: Some(Severity {
                    labels: vec![("severity".to_owned(), "page".to_owned())],
                    ..Severity::default()
                }),
                ticket: Some(Severity::default()),
                ..ObjectiveAlerts::default()
            },
        }
    }

    fn compiled(objective: &QueryObjective) -> Vec<Group> {
        compile(objective, "slo.yml", 60_000, ParseOptions::all()).unwrap()
    }

    #[test]
    fn rules_have_the_names_and_labels_that_dashboards_know() {
        let groups = compiled(&objective());
        let names: Vec<_> = groups.iter().map(|group| group.name.as_str()).collect();
        assert_eq!(
            names,
            [
                "sloth-slo-sli-recordings-shop-requests",
                "sloth-slo-meta-recordings-shop-requests",
                "sloth-slo-alerts-shop-requests"
            ]
        );
        let records: Vec<_> = groups.iter().flat_map(|group| &group.rules).map(|rule| rule.name.as_str()).collect();
        assert_eq!(
            records,
            [
                "slo:sli_error:ratio_rate5m",
                "slo:sli_error:ratio_rate30m",
                "slo:sli_error:ratio_rate1h",
                "slo:sli_error:ratio_rate2h",
                "slo:sli_error:ratio_rate6h",
                "slo:sli_error:ratio_rate1d",
                "slo:sli_error:ratio_rate3d",
                "slo:sli_error:ratio_rate30d",
                "slo:objective:ratio",
                "slo:error_budget:ratio",
                "slo:time_period:days",
                "slo:current_burn_rate:ratio",
                "slo:period_burn_rate:ratio",
                "slo:period_error_budget_remaining:ratio",
                "sloth_slo_info",
                "ShopErrors",
                "ShopErrors",
            ]
        );
        let first = &groups[0].rules[0];
        assert_eq!(
            first.query(),
            "(sum(rate(http_requests_total{code=~\"5..\"}[5m]))) / (sum(rate(http_requests_total[5m])))"
        );
        let labels: Vec<_> = first.labels.iter().map(|(name, value)| (name.as_str(), value.text())).collect();
        assert_eq!(
            labels,
            [
                ("owner", "core"),
                ("sloth_id", "shop-requests"),
                ("sloth_service", "shop"),
                ("sloth_slo", "requests"),
                ("sloth_window", "5m"),
            ]
        );
    }

    #[test]
    fn alerts_burn_as_fast_as_the_workbook_says_and_slower_over_shorter_periods() {
        let page = compiled(&objective())[2].rules[0].query();
        assert!(page.contains("> (14.4 * 0.00") && page.contains("> (6 * 0.00"), "{page}");
        let ticket = compiled(&objective())[2].rules[1].query();
        assert!(ticket.contains("> (3 * 0.00") && ticket.contains("> (1 * 0.00"), "{ticket}");
        let week = QueryObjective { period_days: 7, ..objective() };
        let groups = compiled(&week);
        assert!(groups[2].rules[0].query().contains("> (3.36 * 0.00"));
        assert_eq!(groups[0].rules[7].name, "slo:sli_error:ratio_rate1w");
        let silent = QueryObjective { alerts: ObjectiveAlerts::default(), ..objective() };
        assert_eq!(compiled(&silent).len(), 2);
    }

    #[test]
    fn queries_that_cannot_be_read_are_told() {
        let bad = QueryObjective { indicator: Indicator::Ratio("sum(".to_owned()), ..objective() };
        assert!(compile(&bad, "f", 1, ParseOptions::all()).unwrap_err().contains("parse error"));
        assert!(has_window("x[{{.window}}]") && has_window("{{ .window }}") && !has_window("x[5m] {{x}}"));
    }
}
