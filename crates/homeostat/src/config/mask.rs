//! Hides secrets in lines of configuration that are shown, logged or served.
//!
//! Two nets. Values that were read as secrets are known by their place and are hidden whole. What was never read, because the
//! YAML is broken or the key misspelt, is hidden by its looks: everything after the host of a URL, and the value
//! behind a key that usually names a secret.

use super::source::Place;

/// Ends of the keys whose values are hidden by their looks, in small letters: `secret` is that of `clientSecret` too.
const SECRET_KEYS: [&str; 6] = ["bearer", "secret", "secrets", "token", "password", "credentials"];
/// And the end of those that may carry a token behind their host. An `externalUrl` is for everybody to see.
const URL_KEY: &str = "url";

/// The line with `…` in place of secrets, padded so that columns before and after keep their places.
pub(super) fn line(text: &str, file: u16, line: u32, secrets: &[Place]) -> String {
    let mut chars: Vec<char> = text.chars().collect();
    for place in secrets.iter().filter(|place| place.file == file && place.line == line) {
        let from = (place.column as usize).saturating_sub(1);
        hide(&mut chars, from, from.saturating_add(place.width as usize));
    }
    hide_urls(&mut chars);
    hide_values(&mut chars);
    chars.into_iter().collect()
}

/// Overwrites `from..to`: one `…` and spaces, so that the width of a secret is not told and columns stay.
fn hide(chars: &mut [char], from: usize, to: usize) {
    let to = to.min(chars.len());
    for (at, c) in chars.iter_mut().enumerate().take(to).skip(from) {
        *c = if at == from { '…' } else { ' ' };
    }
}

/// Hides what follows the host of each URL: paths and queries of chat bots carry their token.
fn hide_urls(chars: &mut [char]) {
    let mut from = 0;
    while let Some(scheme) = find(chars, &[':', '/', '/'], from) {
        let host = scheme + 3;
        let end = position(chars, host, |c| c.is_whitespace() || matches!(c, ',' | '}' | ']' | '"' | '\''));
        let path = position(chars, host, |c| matches!(c, '/' | '?')).min(end);
        // `user:password@host` is a secret in the host's place.
        let user = position(chars, host, |c| c == '@');
        let start = if user < end { host } else { path + 1 };
        hide(chars, start, end);
        from = end.max(host);
    }
}

/// Hides values behind [`SECRET_KEYS`], wherever they stand on the line.
fn hide_values(chars: &mut [char]) {
    for key in SECRET_KEYS.into_iter().chain([URL_KEY]) {
        let letters: Vec<char> = key.chars().collect();
        let mut from = 0;
        while let Some(at) = find(chars, &letters, from) {
            from = at + letters.len();
            if key == URL_KEY && chars.get(at..from).is_none_or(|found| found != letters) {
                continue;
            }
            let Some(value) = value_behind(chars, from) else { continue };
            let end = end_of_value(chars, value);
            // `${NAME}` shows where a secret comes from, not the secret.
            let text: String = chars.get(value..end).unwrap_or_default().iter().collect();
            let text = text.trim_matches(|c: char| c.is_whitespace() || matches!(c, '"' | '\''));
            if !(text.starts_with("${") && text.ends_with('}') && text.matches('}').count() == 1) {
                let quotes = usize::from(chars.get(value).is_some_and(|c| matches!(c, '"' | '\'' | '[')));
                hide(chars, value + quotes, end);
            }
            from = end.max(from);
        }
    }
}

/// Where the value begins of a key that ends before `from`; `None` when it was no key. In JSON, keys are quoted.
fn value_behind(chars: &[char], from: usize) -> Option<usize> {
    let colon = position(chars, from, |c| !c.is_whitespace() && !matches!(c, '"' | '\''));
    (chars.get(colon) == Some(&':')).then(|| position(chars, colon + 1, |c| !c.is_whitespace()))
}

/// Where a value ends that begins at `from`: at its quote or at the line's last bracket; else where its place in the line says
/// so, for a text that stands alone may hold a comma, or a number sign with nothing before it. What is not clear is hidden.
fn end_of_value(chars: &[char], from: usize) -> usize {
    let is_within = chars.iter().take(from).any(|c| matches!(c, '{' | '['));
    match chars.get(from).copied() {
        Some('[') => chars.iter().rposition(|c| *c == ']').filter(|last| from < *last).unwrap_or(chars.len()),
        Some(quote @ ('"' | '\'')) => {
            let mut at = from + 1;
            // A quote within is written twice, or behind a backslash.
            while let Some(&c) = chars.get(at)
                && (c != quote || chars.get(at + 1) == Some(&quote))
            {
                at += if c == quote || (c == '\\' && quote == '"') { 2 } else { 1 };
            }
            at.min(chars.len())
        }
        _ if is_within => {
            let is_named = chars.get(from..from + 2) == Some(&['$', '{'][..]);
            let behind = if is_named { position(chars, from, |c| c == '}') + 1 } else { from };
            position(chars, behind, |c| matches!(c, ',' | '}' | ']'))
        }
        _ => comment(chars, from),
    }
}

/// Where a comment begins behind `from`.
fn comment(chars: &[char], from: usize) -> usize {
    let begins = |at: &usize| {
        let before = at.checked_sub(1).and_then(|before| chars.get(before));
        chars.get(*at) == Some(&'#') && before.is_none_or(|c| c.is_whitespace())
    };
    (from..chars.len()).find(begins).unwrap_or(chars.len())
}

fn find(chars: &[char], word: &[char], from: usize) -> Option<usize> {
    let tail = chars.get(from..)?;
    let is_word = |window: &[char]| window.iter().zip(word).all(|(c, wanted)| c.eq_ignore_ascii_case(wanted));
    tail.windows(word.len()).position(is_word).map(|at| at + from)
}

fn position(chars: &[char], from: usize, wanted: impl Fn(char) -> bool) -> usize {
    chars.iter().enumerate().skip(from).find(|(_, c)| wanted(**c)).map_or(chars.len(), |(at, _)| at)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tokens_in_urls_and_behind_telling_keys_are_hidden() {
        let shown = |text: &str| line(text, 0, 1, &[]).split_whitespace().collect::<Vec<_>>().join(" ");
        assert_eq!(shown("slack: https://hooks.example.org/T0/B0/abc # x"), "slack: https://hooks.example.org/… # x");
        assert_eq!(shown("a: http://u:p@h/x, b: 1"), "a: http://… , b: 1");
        assert_eq!(shown("  secret: abc"), "secret: …");
        assert_eq!(shown("  token: ${TOKEN}"), "token: ${TOKEN}");
        assert_eq!(shown("v1: http://127.0.0.1:8081"), "v1: http://127.0.0.1:8081");
        assert_eq!(shown("odd // text // more"), "odd // text // more");
    }

    #[test]
    fn every_secret_of_a_line_is_hidden_however_it_is_written() {
        let shown = |text: &str| line(text, 0, 1, &[]).split_whitespace().collect::<Vec<_>>().join(" ");
        for (text, wanted) in [
            ("a: {token: abc, b: {token: def}}", "a: {token: … , b: {token: … }}"),
            ("- {bearer: abc}, {BEARER: def}", "- {bearer: … }, {BEARER: … }"),
            ("credentials: abc,d#e # note", "credentials: … # note"),
            ("secrets: [abc, \"d]e\"] # note", "secrets: [… ] # note"),
            ("secrets: [abc, def", "secrets: […"),
            ("clientSecret: abc", "clientSecret: …"),
            ("{\"client_secret\" : \"a\\\"b\", \"x\": 1}", "{\"client_secret\" : \"… \", \"x\": 1}"),
            ("password: 'it''s', x: 1", "password: '… ', x: 1"),
            ("password: $tr0ng", "password: …"),
            ("password: '${A}'", "password: '${A}'"),
            ("{token: ${A}, b: {token: ${B}}}", "{token: ${A}, b: {token: ${B}}}"),
            ("{token: ${A}bc}", "{token: … }"),
            ("password: ${A}bc", "password: …"),
            ("password: ${A}bc${D}", "password: …"),
            ("password: # not set", "password: # not set"),
            ("token:", "token:"),
            ("password_file: /etc/p", "password_file: /etc/p"),
            ("token_count: 3", "token_count: 3"),
        ] {
            assert_eq!(shown(text), wanted, "{text}");
        }
    }

    #[test]
    fn a_known_secret_is_hidden_by_its_place() {
        let place = Place { file: 0, line: 3, column: 4, width: 5 };
        assert_eq!(line("a: 12345 b", 0, 3, &[place]), "a: …     b");
    }
}
