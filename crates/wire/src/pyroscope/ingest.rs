//! Parameters of `/ingest`: who, what, since when.

use homeostat_model::profile::{Profile, ValueType};

/// A name that says nothing.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`name` is {name:?}; it must be an application with labels, such as `shop.cpu{{env=prod,zone=a}}`")]
pub struct BadName {
    /// As sent.
    pub name: String,
}

/// An application, and its labels in the order in which they stand.
pub type Named<'a> = (&'a str, Vec<(&'a str, &'a str)>);

/// Reads `app.cpu{k=v,…}`. Values may be quoted.
pub fn parse_name(name: &str) -> Result<Named<'_>, BadName> {
    let bad = || BadName { name: name.chars().take(200).collect() };
    let (application, rest) = name.split_once('{').unwrap_or((name, "}"));
    let labels = rest.trim_end().strip_suffix('}').ok_or_else(bad)?;
    let application = application.trim();
    if application.is_empty() {
        return Err(bad());
    }
    let mut pairs = Vec::new();
    for pair in labels.split(',').filter(|pair| !pair.trim().is_empty()) {
        let (name, value) = pair.split_once('=').ok_or_else(bad)?;
        let value = value.trim();
        let unquoted = value.strip_prefix('"').and_then(|value| value.strip_suffix('"'));
        let name = name.trim();
        if name.is_empty() {
            return Err(bad());
        }
        pairs.push((name, unquoted.unwrap_or(value)));
    }
    Ok((application, pairs))
}

/// What profiles of a kind are called and count.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Counted {
    /// Their metric: `process_cpu`, `memory`.
    pub metric: &'static str,
    /// What is counted.
    pub kind: &'static str,
    /// In which unit.
    pub unit: &'static str,
    /// Numbers are samples, of which there are `sampleRate` in a second, and become nanoseconds.
    pub is_sampled_time: bool,
}

/// What a profile without types of its own counts, by the last part of its application's name.
pub fn counted(suffix: &str) -> Option<Counted> {
    let of = |metric, kind, unit| Some(Counted { metric, kind, unit, is_sampled_time: false });
    let time = |metric, kind| Some(Counted { metric, kind, unit: "nanoseconds", is_sampled_time: true });
    match suffix {
        "cpu" => time("process_cpu", "cpu"),
        "itimer" => time("process_cpu", "itimer"),
        "wall" => time("wall", "wall"),
        "inuse_objects" => of("memory", "inuse_objects", "count"),
        "inuse_space" => of("memory", "inuse_space", "bytes"),
        "alloc_objects" => of("memory", "alloc_objects", "count"),
        "alloc_space" => of("memory", "alloc_space", "bytes"),
        "goroutines" => of("goroutine", "goroutine", "count"),
        "mutex_count" => of("mutex", "contentions", "count"),
        "mutex_duration" => of("mutex", "delay", "nanoseconds"),
        "block_count" => of("block", "contentions", "count"),
        "block_duration" => of("block", "delay", "nanoseconds"),
        "exceptions" => of("exceptions", "exception", "count"),
        _ => None,
    }
}

/// The service and what is counted. A name that does not end in a kind is one as a whole, and counts CPU time.
pub fn application(name: &str) -> (&str, Counted) {
    const CPU: Counted = Counted { metric: "process_cpu", kind: "cpu", unit: "nanoseconds", is_sampled_time: true };
    let split = name.rsplit_once('.').and_then(|(service, suffix)| Some((service, counted(suffix)?)));
    split.filter(|(service, _)| !service.is_empty()).unwrap_or((name, CPU))
}

/// The metric of a pprof profile, by what it counts; its first kind when nobody knows it.
pub fn metric_of(profile: &Profile) -> String {
    let kinds = || profile.types().iter().map(|ValueType { kind, .. }| kind.as_str());
    if kinds().any(|kind| kind == "wall") {
        return "wall".to_owned();
    }
    for kind in kinds() {
        let known = [
            ("cpu", "process_cpu"),
            ("alloc_", "memory"),
            ("inuse_", "memory"),
            ("mutex_", "mutex"),
            ("block_", "block"),
            ("goroutine", "goroutine"),
        ];
        if let Some((_, metric)) = known.iter().find(|(part, _)| kind.contains(part)) {
            return (*metric).to_owned();
        }
        if matches!(kind, "space" | "objects") {
            return "memory".to_owned();
        }
    }
    kinds().next().unwrap_or_default().to_owned()
}

/// An instant as clients write it, by its digits: seconds, milliseconds, microseconds or nanoseconds since 1970.
pub fn parse_instant_ns(text: &str) -> Option<i64> {
    let number: i64 = text.parse().ok().filter(|number| 0 <= *number)?;
    let factor = match text.len() {
        ..=11 => 1_000_000_000,
        12..=14 => 1_000_000,
        15..=17 => 1_000,
        _ => 1,
    };
    number.checked_mul(factor)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_have_labels() {
        assert_eq!(
            parse_name("shop.cpu{env=prod, zone=\"a b\"}"),
            Ok(("shop.cpu", vec![("env", "prod"), ("zone", "a b")]))
        );
        assert_eq!((parse_name("shop"), parse_name("shop{}")), (Ok(("shop", vec![])), Ok(("shop", vec![]))));
        for bad in ["", "{}", "a{", "a{b}", "a{=c}", "a{b=c}x"] {
            assert!(parse_name(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn the_last_part_of_a_name_says_what_is_counted() {
        assert_eq!(application("my.shop.alloc_space").1.unit, "bytes");
        assert_eq!((application("my.shop").0, application("my.shop").1.metric), ("my.shop", "process_cpu"));
        assert_eq!((application("cpu").0, application(".cpu").0), ("cpu", ".cpu"));
        let profile = |kinds: &[&str]| Profile::new(kinds.iter().map(|kind| ValueType::new(kind, "count")).collect());
        assert_eq!(metric_of(&profile(&["samples", "cpu"])), "process_cpu");
        assert_eq!(metric_of(&profile(&["alloc_objects", "inuse_space"])), "memory");
        assert_eq!(metric_of(&profile(&["cpu", "wall"])), "wall");
        assert_eq!((metric_of(&profile(&["odd"])), metric_of(&profile(&[]))), ("odd".into(), String::new()));
    }

    #[test]
    fn instants_go_by_their_digits() {
        for text in ["1763715600", "1763715600000", "1763715600000000", "1763715600000000000"] {
            assert_eq!(parse_instant_ns(text), Some(1_763_715_600_000_000_000), "{text}");
        }
        assert_eq!(
            (parse_instant_ns("-1"), parse_instant_ns("now"), parse_instant_ns("99999999999")),
            (None, None, None)
        );
    }
}
