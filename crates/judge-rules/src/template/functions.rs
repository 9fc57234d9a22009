//! The functions of templates: Go's own and Prometheus'.

use std::{collections::BTreeMap, rc::Rc};

use homeostat_model::go_regex;
use homeostat_promql::literal::duration_ms;

use super::{
    OUTPUT_BYTES_MAX, TemplateError, compare, humanize, printf,
    render::Surroundings,
    value::{Sample, Value},
};

/// Largest compiled regular expression in bytes.
const REGEX_BYTES_MAX: usize = 1 << 20;

/// All names, sorted.
const NAMES: [&str; 47] = [
    "and",
    "args",
    "eq",
    "externalURL",
    "first",
    "ge",
    "graphLink",
    "gt",
    "html",
    "humanize",
    "humanize1024",
    "humanizeDuration",
    "humanizePercentage",
    "humanizeTimestamp",
    "index",
    "js",
    "label",
    "le",
    "len",
    "lt",
    "match",
    "ne",
    "not",
    "now",
    "or",
    "parseDuration",
    "pathPrefix",
    "print",
    "printf",
    "println",
    "query",
    "reReplaceAll",
    "safeHtml",
    "slice",
    "sortByLabel",
    "stripDomain",
    "stripPort",
    "strvalue",
    "tableLink",
    "title",
    "tmpl",
    "toDuration",
    "toLower",
    "toTime",
    "toUpper",
    "urlQueryEscape",
    "urlquery",
];
/// `value` stands apart: it is the name of a variable as well.
const VALUE: &str = "value";

/// The function of a name.
pub(super) fn find(name: &str) -> Option<&'static str> {
    if name == VALUE { Some(VALUE) } else { NAMES.iter().find(|known| **known == name).copied() }
}

/// For `and` and `or`: the truth at which they need no further argument.
pub(super) fn ends_at(name: &str) -> Option<bool> {
    match name {
        "and" => Some(false),
        "or" => Some(true),
        _ => None,
    }
}

pub(super) fn call(name: &str, args: &[Value], around: &Surroundings<'_>) -> Result<Value, TemplateError> {
    let called = bounded(name, args, around);
    called.map_err(|error| TemplateError::new(format!("error calling {name}: {}", error.text)))
}

/// What goes in and what comes out count as work. Texts are measured always, and everything where it is written out.
fn bounded(name: &str, args: &[Value], around: &Surroundings<'_>) -> Result<Value, TemplateError> {
    let writes = matches!(name, "print" | "println" | "printf" | "html" | "js" | "urlquery" | "args");
    let texts = |value: &Value| match value {
        Value::Text(text) => text.len(),
        _ if writes => value.bytes(),
        _ => 0,
    };
    around.work(args.iter().map(texts).fold(0, usize::saturating_add))?;
    let made = any(name, args, around)?;
    around.work(match &made {
        Value::Text(_) | Value::Texts(_) => made.bytes(),
        _ => 0,
    })?;
    Ok(made)
}

fn any(name: &str, args: &[Value], around: &Surroundings<'_>) -> Result<Value, TemplateError> {
    match (name, args) {
        ("print", args) => Ok(Value::text(&printed(args))),
        ("println", args) => Ok(Value::text(&(args.iter().map(Value::shown).collect::<Vec<_>>().join(" ") + "\n"))),
        ("printf", [Value::Text(format), rest @ ..]) => Ok(Value::text(&printf::format(format, rest))),
        ("html", args) => Ok(Value::text(&escaped_html(&printed(args)))),
        ("js", args) => Ok(Value::text(&escaped_js(&printed(args)))),
        ("urlquery", args) => Ok(Value::text(&url_escaped(&printed(args)))),
        ("eq", [first, rest @ ..]) if !rest.is_empty() => {
            let mut equal = false;
            for other in rest {
                equal = equal || compare::equal(first, other)?;
            }
            Ok(Value::Bool(equal))
        }
        ("index", [first, rest @ ..]) => rest.iter().try_fold(first.clone(), |value, key| index(&value, key)),
        ("slice", [value, bounds @ ..]) if bounds.len() <= 2 => slice(value, bounds),
        ("args", args) => {
            let named = args.iter().enumerate().map(|(n, value)| (format!("arg{n}"), value.shown()));
            Ok(Value::Texts(Rc::new(named.collect())))
        }
        (_, []) => of_none(name, around),
        (_, [one]) => of_one(name, one, around),
        (_, [a, b]) => of_two(name, a, b, around),
        ("reReplaceAll", [Value::Text(pattern), Value::Text(replacement), Value::Text(text)]) => {
            Ok(Value::text(&replaced(&regex(pattern)?, replacement, text)?))
        }
        _ => Err(wrong(name, args)),
    }
}

fn wrong(name: &str, args: &[Value]) -> TemplateError {
    let types: Vec<_> = args.iter().map(Value::type_name).collect();
    TemplateError::new(format!("{name} does not take ({})", types.join(", ")))
}

fn of_none(name: &str, around: &Surroundings<'_>) -> Result<Value, TemplateError> {
    match name {
        "externalURL" => Ok(Value::text(around.data.external_url)),
        "pathPrefix" => Ok(Value::text(path(around.data.external_url))),
        "now" => Ok(Value::Float(around.data.t_ms as f64 / 1000.0)),
        _ => Err(wrong(name, &[])),
    }
}

fn of_one(name: &str, value: &Value, around: &Surroundings<'_>) -> Result<Value, TemplateError> {
    let text = |text: String| Ok(Value::text(&text));
    match (name, value) {
        ("not", value) => Ok(Value::Bool(!value.is_true())),
        ("len", Value::Text(text)) => Ok(Value::Int(text.len() as i64)),
        ("len", Value::Texts(texts)) => Ok(Value::Int(texts.len() as i64)),
        ("len", Value::List(items)) => Ok(Value::Int(items.len() as i64)),
        ("query", Value::Text(query)) => {
            let found = around.ask.ask(query).map_err(TemplateError::new)?;
            Ok(Value::List(found.into_iter().map(|sample| Value::Sample(Rc::new(sample))).collect()))
        }
        ("first", Value::List(items)) => {
            items.first().cloned().ok_or_else(|| TemplateError::new("first() called on vector with no elements"))
        }
        ("value", Value::Sample(sample)) => Ok(Value::Float(sample.value)),
        ("strvalue", Value::Sample(sample)) => Ok(Value::text(label(sample, "__value__"))),
        ("humanize", value) => text(humanize::number(number(value)?)),
        ("humanize1024", value) => text(humanize::binary(number(value)?)),
        ("humanizeDuration", value) => text(humanize::duration(number(value)?)),
        ("humanizePercentage", value) => text(humanize::percentage(number(value)?)),
        ("humanizeTimestamp", value) => text(humanize::timestamp(number(value)?)),
        ("toTime", value) => Ok(Value::Time(number(value)?)),
        ("toDuration", value) => Ok(Value::Duration(number(value)?)),
        ("title", Value::Text(words)) => text(title(words)),
        ("toUpper", Value::Text(words)) => text(words.to_uppercase()),
        ("toLower", Value::Text(words)) => text(words.to_lowercase()),
        ("safeHtml", Value::Text(_)) => Ok(value.clone()),
        ("urlQueryEscape", Value::Text(part)) => text(url_escaped(part)),
        ("graphLink", Value::Text(query)) => text(link(query, 0)),
        ("tableLink", Value::Text(query)) => text(link(query, 1)),
        ("stripPort", Value::Text(address)) => Ok(Value::text(strip_port(address))),
        ("stripDomain", Value::Text(address)) => text(strip_domain(address)),
        ("parseDuration", Value::Text(duration)) => {
            let ms = duration_ms(duration).map_err(TemplateError::new)?;
            Ok(Value::Float(ms as f64 / 1000.0))
        }
        _ => Err(wrong(name, std::slice::from_ref(value))),
    }
}

fn of_two(name: &str, a: &Value, b: &Value, around: &Surroundings<'_>) -> Result<Value, TemplateError> {
    let order = || compare::order(a, b);
    match (name, a, b) {
        ("ne", ..) => Ok(Value::Bool(!compare::equal(a, b)?)),
        ("lt", ..) => Ok(Value::Bool(order()?.is_some_and(std::cmp::Ordering::is_lt))),
        ("le", ..) => Ok(Value::Bool(order()?.is_some_and(std::cmp::Ordering::is_le))),
        ("gt", ..) => Ok(Value::Bool(order()?.is_some_and(std::cmp::Ordering::is_gt))),
        ("ge", ..) => Ok(Value::Bool(order()?.is_some_and(std::cmp::Ordering::is_ge))),
        ("label", Value::Text(name), Value::Sample(sample)) => Ok(Value::text(label(sample, name))),
        ("match", Value::Text(pattern), Value::Text(text)) => Ok(Value::Bool(regex(pattern)?.is_match(text))),
        ("sortByLabel", Value::Text(by), Value::List(items)) => {
            let mut items = items.to_vec();
            items.sort_by(|a, b| sort_key(a, by).cmp(sort_key(b, by)));
            Ok(Value::List(items.into()))
        }
        ("tmpl", Value::Text(name), dot) => Ok(Value::text(&around.call(name, dot)?)),
        _ => Err(wrong(name, &[a.clone(), b.clone()])),
    }
}

fn label<'a>(sample: &'a Sample, name: &str) -> &'a str {
    sample.labels.get(name).map_or("", String::as_str)
}

fn sort_key<'a>(value: &'a Value, by: &str) -> &'a str {
    match value {
        Value::Sample(sample) => label(sample, by),
        _ => "",
    }
}

/// A blank stands between two values that are no texts.
fn printed(args: &[Value]) -> String {
    let (mut out, mut after_text) = (String::new(), true);
    for arg in args {
        let is_text = matches!(arg, Value::Text(_));
        if !is_text && !after_text {
            out.push(' ');
        }
        out.push_str(&arg.shown());
        after_text = is_text;
    }
    out
}

fn number(value: &Value) -> Result<f64, TemplateError> {
    match value {
        Value::Float(value) | Value::Duration(value) => Ok(*value),
        Value::Int(value) => Ok(*value as f64),
        Value::Text(text) => text
            .parse()
            .map_err(|_| TemplateError::new(format!("strconv.ParseFloat: parsing {text:?}: invalid syntax"))),
        _ => Err(TemplateError::new(format!("can't convert {} to float", value.type_name()))),
    }
}

fn index(value: &Value, key: &Value) -> Result<Value, TemplateError> {
    match (value, key) {
        (Value::Texts(texts), Value::Text(name)) => Ok(Value::text(texts.get(&**name).map_or("", String::as_str))),
        (Value::List(items), Value::Int(at)) => {
            let item = usize::try_from(*at).ok().and_then(|at| items.get(at));
            item.cloned().ok_or_else(|| TemplateError::new(format!("index out of range: {at}")))
        }
        _ => Err(TemplateError::new(format!("can't index {} with {}", value.type_name(), key.type_name()))),
    }
}

fn slice(value: &Value, bounds: &[Value]) -> Result<Value, TemplateError> {
    let len = match value {
        Value::Text(text) => text.len(),
        Value::List(items) => items.len(),
        _ => return Err(TemplateError::new(format!("can't slice {}", value.type_name()))),
    };
    let bound = |at: usize, default| match bounds.get(at) {
        None => Some(default),
        Some(Value::Int(bound)) => usize::try_from(*bound).ok(),
        Some(_) => None,
    };
    let range = bound(0, 0).zip(bound(1, len)).map(|(from, to)| from..to);
    let out_of_range = || TemplateError::new("slice bounds out of range");
    let range = range.ok_or_else(out_of_range)?;
    match value {
        Value::Text(text) => text.get(range).map(Value::text),
        Value::List(items) => items.get(range).map(|items| Value::List(items.into())),
        _ => None,
    }
    .ok_or_else(out_of_range)
}

fn regex(pattern: &str) -> Result<regex::Regex, TemplateError> {
    let said = |text: String| TemplateError::new(format!("error parsing regexp: {text}"));
    let translated = go_regex::unanchored(pattern).map_err(|error| said(error.to_string()))?;
    let built = regex::RegexBuilder::new(&translated).size_limit(REGEX_BYTES_MAX).build();
    built.map_err(|error| said(error.to_string()))
}

/// All matches replaced. A replacement may name groups of its match, each at most as long as the match.
fn replaced(regex: &regex::Regex, replacement: &str, text: &str) -> Result<String, TemplateError> {
    let groups = replacement.matches('$').count();
    let (mut out, mut end) = (String::new(), 0);
    for found in regex.captures_iter(text) {
        let Some(whole) = found.get(0) else { continue };
        out.push_str(text.get(end..whole.start()).unwrap_or_default());
        end = whole.end();
        let longest = groups.saturating_mul(whole.len()).saturating_add(replacement.len());
        if OUTPUT_BYTES_MAX < out.len().saturating_add(longest) {
            return Err(TemplateError::new(format!("a text has more than {OUTPUT_BYTES_MAX} bytes")));
        }
        found.expand(replacement, &mut out);
    }
    out.push_str(text.get(end..).unwrap_or_default());
    Ok(out)
}

/// Each word begins with a capital.
fn title(text: &str) -> String {
    let mut inside = false;
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        let letter = c.is_alphanumeric() || matches!(c, '_' | '\'');
        if letter && !inside {
            out.extend(c.to_uppercase());
        } else {
            out.push(c);
        }
        inside = letter;
    }
    out
}

/// Bytes that stand for themselves in a query; a blank is `+`.
fn url_escaped(text: &str) -> String {
    // The form's encoding escapes `~` and leaves `*`; Go does the opposite.
    let escaped: String = form_urlencoded::byte_serialize(text.as_bytes()).collect();
    escaped.replace("%7E", "~").replace('*', "%2A")
}

/// Where the console shows a query as a graph (0) or as a table (1).
pub(super) fn link(query: &str, tab: u8) -> String {
    format!("/graph?g0.expr={}&g0.tab={tab}", url_escaped(query))
}

/// The path of a URL.
fn path(url: &str) -> &str {
    let behind = url.split_once("://").map_or(url, |(_, behind)| behind);
    behind.find('/').and_then(|at| behind.get(at..)).unwrap_or_default()
}

/// Host and port of an address that has both.
fn host_port(address: &str) -> Option<(&str, &str)> {
    let (host, port) = address.rsplit_once(':')?;
    match host.strip_prefix('[') {
        Some(host) => host.strip_suffix(']').map(|host| (host, port)),
        None if host.contains([':', '[', ']']) => None,
        None => Some((host, port)),
    }
}

fn strip_port(address: &str) -> &str {
    host_port(address).map_or(address, |(host, _)| host)
}

/// The host's first name; an address of numbers stays.
fn strip_domain(address: &str) -> String {
    let (host, port) = host_port(address).map_or((address, None), |(host, port)| (host, Some(port)));
    if host.parse::<std::net::IpAddr>().is_ok() {
        return address.to_owned();
    }
    let host = host.split('.').next().unwrap_or_default();
    port.map_or_else(|| host.to_owned(), |port| format!("{host}:{port}"))
}

fn escaped_html(text: &str) -> String {
    let table: BTreeMap<char, &str> =
        [('&', "&amp;"), ('<', "&lt;"), ('>', "&gt;"), ('"', "&#34;"), ('\'', "&#39;"), ('\0', "\u{fffd}")].into();
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        match table.get(&c) {
            Some(escaped) => out.push_str(escaped),
            None => out.push(c),
        }
    }
    out
}

fn js_code(c: char) -> String {
    format!("\\u{:04X}", u32::from(c))
}

fn escaped_js(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '\\' | '\'' | '"' => out.extend(['\\', c]),
            '<' | '>' | '&' | '=' => out.push_str(&js_code(c)),
            c if c.is_control() => out.push_str(&js_code(c)),
            c => out.push(c),
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_name_is_found_once() {
        assert!(NAMES.is_sorted_by(|a, b| a < b), "{NAMES:?}");
        assert!(find("value").is_some() && find("env").is_none());
    }
}
