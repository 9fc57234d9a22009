//! Regular expressions as Prometheus' users write them, in the words of the `regex` crate.
//!
//! Prometheus reads them with Go's `regexp/syntax`. Most mean the same to the `regex` crate, but not all:
//!
//! | written | Go | the crate |
//! |---|---|---|
//! | `/users/{id}` | a brace that begins no count is itself | refused |
//! | `\d`, `\s`, `\w`, `\b` | ASCII | all of Unicode |
//! | `[a&&b]`, `[a--b]`, `[[a]` | characters | operations on sets, a set within |
//! | `\Q.*\E` | the characters between | refused |
//! | `\012`, `\<`, `\_` | a code, two characters | refused, the beginning of a word, refused |
//! | `a**`, `a{1001}`, `(?x)` | refused | read |
//!
//! One pass, no recursion, and the output is at most a few times as long as the input.
//! Not here: compiling, which brings its own limit of size (the callers), and matching.
//! Source: RE2's syntax page and Go's `regexp/syntax`, flags Perl and `DotNL`; texts of errors follow Go.

mod class;
mod escape;

use escape::Escape;

/// Largest count of a repetition, and of copies that repetitions within each other make of one part.
const REPEAT_MAX: u32 = 1000;

/// Why an expression is none. As text it is what Go says.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{reason}: `{part}`")]
pub struct BadGoRegex {
    /// What is wrong.
    pub reason: &'static str,
    /// The part of the expression that is wrong.
    pub part: String,
}

impl BadGoRegex {
    fn new(reason: &'static str, part: &str) -> Self {
        Self { reason, part: part.to_owned() }
    }
}

/// Translates an expression that the whole value must match, ready for the `regex` crate: anchored at both ends, and
/// `.` matches line ends.
///
/// Errors: what Go refuses, except what only counts when compiled (groups that are named twice, unknown scripts, size).
pub fn anchored(pattern: &str) -> Result<String, BadGoRegex> {
    translate(pattern, "^(?s:", ")$")
}

/// Translates an expression that may match anywhere, as Go's `regexp.MustCompile` reads it.
///
/// Errors: as [`anchored`].
pub fn unanchored(pattern: &str) -> Result<String, BadGoRegex> {
    translate(pattern, "", "")
}

fn translate(pattern: &str, before: &str, behind: &str) -> Result<String, BadGoRegex> {
    let out = String::from(before);
    let mut translator = Translator { pattern, rest: pattern, out, groups: Vec::new(), copies: 1, last: Last::Nothing };
    while let Some(c) = translator.rest.chars().next() {
        translator.step(c)?;
    }
    if !translator.groups.is_empty() {
        return Err(BadGoRegex::new("missing closing )", pattern));
    }
    translator.out.push_str(behind);
    Ok(translator.out)
}

/// What a repetition would apply to.
#[derive(Clone, Copy, PartialEq)]
enum Last<'a> {
    /// The beginning of an alternative.
    Nothing,
    /// Something that can be repeated; how often its own repetitions within multiply a part of it.
    Atom(u32),
    /// A repetition; from there on.
    Repetition(&'a str),
}

struct Translator<'a> {
    pattern: &'a str,
    rest: &'a str,
    out: String,
    /// Of each open group, the copies outside of it so far.
    groups: Vec<u32>,
    /// The most copies of a part that the repetitions of the innermost open group make so far.
    copies: u32,
    last: Last<'a>,
}

impl<'a> Translator<'a> {
    fn step(&mut self, c: char) -> Result<(), BadGoRegex> {
        match c {
            '(' => self.open(),
            ')' => self.close(),
            '|' => {
                self.last = Last::Nothing;
                self.copy(1);
                Ok(())
            }
            '*' | '+' | '?' => self.repetition(1),
            '{' if counts_len(self.rest).is_some() => self.repetition(counts_len(self.rest).unwrap_or(1)),
            '[' => self.class(),
            '\\' => self.escape(),
            '^' | '$' | '.' => {
                self.last = Last::Atom(1);
                self.copy(1);
                Ok(())
            }
            _ => {
                self.literal(c);
                Ok(())
            }
        }
    }

    /// The next so many bytes, which are passed.
    fn pass(&mut self, len: usize) -> &'a str {
        let (part, rest) = self.rest.split_at_checked(len).unwrap_or((self.rest, ""));
        self.rest = rest;
        part
    }

    fn copy(&mut self, len: usize) {
        let part = self.pass(len);
        self.out.push_str(part);
    }

    fn literal(&mut self, c: char) {
        self.pass(c.len_utf8());
        push_literal(&mut self.out, c);
        self.last = Last::Atom(1);
    }

    fn open(&mut self) -> Result<(), BadGoRegex> {
        self.last = Last::Nothing;
        if !self.rest.starts_with("(?") {
            self.enter();
            self.copy(1);
            return Ok(());
        }
        let named = self.rest.strip_prefix("(?P<").or_else(|| self.rest.strip_prefix("(?<"));
        match named {
            Some(after) => self.named_group(after),
            None => self.flags(),
        }
    }

    fn enter(&mut self) {
        self.groups.push(self.copies);
        self.copies = 1;
    }

    fn named_group(&mut self, after: &'a str) -> Result<(), BadGoRegex> {
        let Some((name, behind)) = after.split_once('>') else {
            return Err(BadGoRegex::new("invalid named capture", self.rest));
        };
        let head = self.pass(self.rest.len() - behind.len());
        let is_word = !name.is_empty() && name.chars().all(|c| c == '_' || c.is_ascii_alphanumeric());
        if !is_word {
            return Err(BadGoRegex::new("invalid named capture", head));
        }
        self.enter();
        // The crate's names begin with a letter; a replacement can name a group only by what is written.
        self.out.push_str("(?P<");
        self.out.push_str(name);
        self.out.push('>');
        Ok(())
    }

    /// `(?i)`, `(?s-m:` and the like. The crate wants each flag once and none for nothing; here the last one counts.
    fn flags(&mut self) -> Result<(), BadGoRegex> {
        let (mut negated, mut since_sign) = (false, 0);
        let (mut on, mut off) = (String::new(), String::new());
        for (at, c) in self.rest.char_indices().skip(2) {
            match c {
                'i' | 'm' | 's' | 'U' => {
                    on.retain(|flag| flag != c);
                    off.retain(|flag| flag != c);
                    if negated { &mut off } else { &mut on }.push(c);
                    since_sign += 1;
                }
                '-' if !negated => (negated, since_sign) = (true, 0),
                ')' | ':' if !negated || 0 < since_sign => {
                    self.pass(at + 1);
                    self.push_flags(&on, &off, c == ':');
                    return Ok(());
                }
                _ => return Err(BadGoRegex::new("invalid or unsupported Perl syntax", self.up_to(at + c.len_utf8()))),
            }
        }
        Err(BadGoRegex::new("invalid or unsupported Perl syntax", self.rest))
    }

    fn push_flags(&mut self, on: &str, off: &str, opens: bool) {
        if !opens && on.is_empty() && off.is_empty() {
            return;
        }
        self.out.push_str("(?");
        self.out.push_str(on);
        if !off.is_empty() {
            self.out.push('-');
            self.out.push_str(off);
        }
        self.out.push(if opens { ':' } else { ')' });
        if opens {
            self.enter();
        }
    }

    fn up_to(&self, len: usize) -> &'a str {
        self.rest.get(..len).unwrap_or(self.rest)
    }

    fn close(&mut self) -> Result<(), BadGoRegex> {
        let Some(outside) = self.groups.pop() else {
            return Err(BadGoRegex::new("unexpected )", self.pattern));
        };
        self.last = Last::Atom(self.copies);
        self.copies = self.copies.max(outside);
        self.copy(1);
        Ok(())
    }

    /// `*`, `+`, `?` or counts of so many bytes, with or without a `?` that makes them lazy.
    fn repetition(&mut self, len: usize) -> Result<(), BadGoRegex> {
        let start = self.rest;
        let counts = if 1 < len { counts(self.up_to(len)) } else { Some(1) };
        let bad_count = Err(BadGoRegex::new("invalid repeat count", self.up_to(len)));
        let Some(count) = counts else { return bad_count };
        let lazy = usize::from(start.as_bytes().get(len) == Some(&b'?'));
        let within = match self.last {
            Last::Nothing => {
                return Err(BadGoRegex::new("missing argument to repetition operator", self.up_to(len + lazy)));
            }
            Last::Repetition(before) => {
                let both = before.len() - start.len() + len + lazy;
                let part = before.get(..both).unwrap_or(before);
                return Err(BadGoRegex::new("invalid nested repetition operator", part));
            }
            Last::Atom(copies) => copies,
        };
        let copies = within.saturating_mul(count.max(1));
        if REPEAT_MAX < copies {
            return bad_count;
        }
        self.copies = self.copies.max(copies);
        self.copy(len + lazy);
        self.last = Last::Repetition(start);
        Ok(())
    }

    fn class(&mut self) -> Result<(), BadGoRegex> {
        let len = class::translate(self.rest, &mut self.out)?;
        self.pass(len);
        self.last = Last::Atom(1);
        Ok(())
    }

    fn escape(&mut self) -> Result<(), BadGoRegex> {
        if let Some(quoted) = self.rest.strip_prefix("\\Q") {
            let (text, behind) = quoted.split_once("\\E").unwrap_or((quoted, ""));
            text.chars().for_each(|c| push_literal(&mut self.out, c));
            self.rest = behind;
            if !text.is_empty() {
                self.last = Last::Atom(1);
            }
            return Ok(());
        }
        let (escape, len) = escape::read(self.rest)?;
        self.pass(len);
        self.last = Last::Atom(1);
        match escape {
            Escape::Char(c) => push_literal(&mut self.out, c),
            Escape::Class(class) => {
                self.out.push('[');
                self.out.push_str(&class);
                self.out.push(']');
            }
            Escape::Place(place) => self.out.push_str(place),
        }
        Ok(())
    }
}

/// Writes a character that stands for itself.
fn push_literal(out: &mut String, c: char) {
    if c.is_ascii_punctuation() && c != '_' {
        out.push('\\');
    }
    // `\<` and `\>` are places in words.
    if matches!(c, '<' | '>') {
        out.pop();
    }
    out.push(c);
}

/// Bytes of `{2}`, `{2,}` or `{2,3}` at the beginning of a text; `None` where a brace is only a brace.
fn counts_len(text: &str) -> Option<usize> {
    let inner = text.strip_prefix('{')?.split_once('}')?.0;
    let (least, most) = inner.split_once(',').unwrap_or((inner, ""));
    let is_count = |text: &str| {
        let zero_padded = 1 < text.len() && text.starts_with('0');
        !text.is_empty() && !zero_padded && text.bytes().all(|byte| byte.is_ascii_digit())
    };
    (is_count(least) && (most.is_empty() || is_count(most))).then_some(inner.len() + 2)
}

/// The larger of the counts; `None` where one is too large, or they are turned around.
fn counts(counts: &str) -> Option<u32> {
    let inner = counts.trim_start_matches('{').trim_end_matches('}');
    let (least, most) = inner.split_once(',').unwrap_or((inner, inner));
    let count = |text: &str| text.parse::<u32>().ok().filter(|count| *count <= REPEAT_MAX);
    let least = count(least)?;
    if most.is_empty() { Some(least) } else { count(most).filter(|most| least <= *most) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn translated(pattern: &str) -> String {
        match anchored(pattern) {
            Ok(anchored) => anchored.trim_start_matches("^(?s:").trim_end_matches('$').trim_end_matches(')').to_owned(),
            Err(error) => error.to_string(),
        }
    }

    #[test]
    fn what_means_the_same_stays() {
        for pattern in
            ["", "abc", "a|b", "a.c", "^a$", "a*b+?c?", "a{2}b{2,}c{2,3}?", "(?i)a", "(?:a|b)+", "(?s-m:a)", "é世"]
        {
            assert_eq!(anchored(pattern), Ok(format!("^(?s:{pattern})$")), "{pattern}");
        }
    }

    #[test]
    fn what_means_something_else_is_said_differently() {
        for (pattern, expected) in [
            ("/users/{id}", r"\/users\/\{id\}"),
            ("a{,3}", r"a\{\,3\}"),
            ("a{01}", r"a\{01\}"),
            ("{}]", r"\{\}\]"),
            (r"\d\D", "[0-9][^0-9]"),
            (r"\s\S", r"[\t\n\x0C\r ][^\t\n\x0C\r ]"),
            (r"\w\W", "[0-9A-Za-z_][^0-9A-Za-z_]"),
            (r"a\bc\B", r"a(?-u:\b)c\B"),
            (r"\Q.*\E.", r"\.\*."),
            (r"\Qa", "a"),
            (r"\012\0\x41\x{1F600}", "\n\0A😀"),
            (r"\.\_\<\-", r"\._<\-"),
            (r"\pL\p{Greek}\PN\p{^Lu}", r"[\p{L}][\p{Greek}][\P{N}][\P{Lu}]"),
            ("(?<a>b)(?P<c>d)", "(?P<a>b)(?P<c>d"),
            ("(?)a", "a"),
            ("(?ii-sms:a)", "(?i-ms:a"),
            ("(?i-i)a(?m-)", "invalid or unsupported Perl syntax: `(?m-)`"),
            ("(?i-i)a", "(?-i)a"),
            ("(?:a{10}b){100}", "(?:a{10}b){100}"),
        ] {
            assert_eq!(translated(pattern), expected, "{pattern}");
        }
    }

    #[test]
    fn classes_hold_characters() {
        for (pattern, expected) in [
            ("[abc]", "[abc]"),
            ("[^a-z]", "[^a-z]"),
            ("[]a]", r"[\u{5d}a]"),
            ("[[a]", r"[\u{5b}a]"),
            ("[a&&b]", r"[a\u{26}\u{26}b]"),
            ("[a-]", r"[a\u{2d}]"),
            ("[a-c-e]", r"[a-c\u{2d}e]"),
            ("[!--]", r"[\u{21}-\u{2d}]"),
            (r"[\d\W\.]", r"[0-9[^0-9A-Za-z_]\u{2e}]"),
            ("[[:alpha:][:^digit:]]", "[[:alpha:][:^digit:]]"),
            (r"[\pL\n]", r"[\p{L}\u{a}]"),
        ] {
            assert_eq!(translated(pattern), expected, "{pattern}");
        }
    }

    #[test]
    fn what_go_refuses_is_refused_in_its_words() {
        for (pattern, expected) in [
            ("a(b", "missing closing ): `a(b`"),
            ("a)(b", "unexpected ): `a)(b`"),
            ("*a", "missing argument to repetition operator: `*`"),
            ("*?a", "missing argument to repetition operator: `*?`"),
            ("a|+", "missing argument to repetition operator: `+`"),
            ("(?i)*", "missing argument to repetition operator: `*`"),
            ("{2}", "missing argument to repetition operator: `{2}`"),
            ("a**", "invalid nested repetition operator: `**`"),
            ("a+?{2}?", "invalid nested repetition operator: `+?{2}?`"),
            ("a{1001}", "invalid repeat count: `{1001}`"),
            ("a{99999999999}", "invalid repeat count: `{99999999999}`"),
            ("a{3,2}", "invalid repeat count: `{3,2}`"),
            ("((a{10}b|c{3}){10}d){11}", "invalid repeat count: `{11}`"),
            ("[[:^^alpha:]]", "invalid character class range: `[:^^alpha:]`"),
            ("[a", "missing closing ]: `[a`"),
            ("[]", "missing closing ]: `[]`"),
            ("[b-a]", "invalid character class range: `b-a`"),
            ("[[:foo:]]", "invalid character class range: `[:foo:]`"),
            (r"\y", r"invalid escape sequence: `\y`"),
            (r"\8", r"invalid escape sequence: `\8`"),
            (r"\1", r"invalid escape sequence: `\1`"),
            (r"\x{110000}", r"invalid escape sequence: `\x{110000}`"),
            ("a\\", "trailing backslash at end of expression: ``"),
            ("(?=a)", "invalid or unsupported Perl syntax: `(?=`"),
            ("(?i", "invalid or unsupported Perl syntax: `(?i`"),
            ("(?x)a", "invalid or unsupported Perl syntax: `(?x`"),
            ("(?P<a.>b)", "invalid named capture: `(?P<a.>`"),
            ("(?P<a", "invalid named capture: `(?P<a`"),
        ] {
            assert_eq!(translated(pattern), expected, "{pattern}");
        }
    }
}
