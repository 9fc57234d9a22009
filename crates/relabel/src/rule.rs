//! A rule: as written, and checked.

use homeostat_model::go_regex;
use regex::Regex;

/// Largest compiled regular expression in bytes; some thousands of alternatives.
const REGEX_BYTES_MAX: usize = 10 << 20;

/// What a rule does.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Action {
    /// Sets the target label to the replacement when the expression matches.
    #[default]
    Replace,
    /// Drops the set unless the expression matches.
    Keep,
    /// Drops the set if the expression matches.
    Drop,
    /// Drops the set unless the target label equals the joined sources.
    KeepEqual,
    /// Drops the set if the target label equals the joined sources.
    DropEqual,
    /// Sets the target label to a hash of the joined sources, modulo the modulus.
    HashMod,
    /// Copies each label whose name matches to the name that the replacement gives.
    LabelMap,
    /// Removes labels whose names match.
    LabelDrop,
    /// Removes labels whose names do not match.
    LabelKeep,
    /// Sets the target label to the joined sources in lower case.
    Lowercase,
    /// As above, in upper case.
    Uppercase,
}

impl Action {
    /// As written in a configuration.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Replace => "replace",
            Self::Keep => "keep",
            Self::Drop => "drop",
            Self::KeepEqual => "keepequal",
            Self::DropEqual => "dropequal",
            Self::HashMod => "hashmod",
            Self::LabelMap => "labelmap",
            Self::LabelDrop => "labeldrop",
            Self::LabelKeep => "labelkeep",
            Self::Lowercase => "lowercase",
            Self::Uppercase => "uppercase",
        }
    }

    const fn needs_target(self) -> bool {
        matches!(
            self,
            Self::Replace | Self::HashMod | Self::KeepEqual | Self::DropEqual | Self::Lowercase | Self::Uppercase
        )
    }
}

/// A rule as written, with Prometheus' defaults.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RuleSpec {
    /// Labels whose values are joined.
    pub source_labels: Vec<String>,
    /// Between the joined values.
    pub separator: String,
    /// Matched against the whole of the joined values, or of a label's name.
    pub regex: String,
    /// Divisor of the hash.
    pub modulus: u64,
    /// The label that is set; may hold `$1` and the like when replacing.
    pub target_label: String,
    /// The value that is set, with `$1` and the like.
    pub replacement: String,
    /// What is done.
    pub action: Action,
}

impl Default for RuleSpec {
    fn default() -> Self {
        Self {
            source_labels: Vec::new(),
            separator: ";".to_owned(),
            regex: "(.*)".to_owned(),
            modulus: 0,
            target_label: String::new(),
            replacement: "$1".to_owned(),
            action: Action::Replace,
        }
    }
}

/// Why a rule cannot work.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BadRule {
    /// It sets or compares a label and does not name it.
    #[error("`{}` needs a `target_label`", action.as_str())]
    TargetMissing {
        /// What it does.
        action: Action,
    },
    /// It hashes without a divisor.
    #[error("`hashmod` needs a `modulus` of at least 1")]
    ModulusMissing,
    /// It looks at names only and gives what has no meaning there.
    #[error("`{}` takes a `regex` and nothing else", action.as_str())]
    OnlyRegex {
        /// What it does.
        action: Action,
    },
    /// The expression cannot be used.
    #[error("regular expression {regex:?} cannot be used: {reason}")]
    Regex {
        /// As written.
        regex: String,
        /// What is wrong with it.
        reason: String,
    },
}

/// A checked rule, its expression compiled.
#[derive(Clone, Debug)]
pub struct Rule {
    pub(crate) source_labels: Vec<String>,
    pub(crate) separator: String,
    pub(crate) regex: Regex,
    pub(crate) modulus: u64,
    pub(crate) target_label: String,
    pub(crate) replacement: String,
    pub(crate) action: Action,
}

/// Rules are the same when they were written the same.
impl PartialEq for Rule {
    fn eq(&self, other: &Self) -> bool {
        let Self { source_labels, separator, regex, modulus, target_label, replacement, action } = self;
        *source_labels == other.source_labels
            && *separator == other.separator
            && regex.as_str() == other.regex.as_str()
            && *modulus == other.modulus
            && *target_label == other.target_label
            && *replacement == other.replacement
            && *action == other.action
    }
}

impl Rule {
    /// Checks a rule and compiles its expression, which is anchored at both ends.
    pub fn new(spec: RuleSpec) -> Result<Self, BadRule> {
        let RuleSpec { source_labels, separator, regex, modulus, target_label, replacement, action } = spec;
        if action.needs_target() && target_label.is_empty() {
            return Err(BadRule::TargetMissing { action });
        }
        if action == Action::HashMod && modulus == 0 {
            return Err(BadRule::ModulusMissing);
        }
        let names_only = matches!(action, Action::LabelDrop | Action::LabelKeep);
        if names_only && (!source_labels.is_empty() || !target_label.is_empty() || modulus != 0) {
            return Err(BadRule::OnlyRegex { action });
        }
        let regex = compile(&regex).map_err(|reason| BadRule::Regex { regex, reason })?;
        Ok(Self { source_labels, separator, regex, modulus, target_label, replacement, action })
    }
}

/// Compiles an expression as Prometheus' users write it.
fn compile(pattern: &str) -> Result<Regex, String> {
    let anchored = go_regex::anchored(pattern).map_err(|error| error.to_string())?;
    regex::RegexBuilder::new(&anchored).size_limit(REGEX_BYTES_MAX).build().map_err(|error| error.to_string())
}
