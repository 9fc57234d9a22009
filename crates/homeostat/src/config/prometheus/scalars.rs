//! Single values as Prometheus writes them.

use std::time::Duration;

use homeostat_sense_scrape::{duration, spec::Secret};

use crate::config::{
    read::{Context, Key, Read, wrong_kind},
    shape::{Scalar, Shape},
    source::At,
    tree::{Data, Node},
};

/// The text of a scalar as it is written: `$` has no meaning to the reader of these files.
fn text<'n>(node: &'n Node, shape: &Shape, cx: &mut Context<'_>) -> Option<&'n str> {
    if let Data::Plain(text) | Data::Quoted(text) = &node.data {
        return Some(text);
    }
    wrong_kind(node, shape, cx);
    None
}

const fn scalar(noun: &'static str, example: &'static str) -> Scalar {
    Scalar { noun, example, json: &["string"], pattern: "", range: None }
}

/// Any text.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Text(pub String);

impl Read for Text {
    fn shape() -> Shape {
        Shape::Scalar(scalar("a text", "some text"))
    }
    fn read(node: &Node, cx: &mut Context<'_>) -> Option<Self> {
        // An empty value is a text too: `replacement:` takes a label away.
        if node.data == Data::Null {
            return Some(Self(String::new()));
        }
        text(node, &Self::shape(), cx).map(|text| Self(text.to_owned()))
    }
}

impl Key for Text {
    const PLURAL: &'static str = "names";
    fn of(key: &At<String>, _: &mut Context<'_>) -> Option<At<Self>> {
        Some(At::new(Self(key.value.clone()), key.place))
    }
}

/// `1h30m`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct PromDuration(pub Duration);

impl Read for PromDuration {
    fn shape() -> Shape {
        Shape::Scalar(scalar("a duration", "15s"))
    }
    fn read(node: &Node, cx: &mut Context<'_>) -> Option<Self> {
        let text = text(node, &Self::shape(), cx)?;
        let read = duration::parse(text);
        if read.is_none() {
            let help = "write whole numbers with units, the larger first, such as `1m30s`, `15s` or `100ms`";
            cx.error(node.place, format!("`{text}` is not a duration"), help);
        }
        read.map(Self)
    }
}

/// `10MB`; units are powers of 1024 as in Prometheus.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Size(pub u64);

impl Read for Size {
    fn shape() -> Shape {
        Shape::Scalar(scalar("a size", "10MB"))
    }
    fn read(node: &Node, cx: &mut Context<'_>) -> Option<Self> {
        let text = text(node, &Self::shape(), cx)?;
        let size = size_of(text);
        if size.is_none() {
            cx.error(node.place, format!("`{text}` is not a size"), "write a whole number with B, KB, MB or GB");
        }
        size.map(Self)
    }
}

fn size_of(text: &str) -> Option<u64> {
    let digits = text.bytes().take_while(u8::is_ascii_digit).count();
    let (number, unit) = text.split_at_checked(digits)?;
    let shift = match unit.trim() {
        "" | "B" => 0,
        "K" | "KB" | "KiB" => 10,
        "M" | "MB" | "MiB" => 20,
        "G" | "GB" | "GiB" => 30,
        "T" | "TB" | "TiB" => 40,
        _ => return None,
    };
    number.parse::<u64>().ok()?.checked_mul(1 << shift)
}

/// A secret, written out. It is never shown.
#[derive(Clone, Debug)]
pub(crate) struct PlainSecret(pub Secret);

impl PartialEq for PlainSecret {
    fn eq(&self, other: &Self) -> bool {
        match (&self.0, &other.0) {
            (Secret::Text(a), Secret::Text(b)) => a == b,
            (Secret::File(a), Secret::File(b)) => a == b,
            _ => false,
        }
    }
}

impl Read for PlainSecret {
    fn shape() -> Shape {
        Shape::Scalar(scalar("a secret", "sesame"))
    }
    fn read(node: &Node, cx: &mut Context<'_>) -> Option<Self> {
        cx.secrets.push(node.place);
        text(node, &Self::shape(), cx).map(|text| Self(Secret::Text(text.to_owned())))
    }
}

#[cfg(test)]
mod tests {
    use super::size_of;

    #[test]
    fn sizes_are_powers_of_two() {
        assert_eq!(size_of("10MB"), Some(10 << 20));
        assert_eq!(size_of("0"), Some(0));
        assert_eq!(size_of("1.5GB"), None);
        assert_eq!(size_of("99999999999999999999TB"), None);
    }
}
