//! What a regular expression of a matcher says without running it: a list of words, a beginning, or anything.
//!
//! Dashboards write `job=~"api|web"` and `pod=~"shop-.*"`; the first needs no expression at all, the second can leave out
//! most values by their beginning.
//!
//! Not here: compiling and running expressions (`promql::matcher`).
//! Invariant: a pattern that is not understood for certain is [`Pattern::Other`].

/// What is known about a pattern, which covers the whole value; `.` matches line ends too.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Pattern {
    /// Exactly one of these.
    Words(Vec<String>),
    /// Everything that begins like this.
    Beginning(String),
    /// Something that begins like this and meets the expression.
    BeginningAnd(String),
    /// Only the expression knows.
    Other,
}

const META: &[char] = &['.', '+', '*', '?', '(', ')', '|', '[', ']', '{', '}', '^', '$', '\\'];
/// Words of one pattern at most that are looked up one by one.
const WORDS_MAX: usize = 1000;

/// Looks at a pattern.
pub(crate) fn analyse(pattern: &str) -> Pattern {
    if let Some(words) = words(without_group(pattern)) {
        return Pattern::Words(words);
    }
    let (beginning, rest) = beginning(pattern);
    match rest {
        // An alternative further on would make the beginning one of several.
        _ if pattern.contains('|') => Pattern::Other,
        ".*" => Pattern::Beginning(beginning),
        _ if beginning.is_empty() => Pattern::Other,
        _ => Pattern::BeginningAnd(beginning),
    }
}

/// `(a|b)` and `(?:a|b)` without the group, if it is one and covers everything.
fn without_group(pattern: &str) -> &str {
    let inner = pattern.strip_prefix('(').and_then(|rest| rest.strip_suffix(')'));
    let inner = inner.map(|inner| inner.strip_prefix("?:").unwrap_or(inner));
    inner.filter(|inner| !inner.contains(['(', ')'])).unwrap_or(pattern)
}

/// Characters that mean themselves behind a backslash; `\<` and `\>` are borders of words.
fn is_escapable(c: char) -> bool {
    c.is_ascii_punctuation() && !['<', '>'].contains(&c)
}

fn words(pattern: &str) -> Option<Vec<String>> {
    let mut words = vec![String::new()];
    let mut chars = pattern.chars();
    while let Some(c) = chars.next() {
        match c {
            '|' if words.len() < WORDS_MAX => words.push(String::new()),
            '\\' => {
                let escaped = chars.next().filter(|c| is_escapable(*c))?;
                words.last_mut()?.push(escaped);
            }
            c if META.contains(&c) => return None,
            c => words.last_mut()?.push(c),
        }
    }
    Some(words)
}

/// The plain characters at the beginning, and what comes behind them.
fn beginning(pattern: &str) -> (String, &str) {
    let (mut text, mut rest) = (String::new(), pattern);
    loop {
        let mut chars = rest.chars();
        let plain = match chars.next() {
            Some('\\') => chars.next().filter(|c| is_escapable(*c)),
            Some(c) if !META.contains(&c) => Some(c),
            _ => None,
        };
        // A character that may repeat or be absent does not belong to the beginning.
        let repeated = chars.as_str().starts_with(['*', '?', '{', '+']);
        match plain.filter(|_| !repeated) {
            Some(c) => text.push(c),
            None => return (text, rest),
        }
        rest = chars.as_str();
    }
}

#[cfg(test)]
mod tests {
    use homeostat_promql::{Matcher, MatcherOp};
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn patterns_of_dashboards_are_understood() {
        let words = |list: &[&str]| Pattern::Words(list.iter().map(|word| (*word).to_owned()).collect());
        for (pattern, expected) in [
            ("api", words(&["api"])),
            ("api|web", words(&["api", "web"])),
            ("(api|web)", words(&["api", "web"])),
            ("(?:api|)", words(&["api", ""])),
            (r"10\.0\.0\.1:80", words(&["10.0.0.1:80"])),
            (r"(a\.b|c)", words(&["a.b", "c"])),
            (r"a\<b", Pattern::BeginningAnd("a".to_owned())),
            ("", words(&[""])),
            (".*", Pattern::Beginning(String::new())),
            ("shop-.*", Pattern::Beginning("shop-".to_owned())),
            ("shop-.+", Pattern::BeginningAnd("shop-".to_owned())),
            (r"a\.b[0-9]+", Pattern::BeginningAnd("a.b".to_owned())),
            ("ab?.*", Pattern::BeginningAnd("a".to_owned())),
            ("ab*", Pattern::BeginningAnd("a".to_owned())),
            ("ab{0}c", Pattern::BeginningAnd("a".to_owned())),
            ("a.*|b", Pattern::Other),
            (r"\d+", Pattern::Other),
            ("(?i)abc", Pattern::Other),
            ("(a)|(b)", Pattern::Other),
            (".+", Pattern::Other),
            ("^a", Pattern::Other),
        ] {
            assert_eq!(analyse(pattern), expected, "{pattern}");
        }
    }

    proptest! {
        #[test]
        fn what_is_known_agrees_with_the_expression(pattern in "[ab.|*+?()<\\\\]{0,8}", value in "[ab.|]{0,5}") {
            let Ok(matcher) = Matcher::new("x", MatcherOp::Regex, &pattern) else { return Ok(()) };
            let found = matcher.matches(&value);
            match analyse(&pattern) {
                Pattern::Words(words) => prop_assert_eq!(words.contains(&value), found),
                Pattern::Beginning(beginning) => prop_assert_eq!(value.starts_with(&beginning), found),
                Pattern::BeginningAnd(beginning) => prop_assert!(!found || value.starts_with(&beginning)),
                Pattern::Other => {}
            }
        }
    }
}
