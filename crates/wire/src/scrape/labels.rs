//! A series as the text formats write it: `name{label="value"}`, or `{"any name", "any label"="value"}`.

use std::borrow::Cow;

use homeostat_model::{MetricKind, labels::METRIC_NAME, number_text::open_metrics};

use super::{
    ScrapeFault,
    cursor::{At, Cursor},
    number::parse_float,
};
use crate::intake::{Fault, IntakeLimits, Label, normalise, recycled};

/// What the two text formats differ in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Dialect {
    /// Blanks between all parts, line breaks in values, and commas that may be missing.
    Text,
    /// None of them.
    OpenMetrics,
}

/// Labels as they stand, in buffers that are used again.
#[derive(Debug, Default)]
pub(super) struct LabelBuffer<'a> {
    pairs: Vec<(Cow<'a, str>, Cow<'a, str>)>,
    /// Empty; kept for its memory.
    spare: Vec<Label<'static>>,
}

impl<'a> LabelBuffer<'a> {
    pub(super) fn clear(&mut self) {
        self.pairs.clear();
    }

    pub(super) fn push(&mut self, name: Cow<'a, str>, value: Cow<'a, str>) {
        self.pairs.push((name, value));
    }

    /// The metric's name, which the parser puts first.
    pub(super) fn metric(&self) -> &str {
        self.pairs.first().map_or("", |(_, value)| value)
    }

    /// Gives the labels, sorted and checked, to `then`.
    pub(super) fn with<R>(&mut self, limits: &IntakeLimits, then: impl FnOnce(&[Label<'_>]) -> R) -> Result<R, Fault> {
        if limits.labels_max < self.pairs.len() {
            return Err(Fault::TooManyLabels { limit: limits.labels_max });
        }
        let mut labels = recycled(std::mem::take(&mut self.spare));
        labels.extend(self.pairs.iter().map(|(name, value)| (&**name, &**value)));
        let result = normalise(&mut labels, limits).map(|()| then(&labels));
        labels.clear();
        self.spare = recycled(labels);
        result
    }

    /// Writes bounds and quantiles in their one spelling.
    pub(super) fn spell_bounds(&mut self, kind: MetricKind) {
        let Some(name) = bound_label(kind) else { return };
        for (_, value) in self.pairs.iter_mut().filter(|(label, _)| label == name) {
            if let Some(number) = parse_float(value) {
                let spelled = open_metrics(number);
                if *value != spelled {
                    *value = Cow::Owned(spelled);
                }
            }
        }
    }
}

/// The label that tells the series of one metric apart.
pub(super) fn bound_label(kind: MetricKind) -> Option<&'static str> {
    match kind {
        MetricKind::Histogram | MetricKind::GaugeHistogram => Some("le"),
        MetricKind::Summary => Some("quantile"),
        _ => None,
    }
}

/// Where the series on this line ends, by a look at its last brace. It may be wrong for odd lines, and need not be right:
/// if a series of just these bytes was read before, then it is what stands here too.
#[inline]
pub(super) fn guess<'a>(cursor: &Cursor<'a>, dialect: Dialect) -> &'a str {
    let rest = cursor.rest();
    let bytes = rest.as_bytes();
    let mut line = bytes.get(..memchr::memchr(b'\n', bytes).unwrap_or(bytes.len())).unwrap_or(bytes);
    if dialect == Dialect::OpenMetrics
        && let Some(exemplar) = memchr::memmem::find(line, b" # {")
    {
        line = line.get(..exemplar).unwrap_or(line);
    }
    let end = match memchr::memrchr(b'}', line) {
        Some(brace) => brace + 1,
        // A brace that is not closed on its line: a value with a line break.
        None if line.contains(&b'{') => line.len(),
        None => memchr::memchr2(b' ', b'\t', line).unwrap_or(line.len()),
    };
    rest.get(..end).unwrap_or_default()
}

/// Reads a series into `buffer`, the metric's name first, and gives it as it stands.
pub(super) fn read<'a>(cursor: &mut Cursor<'a>, dialect: Dialect, buffer: &mut LabelBuffer<'a>) -> Result<&'a str, At> {
    buffer.clear();
    let begin = *cursor;
    let name = cursor.take_while(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b':'));
    if name.starts_with(|c: char| c.is_ascii_digit()) || name.is_empty() && cursor.peek() != Some(b'{') {
        return Err(begin.expected("a metric name"));
    }
    buffer.push(METRIC_NAME.into(), name.into());
    let mut ahead = *cursor;
    if dialect == Dialect::Text {
        ahead.take_blanks();
    }
    if ahead.peek() == Some(b'{') {
        read_braces(&mut ahead, dialect, buffer, Name::May)?;
        *cursor = ahead;
    }
    if buffer.metric().is_empty() {
        return Err(begin.fault(ScrapeFault::NoName));
    }
    Ok(cursor.since(begin.offset()))
}

/// Whether braces may hold the metric's name.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Name {
    May,
    MayNot,
}

/// Reads the labels of an exemplar into `buffer`.
pub(super) fn read_exemplar<'a>(
    cursor: &mut Cursor<'a>,
    dialect: Dialect,
    buffer: &mut LabelBuffer<'a>,
) -> Result<(), At> {
    buffer.clear();
    read_braces(cursor, dialect, buffer, Name::MayNot)
}

fn read_braces<'a>(
    cursor: &mut Cursor<'a>,
    dialect: Dialect,
    buffer: &mut LabelBuffer<'a>,
    name: Name,
) -> Result<(), At> {
    let blanks = |cursor: &mut Cursor<'a>| dialect == Dialect::Text && cursor.take_blanks();
    let may_break = dialect == Dialect::Text;
    if !cursor.take(b'{') {
        return Err(cursor.expected("a brace"));
    }
    loop {
        blanks(cursor);
        if cursor.take(b'}') {
            return Ok(());
        }
        let begin = *cursor;
        let quoted = cursor.peek() == Some(b'"');
        let label = if quoted { read_quoted(cursor, may_break)? } else { read_label_name(cursor)? };
        blanks(cursor);
        if quoted && name == Name::May && matches!(cursor.peek(), Some(b',' | b'}')) {
            set_name(label, buffer).map_err(|fault| begin.fault(fault))?;
        } else {
            if !cursor.take(b'=') {
                return Err(cursor.expected("`=` after the label's name"));
            }
            blanks(cursor);
            buffer.push(label, read_quoted(cursor, may_break)?);
        }
        blanks(cursor);
        let comma = cursor.take(b',');
        if !comma && dialect == Dialect::OpenMetrics && cursor.peek() != Some(b'}') {
            return Err(cursor.expected("a comma or a closing brace"));
        }
    }
}

fn set_name<'a>(name: Cow<'a, str>, buffer: &mut LabelBuffer<'a>) -> Result<(), ScrapeFault> {
    match buffer.pairs.first_mut() {
        Some((_, slot)) if slot.is_empty() => *slot = name,
        _ => return Err(ScrapeFault::TwoNames),
    }
    if buffer.metric().is_empty() { Err(ScrapeFault::NoName) } else { Ok(()) }
}

fn read_label_name<'a>(cursor: &mut Cursor<'a>) -> Result<Cow<'a, str>, At> {
    let begin = *cursor;
    let name = cursor.take_while(|byte| byte.is_ascii_alphanumeric() || byte == b'_');
    if name.is_empty() || name.starts_with(|c: char| c.is_ascii_digit()) {
        return Err(begin.expected("a label name or a closing brace"));
    }
    Ok(name.into())
}

fn read_quoted<'a>(cursor: &mut Cursor<'a>, may_break: bool) -> Result<Cow<'a, str>, At> {
    let (inside, escaped) = cursor.take_quoted(may_break)?;
    Ok(if escaped { unescape(inside, true).into() } else { inside.into() })
}

/// The name of a family, plain or quoted.
pub(super) fn read_family<'a>(cursor: &mut Cursor<'a>) -> Result<Cow<'a, str>, At> {
    if cursor.peek() == Some(b'"') {
        return read_quoted(cursor, false);
    }
    let begin = *cursor;
    let name = cursor.take_while(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b':'));
    if name.is_empty() || name.starts_with(|c: char| c.is_ascii_digit()) {
        return Err(begin.expected("a metric name"));
    }
    Ok(name.into())
}

/// Resolves `\\`, `\n` and, where quotes are escaped, `\"`; other characters after a backslash stay as they are.
pub(super) fn unescape(text: &str, quotes: bool) -> String {
    let mut out = String::with_capacity(text.len());
    let mut chars = text.chars();
    while let Some(c) = chars.next() {
        if c != '\\' {
            out.push(c);
            continue;
        }
        match chars.next() {
            Some('n') => out.push('\n'),
            Some('\\') | None => out.push('\\'),
            Some('"') if quotes => out.push('"'),
            Some(other) => out.extend(['\\', other]),
        }
    }
    out
}
