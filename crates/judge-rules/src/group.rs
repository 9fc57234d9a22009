//! Groups of rules, checked.

use homeostat_promql::Expr;

use crate::template::Template;

/// Rules that are evaluated one after the other, at the same instants.
#[derive(Clone, Debug, PartialEq)]
pub struct Group {
    /// The file that it stands in.
    pub file: String,
    /// Its name, unique within the file.
    pub name: String,
    /// Time between two evaluations; positive.
    pub interval_ms: i64,
    /// How far back the expressions look, and how far back the samples stand.
    pub query_offset_ms: i64,
    /// Series or alerts that one rule may make; 0 for any number.
    pub limit: usize,
    /// In order.
    pub rules: Vec<Rule>,
}

/// A rule.
#[derive(Clone, Debug, PartialEq)]
pub struct Rule {
    /// The metric that is recorded, or the alert.
    pub name: String,
    /// What is evaluated.
    pub expr: Expr,
    /// Labels that are set, those of the group among them; templates for alerts, plain for recorded series.
    pub labels: Vec<(String, Template)>,
    /// What becomes of the result.
    pub kind: RuleKind,
}

/// What becomes of a rule's result.
#[derive(Clone, Debug, PartialEq)]
pub enum RuleKind {
    /// It is stored under another name.
    Recording,
    /// Each element is an alert.
    Alerting(Alerting),
}

/// What only alerts have.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Alerting {
    /// How long an element must be there before its alert fires.
    pub for_ms: i64,
    /// How long an alert goes on firing when its element is gone.
    pub keep_firing_for_ms: i64,
    /// What people are told.
    pub annotations: Vec<(String, Template)>,
}

impl Group {
    /// What tells groups of several files apart; the value of the label `rule_group` of their metrics.
    pub fn key(&self) -> String {
        format!("{};{}", self.file, self.name)
    }

    /// The last instant at or before `now_ms` at which it is evaluated. Groups are spread over their intervals by their
    /// names, so that they do not all run at once; the instants stay the same over restarts.
    pub fn instant(&self, now_ms: i64) -> i64 {
        let interval = self.interval_ms.max(1);
        let offset = (spread(&self.key()) % interval as u64) as i64;
        now_ms.saturating_sub(now_ms.saturating_sub(offset).rem_euclid(interval))
    }
}

/// FNV-1a over 64 bits.
fn spread(text: &str) -> u64 {
    text.bytes().fold(14_695_981_039_346_656_037, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(1_099_511_628_211))
}

impl Rule {
    /// The expression as it is shown.
    pub fn query(&self) -> String {
        self.expr.to_string()
    }

    /// Whether it has the name, the labels and the kind of an older one, so that it goes on with what that remembers.
    pub fn is_successor_of(&self, older: &Self) -> bool {
        let kind = |rule: &Self| std::mem::discriminant(&rule.kind);
        let mut labels = self.labels.iter().zip(&older.labels);
        self.name == older.name
            && kind(self) == kind(older)
            && self.labels.len() == older.labels.len()
            && labels.all(|(a, b)| a.0 == b.0 && a.1.text() == b.1.text())
    }

    /// What an alert has beside a recording.
    pub fn alerting(&self) -> Option<&Alerting> {
        match &self.kind {
            RuleKind::Recording => None,
            RuleKind::Alerting(alerting) => Some(alerting),
        }
    }
}

/// Says what is wrong with the name of a recorded metric: any UTF-8 is one, but for what only looks like a mistake.
pub fn bad_record(name: &str) -> Option<&'static str> {
    match name {
        "" => Some("a recorded metric needs a name"),
        _ if name.contains(['{', '}']) => {
            Some("braces stand in the name of a recorded metric; labels belong under `labels`")
        }
        _ => None,
    }
}

/// Says what is wrong with the name of a label of a rule.
pub fn bad_label(name: &str) -> Option<&'static str> {
    match name {
        "" => Some("a label needs a name"),
        "__name__" => Some("the name is not set by a label: `record` or `alert` gives it"),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn instants_are_spread_and_stay() {
        let group = |name: &str| Group {
            file: "a.yml".to_owned(),
            name: name.to_owned(),
            interval_ms: 60_000,
            query_offset_ms: 0,
            limit: 0,
            rules: Vec::new(),
        };
        let (a, b) = (group("a"), group("b"));
        let at = a.instant(1_700_000_000_000);
        assert!((1_699_999_940_001..=1_700_000_000_000).contains(&at));
        assert_eq!((a.instant(at), a.instant(at + 59_999), a.instant(at + 60_000)), (at, at, at + 60_000));
        assert_ne!(at % 60_000, b.instant(1_700_000_000_000) % 60_000);
        assert_eq!(a.key(), "a.yml;a");
    }
}
