//! The file of `--limits`: how many series and values senders may make.
//!
//! ```yaml
//! tenant_label: job
//! tenants: {checkout: {series: 500000}, '*': {series: 100000}}
//! metrics: {'*': {series: 10000}}
//! labels: {user_id: {values: 100, over: fold}, '*': {values: 5000, over: refuse}}
//! jobs: {node: {metrics: ['node_.*']}}
//! ```
//!
//! `*` stands for every name that is not written down. Not here: what the limits do (`sense-receive`).

use std::{collections::HashMap, path::Path};

use homeostat_sense_receive::govern::{Budgets, Limits, Over, ValuesBudget};
use regex::Regex;

use super::{
    problem::{Problems, Severity},
    prometheus::Text,
    read::{Context, Entries, Read, record, words},
    scalar::Whole,
    source::{At, Sources},
    tree,
};

/// Counts of series and values.
type Count = Whole<0, 1_000_000_000>;

record! {
    /// The file.
    LimitsFile {
        /// The label whose value says whose a series is.
        "tenant_label" tenant_label: Text => default "job";
        /// Series of a tenant, by name.
        "tenants" tenants: Entries<Text, SeriesBudget> => optional;
        /// Series of a metric, by name.
        "metrics" metrics: Entries<Text, SeriesBudget> => optional;
        /// Values of a label, by name.
        "labels" labels: Entries<Text, LabelBudget> => optional;
        /// What metrics a job may have, by its name.
        "jobs" jobs: Entries<Text, WhiteList> => optional;
    }
}

record! {
    /// How many series.
    SeriesBudget {
        /// Active at once.
        "series" series: Count => required;
    }
}

record! {
    /// How many values.
    LabelBudget {
        /// Distinct ones at once.
        "values" values: Count => required;
        /// What becomes of others.
        "over" over: Over => default "fold";
    }
}

record! {
    /// What a job may have.
    WhiteList {
        /// Regular expressions that match whole names.
        "metrics" metrics: Vec<Text> => required;
    }
}

words! { Over {
    "fold" => Over::Fold, "They become `__other__` and are added up, within a scrape; refused elsewhere.";
    "refuse" => Over::Refuse, "They are not stored.";
} }

/// Reads and checks the file.
pub fn load(path: &Path) -> Result<Limits, Problems> {
    let (sources, _, problems) = Sources::read(path);
    compile(&sources, Context::new(problems, &|_| None))
}

/// Checks a text; `name` stands for the file's name.
pub fn load_str(name: &str, text: &str) -> Result<Limits, Problems> {
    compile(&Sources::of_text(name, text), Context::new(Vec::new(), &|_| None))
}

fn compile(sources: &Sources, mut cx: Context<'_>) -> Result<Limits, Problems> {
    let mut limits = Limits::default();
    for (file, source) in (0_u16..).zip(&sources.0) {
        let parsed = tree::parse(&source.name, &source.text, file, &mut cx.problems);
        for document in &parsed.documents {
            if let Some(raw) = LimitsFile::read(document, &mut cx) {
                limits = check(&raw, &mut cx);
            }
        }
    }
    if cx.problems.iter().any(|problem| problem.severity == Severity::Error) {
        return Err(Problems::new(cx.problems, sources, &cx.secrets));
    }
    Ok(limits)
}

fn check(raw: &LimitsFile, cx: &mut Context<'_>) -> Limits {
    let defaults = Limits::default();
    let series = |raw: &SeriesBudget| raw.series.as_ref().map(|at| at.value.0 as usize);
    let values = |raw: &LabelBudget| {
        let values = raw.values.as_ref()?.value.0 as usize;
        Some(ValuesBudget { values, over: raw.over.as_ref().map_or(Over::default(), |at| at.value) })
    };
    Limits {
        tenant_label: raw.tenant_label.as_ref().map_or(defaults.tenant_label, |at| at.value.0.clone()),
        tenants: budgets(raw.tenants.as_ref(), series),
        metrics: budgets(raw.metrics.as_ref(), series),
        labels: budgets(raw.labels.as_ref(), values),
        white_lists: white_lists(raw, cx),
    }
}

fn budgets<R, T>(raw: Option<&At<Entries<Text, R>>>, read: impl Fn(&R) -> Option<T>) -> Budgets<T> {
    let mut budgets = Budgets::default();
    for (name, budget) in raw.iter().flat_map(|at| &at.value.0) {
        let Some(budget) = read(&budget.value) else { continue };
        if name.value.0 == "*" {
            budgets.others = Some(budget);
        } else {
            budgets.named.insert(name.value.0.clone(), budget);
        }
    }
    budgets
}

fn white_lists(raw: &LimitsFile, cx: &mut Context<'_>) -> HashMap<String, Vec<Regex>> {
    let mut lists = HashMap::new();
    for (job, list) in raw.jobs.iter().flat_map(|at| &at.value.0) {
        let Some(metrics) = &list.value.metrics else { continue };
        let mut patterns = Vec::new();
        for text in &metrics.value {
            let Ok(pattern) = Regex::new(&format!("^(?:{})$", text.0)) else {
                let help = "mend it; `node_.*` matches all names that begin with `node_`";
                cx.error(metrics.place, format!("`{}` is no regular expression", text.0), help);
                continue;
            };
            patterns.push(pattern);
        }
        lists.insert(job.value.0.clone(), patterns);
    }
    lists
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn limits_are_read() {
        let text = "tenants: {a: {series: 5}, '*': {series: 7}}\nlabels: {user: {values: 3}, '*': {values: 4, over: refuse}}\njobs: {node: {metrics: ['node_.*']}}\n";
        let limits = load_str("limits.yaml", text).unwrap_or_else(|problems| panic!("{problems}"));
        assert_eq!(
            (limits.tenant_label.as_str(), limits.tenants.named["a"], limits.tenants.others),
            ("job", 5, Some(7))
        );
        assert_eq!(limits.labels.named["user"], ValuesBudget { values: 3, over: Over::Fold });
        assert_eq!(limits.labels.others, Some(ValuesBudget { values: 4, over: Over::Refuse }));
        assert!(
            limits.white_lists["node"][0].is_match("node_x") && !limits.white_lists["node"][0].is_match("a_node_x")
        );
    }

    #[test]
    fn problems_come_with_place_and_remedy() {
        let text = "labels:\n  user: {value: 3}\n  path: {values: 1, over: drop}\njobs: {a: {metrics: ['(']}}\nmetrics: {m: {}}\n";
        let said = load_str("limits.yaml", text).unwrap_err().to_string();
        for expected in
            ["limits.yaml:2:", "write `values`", "`fold` or `refuse`", "regular expression", "`series` is missing"]
        {
            assert!(said.contains(expected), "{expected}\n{said}");
        }
    }
}
