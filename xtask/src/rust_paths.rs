//! Paths (`std::fs::File`) that a Rust source names, with their lines; `use` trees are spelled out.
//!
//! A reader of tokens, not of grammar: comments, strings and everything from the first `#[cfg(test)]` on are left out,
//! and what an alias hides from it stays hidden. Good enough for a rule that reviewers know as well.

/// A path as written, with `use` trees spelled out.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct NamedPath {
    /// Counted from 1.
    pub(crate) line: usize,
    /// Segments without `::`; the last may be `*` or `self` dropped.
    pub(crate) segments: Vec<String>,
}

/// Lists the paths of at least two segments in `source`.
pub(crate) fn named_paths(source: &str) -> Vec<NamedPath> {
    let tokens = tokens(source);
    let mut reader = Reader { tokens: &tokens, at: 0, found: Vec::new() };
    while reader.at < tokens.len() {
        if reader.is_test_part() {
            break;
        }
        reader.path(&[]);
    }
    reader.found
}

#[derive(Clone, Debug, PartialEq)]
enum Token {
    Word(String),
    /// `::`
    Colons,
    Sign(char),
}

struct Reader<'a> {
    tokens: &'a [(usize, Token)],
    at: usize,
    found: Vec<NamedPath>,
}

impl Reader<'_> {
    fn peek(&self, ahead: usize) -> Option<&Token> {
        self.tokens.get(self.at + ahead).map(|(_, token)| token)
    }

    fn is_test_part(&self) -> bool {
        let expected = ["#", "[", "cfg", "(", "test", ")", "]"];
        expected.iter().enumerate().all(|(i, wanted)| match self.peek(i) {
            Some(Token::Word(word)) => word == wanted,
            Some(Token::Sign(sign)) => *wanted == sign.to_string(),
            _ => false,
        })
    }

    /// Reads one path, or one token that begins none. `prefix` is what stands before a `{` of a `use` tree.
    fn path(&mut self, prefix: &[String]) {
        let line = self.tokens.get(self.at).map_or(0, |(line, _)| *line);
        let mut segments = prefix.to_vec();
        if self.peek(0) == Some(&Token::Colons) && matches!(self.peek(1), Some(Token::Word(_))) {
            self.at += 1;
        }
        loop {
            match self.peek(0) {
                Some(Token::Word(word)) => {
                    if word != "self" || segments.is_empty() {
                        segments.push(word.clone());
                    }
                    self.at += 1;
                }
                Some(Token::Sign('*')) if !segments.is_empty() => {
                    segments.push("*".to_owned());
                    self.at += 1;
                }
                Some(Token::Sign('{')) if !segments.is_empty() => return self.group(&segments),
                _ => {
                    self.at += usize::from(segments.len() == prefix.len());
                    break;
                }
            }
            if self.peek(0) != Some(&Token::Colons) {
                break;
            }
            self.at += 1;
        }
        if segments.len() > 1 {
            self.found.push(NamedPath { line, segments });
        }
    }

    /// Reads `{a, b::c}` of a `use` tree.
    fn group(&mut self, prefix: &[String]) {
        self.at += 1;
        while let Some(token) = self.peek(0) {
            match token {
                Token::Sign('}') => {
                    self.at += 1;
                    return;
                }
                Token::Sign(',') => self.at += 1,
                Token::Word(word) if word == "as" => self.at += 2,
                _ => self.path(prefix),
            }
        }
    }
}

/// Splits a source into words and signs, each with its line.
fn tokens(source: &str) -> Vec<(usize, Token)> {
    let mut tokens = Vec::new();
    let mut line = 1;
    let mut rest = source;
    while let Some(first) = rest.chars().next() {
        let length = match first {
            '/' if rest.starts_with("//") => rest.find('\n').unwrap_or(rest.len()),
            '/' if rest.starts_with("/*") => rest.find("*/").map_or(rest.len(), |end| end + 2),
            '"' => quoted(rest),
            'r' if rest.starts_with("r\"") || rest.starts_with("r#") => raw_quoted(rest),
            '\'' => quoted_char(rest),
            ':' if rest.starts_with("::") => {
                tokens.push((line, Token::Colons));
                2
            }
            _ if first.is_alphanumeric() || first == '_' => {
                let end = rest.find(|c: char| !c.is_alphanumeric() && c != '_').unwrap_or(rest.len());
                let (word, _) = rest.split_at(end);
                tokens.push((line, Token::Word(word.to_owned())));
                end
            }
            _ => {
                if !first.is_whitespace() {
                    tokens.push((line, Token::Sign(first)));
                }
                first.len_utf8()
            }
        };
        let (taken, left) = rest.split_at(length.min(rest.len()));
        line += taken.matches('\n').count();
        rest = left;
    }
    tokens
}

/// Length of a string that begins here.
fn quoted(rest: &str) -> usize {
    let mut escaped = false;
    for (at, c) in rest.char_indices().skip(1) {
        match c {
            _ if escaped => escaped = false,
            '\\' => escaped = true,
            '"' => return at + 1,
            _ => {}
        }
    }
    rest.len()
}

/// Length of `r"..."` or `r#"..."#`, or of the `r#` of a raw word.
fn raw_quoted(rest: &str) -> usize {
    let hashes = rest.chars().skip(1).take_while(|c| *c == '#').count();
    if rest.chars().nth(1 + hashes) != Some('"') {
        return 2;
    }
    let end = format!("\"{}", "#".repeat(hashes));
    let body = 2 + hashes;
    rest.get(body..).and_then(|inner| inner.find(&end)).map_or(rest.len(), |at| body + at + end.len())
}

/// Length of a character literal, or of the quote of a lifetime.
fn quoted_char(rest: &str) -> usize {
    let mut inner = rest.chars().skip(1);
    match (inner.next(), inner.next()) {
        (Some('\\'), _) => rest.get(3..).and_then(|tail| tail.find('\'')).map_or(1, |at| 3 + at + 1),
        (Some(c), Some('\'')) => 2 + c.len_utf8(),
        _ => 1,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(source: &str, expected: &[&str]) {
        let found: Vec<String> =
            named_paths(source).into_iter().map(|path| format!("{}:{}", path.line, path.segments.join("::"))).collect();
        assert_eq!(found, expected, "in {source:?}");
    }

    #[test]
    fn use_trees_are_spelled_out() {
        check(
            "use std::{\n    fs,\n    net::{IpAddr, TcpStream as Wire},\n    io::{self, Read},\n};\nuse std::env::*;",
            &[
                "2:std::fs",
                "3:std::net::IpAddr",
                "3:std::net::TcpStream",
                "4:std::io",
                "4:std::io::Read",
                "6:std::env::*",
            ],
        );
    }

    #[test]
    fn paths_inside_code_are_found() {
        check(
            "fn f() -> u8 { std::thread::sleep(::std::time::Duration::ZERO); g::<a::B>() }",
            &["1:std::thread::sleep", "1:std::time::Duration::ZERO", "1:a::B"],
        );
    }

    #[test]
    fn comments_strings_and_tests_are_left_out() {
        check(
            "// std::fs\n/* std::fs */ const A: &str = \"std::fs \\\" std::env\"; const B: &str = r#\"std::env\"#;\n\
             const C: char = '\"'; fn f<'a>(x: &'a str) { a::b() }\n#[cfg(test)]\nmod tests { use std::fs; }",
            &["3:a::b"],
        );
    }
}
