//! Names of OpenTelemetry in Prometheus' terms.
//!
//! A metric's unit and nature become suffixes (`http.server.duration` in `s` is `http_server_duration_seconds`), and
//! what the older naming scheme cannot spell becomes `_`. How much of that happens is the [`Strategy`].
//!
//! Sources: opentelemetry.io, "Prometheus and OpenMetrics compatibility"; `prometheus/otlptranslator`.

use std::borrow::Cow;

/// What happens to names. Words as in `translation_strategy` of a `prometheus.yml`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Strategy {
    /// `_` for what the older naming scheme cannot spell; suffixes for unit and nature.
    #[default]
    UnderscoreEscapingWithSuffixes,
    /// As above without suffixes.
    UnderscoreEscapingWithoutSuffixes,
    /// Names stay as they are, with suffixes.
    NoUtf8EscapingWithSuffixes,
    /// Names stay as they are.
    NoTranslation,
}

impl Strategy {
    /// The strategy with this name in a `prometheus.yml`.
    pub fn parse(word: &str) -> Option<Self> {
        Some(match word {
            "UnderscoreEscapingWithSuffixes" => Self::UnderscoreEscapingWithSuffixes,
            "UnderscoreEscapingWithoutSuffixes" => Self::UnderscoreEscapingWithoutSuffixes,
            "NoUTF8EscapingWithSuffixes" => Self::NoUtf8EscapingWithSuffixes,
            "NoTranslation" => Self::NoTranslation,
            _ => return None,
        })
    }

    /// Whether names keep any UTF-8.
    pub fn keeps_utf8(self) -> bool {
        matches!(self, Self::NoUtf8EscapingWithSuffixes | Self::NoTranslation)
    }
}

/// What decides about a metric's suffix.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Nature {
    /// A sum that only grows: `_total`.
    Counter,
    /// `_ratio` for the unit `1`.
    Gauge,
    /// Neither.
    Other,
}

impl Nature {
    fn suffix(self, unit: &str) -> Option<&'static str> {
        match self {
            Self::Counter => Some("total"),
            Self::Gauge if unit == "1" => Some("ratio"),
            _ => None,
        }
    }
}

/// The metric's name; `None` when nothing of it is left.
pub(super) fn metric_name(name: &str, unit: &str, nature: Nature, strategy: Strategy) -> Option<String> {
    let built = match strategy {
        Strategy::NoTranslation => name.to_owned(),
        Strategy::NoUtf8EscapingWithSuffixes => suffixed(name, unit, nature),
        Strategy::UnderscoreEscapingWithoutSuffixes => {
            let parts = name.split(|c: char| !(c.is_ascii_alphanumeric() || c == '_' || c == ':'));
            after_digit(join(parts.filter(|part| !part.is_empty())))
        }
        Strategy::UnderscoreEscapingWithSuffixes => after_digit(escaped_and_suffixed(name, unit, nature)),
    };
    let lost = built != name && built.bytes().all(|byte| byte == b'_');
    (!built.is_empty() && !lost).then_some(built)
}

/// Words of the name, of the unit unless the name has it, and of the nature at the end.
fn escaped_and_suffixed(name: &str, unit: &str, nature: Nature) -> String {
    let mut words: Vec<&str> = name.split(|c: char| !is_word(c)).filter(|word| !word.is_empty()).collect();
    let (main, per) = unit_suffixes(unit);
    let (main, per) = (clean_unit(&main), clean_unit(&per));
    let mut main = if words.contains(&main.as_str()) { "" } else { &main };
    let per = if per == "per_" { "" } else { per.strip_suffix('_').unwrap_or(&per) };
    if !per.is_empty() {
        main = main.strip_suffix('_').unwrap_or(main);
    }
    words.extend([main, per].into_iter().filter(|word| !word.is_empty()));
    if let Some(suffix) = nature.suffix(unit) {
        words.retain(|word| *word != suffix);
        words.push(suffix);
    }
    join(words)
}

/// The name as it is, with the same suffixes.
fn suffixed(name: &str, unit: &str, nature: Nature) -> String {
    let (main, per) = unit_suffixes(unit);
    let last = nature.suffix(unit);
    let mut stem = name;
    if let Some(suffix) = last {
        stem = without(stem, suffix);
    }
    if !per.is_empty() {
        stem = without(stem, &per);
    }
    let mut out = stem.to_owned();
    let main = Some(&*main).filter(|main| !main.is_empty() && !stem.ends_with(main));
    for suffix in [main, Some(&*per).filter(|per| !per.is_empty()), last].into_iter().flatten() {
        out.push('_');
        out.push_str(suffix);
    }
    out
}

/// The name without a suffix and the character in front of it.
fn without<'a>(name: &'a str, suffix: &str) -> &'a str {
    let stem = name.strip_suffix(suffix).and_then(|stem| {
        let mut chars = stem.chars();
        chars.next_back()?;
        Some(chars.as_str())
    });
    stem.filter(|stem| !stem.is_empty()).unwrap_or(name)
}

fn join<'a>(words: impl IntoIterator<Item = &'a str>) -> String {
    let mut out = String::new();
    for word in words {
        if !out.is_empty() {
            out.push('_');
        }
        out.push_str(word);
    }
    out
}

/// No name begins with a digit.
fn after_digit(name: String) -> String {
    if name.starts_with(|c: char| c.is_ascii_digit()) { format!("_{name}") } else { name }
}

fn is_word(c: char) -> bool {
    c.is_ascii_alphanumeric() || c == ':'
}

/// The unit as a suffix, and what it is counted per.
fn unit_suffixes(unit: &str) -> (Cow<'static, str>, Cow<'static, str>) {
    // Annotations in braces are no units.
    let plain = |part: &str| !part.is_empty() && !part.contains(['{', '}']);
    let (main, per) = unit.split_once('/').unwrap_or((unit, ""));
    let (main, per) = (main.trim(), per.trim());
    let main = if plain(main) { known_unit(main).map_or_else(|| main.to_owned().into(), Cow::from) } else { "".into() };
    let per = match known_per_unit(per) {
        _ if !plain(per) => "".into(),
        Some(known) => format!("per_{known}").into(),
        None => format!("per_{per}").into(),
    };
    (main, per)
}

/// The unit of a metric in words, for its metadata.
pub(super) fn unit_name(unit: &str, strategy: Strategy) -> String {
    let (main, per) = unit_suffixes(unit);
    let (main, per) =
        if strategy.keeps_utf8() { (main.into(), per.into()) } else { (clean_unit(&main), clean_unit(&per)) };
    let joined = join([&*main, &*per].into_iter().filter(|part| !part.is_empty()));
    let joined = joined.strip_prefix('_').unwrap_or(&joined);
    joined.strip_suffix('_').unwrap_or(joined).to_owned()
}

/// `_` for runs of what a name cannot have, none at the beginning.
fn clean_unit(unit: &str) -> String {
    let mut out = String::with_capacity(unit.len());
    for c in unit.chars().map(|c| if is_word(c) { c } else { '_' }) {
        if c != '_' || !(out.is_empty() || out.ends_with('_')) {
            out.push(c);
        }
    }
    out
}

fn known_unit(unit: &str) -> Option<&'static str> {
    Some(match unit {
        "d" => "days",
        "h" => "hours",
        "min" => "minutes",
        "s" => "seconds",
        "ms" => "milliseconds",
        "us" => "microseconds",
        "ns" => "nanoseconds",
        "By" => "bytes",
        "KiBy" => "kibibytes",
        "MiBy" => "mebibytes",
        "GiBy" => "gibibytes",
        // Not the right word, but the one that dashboards have.
        "TiBy" => "tibibytes",
        "KBy" => "kilobytes",
        "MBy" => "megabytes",
        "GBy" => "gigabytes",
        "TBy" => "terabytes",
        "m" => "meters",
        "V" => "volts",
        "A" => "amperes",
        "J" => "joules",
        "W" => "watts",
        "g" => "grams",
        "Cel" => "celsius",
        "Hz" => "hertz",
        "1" => "",
        "%" => "percent",
        _ => return None,
    })
}

fn known_per_unit(unit: &str) -> Option<&'static str> {
    Some(match unit {
        "s" => "second",
        "m" => "minute",
        "h" => "hour",
        "d" => "day",
        "w" => "week",
        "mo" => "month",
        "y" => "year",
        _ => return None,
    })
}

/// How attribute keys become label names.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LabelNaming {
    /// Names that begin with one `_` get `key` in front.
    pub prefix_underscores: bool,
    /// Several `_` in a row stay several.
    pub keep_multiple_underscores: bool,
}

impl Default for LabelNaming {
    fn default() -> Self {
        Self { prefix_underscores: true, keep_multiple_underscores: true }
    }
}

/// A label's name; `None` when nothing of it is left.
pub(super) fn label_name(key: &str, strategy: Strategy, naming: LabelNaming) -> Option<Cow<'_, str>> {
    if strategy.keeps_utf8() {
        return (!key.is_empty()).then_some(key.into());
    }
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_';
    let fine = |key: &str| key.starts_with(|c: char| c.is_ascii_alphabetic()) && key.bytes().all(plain);
    if fine(key) && (naming.keep_multiple_underscores || !key.contains("__")) {
        return Some(key.into());
    }
    let name = escape_label(key, naming);
    if name.is_empty() || name != key && name.bytes().all(|byte| byte == b'_') {
        return None;
    }
    if name.starts_with(|c: char| c.is_ascii_digit()) {
        return Some(format!("key_{name}").into());
    }
    if naming.prefix_underscores && name.starts_with('_') && !name.starts_with("__") {
        return Some(format!("key{name}").into());
    }
    Some(name.into())
}

fn escape_label(key: &str, naming: LabelNaming) -> String {
    let escaped = key.chars().map(|c| if c.is_ascii_alphanumeric() || c == '_' { c } else { '_' });
    if naming.keep_multiple_underscores {
        return escaped.collect();
    }
    // `__reserved__` stays.
    if let Some(inside) =
        key.strip_prefix("__").and_then(|rest| rest.strip_suffix("__")).filter(|rest| !rest.is_empty())
    {
        return format!("__{}__", escape_label(inside, naming));
    }
    let mut out = String::with_capacity(key.len());
    for c in escaped {
        if c != '_' || !out.ends_with('_') {
            out.push(c);
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    fn built(strategy: Strategy, nature: Nature, name: &str, unit: &str) -> String {
        metric_name(name, unit, nature, strategy).unwrap_or_else(|| "(none)".to_owned())
    }

    #[test]
    fn names_get_suffixes_and_underscores() {
        use Nature::{Counter, Gauge, Other};
        for (name, unit, nature, expected) in [
            ("http.server.duration", "s", Other, "http_server_duration_seconds"),
            ("system.io", "foo/bar", Counter, "system_io_foo_per_bar_total"),
            ("system.filesystem.usage", "By", Gauge, "system_filesystem_usage_bytes"),
            ("fs.bytes", "By", Gauge, "fs_bytes"),
            ("hits", "{request}/s", Other, "hits_per_second"),
            ("hits", "{request}", Counter, "hits_total"),
            ("total.hits", "", Counter, "hits_total"),
            ("cpu.utilization", "1", Gauge, "cpu_utilization_ratio"),
            ("cpu.ratio", "1", Gauge, "cpu_ratio"),
            ("cpu.utilization", "1", Counter, "cpu_utilization_total"),
            ("3xx", "", Other, "_3xx"),
            ("__a__b__", "%", Other, "a_b_percent"),
            ("speed", "km/h", Other, "speed_km_per_hour"),
            ("flow", "m^3", Other, "flow_m_3"),
            ("a:b", "s/{x}", Other, "a:b_seconds"),
            ("!!!", "", Other, "(none)"),
            ("", "s", Other, "seconds"),
            ("", "", Other, "(none)"),
        ] {
            assert_eq!(built(Strategy::UnderscoreEscapingWithSuffixes, nature, name, unit), expected, "{name} {unit}");
        }
    }

    #[test]
    fn other_strategies_do_less() {
        use Nature::{Counter, Gauge, Other};
        let plain = Strategy::UnderscoreEscapingWithoutSuffixes;
        assert_eq!(built(plain, Counter, "http.requests!!x", "s"), "http_requests_x");
        assert_eq!(built(plain, Counter, "1.a_b", "s"), "_1_a_b");
        let utf8 = Strategy::NoUtf8EscapingWithSuffixes;
        assert_eq!(built(utf8, Counter, "http.requests", "By/s"), "http.requests_bytes_per_second_total");
        assert_eq!(built(utf8, Counter, "http.requests.total", ""), "http.requests_total");
        assert_eq!(built(utf8, Gauge, "cpu.ratio", "1"), "cpu_ratio");
        assert_eq!(built(utf8, Other, "time.seconds", "s"), "time.seconds");
        assert_eq!(built(utf8, Counter, "total", ""), "total_total");
        assert_eq!(built(Strategy::NoTranslation, Counter, "http.requests", "s"), "http.requests");
        assert_eq!(built(Strategy::NoTranslation, Counter, "___", ""), "___");
        assert_eq!(Strategy::parse("NoUTF8EscapingWithSuffixes"), Some(utf8));
        assert_eq!(Strategy::parse("x"), None);
    }

    #[test]
    fn labels_are_spelled_in_the_older_scheme() {
        let escaped = Strategy::default();
        let collapse = LabelNaming { prefix_underscores: false, keep_multiple_underscores: false };
        for (key, usual, collapsed) in [
            ("http.method", "http_method", "http_method"),
            ("a__b", "a__b", "a_b"),
            ("a..b", "a__b", "a_b"),
            ("1st", "key_1st", "key_1st"),
            ("_x", "key_x", "_x"),
            ("__x", "__x", "_x"),
            ("__x..y__", "__x__y__", "__x_y__"),
            ("ü", "(none)", "(none)"),
            ("", "(none)", "(none)"),
        ] {
            let name = |naming| label_name(key, escaped, naming).unwrap_or("(none)".into());
            assert_eq!((&*name(LabelNaming::default()), &*name(collapse)), (usual, collapsed), "{key}");
        }
        assert_eq!(label_name("ü.x", Strategy::NoTranslation, LabelNaming::default()), Some("ü.x".into()));
    }

    #[test]
    fn units_are_words() {
        assert_eq!(unit_name("By/s", Strategy::default()), "bytes_per_second");
        assert_eq!(unit_name("1", Strategy::default()), "");
        assert_eq!(unit_name("{x}", Strategy::default()), "");
    }
}
