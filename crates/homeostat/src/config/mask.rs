//! Hides secrets in lines of configuration that are shown, logged or served.
//!
//! Two nets. Values that were read as secrets are known by their place and are hidden whole. What was never read, because the
//! YAML is broken or the key misspelt, is hidden by its looks: everything after the host of a URL, and the value
//! behind a key that usually names a secret.

use super::source::Place;

/// Keys whose values are hidden by their looks.
const SECRET_KEYS: [&str; 5] = ["bearer:", "secret:", "token:", "password:", "url:"];

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

/// Hides values behind [`SECRET_KEYS`].
fn hide_values(chars: &mut [char]) {
    for key in SECRET_KEYS {
        let key: Vec<char> = key.chars().collect();
        if let Some(at) = find(chars, &key, 0) {
            let value = position(chars, at + key.len(), |c| !c.is_whitespace());
            let quote = chars.get(value).copied().filter(|c| matches!(c, '"' | '\''));
            let value = if quote.is_some() { value + 1 } else { value };
            let end = position(chars, value, |c| quote.map_or(matches!(c, ',' | '}' | '#'), |q| c == q));
            // `${NAME}` shows where a secret comes from, not the secret.
            if chars.get(value) != Some(&'$') {
                hide(chars, value, end);
            }
        }
    }
}

fn find(chars: &[char], word: &[char], from: usize) -> Option<usize> {
    let tail = chars.get(from..)?;
    tail.windows(word.len()).position(|window| window == word).map(|at| at + from)
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
    fn a_known_secret_is_hidden_by_its_place() {
        let place = Place { file: 0, line: 3, column: 4, width: 5 };
        assert_eq!(line("a: 12345 b", 0, 3, &[place]), "a: …     b");
    }
}
