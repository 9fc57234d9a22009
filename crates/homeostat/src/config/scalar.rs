//! Single values: durations, percentages, addresses, names, secrets.
//!
//! Each reader says what it expected and, where the slip is a common one (a number without unit, an address without
//! scheme), what exactly to write.

use std::net::SocketAddr;

use homeostat_act_notify::spec::Secret;
use homeostat_gateway_route::spec::{Endpoint, HostMatch, UpstreamProtocol};
use homeostat_model::{
    ObjectiveName, ReceiverName, RolloutName, RouteName, ServiceName, Span, VersionName, Weight, name::NameError,
};

use super::{
    raw::openslo::SloDuration,
    read::{Context, Key, Outside, Read, wrong_kind},
    shape::{Scalar, Shape},
    source::{At, Place},
    suggest::{nearest, one_of},
    tree::{Data, Node},
};

/// Reports a text that is not what its scalar asks for.
fn refuse(node: &Node, scalar: &Scalar, text: &str, help: Option<String>, cx: &mut Context<'_>) {
    let help = help.unwrap_or_else(|| format!("write {} such as `{}`", scalar.noun, scalar.example));
    cx.error(node.place, format!("`{}` is not {}", shorten(text), scalar.noun), help);
}

fn shorten(text: &str) -> String {
    let flat: String = text.chars().take(60).map(|c| if c.is_control() { ' ' } else { c }).collect();
    if flat.len() < text.len() { flat + "…" } else { flat }
}

/// The text of a scalar; environment variables are refused here, so that only [`SecretText`] can hold them.
fn text_of<'n>(node: &'n Node, scalar: &Scalar, cx: &mut Context<'_>) -> Option<&'n str> {
    let (Data::Plain(text) | Data::Quoted(text)) = &node.data else {
        wrong_kind(node, &Shape::Scalar(*scalar), cx);
        return None;
    };
    no_variables(text, node.place, cx).then_some(text.as_str())
}

/// Reports `${…}` where it is not allowed.
pub(super) fn no_variables(text: &str, place: Place, cx: &mut Context<'_>) -> bool {
    let clean = !text.contains("${");
    if !clean {
        cx.error(
            place,
            "environment variables are not read here",
            "write the value itself; `${NAME}` is allowed for secrets only: receivers' `url`, `bearer` and `secret`, and `token` of the API",
        );
    }
    clean
}

/// Reads one of `words`.
pub(super) fn word<'w>(node: &Node, words: &[&'w str], cx: &mut Context<'_>) -> Option<&'w str> {
    const WORD: Scalar = Scalar { noun: "a word", example: "", json: &["string"], pattern: "", range: None };
    let text = text_of(node, &WORD, cx)?;
    if let Some(found) = words.iter().find(|word| **word == text) {
        return Some(*found);
    }
    let help = match nearest(text, words.iter().copied()) {
        Some(near) => format!("write `{near}`"),
        None => format!("write {}", one_of(words.iter().copied())),
    };
    cx.error(node.place, format!("`{}` is not known here", shorten(text)), help);
    None
}

/// Implements [`Read`] by a description and a parser from text: `Err(help)` when it does not fit.
macro_rules! scalar {
    ($ty:ty, $noun:literal, $example:literal, $json:expr, $pattern:literal, $range:expr, $parse:expr) => {
        impl Read for $ty {
            fn shape() -> Shape {
                Shape::Scalar(Scalar { noun: $noun, example: $example, json: $json, pattern: $pattern, range: $range })
            }
            fn read(node: &Node, cx: &mut Context<'_>) -> Option<Self> {
                let scalar = Scalar { noun: $noun, example: $example, json: $json, pattern: $pattern, range: $range };
                let text = text_of(node, &scalar, cx)?;
                let parse: fn(&str, bool) -> Result<$ty, Option<String>> = $parse;
                match parse(text, matches!(node.data, Data::Quoted(_))) {
                    Ok(value) => Some(value),
                    Err(help) => {
                        refuse(node, &scalar, text, help, cx);
                        None
                    }
                }
            }
        }
    };
}

scalar!(String, "a text", "some text", &["string"], "", None, |text, _| Ok(text.to_owned()));

scalar!(bool, "`true` or `false`", "true", &["boolean"], "", None, |text, quoted| match text {
    "true" if !quoted => Ok(true),
    "false" if !quoted => Ok(false),
    "true" | "yes" | "on" | "True" | "TRUE" => Err(Some("write `true`".to_owned())),
    "false" | "no" | "off" | "False" | "FALSE" => Err(Some("write `false`".to_owned())),
    _ => Err(Some("write `true` or `false`".to_owned())),
});

/// A whole number within a range.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Whole<const MIN: u64, const MAX: u64>(pub u64);

impl<const MIN: u64, const MAX: u64> Read for Whole<MIN, MAX> {
    fn shape() -> Shape {
        Shape::Scalar(Scalar {
            noun: "a whole number",
            example: "10",
            json: &["integer"],
            pattern: "",
            range: Some((MIN as f64, MAX as f64)),
        })
    }
    fn read(node: &Node, cx: &mut Context<'_>) -> Option<Self> {
        const WHOLE: Scalar = Scalar { noun: "a whole number", example: "10", json: &[], pattern: "", range: None };
        let text = text_of(node, &WHOLE, cx)?;
        let range = format!("write a whole number from {MIN} to {MAX}");
        match text.replace('_', "").parse::<u64>() {
            Ok(value) if (MIN..=MAX).contains(&value) => Some(Self(value)),
            Ok(value) => {
                cx.error(node.place, format!("{value} is out of range"), range);
                None
            }
            Err(_) => {
                refuse(node, &WHOLE, text, Some(range), cx);
                None
            }
        }
    }
}

/// A number, finite.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Number(pub f64);

scalar!(Number, "a number", "14.4", &["number"], "", None, |text, _| number(text).map(Number).ok_or(None));

/// A share between 0 and 1, written as such or in percent. The range is checked where its meaning is known; what is above
/// 1 was written without a percent sign.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Share(pub f64);

scalar!(Share, "a share", "0.1%", &["string", "number"], r"^[0-9.eE+-]+ ?%?$", None, |text, _| {
    match text.strip_suffix('%') {
        Some(percent) => match number(percent.trim_end()).ok_or(None)? {
            percent if percent <= 100.0 => Ok(Share(percent_to_share(percent))),
            _ => Err(Some("write at most `100%`".to_owned())),
        },
        // Above 1 it is a percentage without its sign, most likely; only who knows the range knows what to write.
        None => number(text).map(Share).ok_or(None),
    }
});

scalar!(Weight, "a share of traffic", "5%", &["string"], r"^[0-9.]+ ?%$", None, |text, _| {
    let Some(percent) = text.strip_suffix('%') else {
        return Err(number(text).map(|n| format!("write `{n}%`; a share of traffic needs its percent sign")));
    };
    let percent = number(percent.trim_end()).ok_or(None)?;
    let weight = Weight::from_percent(percent).map_err(|e| Some(e.to_string()))?;
    if (weight.percent() - percent).abs() > 1e-9 {
        return Err(Some(format!("write `{weight}`; traffic is divided in steps of 0.01 %")));
    }
    Ok(weight)
});

/// A percentage as a share, without the last digit's noise: 99.9 % is 0.999, not 0.9990000000000001.
pub(crate) fn percent_to_share(percent: f64) -> f64 {
    (percent * 1e10).round() / 1e12
}

fn number(text: &str) -> Option<f64> {
    // `inf` and `nan` parse as floats, but nobody means them.
    let plausible = text.bytes().all(|b| b.is_ascii_digit() || matches!(b, b'.' | b'-' | b'+' | b'e' | b'E'));
    text.parse::<f64>().ok().filter(|n| plausible && n.is_finite())
}

scalar!(
    Span,
    "a duration",
    "200ms",
    &["string"],
    r"^([0-9]+(\.[0-9]+)?(ns|us|µs|ms|s|m|h|d|w))+$|^0$",
    None,
    |text, _| duration(text)
);

scalar!(SloDuration, "a duration", "30d", &["string"], r"^[0-9]+[mhdw]$", None, |text, _| {
    let rest = text.trim_start_matches(|c: char| c.is_ascii_digit());
    let value: u64 = text.get(..text.len() - rest.len()).and_then(|n| n.parse().ok()).ok_or(None)?;
    let unit_s = match rest {
        "m" => 60,
        "h" => 3_600,
        "d" => 86_400,
        "w" => 604_800,
        "M" | "Q" | "Y" => {
            return Err(Some("months, quarters and years have no fixed length: write days, such as `30d`".to_owned()));
        }
        _ => return Err(Some("OpenSLO knows whole numbers of `m`, `h`, `d` and `w`, such as `30d`".to_owned())),
    };
    Ok(SloDuration(Span::from_secs(value.saturating_mul(unit_s))))
});

/// Units of durations, longest names first where one begins with another.
const UNITS: [(&str, u64); 9] = [
    ("ns", 1),
    ("us", 1_000),
    ("µs", 1_000),
    ("ms", 1_000_000),
    ("s", 1_000_000_000),
    ("m", 60_000_000_000),
    ("h", 3_600_000_000_000),
    ("d", 86_400_000_000_000),
    ("w", 604_800_000_000_000),
];

fn duration(text: &str) -> Result<Span, Option<String>> {
    if text == "0" {
        return Ok(Span::ZERO);
    }
    if number(text).is_some() {
        return Err(Some(format!(
            "a duration needs a unit: write `{text}s` for seconds or `{text}ms` for milliseconds"
        )));
    }
    let mut rest = text;
    let mut sum_ns = 0.0;
    while !rest.is_empty() {
        let digits = rest.find(|c: char| !(c.is_ascii_digit() || c == '.')).ok_or(None)?;
        let (value, tail) = rest.split_at(digits);
        let name_end = tail.find(|c: char| c.is_ascii_digit() || c == '.').unwrap_or(tail.len());
        let (name, tail) = tail.split_at(name_end);
        let Some((_, unit_ns)) = UNITS.iter().find(|(unit, _)| *unit == name) else {
            let units = one_of(["ns", "us", "ms", "s", "m", "h", "d", "w"]);
            let packed: String = text.split_whitespace().collect();
            if packed != text && duration(&packed).is_ok() {
                return Err(Some(format!("write `{packed}`, without spaces")));
            }
            return Err(
                (!value.is_empty()).then(|| format!("`{}` is no unit of time: write {units}", shorten(name.trim())))
            );
        };
        sum_ns += number(value).ok_or(None)? * *unit_ns as f64;
        rest = tail;
    }
    // 2^53 ns are 104 days, beyond which f64 rounds; nothing here needs both more days and single nanoseconds.
    if text.is_empty() {
        Err(None)
    } else if sum_ns <= 3.2e18 {
        Ok(Span::from_ns(sum_ns.round() as u64))
    } else {
        Err(Some("the longest duration is 100 years".to_owned()))
    }
}

/// A number of bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Bytes(pub u64);

scalar!(
    Bytes,
    "a size in bytes",
    "64KiB",
    &["string", "integer"],
    r"^[0-9]+ ?(B|KiB|MiB|GiB|TiB|kB|MB|GB|TB)?$",
    None,
    |text, _| {
        const UNITS: [(&str, u64); 10] = [
            ("", 1),
            ("B", 1),
            ("KiB", 1 << 10),
            ("MiB", 1 << 20),
            ("GiB", 1 << 30),
            ("TiB", 1 << 40),
            ("kB", 1_000),
            ("MB", 1_000_000),
            ("GB", 1_000_000_000),
            ("TB", 1_000_000_000_000),
        ];
        let end = text.find(|c: char| !c.is_ascii_digit() && c != '_').unwrap_or(text.len());
        let (digits, name) = text.split_at(end);
        let Some((_, unit)) = UNITS.iter().find(|(unit, _)| *unit == name.trim_start()) else {
            return Err((!digits.is_empty()).then(|| "write a whole number with `KiB`, `MiB` or `GiB`".to_owned()));
        };
        digits.replace('_', "").parse::<u64>().ok().and_then(|n| n.checked_mul(*unit)).map(Bytes).ok_or(None)
    }
);

scalar!(SocketAddr, "an IP address with port", "127.0.0.1:8080", &["string"], r"^.+:[0-9]+$", None, |text, _| {
    text.parse().map_err(|_| address_help(text))
});

/// What to write instead of an address that is none; names are not resolved.
fn address_help(text: &str) -> Option<String> {
    let (host, port) = text.rsplit_once(':').unwrap_or((text, ""));
    let port_or = |default: &str| if port.parse::<u16>().is_ok() { port.to_owned() } else { default.to_owned() };
    match host {
        "" | "*" => Some(format!(
            "write `0.0.0.0:{}` for all addresses, `127.0.0.1:{0}` for this machine only",
            port_or("8080")
        )),
        "localhost" => Some(format!("write `127.0.0.1:{}`; names are not resolved", port_or("8080"))),
        _ if host.parse::<std::net::IpAddr>().is_ok() && port.is_empty() => {
            Some(format!("write `{host}:8080`; a port is needed"))
        }
        _ if text.parse::<std::net::IpAddr>().is_ok() => {
            Some("write the address with its port; IPv6 in brackets, such as `[::1]:8080`".to_owned())
        }
        _ if port.parse::<u16>().is_ok() => {
            Some(format!("write the IP address, such as `10.0.0.7:{port}`; names are not resolved"))
        }
        _ => None,
    }
}

scalar!(
    Endpoint,
    "an endpoint",
    "http://127.0.0.1:8081",
    &["string"],
    r"^(http|h2c)://.+:[0-9]+/?$",
    None,
    |text, _| {
        let Some((scheme, rest)) = text.split_once("://") else {
            return Err(text
                .parse::<SocketAddr>()
                .ok()
                .map(|a| format!("write `http://{a}`, or `h2c://{a}` for HTTP/2")));
        };
        let protocol = match scheme {
            "http" => UpstreamProtocol::Http1,
            "h2c" => UpstreamProtocol::H2c,
            "https" | "grpcs" => {
                return Err(Some("TLS to upstreams is not understood: write `http://…` or `h2c://…`".to_owned()));
            }
            "grpc" => return Err(Some(format!("gRPC is HTTP/2 in cleartext: write `h2c://{}`", shorten(rest)))),
            _ => return Err(None),
        };
        let address = rest.strip_suffix('/').unwrap_or(rest);
        if address.contains(['/', '?']) {
            return Err(Some("an endpoint has no path; requests keep the path that the client sent".to_owned()));
        }
        let address = address.parse().map_err(|_| address_help(address))?;
        Ok(Endpoint { address, protocol })
    }
);

/// The name of a header.
pub(crate) use http::HeaderName;

scalar!(HeaderName, "a header name", "x-user-id", &["string"], r"^[!#$%&'*+.^_`|~0-9A-Za-z-]+$", None, |text, _| {
    HeaderName::from_bytes(text.as_bytes()).map_err(|_| None)
});

impl Key for HeaderName {
    const PLURAL: &'static str = "header names";
    fn of(key: &At<String>, cx: &mut Context<'_>) -> Option<At<Self>> {
        let node = Node { place: key.place, data: Data::Quoted(key.value.clone()) };
        At::read(&node, cx)
    }
}

scalar!(http::Method, "an HTTP method", "GET", &["string"], r"^[!#$%&'*+.^_`|~0-9A-Za-z-]+$", None, |text, _| {
    let method = http::Method::from_bytes(text.as_bytes()).map_err(|_| None)?;
    let upper = text.to_ascii_uppercase();
    let is_slip = upper != text && http::Method::from_bytes(upper.as_bytes()).is_ok();
    if is_slip { Err(Some(format!("write `{upper}`; methods are case-sensitive"))) } else { Ok(method) }
});

scalar!(
    HostMatch,
    "a host name",
    "shop.example.org",
    &["string"],
    r"^(\*\.)?[A-Za-z0-9._-]+$|^\[.*\]$",
    None,
    |text, _| {
        let lower = text.trim_end_matches('.').to_ascii_lowercase();
        let (wild, name) = match lower.strip_prefix("*.") {
            Some(suffix) => (true, suffix),
            None => (false, lower.as_str()),
        };
        if lower.contains("://") || lower.contains('/') {
            return Err(Some("write the host alone, without scheme and path".to_owned()));
        }
        if lower == "*" {
            return Err(Some("leave `hosts` out to serve every host".to_owned()));
        }
        if name.contains('*') {
            return Err(Some("a `*` may only be the whole first label, such as `*.example.org`".to_owned()));
        }
        let is_v6 = name
            .strip_prefix('[')
            .and_then(|n| n.strip_suffix(']'))
            .is_some_and(|n| n.parse::<std::net::Ipv6Addr>().is_ok());
        if !is_v6 && name.contains(':') {
            return Err(Some("write the host without a port; routes serve all listeners".to_owned()));
        }
        let plain = name.split('.').all(|label| {
            !label.is_empty()
                && label.len() <= 63
                && label.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_'))
        });
        if !(is_v6 || plain) || name.is_empty() || 253 < name.len() {
            return Err(None);
        }
        Ok(if wild { HostMatch::Wildcard(name.to_owned()) } else { HostMatch::Exact(name.to_owned()) })
    }
);

/// A path of a route.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct PathText(pub String);

scalar!(PathText, "a path", "/api", &["string"], r"^/[^?#]*$", None, |text, _| {
    if !text.starts_with('/') {
        return Err(Some(format!("write `/{}`; a path begins with a slash", shorten(text))));
    }
    if text.contains(['?', '#']) {
        return Err(Some("leave the query out; it never takes part in matching".to_owned()));
    }
    if text.contains('*') {
        return Err(Some("leave the `*` out; a path is a prefix by whole segments already".to_owned()));
    }
    if text.chars().any(|c| c.is_control() || c == ' ') {
        return Err(None);
    }
    Ok(PathText(text.to_owned()))
});

/// SHA-256 in hexadecimal.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Sha256(pub [u8; 32]);

scalar!(
    Sha256,
    "a SHA-256 in hexadecimal",
    "9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08",
    &["string"],
    r"^[0-9a-fA-F]{64}$",
    None,
    |text, _| {
        let help = || Some("write the 64 hexadecimal digits that `printf %s TOKEN | sha256sum` prints".to_owned());
        let mut sum = [0; 32];
        if text.len() != 64 || !text.is_ascii() {
            return Err(help());
        }
        for (byte, at) in sum.iter_mut().zip((0..64).step_by(2)) {
            let digits = text.get(at..at + 2).ok_or_else(help)?;
            *byte = u8::from_str_radix(digits, 16).map_err(|_| help())?;
        }
        Ok(Sha256(sum))
    }
);

macro_rules! names {
    ($($ty:ty, $noun:literal, $plural:literal, $example:literal;)+) => { $(
        scalar!($ty, $noun, $example, &["string"], r"^[A-Za-z0-9]([A-Za-z0-9._-]{0,61}[A-Za-z0-9])?$", None, |text, _| {
            <$ty>::new(text).map_err(|error: NameError| Some(error.to_string()))
        });
        impl Key for $ty {
            const PLURAL: &'static str = $plural;
            fn of(key: &At<String>, cx: &mut Context<'_>) -> Option<At<Self>> {
                let node = Node { place: key.place, data: Data::Quoted(key.value.clone()) };
                At::read(&node, cx)
            }
        }
    )+ };
}

names! {
    ServiceName, "a service name", "service names", "shop";
    VersionName, "a version name", "version names", "v2";
    RouteName, "a route name", "route names", "shop-api";
    RolloutName, "a rollout name", "rollout names", "shop-v2";
    ObjectiveName, "an objective name", "objective names", "shop-availability";
    ReceiverName, "a receiver name", "receiver names", "on-call";
}

/// A secret: written out, or `${NAME}` for the value of an environment variable, also within a longer text.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct SecretText(pub Secret);

impl SecretText {
    const SCALAR: Scalar = Scalar { noun: "a secret", example: "${NAME}", json: &["string"], pattern: "", range: None };
}

impl Read for SecretText {
    fn shape() -> Shape {
        Shape::Scalar(Self::SCALAR)
    }
    fn read(node: &Node, cx: &mut Context<'_>) -> Option<Self> {
        let (Data::Plain(text) | Data::Quoted(text)) = &node.data else {
            wrong_kind(node, &Self::shape(), cx);
            return None;
        };
        // A text that is nothing but a variable shows where the secret comes from, and may be shown.
        let lone = text.strip_prefix("${").and_then(|rest| rest.strip_suffix('}'));
        if !lone.is_some_and(is_variable) {
            cx.secrets.push(node.place);
        }
        let full = expand(text, node.place, cx)?;
        if full.trim().is_empty() {
            cx.error(
                node.place,
                "a secret must not be empty",
                "write it out, or `${NAME}` for an environment variable",
            );
            return None;
        }
        Some(Self(Secret::new(full.trim().to_owned())))
    }
}

fn is_variable(name: &str) -> bool {
    !name.is_empty() && name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_')
}

/// Replaces every `${NAME}`; reports the ones that are unset or malformed.
fn expand(text: &str, place: Place, cx: &mut Context<'_>) -> Option<String> {
    let mut full = String::new();
    let mut rest = text;
    while let Some((before, after)) = rest.split_once("${") {
        full += before;
        let Some((name, tail)) = after.split_once('}') else {
            cx.error(place, "`${` without `}`", "write `${NAME}`");
            return None;
        };
        if !is_variable(name) {
            cx.error(
                place,
                "the text between `${` and `}` names no environment variable",
                "write `${NAME}` with letters, digits and `_`; defaults and other operators are not understood",
            );
            return None;
        }
        if let Some(value) = (cx.env)(name) {
            full += &value;
        } else if cx.outside == Outside::Elsewhere {
            // Long enough for a token, and an address where one is asked for.
            full += if before.is_empty() { "https://unset.invalid/" } else { "unset-" };
            full += name;
            cx.assumed.insert(format!("${{{name}}}"));
        } else {
            cx.error(
                place,
                format!("the environment variable `{name}` is not set"),
                "set it for the process that runs homeostat",
            );
            return None;
        }
        rest = tail;
    }
    Some(full + rest)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_in_all_units() {
        for (text, ns) in [
            ("200ms", 200_000_000),
            ("1m30s", 90_000_000_000),
            ("0", 0),
            ("0s", 0),
            ("1.5s", 1_500_000_000),
            ("2w", 1_209_600_000_000_000),
            ("30d", 2_592_000_000_000_000),
            ("7ns", 7),
            ("5µs", 5_000),
        ] {
            assert_eq!(duration(text), Ok(Span::from_ns(ns)), "{text}");
        }
        for text in ["", "5", "5 s", "s", "5x", "-1s", "1e3s", "200y", "999999999w", "1..5s", "ms5"] {
            assert!(duration(text).is_err(), "{text}");
        }
    }

    #[test]
    fn every_example_in_the_reference_is_read_by_its_own_reader() {
        fn check<T: Read>() {
            let Shape::Scalar(scalar) = T::shape() else { panic!("no scalar") };
            let env = |_: &str| Some("value".to_owned());
            let mut cx = Context::new(Vec::new(), &env);
            let node = Node { place: Place::default(), data: Data::Plain(scalar.example.to_owned()) };
            assert!(T::read(&node, &mut cx).is_some(), "{}: {:?}", scalar.example, cx.problems);
        }
        check::<String>();
        check::<bool>();
        check::<Whole<1, 20>>();
        check::<Number>();
        check::<Share>();
        check::<Weight>();
        check::<Span>();
        check::<Bytes>();
        check::<SocketAddr>();
        check::<Endpoint>();
        check::<HeaderName>();
        check::<http::Method>();
        check::<HostMatch>();
        check::<PathText>();
        check::<Sha256>();
        check::<SecretText>();
        check::<ServiceName>();
    }
}
