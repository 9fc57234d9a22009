//! Label sets: what identifies a series.
//!
//! A set is one shared piece of text, so that a clone is a counter and a hundred thousand series cost two allocations
//! each at most. Names are sorted bytewise and unique; an empty value is the same as no label and is left out, as
//! Prometheus has it. Any UTF-8 is a name (Prometheus 3); rules of older formats are checked where those are spoken.
//!
//! Layout of the text: for each label the name's length, the name, the value's length, the value. A length below 127 is
//! one character of that code; a longer one is the character 127 and four more of seven bits each, smallest first. All
//! of them are ASCII, so the whole stays valid text and no reader needs `unsafe`.

use std::{cmp::Ordering, fmt, sync::Arc};

/// Name of the label that holds the metric's name.
pub const METRIC_NAME: &str = "__name__";
/// First length that takes the long form.
const LONG: usize = 127;
/// Longest name or value in bytes: what four characters of seven bits can say.
pub const LABEL_TEXT_BYTES_MAX: usize = (1 << 28) - 1;

/// A sorted set of label names with their values. Cloning is cheap; equality and hash look at all labels.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct Labels(Arc<str>);

impl Labels {
    /// Makes a set of pairs in any order. Pairs with an empty value are left out; of two pairs with the same name the
    /// last wins. Texts over [`LABEL_TEXT_BYTES_MAX`] are cut: every door has a lower limit of its own.
    pub fn new<N: AsRef<str>, V: AsRef<str>>(pairs: impl IntoIterator<Item = (N, V)>) -> Self {
        let mut builder = LabelsBuilder::default();
        for (name, value) in pairs {
            builder.set(name.as_ref(), value.as_ref());
        }
        builder.finish()
    }

    /// The set without labels.
    pub fn empty() -> Self {
        Self(Arc::from(""))
    }

    /// Returns true for the set without labels.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Iterates over (name, value), sorted by name.
    pub fn iter(&self) -> LabelsIter<'_> {
        LabelsIter { rest: &self.0 }
    }

    /// The number of labels.
    pub fn len(&self) -> usize {
        self.iter().count()
    }

    /// The value of a label, if it is set.
    pub fn get(&self, name: &str) -> Option<&str> {
        self.iter().take_while(|(n, _)| *n <= name).find(|(n, _)| *n == name).map(|(_, value)| value)
    }

    /// The value of a label; an absent one reads as empty, as matchers and matching see it.
    pub fn value(&self, name: &str) -> &str {
        self.get(name).unwrap_or("")
    }

    /// The metric's name, if there is one.
    pub fn metric(&self) -> Option<&str> {
        self.get(METRIC_NAME)
    }

    /// The set with only the labels that `keep` says yes to.
    pub fn filtered(&self, mut keep: impl FnMut(&str) -> bool) -> Self {
        let mut text = String::with_capacity(self.0.len());
        for (name, value) in self.iter().filter(|(name, _)| keep(name)) {
            push_pair(&mut text, name, value);
        }
        Self(Arc::from(text))
    }

    /// The set with one label changed; an empty value takes it away.
    pub fn with(&self, name: &str, value: &str) -> Self {
        let mut builder = LabelsBuilder::from(self);
        builder.set(name, value);
        builder.finish()
    }

    /// The set as stored: see the module's header. Equal sets have equal text.
    pub fn as_packed(&self) -> &str {
        &self.0
    }

    /// Takes over a text that [`pack_label`] has written; `None` when it is anything else: cut short, not sorted, a name
    /// twice, or an empty value.
    pub fn from_packed(text: &str) -> Option<Self> {
        let mut labels = LabelsIter::over(text);
        let mut before: Option<&str> = None;
        for (name, value) in &mut labels {
            if value.is_empty() || before.is_some_and(|before| name <= before) {
                return None;
            }
            before = Some(name);
        }
        labels.rest.is_empty().then(|| Self(Arc::from(text)))
    }

    /// Takes over a text that [`pack_label`] has written label by label, sorted, each name once, none empty. It is not
    /// checked: a set made of anything else compares and prints as nonsense.
    pub fn from_trusted(packed: &str) -> Self {
        Self(Arc::from(packed))
    }

    /// Bytes that this set holds on the heap when nobody else shares it.
    pub fn heap_bytes(&self) -> usize {
        self.0.len() + 2 * size_of::<usize>()
    }
}

impl Default for Labels {
    fn default() -> Self {
        Self::empty()
    }
}

/// Sets are ordered label by label, name before value; a set that is the beginning of another comes first.
impl Ord for Labels {
    fn cmp(&self, other: &Self) -> Ordering {
        if Arc::ptr_eq(&self.0, &other.0) {
            return Ordering::Equal;
        }
        // Neighbours in a list share most of their labels: those are skipped as bytes, and one label decides.
        let same = common_prefix(self.0.as_bytes(), other.0.as_bytes());
        let (mut a, mut b) = (self.iter(), other.iter());
        loop {
            let (at, rest) = (a.rest.len(), a.clone());
            let next = a.next();
            let end = self.0.len() - a.rest.len();
            if next.is_none() || end > same {
                return rest.cmp(b);
            }
            // Equal so far: the other set has the same label at the same place.
            b.rest = b.rest.get(at - a.rest.len()..).unwrap_or("");
        }
    }
}

impl PartialOrd for Labels {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl<'a> IntoIterator for &'a Labels {
    type Item = (&'a str, &'a str);
    type IntoIter = LabelsIter<'a>;
    fn into_iter(self) -> LabelsIter<'a> {
        self.iter()
    }
}

impl<N: AsRef<str>, V: AsRef<str>> FromIterator<(N, V)> for Labels {
    fn from_iter<I: IntoIterator<Item = (N, V)>>(pairs: I) -> Self {
        Self::new(pairs)
    }
}

/// `metric{a="b"}` as PromQL writes it; a name that is no plain identifier stands in quotes.
impl fmt::Display for Labels {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let metric = self.metric();
        let plain = metric.filter(|name| is_plain_metric_name(name));
        if let Some(name) = plain {
            f.write_str(name)?;
            if self.len() == 1 {
                return Ok(());
            }
        }
        f.write_str("{")?;
        let mut first = true;
        let mut separate = |f: &mut fmt::Formatter<'_>| {
            let result = if first { Ok(()) } else { f.write_str(", ") };
            first = false;
            result
        };
        if let (Some(name), None) = (metric, plain) {
            separate(f)?;
            write_quoted(f, name)?;
        }
        for (name, value) in self.iter().filter(|(name, _)| *name != METRIC_NAME) {
            separate(f)?;
            if is_plain_label_name(name) {
                f.write_str(name)?;
            } else {
                write_quoted(f, name)?;
            }
            f.write_str("=")?;
            write_quoted(f, value)?;
        }
        f.write_str("}")
    }
}

impl fmt::Debug for Labels {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// Returns true for `[a-zA-Z_:][a-zA-Z0-9_:]*`.
pub fn is_plain_metric_name(name: &str) -> bool {
    is_plain(name, |byte| byte == b':')
}

/// Returns true for `[a-zA-Z_][a-zA-Z0-9_]*`.
pub fn is_plain_label_name(name: &str) -> bool {
    is_plain(name, |_| false)
}

fn is_plain(name: &str, also: impl Fn(u8) -> bool) -> bool {
    !name.is_empty()
        && !name.starts_with(|c: char| c.is_ascii_digit())
        && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_' || also(byte))
}

/// Writes a text in double quotes, with `"`, `\` and control characters escaped.
fn write_quoted(f: &mut fmt::Formatter<'_>, text: &str) -> fmt::Result {
    f.write_str("\"")?;
    for c in text.chars() {
        match c {
            '"' => f.write_str("\\\"")?,
            '\\' => f.write_str("\\\\")?,
            '\n' => f.write_str("\\n")?,
            '\r' => f.write_str("\\r")?,
            '\t' => f.write_str("\\t")?,
            c if c.is_control() => write!(f, "\\u{:04x}", u32::from(c))?,
            c => write!(f, "{c}")?,
        }
    }
    f.write_str("\"")
}

/// Collects labels in any order.
#[derive(Clone, Debug, Default)]
pub struct LabelsBuilder {
    /// Sorted by name; an empty value marks a label that was taken away.
    pairs: Vec<(String, String)>,
}

impl LabelsBuilder {
    /// Sets a label; an empty value takes it away.
    pub fn set(&mut self, name: &str, value: &str) -> &mut Self {
        let (name, value) = (cut(name), cut(value));
        match self.pairs.binary_search_by(|(n, _)| n.as_str().cmp(name)) {
            Ok(at) => {
                if let Some((_, old)) = self.pairs.get_mut(at) {
                    value.clone_into(old);
                }
            }
            Err(at) => self.pairs.insert(at, (name.to_owned(), value.to_owned())),
        }
        self
    }

    /// Takes a label away.
    pub fn remove(&mut self, name: &str) -> &mut Self {
        self.pairs.retain(|(n, _)| n != name);
        self
    }

    /// The value of a label as it stands; an absent one reads as empty.
    pub fn value(&self, name: &str) -> &str {
        self.pairs.iter().find(|(n, _)| n == name).map_or("", |(_, value)| value)
    }

    /// Iterates over (name, value), sorted by name.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &str)> {
        self.pairs.iter().filter(|(_, v)| !v.is_empty()).map(|(n, v)| (n.as_str(), v.as_str()))
    }

    /// The finished set.
    pub fn finish(&self) -> Labels {
        let mut text = String::with_capacity(self.pairs.iter().map(|(n, v)| n.len() + v.len() + 2).sum());
        for (name, value) in self.iter() {
            push_pair(&mut text, name, value);
        }
        Labels(Arc::from(text))
    }
}

impl From<&Labels> for LabelsBuilder {
    fn from(labels: &Labels) -> Self {
        Self { pairs: labels.iter().map(|(n, v)| (n.to_owned(), v.to_owned())).collect() }
    }
}

/// Iterator over (name, value), sorted by name.
#[derive(Clone, Debug)]
pub struct LabelsIter<'a> {
    rest: &'a str,
}

impl<'a> LabelsIter<'a> {
    /// Iterates over a text that [`pack_label`] has written; ends early where it is damaged.
    pub fn over(packed: &'a str) -> Self {
        Self { rest: packed }
    }
}

impl<'a> Iterator for LabelsIter<'a> {
    type Item = (&'a str, &'a str);
    fn next(&mut self) -> Option<Self::Item> {
        let (name, rest) = take_text(self.rest)?;
        let (value, rest) = take_text(rest)?;
        self.rest = rest;
        Some((name, value))
    }
}

fn cut(text: &str) -> &str {
    text.get(..text.floor_char_boundary(LABEL_TEXT_BYTES_MAX)).unwrap_or(text)
}

/// Appends one label to a set that is being packed. The caller brings them sorted by name, each once, none with an
/// empty value; [`Labels::from_packed`] checks it. Texts over [`LABEL_TEXT_BYTES_MAX`] are cut.
pub fn pack_label(text: &mut String, name: &str, value: &str) {
    push_pair(text, cut(name), cut(value));
}

fn push_pair(text: &mut String, name: &str, value: &str) {
    for part in [name, value] {
        push_len(text, part.len());
        text.push_str(part);
    }
}

/// The number of bytes that both begin with.
fn common_prefix(a: &[u8], b: &[u8]) -> usize {
    let ((a_words, _), (b_words, _)) = (a.as_chunks::<16>(), b.as_chunks::<16>());
    let words = a_words.iter().zip(b_words).take_while(|(a, b)| a == b).count();
    let tails = a.iter().zip(b).skip(words * 16);
    words * 16 + tails.take_while(|(a, b)| a == b).count()
}

fn push_len(text: &mut String, len: usize) {
    if len < LONG {
        text.push(char::from(len as u8));
        return;
    }
    text.push(char::from(LONG as u8));
    for group in 0..4 {
        text.push(char::from((len >> (7 * group) & 0x7f) as u8));
    }
}

fn take_text(text: &str) -> Option<(&str, &str)> {
    let (&first, _) = text.as_bytes().split_first()?;
    let (len, head) = if usize::from(first) < LONG {
        (usize::from(first), 1)
    } else {
        let groups = text.as_bytes().get(1..5)?;
        (groups.iter().rev().fold(0, |len, group| len << 7 | usize::from(*group)), 5)
    };
    text.get(head..)?.split_at_checked(len)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_set_is_sorted_unique_and_without_empty_values() {
        let labels = Labels::new([("job", "a"), ("__name__", "up"), ("x", ""), ("job", "b")]);
        assert_eq!(labels.iter().collect::<Vec<_>>(), [("__name__", "up"), ("job", "b")]);
        assert_eq!(labels.to_string(), r#"up{job="b"}"#);
        assert_eq!(labels.value("x"), "");
        assert_eq!(labels, Labels::new([("__name__", "up"), ("job", "b")]));
        assert_eq!(Labels::empty().to_string(), "{}");
    }

    #[test]
    fn texts_of_every_length_come_back() {
        for len in [0, 1, 126, 127, 128, 16_383, 16_384, 2_097_152] {
            let value = "é".repeat(len / 2) + &"x".repeat(len % 2);
            let labels = Labels::new([("a", "1"), ("long", value.as_str()), ("z", "2")]);
            assert_eq!(labels.value("long"), value);
            assert_eq!(labels.value("z"), "2");
        }
    }

    #[test]
    fn names_of_any_text_are_shown_in_quotes() {
        let labels = Labels::new([("__name__", "http.requests"), ("a b", "x\"y")]);
        assert_eq!(labels.to_string(), r#"{"http.requests", "a b"="x\"y"}"#);
    }

    #[test]
    fn a_packed_text_is_taken_over_only_when_it_is_one() {
        let labels = Labels::new([("a", "1"), ("long", "x".repeat(500).as_str())]);
        assert_eq!(Labels::from_packed(labels.as_packed()), Some(labels.clone()));
        assert_eq!(Labels::from_packed(""), Some(Labels::empty()));
        for cut in 1..labels.as_packed().len() {
            // A cut behind a whole label leaves a shorter set.
            if cut != 4 {
                assert_eq!(Labels::from_packed(&labels.as_packed()[..cut]), None, "{cut}");
            }
        }
        let packed = |pairs: &[(&str, &str)]| {
            let mut text = String::new();
            for (name, value) in pairs {
                pack_label(&mut text, name, value);
            }
            Labels::from_packed(&text)
        };
        assert_eq!(packed(&[("b", "1"), ("a", "1")]), None);
        assert_eq!(packed(&[("a", "1"), ("a", "2")]), None);
        assert_eq!(packed(&[("a", "")]), None);
        assert_eq!(packed(&[("a", "1"), ("b", "2")]), Some(Labels::new([("a", "1"), ("b", "2")])));
    }

    #[test]
    fn order_is_by_label_not_by_length() {
        let short = Labels::new([("a", "1")]);
        assert!(short < Labels::new([("a", "1"), ("b", "1")]));
        assert!(Labels::new([("a", "10")]) < Labels::new([("a", "9")]));
        assert!(Labels::new([("aa", "1")]) > Labels::new([("a", "9")]));
    }

    #[test]
    fn order_is_that_of_the_pairs() {
        let long = "x".repeat(200);
        let values = ["1", "10", "2", long.as_str(), "a", "\u{7f}\u{7f}"];
        let mut sets = vec![Labels::empty()];
        for a in values {
            sets.push(Labels::new([("a", a)]));
            for b in values {
                sets.push(Labels::new([("a", a), ("b", b)]));
                sets.push(Labels::new([("a", "1"), (long.as_str(), a), ("z", b)]));
                sets.push(Labels::new([("aa", a), ("b", b)]));
            }
        }
        for a in &sets {
            for b in &sets {
                assert_eq!(a.cmp(b), a.iter().cmp(b.iter()), "{a} {b}");
            }
        }
    }

    #[test]
    fn a_label_is_changed_and_taken_away() {
        let labels = Labels::new([("a", "1"), ("b", "2")]);
        assert_eq!(labels.with("a", "").with("c", "3"), Labels::new([("b", "2"), ("c", "3")]));
        assert_eq!(labels.filtered(|name| name == "b"), Labels::new([("b", "2")]));
    }
}
