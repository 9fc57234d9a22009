//! Label governance: how many series and values a sender may make, and what becomes of more.
//!
//! Series count while they are active: from their first sample until one to two [`EPOCH_MS`] after their last one. Of a
//! label's values the first ones that come are within the budget, until they have been silent for as long. A value over
//! budget is refused, or folded: it is replaced by `__other__`, and the series that become one are added up. Adding up is
//! only right where one request has all of them, at one time: within a scrape. Elsewhere values over budget are refused,
//! whatever the rule says (`docs/decisions/0091-folding-adds-up-within-a-scrape.md`).
//!
//! Not here: reading limits from a file, adding up (`fold`), clocks.
//! Invariant: memory is bounded by [`ACTIVE_MAX`] series and [`VALUES_MAX`] values, whatever is sent.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError},
};

use homeostat_model::{TimeMs, labels::METRIC_NAME};
use homeostat_wire::intake::{Label, metric_name};
use regex::Regex;

/// What values over budget become.
pub const OTHER: &str = "__other__";

/// How long a series or a value counts without a sample, at least: longer than the usual pauses between scrapes and
/// restarts.
pub const EPOCH_MS: i64 = 10 * 60 * 1000;

/// Active series that are told apart: about 100 bytes each, 1 GB. Beyond it new ones are refused.
pub const ACTIVE_MAX: usize = 10_000_000;

/// Values of all governed labels together that are told apart: about 50 bytes each, 50 MB.
pub const VALUES_MAX: usize = 1_000_000;

/// What is done with values over budget.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Over {
    /// They become [`OTHER`] within a scrape, and are refused elsewhere.
    #[default]
    Fold,
    /// Their samples are refused.
    Refuse,
}

/// How many values a label may have.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ValuesBudget {
    /// Distinct values.
    pub values: usize,
    /// What becomes of others.
    pub over: Over,
}

/// A budget by name, and one for all other names.
#[derive(Clone, Debug)]
pub struct Budgets<T> {
    /// By name.
    pub named: HashMap<String, T>,
    /// For each name that is not among them.
    pub others: Option<T>,
}

impl<T> Default for Budgets<T> {
    fn default() -> Self {
        Self { named: HashMap::new(), others: None }
    }
}

impl<T> Budgets<T> {
    fn of(&self, name: &str) -> Option<&T> {
        self.named.get(name).or(self.others.as_ref())
    }
}

/// Everything that is limited.
#[derive(Clone, Debug)]
pub struct Limits {
    /// The label whose value says whose a series is.
    pub tenant_label: String,
    /// Series of a tenant.
    pub tenants: Budgets<usize>,
    /// Series of a metric.
    pub metrics: Budgets<usize>,
    /// Values of a label.
    pub labels: Budgets<ValuesBudget>,
    /// What metrics a job may have; jobs that are not named may have any. Each matches a whole name.
    pub white_lists: HashMap<String, Vec<Regex>>,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            tenant_label: "job".to_owned(),
            tenants: Budgets::default(),
            metrics: Budgets::default(),
            labels: Budgets::default(),
            white_lists: HashMap::new(),
        }
    }
}

/// Whether a request has all series of its source, at one time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Whole {
    /// A scrape.
    Scrape,
    /// Anything that is pushed.
    Part,
}

/// What is to be done with a series.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// It is stored as it is.
    Admit,
    /// It is added to the one with these labels, sorted by name.
    Fold(Vec<(String, String)>),
    /// It is not stored.
    Refuse(Refused),
}

/// Why a series is not stored.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refused {
    /// The job may not have it.
    #[error("metric {metric} is not on the white list of job {job}")]
    NotListed {
        /// Which metric.
        metric: String,
        /// Which job.
        job: String,
    },
    /// The label has too many values.
    #[error("label {label} has its {limit} values already")]
    Values {
        /// Which label.
        label: String,
        /// How many it may have.
        limit: usize,
    },
    /// The metric has too many series.
    #[error("metric {metric} has its {limit} series already")]
    Metric {
        /// Which metric.
        metric: String,
        /// How many it may have.
        limit: usize,
    },
    /// The tenant has too many series.
    #[error("{label} {tenant:?} has its {limit} series already")]
    Tenant {
        /// The label that says so.
        label: String,
        /// Whose.
        tenant: String,
        /// How many it may have.
        limit: usize,
    },
    /// There is no memory for more.
    #[error("{limit} series are active, and no more are told apart")]
    Active {
        /// How many are told apart.
        limit: usize,
    },
}

impl Refused {
    /// A word for a metric's label.
    pub const fn reason(&self) -> &'static str {
        match self {
            Self::NotListed { .. } => "not listed",
            Self::Values { .. } => "label values limit",
            Self::Metric { .. } => "metric series limit",
            Self::Tenant { .. } => "tenant series limit",
            Self::Active { .. } => "active series limit",
        }
    }
}

/// Decides about series, and remembers the active ones.
#[derive(Debug)]
pub struct Governor {
    limits: Limits,
    hasher: foldhash::fast::RandomState,
    active: Mutex<Active>,
}

#[derive(Debug, Default)]
struct Active {
    epoch: i64,
    series: HashMap<u64, Entry, foldhash::fast::FixedState>,
    metrics: HashMap<Arc<str>, usize>,
    tenants: HashMap<Arc<str>, usize>,
    /// By label: hashes of values with the epoch they were last seen in.
    values: HashMap<String, HashMap<u64, i64, foldhash::fast::FixedState>>,
    values_len: usize,
}

#[derive(Debug)]
struct Entry {
    epoch: i64,
    metric: Arc<str>,
    tenant: Arc<str>,
}

impl Governor {
    /// Nothing is active yet.
    pub fn new(limits: Limits) -> Self {
        Self { limits, hasher: foldhash::fast::RandomState::default(), active: Mutex::default() }
    }

    /// Active series, and how many values governed labels have.
    pub fn active(&self) -> (usize, usize) {
        let active = self.active.lock().unwrap_or_else(PoisonError::into_inner);
        (active.series.len(), active.values_len)
    }

    /// Decides about a series with samples at `now_ms`. Labels are sorted by name.
    pub fn judge(&self, labels: &[Label<'_>], whole: Whole, now_ms: TimeMs) -> Verdict {
        let hash = self.hash(labels);
        let epoch = now_ms.div_euclid(EPOCH_MS);
        let mut active = self.active.lock().unwrap_or_else(PoisonError::into_inner);
        active.turn(epoch);
        if let Some(entry) = active.series.get_mut(&hash) {
            let news = entry.epoch != epoch;
            entry.epoch = epoch;
            if news {
                self.touch_values(labels, &mut active, epoch);
            }
            return Verdict::Admit;
        }
        self.judge_new(labels, hash, whole, &mut active).unwrap_or_else(Verdict::Refuse)
    }

    fn judge_new(
        &self,
        labels: &[Label<'_>],
        hash: u64,
        whole: Whole,
        active: &mut Active,
    ) -> Result<Verdict, Refused> {
        self.check_white_list(labels)?;
        let mut folded: Option<Vec<(String, String)>> = None;
        let mut fresh = Vec::new();
        for (at, (name, value)) in labels.iter().enumerate() {
            let Some(budget) = self.budget(name) else { continue };
            let known = active.values.get(*name);
            let value_hash = self.hash(&[(name, value)]);
            if *value == OTHER || known.is_some_and(|known| known.contains_key(&value_hash)) {
                continue;
            }
            let room = known.map_or(0, HashMap::len) < budget.values && active.values_len + fresh.len() < VALUES_MAX;
            if room {
                fresh.push(((*name).to_owned(), value_hash));
            } else if budget.over == Over::Fold && whole == Whole::Scrape && can_be_added_up(labels) {
                let folded = folded.get_or_insert_with(|| owned(labels));
                if let Some((_, value)) = folded.get_mut(at) {
                    OTHER.clone_into(value);
                }
            } else {
                return Err(Refused::Values { label: (*name).to_owned(), limit: budget.values });
            }
        }
        let (target, target_hash) = match &folded {
            Some(folded) => {
                let borrowed: Vec<Label<'_>> = folded.iter().map(|(n, v)| (n.as_str(), v.as_str())).collect();
                let hash = self.hash(&borrowed);
                (Some(borrowed), hash)
            }
            None => (None, hash),
        };
        if !active.series.contains_key(&target_hash) {
            self.count(target.as_deref().unwrap_or(labels), target_hash, active)?;
        } else if let Some(entry) = active.series.get_mut(&target_hash) {
            entry.epoch = active.epoch;
        }
        let epoch = active.epoch;
        self.touch_values(labels, active, epoch);
        for (label, value_hash) in fresh {
            if active.values.entry(label).or_default().insert(value_hash, epoch).is_none() {
                active.values_len += 1;
            }
        }
        Ok(folded.map_or(Verdict::Admit, Verdict::Fold))
    }

    /// The budget of a label's values. Names of metrics have budgets of their own.
    fn budget(&self, label: &str) -> Option<ValuesBudget> {
        if label == METRIC_NAME { None } else { self.limits.labels.of(label).copied() }
    }

    fn check_white_list(&self, labels: &[Label<'_>]) -> Result<(), Refused> {
        let (metric, job) = (metric_name(labels), value_of(labels, "job"));
        let Some(list) = self.limits.white_lists.get(job) else { return Ok(()) };
        // What the scraper says about a target is not the target's.
        let ours = metric == "up" || metric.starts_with("scrape_");
        if ours || list.iter().any(|pattern| pattern.is_match(metric)) {
            return Ok(());
        }
        Err(Refused::NotListed { metric: metric.to_owned(), job: job.to_owned() })
    }

    /// Makes a series active, if its metric and its tenant may have one more.
    fn count(&self, labels: &[Label<'_>], hash: u64, active: &mut Active) -> Result<(), Refused> {
        let (metric, tenant) = (metric_name(labels), value_of(labels, &self.limits.tenant_label));
        if ACTIVE_MAX <= active.series.len() {
            return Err(Refused::Active { limit: ACTIVE_MAX });
        }
        let over = |limit: Option<&usize>, count: usize| limit.filter(|limit| **limit <= count).copied();
        if let Some(limit) = over(self.limits.metrics.of(metric), active.metrics.get(metric).copied().unwrap_or(0)) {
            return Err(Refused::Metric { metric: metric.to_owned(), limit });
        }
        if let Some(limit) = over(self.limits.tenants.of(tenant), active.tenants.get(tenant).copied().unwrap_or(0)) {
            let label = self.limits.tenant_label.clone();
            return Err(Refused::Tenant { label, tenant: tenant.to_owned(), limit });
        }
        let entry = Entry {
            epoch: active.epoch,
            metric: one_more(&mut active.metrics, metric),
            tenant: one_more(&mut active.tenants, tenant),
        };
        active.series.insert(hash, entry);
        Ok(())
    }

    fn touch_values(&self, labels: &[Label<'_>], active: &mut Active, epoch: i64) {
        for (name, value) in labels {
            if let Some(known) = active.values.get_mut(*name)
                && let Some(seen) = known.get_mut(&self.hash(&[(name, value)]))
            {
                *seen = epoch;
            }
        }
    }

    fn hash(&self, labels: &[Label<'_>]) -> u64 {
        use std::hash::BuildHasher as _;
        self.hasher.hash_one(labels)
    }
}

impl Active {
    /// Forgets what was silent for a whole epoch, when a new one begins.
    fn turn(&mut self, epoch: i64) {
        if epoch <= self.epoch {
            return;
        }
        self.epoch = epoch;
        let (metrics, tenants) = (&mut self.metrics, &mut self.tenants);
        self.series.retain(|_, entry| {
            let kept = epoch <= entry.epoch + 1;
            if !kept {
                one_less(metrics, &entry.metric);
                one_less(tenants, &entry.tenant);
            }
            kept
        });
        self.values.retain(|_, known| {
            known.retain(|_, seen| epoch <= *seen + 1);
            !known.is_empty()
        });
        self.values_len = self.values.values().map(HashMap::len).sum();
    }
}

fn one_more(counts: &mut HashMap<Arc<str>, usize>, name: &str) -> Arc<str> {
    if let Some((key, _)) = counts.get_key_value(name) {
        let key = Arc::clone(key);
        *counts.entry(Arc::clone(&key)).or_default() += 1;
        return key;
    }
    let key: Arc<str> = name.into();
    counts.insert(Arc::clone(&key), 1);
    key
}

fn one_less(counts: &mut HashMap<Arc<str>, usize>, name: &Arc<str>) {
    if let Some(count) = counts.get_mut(name) {
        *count -= 1;
        if *count == 0 {
            counts.remove(name);
        }
    }
}

/// A summary's quantiles have no sum.
fn can_be_added_up(labels: &[Label<'_>]) -> bool {
    labels.iter().all(|(name, _)| *name != "quantile")
}

fn value_of<'a>(labels: &[Label<'a>], wanted: &str) -> &'a str {
    labels.iter().find(|(name, _)| *name == wanted).map_or("", |(_, value)| value)
}

fn owned(labels: &[Label<'_>]) -> Vec<(String, String)> {
    labels.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn limits(tenant: usize, metric: usize, values: usize, over: Over) -> Limits {
        Limits {
            tenants: Budgets { named: HashMap::from([("a".to_owned(), tenant)]), others: None },
            metrics: Budgets { named: HashMap::new(), others: Some(metric) },
            labels: Budgets {
                named: HashMap::from([("user".to_owned(), ValuesBudget { values, over })]),
                others: None,
            },
            ..Limits::default()
        }
    }

    fn judge(governor: &Governor, metric: &str, job: &str, user: &str, whole: Whole, now_ms: i64) -> String {
        let labels = [("__name__", metric), ("job", job), ("user", user)];
        match governor.judge(&labels, whole, now_ms) {
            Verdict::Admit => "admit".to_owned(),
            Verdict::Fold(labels) => format!("fold into {}", labels[2].1),
            Verdict::Refuse(why) => format!("refuse: {why}"),
        }
    }

    #[test]
    fn values_over_budget_are_folded_in_scrapes_and_refused_elsewhere() {
        let governor = Governor::new(limits(100, 100, 2, Over::Fold));
        let one = |user: &str, whole| judge(&governor, "m", "a", user, whole, 0);
        assert_eq!(one("x", Whole::Part), "admit");
        assert_eq!(one("y", Whole::Scrape), "admit");
        assert_eq!(one("z", Whole::Scrape), "fold into __other__");
        assert_eq!(one("z", Whole::Part), "refuse: label user has its 2 values already");
        assert_eq!(one("x", Whole::Part), "admit");
        assert_eq!(governor.active(), (3, 2));
        let quantile = [("__name__", "m"), ("quantile", "0.5"), ("user", "z")];
        assert!(matches!(governor.judge(&quantile, Whole::Scrape, 0), Verdict::Refuse(Refused::Values { .. })));
        let refusing = Governor::new(limits(100, 100, 0, Over::Refuse));
        assert!(judge(&refusing, "m", "a", "x", Whole::Scrape, 0).starts_with("refuse: label user"));
    }

    #[test]
    fn metrics_and_tenants_have_so_many_series() {
        let governor = Governor::new(limits(3, 2, 100, Over::Fold));
        let one = |metric: &str, job: &str, user: &str| judge(&governor, metric, job, user, Whole::Part, 0);
        assert_eq!((one("m", "a", "1"), one("m", "a", "2")), ("admit".into(), "admit".into()));
        assert_eq!(one("m", "a", "3"), "refuse: metric m has its 2 series already");
        assert_eq!(one("n", "a", "1"), "admit");
        assert_eq!(one("o", "a", "1"), "refuse: job \"a\" has its 3 series already");
        assert_eq!(one("o", "b", "1"), "admit");
    }

    #[test]
    fn what_is_silent_makes_room() {
        let governor = Governor::new(limits(1, 100, 1, Over::Refuse));
        let one = |user: &str, now_ms| judge(&governor, "m", "a", user, Whole::Part, now_ms);
        assert_eq!(one("x", 0), "admit");
        assert!(one("y", EPOCH_MS).starts_with("refuse: label"));
        assert_eq!(one("x", EPOCH_MS), "admit");
        assert!(one("y", 2 * EPOCH_MS).starts_with("refuse: label"), "x was seen an epoch ago");
        assert_eq!(one("y", 3 * EPOCH_MS), "admit");
        assert_eq!(governor.active(), (1, 1));
    }

    #[test]
    fn a_value_lives_on_in_new_series() {
        let governor = Governor::new(limits(100, 100, 1, Over::Refuse));
        let one = |metric: &str, user: &str, now_ms| judge(&governor, metric, "a", user, Whole::Part, now_ms);
        // Each epoch another series has it, and none of them comes twice.
        for epoch in 0..5 {
            assert_eq!(one(&format!("m{epoch}"), "x", epoch * EPOCH_MS), "admit");
            assert!(one("m", "y", epoch * EPOCH_MS).starts_with("refuse: label"), "epoch {epoch}");
        }
        assert_eq!(one("m", "y", 6 * EPOCH_MS), "admit", "then it is silent");
    }

    #[test]
    fn white_lists_are_of_jobs() {
        let list = vec![Regex::new("^(?:node_.*)$").unwrap()];
        let governor =
            Governor::new(Limits { white_lists: HashMap::from([("a".to_owned(), list)]), ..Limits::default() });
        let one = |metric: &str, job: &str| judge(&governor, metric, job, "x", Whole::Part, 0);
        assert_eq!(
            (one("node_cpu", "a"), one("up", "a"), one("x", "b")),
            ("admit".into(), "admit".into(), "admit".into())
        );
        assert_eq!(one("x_node_cpu", "a"), "refuse: metric x_node_cpu is not on the white list of job a");
    }
}
