//! Label matchers: `name = "value"` and its three relatives.

use std::{fmt, hash, sync::Arc};

use homeostat_model::{go_regex, labels::METRIC_NAME};
use regex::Regex;

/// Largest compiled regular expression in bytes; a few thousand alternatives. Beyond it a query is refused.
pub const REGEX_BYTES_MAX: usize = 10 << 20;

/// How a label's value is compared.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum MatcherOp {
    /// `=`
    Equal,
    /// `!=`
    NotEqual,
    /// `=~`: the whole value matches the regular expression.
    Regex,
    /// `!~`
    NotRegex,
}

impl MatcherOp {
    /// As written in a query.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Equal => "=",
            Self::NotEqual => "!=",
            Self::Regex => "=~",
            Self::NotRegex => "!~",
        }
    }
}

/// A regular expression that cannot be used.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
#[error("error parsing regexp: {reason}")]
pub struct BadRegex {
    /// What was written.
    pub pattern: String,
    /// What is wrong with it, in Go's words where Go refuses it.
    pub reason: String,
}

/// A condition on one label. An absent label has the empty value.
#[derive(Clone)]
pub struct Matcher {
    /// The label.
    pub name: Arc<str>,
    /// The comparison.
    pub op: MatcherOp,
    /// What it is compared with, as written.
    pub value: Arc<str>,
    /// Compiled and anchored at both ends; only for the two regex comparisons.
    regex: Option<Arc<Regex>>,
}

impl Matcher {
    /// Makes a matcher; a regular expression is compiled here, once. `.` matches line ends, as in Prometheus 3.
    pub fn new(name: &str, op: MatcherOp, value: &str) -> Result<Self, BadRegex> {
        let regex = match op {
            MatcherOp::Equal | MatcherOp::NotEqual => None,
            MatcherOp::Regex | MatcherOp::NotRegex => Some(Arc::new(compile_regex(value)?)),
        };
        Ok(Self { name: name.into(), op, value: value.into(), regex })
    }

    /// Makes the matcher `name = value`, which cannot fail.
    pub fn equal(name: &str, value: &str) -> Self {
        Self { name: name.into(), op: MatcherOp::Equal, value: value.into(), regex: None }
    }

    /// Returns true when a label with this value (empty when absent) meets the condition.
    pub fn matches(&self, value: &str) -> bool {
        let found = match &self.regex {
            Some(regex) => regex.is_match(value),
            None => *self.value == *value,
        };
        found == matches!(self.op, MatcherOp::Equal | MatcherOp::Regex)
    }

    /// The metric's name, when this is `__name__ = …`.
    pub fn fixed_name(&self) -> Option<&str> {
        (&*self.name == METRIC_NAME && self.op == MatcherOp::Equal).then_some(&*self.value)
    }

    /// The compiled regular expression of `=~` and `!~`, anchored at both ends.
    pub fn regex(&self) -> Option<&Regex> {
        self.regex.as_deref()
    }
}

/// Compiles an expression as Prometheus' users write it, anchored at both ends. `.` matches line ends.
pub fn compile_regex(pattern: &str) -> Result<Regex, BadRegex> {
    let bad = |reason| BadRegex { pattern: pattern.to_owned(), reason };
    let anchored = go_regex::anchored(pattern).map_err(|error| bad(error.to_string()))?;
    regex::RegexBuilder::new(&anchored).size_limit(REGEX_BYTES_MAX).build().map_err(|error| bad(error.to_string()))
}

impl PartialEq for Matcher {
    fn eq(&self, other: &Self) -> bool {
        (&self.name, self.op, &self.value) == (&other.name, other.op, &other.value)
    }
}

impl Eq for Matcher {}

impl hash::Hash for Matcher {
    fn hash<H: hash::Hasher>(&self, state: &mut H) {
        (&self.name, self.op, &self.value).hash(state);
    }
}

impl fmt::Debug for Matcher {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}{}{:?}", self.name, self.op.as_str(), self.value)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn an_absent_label_has_the_empty_value() -> Result<(), BadRegex> {
        assert!(Matcher::new("a", MatcherOp::Regex, "x|")?.matches(""));
        assert!(Matcher::new("a", MatcherOp::NotEqual, "x")?.matches(""));
        assert!(!Matcher::new("a", MatcherOp::NotRegex, ".*")?.matches(""));
        Ok(())
    }

    #[test]
    fn a_regular_expression_covers_the_whole_value_and_line_ends() -> Result<(), BadRegex> {
        let matcher = Matcher::new("a", MatcherOp::Regex, "b|a.c")?;
        assert!(matcher.matches("a\nc") && matcher.matches("b"));
        assert!(!matcher.matches("abcd") && !matcher.matches("bb"));
        let error = Matcher::new("a", MatcherOp::Regex, "a(b").map_err(|error| error.to_string());
        assert_eq!(error, Err("error parsing regexp: missing closing ): `a(b`".to_owned()));
        Ok(())
    }

    #[test]
    fn regular_expressions_mean_what_they_mean_in_go() {
        for (pattern, matching, other) in [
            ("/users/{id}", "/users/{id}", "/users/id"),
            (r"\d+", "12", "١٢"),
            (r"\w+", "ab_1", "äb"),
            (r"\S", "é", " "),
            (r"a\b.*", "aé", "ab"),
            ("[a&&b]+", "&ab", "c"),
            ("[!--]+", "!+-", "a"),
            (r"\Qa.b\E.", "a.bc", "axbc"),
            (r"\pL+", "aé世", "1"),
            (r"a\<b", "a<b", "ab"),
            ("(?i)ÄB", "äb", "ab"),
            ("[[:alpha:]]+", "ab", "é"),
            ("[^a]", "\n", "a"),
            (r"\x41\102", "AB", "ab"),
        ] {
            let regex = compile_regex(pattern).unwrap();
            assert!(regex.is_match(matching) && !regex.is_match(other), "{pattern}");
        }
    }

    proptest! {
        #[test]
        fn what_is_translated_compiles(pattern in r"([a-c{}\[\]()*+?|^$.\\pdwsbQEx0-9:,P<>&~-]|\[\^|\\[dDwWsSbBAzQExpPnt.]|\(\?[imsU-]*[:)]?){0,12}") {
            if let Err(error) = compile_regex(&pattern) {
                // What the crate alone refuses: a name of a script, a name of a group given twice, and nesting and size.
                let known = !error.reason.contains('\n') || ["Unicode property", "duplicate", "nest", "size"]
                    .iter()
                    .any(|known| error.reason.contains(known));
                prop_assert!(known, "{pattern}: {}", error.reason);
            }
        }
    }
}
