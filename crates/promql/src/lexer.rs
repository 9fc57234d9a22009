//! From text to tokens: the words of a query, each with its place.
//!
//! What a character means depends on the brackets around it: within braces keywords are plain names, within brackets
//! only durations are written. An error ends the stream as a token of its own; the parser tells it when it gets there,
//! so that an earlier mistake is told first.
//!
//! Not here: what numbers, durations and quoted texts are worth (`literal`), and which words may follow which (`parser`).
//! Source of messages and of the odd rules: Prometheus, `promql/parser/lex.go`.

use crate::{
    ast::{AggregateOp, BinaryOp, ByteSpan},
    quote::{quote, quote_char, quoted_len},
};

mod keyword;
mod number;

pub(crate) use keyword::Keyword;

/// What a token is.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum TokenKind {
    /// After the last token, for ever.
    End,
    /// The text cannot be read from here; the message says why.
    Error(String),
    Comma,
    Colon,
    LeftParen,
    RightParen,
    LeftBrace,
    RightBrace,
    LeftBracket,
    RightBracket,
    /// `=`
    Equal,
    /// `=~`
    EqualRegex,
    /// `!~`
    NotRegex,
    /// `@`
    At,
    Op(BinaryOp),
    Aggregate(AggregateOp),
    Keyword(Keyword),
    /// A name without colon.
    Identifier,
    /// A name with a colon, which only metrics have.
    MetricIdentifier,
    /// A quoted text, quotes included.
    Quoted,
    Number,
    Duration,
}

/// A token and where it stands.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Token {
    pub(crate) kind: TokenKind,
    pub(crate) span: ByteSpan,
}

/// What separates words and means nothing.
const BLANKS: [char; 4] = [' ', '\t', '\n', '\r'];

/// Cuts a text into tokens. The last one is [`TokenKind::End`] or [`TokenKind::Error`].
pub(crate) fn tokenize(text: &str) -> Vec<Token> {
    let mut lexer = Lexer { text, at: 0, tokens: Vec::new(), parens: 0, inside: Inside::Nothing };
    while lexer.step() {}
    lexer.tokens
}

/// The brackets that decide how a character is read. They do not nest.
#[derive(Clone, Copy, PartialEq)]
enum Inside {
    Nothing,
    Braces,
    Brackets { first: bool, number_seen: bool, colon_seen: bool },
}

struct Lexer<'a> {
    text: &'a str,
    at: usize,
    tokens: Vec<Token>,
    parens: usize,
    inside: Inside,
}

impl Lexer<'_> {
    fn rest(&self) -> &str {
        self.text.get(self.at..).unwrap_or_default()
    }

    /// Adds a token of so many bytes and goes on.
    fn push(&mut self, kind: TokenKind, len: usize) -> bool {
        self.tokens.push(Token { kind, span: ByteSpan { start: self.at, end: self.at + len } });
        self.at += len;
        true
    }

    /// Adds an error that covers the rest, and ends.
    fn fail(&mut self, message: impl Into<String>) -> bool {
        let span = ByteSpan { start: self.at, end: self.text.len() };
        self.tokens.push(Token { kind: TokenKind::Error(message.into()), span });
        false
    }

    /// Reads one token; returns false after the last.
    fn step(&mut self) -> bool {
        self.skip_blanks();
        let mut chars = self.rest().chars();
        let (first, second) = (chars.next(), chars.next());
        match (self.inside, first) {
            (Inside::Braces, Some(c)) => self.in_braces(c, second),
            (Inside::Brackets { first, number_seen, colon_seen }, Some(c)) => {
                self.in_brackets(c, second, first, number_seen, colon_seen)
            }
            (Inside::Nothing, Some(c)) => self.in_expression(c, second),
            (_, None) => self.end(),
        }
    }

    fn skip_blanks(&mut self) {
        loop {
            let rest = self.rest();
            let blank = rest.len() - rest.trim_start_matches(BLANKS).len();
            let comment = rest.get(blank..).filter(|rest| rest.starts_with('#'));
            let comment_len = comment.map(|rest| rest.find(['\n', '\r']).unwrap_or(rest.len()));
            self.at += blank + comment_len.unwrap_or(0);
            if comment_len.is_none() {
                return;
            }
        }
    }

    fn end(&mut self) -> bool {
        match self.inside {
            Inside::Braces => self.fail("unexpected end of input inside braces"),
            Inside::Brackets { number_seen: false, .. } => self.fail("unexpected end of input in duration expression"),
            _ if 0 < self.parens => self.fail("unclosed left parenthesis"),
            Inside::Brackets { .. } => self.fail("unclosed left bracket"),
            Inside::Nothing => {
                self.push(TokenKind::End, 0);
                false
            }
        }
    }

    fn in_expression(&mut self, c: char, second: Option<char>) -> bool {
        match (c, second) {
            (':', _) => self.word(),
            _ if is_alpha(c) => self.word(),
            ('[', _) => {
                self.inside = Inside::Brackets { first: true, number_seen: false, colon_seen: false };
                self.push(TokenKind::LeftBracket, 1)
            }
            (']', _) => self.fail(format!("unexpected right bracket {}", quote_char(c))),
            _ => self.symbol(c, second),
        }
    }

    fn in_brackets(&mut self, c: char, second: Option<char>, first: bool, number_seen: bool, colon_seen: bool) -> bool {
        let number = starts_number(c, second);
        self.inside =
            Inside::Brackets { first: false, number_seen: number_seen || number, colon_seen: colon_seen || c == ':' };
        match c {
            ']' => {
                self.inside = Inside::Nothing;
                self.push(TokenKind::RightBracket, 1)
            }
            ':' if colon_seen => self.fail("unexpected colon ':'"),
            ':' if first => self.fail("unexpected colon before duration in duration expression"),
            ':' => self.push(TokenKind::Colon, 1),
            _ if is_alpha(c) => self.duration_keyword(c, number_seen),
            '[' if number_seen => self.fail("unexpected left bracket '['"),
            '+' | '-' | '*' | '/' | '%' | '^' | ',' | '(' | ')' => self.symbol(c, second),
            _ if number || number_seen => self.symbol(c, second),
            _ => self.fail(format!("unexpected character in duration expression: {}", quote_char(c))),
        }
    }

    /// `step`, `range`, `min_of` and `max_of`: the only words between brackets.
    fn duration_keyword(&mut self, c: char, number_seen: bool) -> bool {
        let len = word_len(self.rest(), false);
        let word = self.rest().get(..len).unwrap_or_default();
        match keyword::read(word) {
            Some(TokenKind::Keyword(keyword)) if keyword.is_duration() => self.push(TokenKind::Keyword(keyword), len),
            _ if number_seen => {
                self.fail(format!("unexpected character: {}, expected {}", quote_char(c), quote_char(':')))
            }
            _ => self.fail(format!("unexpected character in duration expression: {}", quote_char(c))),
        }
    }

    fn in_braces(&mut self, c: char, second: Option<char>) -> bool {
        match (c, second) {
            _ if is_alpha(c) => self.push(TokenKind::Identifier, word_len(self.rest(), false)),
            (',', _) => self.push(TokenKind::Comma, 1),
            ('"' | '\'' | '`', _) => self.quoted(),
            ('=', Some('~')) => self.push(TokenKind::EqualRegex, 2),
            ('=', _) => self.push(TokenKind::Equal, 1),
            ('!', Some('~')) => self.push(TokenKind::NotRegex, 2),
            ('!', Some('=')) => self.push(TokenKind::Op(BinaryOp::Ne), 2),
            ('!', Some(other)) => {
                self.fail(format!("unexpected character after '!' inside braces: {}", quote_char(other)))
            }
            ('{', _) => self.fail("unexpected left brace '{'"),
            ('}', _) => {
                self.inside = Inside::Nothing;
                self.push(TokenKind::RightBrace, 1)
            }
            _ => self.fail(format!("unexpected character inside braces: {}", quote_char(c))),
        }
    }

    /// What stands outside of braces and is no word.
    fn symbol(&mut self, c: char, second: Option<char>) -> bool {
        match (c, second) {
            (',', _) => self.push(TokenKind::Comma, 1),
            ('@', _) => self.push(TokenKind::At, 1),
            ('(', _) => {
                self.parens += 1;
                self.push(TokenKind::LeftParen, 1)
            }
            (')', _) => self.right_paren(),
            ('{', _) => {
                self.inside = Inside::Braces;
                self.push(TokenKind::LeftBrace, 1)
            }
            ('"' | '\'' | '`', _) => self.quoted(),
            ('=', Some('~')) => self.fail("unexpected character after '=': '~'"),
            ('!', second) if second != Some('=') => {
                let found = second.map_or_else(|| quote_char('\u{fffd}'), quote_char);
                self.fail(format!("unexpected character after '!': {found}"))
            }
            _ if starts_number(c, second) => self.number(),
            _ => match operator(c, second) {
                Some((kind, len)) => self.push(kind, len),
                None => self.fail(format!("unexpected character: {}", quote_char(c))),
            },
        }
    }

    fn right_paren(&mut self) -> bool {
        if self.parens == 0 {
            self.at += 1;
            return self.fail("unexpected right parenthesis ')'");
        }
        self.parens -= 1;
        self.push(TokenKind::RightParen, 1)
    }

    fn word(&mut self) -> bool {
        let len = word_len(self.rest(), true);
        let word = self.rest().get(..len).unwrap_or_default();
        let name = if word.contains(':') { TokenKind::MetricIdentifier } else { TokenKind::Identifier };
        let kind = match keyword::read(word) {
            // Young keywords are names as before unless a parenthesis follows, so that no old query breaks.
            Some(TokenKind::Keyword(Keyword::Fill | Keyword::FillLeft | Keyword::FillRight))
                if !self.parenthesis_after(len) =>
            {
                name
            }
            keyword => keyword.unwrap_or(name),
        };
        self.push(kind, len)
    }

    fn parenthesis_after(&self, len: usize) -> bool {
        self.rest().get(len..).is_some_and(|rest| rest.trim_start_matches(BLANKS).starts_with('('))
    }

    fn number(&mut self) -> bool {
        match number::scan(self.rest()) {
            number::Scanned::Number(len) => self.push(TokenKind::Number, len),
            number::Scanned::Duration(len) => self.push(TokenKind::Duration, len),
            number::Scanned::Bad(len) => {
                let found = quote(self.rest().get(..len).unwrap_or_default());
                self.fail(format!("bad number or duration syntax: {found}"))
            }
        }
    }

    fn quoted(&mut self) -> bool {
        match quoted_len(self.rest()) {
            Ok(len) => self.push(TokenKind::Quoted, len),
            Err(error) => self.fail(error.to_string()),
        }
    }
}

fn operator(c: char, second: Option<char>) -> Option<(TokenKind, usize)> {
    let two = match (c, second) {
        ('=', Some('=')) => Some(BinaryOp::Eq),
        ('!', Some('=')) => Some(BinaryOp::Ne),
        ('<', Some('=')) => Some(BinaryOp::Le),
        ('<', Some('/')) => Some(BinaryOp::TrimUpper),
        ('>', Some('=')) => Some(BinaryOp::Ge),
        ('>', Some('/')) => Some(BinaryOp::TrimLower),
        _ => None,
    };
    let one = match c {
        '+' => BinaryOp::Add,
        '-' => BinaryOp::Sub,
        '*' => BinaryOp::Mul,
        '/' => BinaryOp::Div,
        '%' => BinaryOp::Mod,
        '^' => BinaryOp::Pow,
        '<' => BinaryOp::Lt,
        '>' => BinaryOp::Gt,
        '=' if two.is_none() => return Some((TokenKind::Equal, 1)),
        _ => return two.map(|op| (TokenKind::Op(op), 2)),
    };
    Some(two.map_or((TokenKind::Op(one), 1), |op| (TokenKind::Op(op), 2)))
}

fn is_alpha(c: char) -> bool {
    c == '_' || c.is_ascii_alphabetic()
}

fn starts_number(c: char, second: Option<char>) -> bool {
    c.is_ascii_digit() || (c == '.' && second.is_some_and(|second| second.is_ascii_digit()))
}

fn word_len(rest: &str, colons: bool) -> usize {
    rest.find(|c: char| !(is_alpha(c) || c.is_ascii_digit() || (colons && c == ':'))).unwrap_or(rest.len())
}
