//! A template as pieces of text and actions, and actions as words.

use super::TemplateError;

/// A piece of a template.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Piece {
    /// Text between actions.
    Text(String),
    /// The words of an action.
    Action(Vec<Token>),
}

/// A word of an action.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Token {
    /// `if`, `humanize`, `true`.
    Name(String),
    /// `$labels`, or `$` alone.
    Variable(String),
    /// `.Name`; `glued` when it follows its value without a gap.
    Field {
        /// Without the dot.
        name: String,
        /// Belongs to what is before it.
        glued: bool,
    },
    /// `.`
    Dot,
    /// A text in quotes.
    Text(String),
    /// A whole number.
    Int(i64),
    /// Another number.
    Float(f64),
    /// `:=`
    Declare,
    /// `=`
    Assign,
    /// `|`
    Pipe,
    /// `,`
    Comma,
    /// `(`
    Open,
    /// `)`
    Close,
}

/// Cuts a template into its pieces.
pub(super) fn lex(text: &str) -> Result<Vec<Piece>, TemplateError> {
    let (mut pieces, mut rest, mut trim_next) = (Vec::new(), text, false);
    loop {
        let (before, action) = match rest.split_once("{{") {
            Some((before, action)) => (before, Some(action)),
            None => (rest, None),
        };
        let mut before = if trim_next { before.trim_start_matches(SPACES) } else { before };
        let trims = action.and_then(|action| action.strip_prefix('-')).filter(|action| action.starts_with(SPACES));
        if trims.is_some() {
            before = before.trim_end_matches(SPACES);
        }
        if !before.is_empty() {
            pieces.push(Piece::Text(before.to_owned()));
        }
        let Some(action) = trims.or(action) else { return Ok(pieces) };
        let lexed = comment(action).unwrap_or_else(|| words(action));
        let (tokens, behind, trimmed) = lexed?;
        if let Some(tokens) = tokens {
            pieces.push(Piece::Action(tokens));
        }
        (rest, trim_next) = (behind, trimmed);
    }
}

/// Blanks as Go's templates know them.
const SPACES: [char; 4] = [' ', '\t', '\r', '\n'];

/// Words of an action (none for a comment), what is behind it, and whether blanks behind it go.
type Lexed<'a> = Result<(Option<Vec<Token>>, &'a str, bool), TemplateError>;

/// `{{/* … */}}`.
fn comment(action: &str) -> Option<Lexed<'_>> {
    let inner = action.trim_start_matches(SPACES).strip_prefix("/*")?;
    let Some((_, behind)) = inner.split_once("*/") else { return Some(Err(TemplateError::new("unclosed comment"))) };
    if let Some(behind) = behind.strip_prefix("}}") {
        return Some(Ok((None, behind, false)));
    }
    let trimmed = behind.trim_start_matches(SPACES);
    if trimmed.len() < behind.len()
        && let Some(behind) = trimmed.strip_prefix("-}}")
    {
        return Some(Ok((None, behind, true)));
    }
    Some(Err(TemplateError::new("comment ends before closing delimiter")))
}

fn words(action: &str) -> Lexed<'_> {
    let (mut tokens, mut rest, mut gap) = (Vec::new(), action, true);
    loop {
        if let Some(behind) = rest.strip_prefix("}}") {
            return Ok((Some(tokens), behind, false));
        }
        let Some(c) = rest.chars().next() else { return Err(TemplateError::new("unclosed action")) };
        if SPACES.contains(&c) {
            rest = rest.trim_start_matches(SPACES);
            if let Some(behind) = rest.strip_prefix("-}}") {
                return Ok((Some(tokens), behind, true));
            }
            gap = true;
            continue;
        }
        let (token, len) = word(rest, c, gap)?;
        tokens.push(token);
        rest = rest.get(len..).unwrap_or_default();
        gap = false;
    }
}

/// The word at the beginning, and its bytes.
fn word(rest: &str, c: char, gap: bool) -> Result<(Token, usize), TemplateError> {
    let single = |token| Ok((token, 1));
    match c {
        '|' => single(Token::Pipe),
        ',' => single(Token::Comma),
        '(' => single(Token::Open),
        ')' => single(Token::Close),
        '=' => single(Token::Assign),
        ':' if rest.starts_with(":=") => Ok((Token::Declare, 2)),
        '"' => quoted(rest),
        '`' => {
            let inner = rest.get(1..).and_then(|rest| rest.split_once('`'));
            let (text, _) = inner.ok_or_else(|| TemplateError::new("unterminated raw quoted string"))?;
            Ok((Token::Text(text.to_owned()), text.len() + 2))
        }
        '.' => {
            if rest.get(1..).is_some_and(|rest| rest.starts_with(|c: char| c.is_ascii_digit())) {
                return number(rest);
            }
            let name = name(rest.get(1..).unwrap_or_default());
            if !name.is_empty() {
                let len = name.len() + 1;
                return Ok((Token::Field { name: name.to_owned(), glued: !gap }, len));
            }
            single(Token::Dot)
        }
        '$' => {
            let name = name(rest.get(1..).unwrap_or_default());
            Ok((Token::Variable(name.to_owned()), name.len() + 1))
        }
        '\'' => character(rest),
        '+' | '-' | '0'..='9' => number(rest),
        c if c == '_' || c.is_alphabetic() => {
            let name = name(rest);
            Ok((Token::Name(name.to_owned()), name.len()))
        }
        c => Err(TemplateError::new(format!("unexpected {c:?} in action"))),
    }
}

/// Letters, digits and underscores at the beginning.
fn name(text: &str) -> &str {
    let end = text.find(|c: char| c != '_' && !c.is_alphanumeric()).unwrap_or(text.len());
    text.get(..end).unwrap_or_default()
}

fn number(rest: &str) -> Result<(Token, usize), TemplateError> {
    let mut end = 0;
    let mut before = ' ';
    for (at, c) in rest.char_indices() {
        let sign = matches!(c, '+' | '-') && (at == 0 || matches!(before, 'e' | 'E'));
        if !(sign || c == '.' || c == '_' || c.is_ascii_alphanumeric()) {
            break;
        }
        (end, before) = (at + c.len_utf8(), c);
    }
    let text = rest.get(..end).unwrap_or_default();
    let plain = text.replace('_', "");
    let digits = plain.trim_start_matches(['+', '-']);
    let negative = plain.starts_with('-');
    let radix = |prefix: &str, radix| {
        let digits = digits.to_ascii_lowercase();
        i64::from_str_radix(digits.strip_prefix(prefix)?, radix).ok().map(|value| if negative { -value } else { value })
    };
    let whole =
        plain.parse::<i64>().ok().or_else(|| radix("0x", 16)).or_else(|| radix("0o", 8)).or_else(|| radix("0b", 2));
    let token = match whole {
        Some(value) => Token::Int(value),
        None => match plain.parse::<f64>() {
            Ok(value) if digits.starts_with(|c: char| c.is_ascii_digit() || c == '.') => Token::Float(value),
            _ => return Err(TemplateError::new(format!("bad number syntax: {text:?}"))),
        },
    };
    Ok((token, end))
}

/// `'a'` is the number of a character.
fn character(rest: &str) -> Result<(Token, usize), TemplateError> {
    let mut chars = rest.chars();
    chars.next();
    match (chars.next(), chars.next()) {
        (Some(c), Some('\'')) if c != '\\' => Ok((Token::Int(i64::from(u32::from(c))), c.len_utf8() + 2)),
        _ => Err(TemplateError::new("malformed character constant; texts stand in double quotes")),
    }
}

fn quoted(rest: &str) -> Result<(Token, usize), TemplateError> {
    let (mut text, mut chars) = (String::new(), rest.char_indices().skip(1));
    let unclosed = || TemplateError::new("unterminated quoted string");
    loop {
        match chars.next().ok_or_else(unclosed)? {
            (at, '"') => return Ok((Token::Text(text), at + 1)),
            (_, '\n') => return Err(unclosed()),
            (_, '\\') => {
                let (_, escaped) = chars.next().ok_or_else(unclosed)?;
                let mut code = |digits| {
                    let digits: String = chars.by_ref().take(digits).map(|(_, c)| c).collect();
                    u32::from_str_radix(&digits, 16).ok().and_then(char::from_u32)
                };
                let c = match escaped {
                    'n' => Some('\n'),
                    't' => Some('\t'),
                    'r' => Some('\r'),
                    'a' => Some('\u{7}'),
                    'b' => Some('\u{8}'),
                    'f' => Some('\u{c}'),
                    'v' => Some('\u{b}'),
                    '\\' | '"' => Some(escaped),
                    'x' => code(2),
                    'u' => code(4),
                    'U' => code(8),
                    _ => None,
                };
                text.push(
                    c.ok_or_else(|| TemplateError::new(format!("unknown escape \\{escaped} in a quoted string")))?,
                );
            }
            (_, c) => text.push(c),
        }
    }
}
