//! OpenMetrics 1.0 text.
//!
//! Stricter than its predecessor: one blank between parts, no comments, a last line `# EOF`. Times are seconds.
//!
//! Start times come as samples of their own (`_created`), mostly behind those that they are about. So the parser looks
//! ahead within the family for the next such line, once per metric, and gives the samples in front of it their start.
//! Families with quoted names do without.

use std::borrow::Cow;

use homeostat_model::{MetricKind, TimeMs};

use super::{
    ExemplarView, FamilyFact, SampleRole, ScrapeError, ScrapeFault, ScrapeOptions, ScrapeSink, ScrapedSample,
    ScrapedValue, SeriesKey,
    cursor::{At, Cursor},
    labels::{self, Dialect, LabelBuffer, bound_label},
    number::{parse_float, parse_seconds},
};
use crate::intake::{IntakeLimits, count};

const CREATED: &str = "_created";

/// Reads a body.
pub(super) fn parse<S: ScrapeSink>(text: &str, options: &ScrapeOptions, sink: &mut S) -> Result<(), ScrapeError> {
    let mut parser = Parser {
        cursor: Cursor::new(text),
        labels: LabelBuffer::default(),
        exemplar_labels: LabelBuffer::default(),
        limits: options.limits.of_labels(),
        family: Cow::Borrowed(""),
        kind: MetricKind::Unknown,
        created: None,
        sink,
    };
    let mut samples = 0;
    loop {
        match parser.line().map_err(|at| at.in_text(text))? {
            Line::Sample => count(&mut samples, options.limits.samples_max, "samples")?,
            Line::Metadata => {}
            Line::Eof => return Ok(()),
        }
    }
}

/// What a line was.
enum Line {
    Sample,
    Metadata,
    Eof,
}

/// A `_created` line ahead, or where the search for one ended.
#[derive(Clone, Copy)]
struct Created<'a> {
    /// Where it begins.
    at: usize,
    /// Braces with what is in them; empty without labels.
    labels: &'a str,
    start_ms: Option<TimeMs>,
}

struct Parser<'a, 's, S> {
    cursor: Cursor<'a>,
    labels: LabelBuffer<'a>,
    exemplar_labels: LabelBuffer<'a>,
    limits: IntakeLimits,
    family: Cow<'a, str>,
    kind: MetricKind,
    created: Option<Created<'a>>,
    sink: &'s mut S,
}

impl<'a, S: ScrapeSink> Parser<'a, '_, S> {
    fn line(&mut self) -> Result<Line, At> {
        if !self.cursor.take(b'#') {
            if self.cursor.peek().is_none() {
                return Err(self.cursor.fault(ScrapeFault::NoEof));
            }
            return self.sample().map(|()| Line::Sample);
        }
        let begin = self.cursor;
        if self.cursor.take_word(" EOF") {
            self.cursor.take(b'\n');
            return match self.cursor.peek() {
                None => Ok(Line::Eof),
                Some(_) => Err(self.cursor.expected("nothing after `# EOF`")),
            };
        }
        if self.cursor.take_word(" TYPE ") {
            self.family()?;
            let word = self.cursor;
            let kind = self.text()?.parse().map_err(|_| {
                word.expected("counter, gauge, histogram, gaugehistogram, summary, info, stateset or unknown")
            })?;
            self.kind = kind;
            self.sink.family(&self.family, FamilyFact::Kind(kind));
        } else if self.cursor.take_word(" HELP ") {
            self.family()?;
            let text = self.text()?;
            let text = if text.contains('\\') { labels::unescape(text, true).into() } else { Cow::Borrowed(text) };
            self.sink.family(&self.family, FamilyFact::Help(&text));
        } else if self.cursor.take_word(" UNIT ") {
            let name = self.cursor;
            self.family()?;
            let unit = self.text()?;
            let stem = self.family.strip_suffix(unit).and_then(|stem| stem.strip_suffix('_'));
            if !unit.is_empty() && stem.is_none() {
                return Err(name.fault(ScrapeFault::Unit { unit: unit.to_owned() }));
            }
            self.sink.family(&self.family, FamilyFact::Unit(unit));
        } else {
            return Err(begin.expected("` HELP `, ` TYPE `, ` UNIT ` or ` EOF` after `#`: there are no other comments"));
        }
        Ok(Line::Metadata)
    }

    /// The name that metadata are about. A new one ends what is known about the family before.
    fn family(&mut self) -> Result<(), At> {
        let name = labels::read_family(&mut self.cursor)?;
        if name != self.family {
            self.family = name;
            self.kind = MetricKind::Unknown;
            self.created = None;
        }
        match self.cursor.peek() {
            Some(b' ') => self.cursor.take(b' '),
            Some(b'\n') => true,
            _ => return Err(self.cursor.expected("a blank after the metric name")),
        };
        Ok(())
    }

    /// The rest of a line, which must have an end.
    fn text(&mut self) -> Result<&'a str, At> {
        let text = self.cursor.take_while(|byte| byte != b'\n');
        self.end_of_line()?;
        Ok(text)
    }

    fn end_of_line(&mut self) -> Result<(), At> {
        match self.cursor.peek() {
            Some(b'\n') => {
                self.cursor.take(b'\n');
                Ok(())
            }
            None => Err(self.cursor.fault(ScrapeFault::NoEof)),
            Some(_) => Err(self.cursor.expected("the end of the line")),
        }
    }

    fn sample(&mut self) -> Result<(), At> {
        let begin = self.cursor;
        let mut series = labels::guess(&self.cursor, Dialect::OpenMetrics);
        let known = self.sink.recognise(series.as_bytes());
        let mut bytes = None;
        if known.is_some() {
            self.cursor.skip(series.len());
        } else {
            let guessed = series;
            series = labels::read(&mut self.cursor, Dialect::OpenMetrics, &mut self.labels)?;
            bytes = (series == guessed).then_some(series.as_bytes());
            self.labels.spell_bounds(self.kind);
        }
        let value = self.value()?;
        let t_ms = self.time()?;
        let exemplar = self.exemplar()?;
        self.end_of_line()?;
        let (role, start_ms) = self.start(series);
        let sample = Sample { value, t_ms, start_ms, role };
        let (limits, sink, buffer) = (&self.limits, &mut *self.sink, &mut self.exemplar_labels);
        let mut give = |key: SeriesKey<'_, S::Known>| {
            let mut key = Some(key);
            let mut give = |sink: &mut S, exemplars: &[ExemplarView<'_>]| {
                if let Some(key) = key.take() {
                    sink.sample(key, sample.with(exemplars));
                }
            };
            if let Some((value, t_ms)) = exemplar
                && let Err(fault) = buffer.with(limits, |labels| give(sink, &[ExemplarView { labels, value, t_ms }]))
            {
                sink.refused_exemplar(&fault);
            }
            give(sink, &[]);
        };
        match known {
            Some(known) => {
                give(SeriesKey::Known(known));
                Ok(())
            }
            None => self
                .labels
                .with(limits, |labels| give(SeriesKey::Labels { labels, bytes }))
                .map_err(|fault| begin.fault(ScrapeFault::Series(fault))),
        }
    }

    fn value(&mut self) -> Result<f64, At> {
        if !self.cursor.take(b' ') {
            return Err(self.cursor.expected("a blank and a value"));
        }
        let at = self.cursor;
        let text = self.cursor.take_while(|byte| !matches!(byte, b' ' | b'\n'));
        parse_float(text).ok_or_else(|| at.expected("a value"))
    }

    /// A time, if there is one.
    fn time(&mut self) -> Result<Option<TimeMs>, At> {
        let mut ahead = self.cursor;
        if !ahead.take(b' ') || ahead.peek() == Some(b'#') {
            return Ok(None);
        }
        let at = ahead;
        let text = ahead.take_while(|byte| !matches!(byte, b' ' | b'\n'));
        self.cursor = ahead;
        parse_seconds(text).map(Some).ok_or_else(|| at.expected("a time in seconds"))
    }

    /// An exemplar's value and time, if there is one; its labels go to their buffer.
    fn exemplar(&mut self) -> Result<Option<(f64, Option<TimeMs>)>, At> {
        if !self.cursor.take_word(" # ") {
            return Ok(None);
        }
        labels::read_exemplar(&mut self.cursor, Dialect::OpenMetrics, &mut self.exemplar_labels)?;
        let value = self.value()?;
        Ok(Some((value, self.time()?)))
    }

    /// What the sample is, and its start.
    fn start(&mut self, series: &'a str) -> (SampleRole, Option<TimeMs>) {
        let counts = matches!(
            self.kind,
            MetricKind::Counter | MetricKind::Histogram | MetricKind::GaugeHistogram | MetricKind::Summary
        );
        let Some(rest) = series.strip_prefix(&*self.family).filter(|_| counts && !self.family.is_empty()) else {
            return (SampleRole::Value, None);
        };
        let (suffix, labels) = rest.split_at_checked(rest.find('{').unwrap_or(rest.len())).unwrap_or((rest, ""));
        if suffix == CREATED {
            return (SampleRole::Created, None);
        }
        let here = self.cursor.offset();
        let created = match self.created.filter(|created| here <= created.at) {
            Some(created) => created,
            None => self.find_created(),
        };
        self.created = Some(created);
        let start_ms = created.start_ms.filter(|_| same_metric(labels, created.labels, self.kind));
        (SampleRole::Value, start_ms)
    }

    /// The next `_created` line of the family.
    fn find_created(&self) -> Created<'a> {
        let mut ahead = self.cursor;
        loop {
            let at = ahead.offset();
            if !ahead.take_word(&self.family) {
                return Created { at, labels: "", start_ms: None };
            }
            let mut line = ahead;
            if line.take_word(CREATED) && matches!(line.peek(), Some(b'{' | b' ')) {
                let labels = labels::guess(&line, Dialect::OpenMetrics);
                line.skip(labels.len());
                line.take(b' ');
                let seconds = line.take_while(|byte| !matches!(byte, b' ' | b'\n'));
                return Created { at, labels, start_ms: parse_seconds(seconds) };
            }
            ahead.take_line();
        }
    }
}

/// A sample without its exemplars.
#[derive(Clone, Copy)]
struct Sample {
    value: f64,
    t_ms: Option<TimeMs>,
    start_ms: Option<TimeMs>,
    role: SampleRole,
}

impl Sample {
    fn with<'e>(self, exemplars: &'e [ExemplarView<'e>]) -> ScrapedSample<'e> {
        let Self { value, t_ms, start_ms, role } = self;
        ScrapedSample { value: ScrapedValue::Float(value), t_ms, start_ms, role, exemplars }
    }
}

/// Whether two sets of labels, as written, are the same but for the bound. Clients write them in one order.
fn same_metric(labels: &str, others: &str, kind: MetricKind) -> bool {
    let bound = bound_label(kind);
    written(labels, bound).eq(written(others, bound))
}

/// Labels as written, without the bound.
fn written<'a>(braces: &'a str, bound: Option<&'static str>) -> impl Iterator<Item = &'a str> {
    let mut rest = braces.strip_prefix('{').and_then(|rest| rest.strip_suffix('}')).unwrap_or_default();
    let all = std::iter::from_fn(move || {
        let mut quoted = false;
        let mut escaped = false;
        let end = rest.bytes().position(|byte| {
            let ends = byte == b',' && !quoted;
            quoted ^= byte == b'"' && !escaped;
            escaped = byte == b'\\' && !escaped;
            ends
        });
        let (label, behind) = rest.split_at_checked(end.unwrap_or(rest.len()))?;
        rest = behind.strip_prefix(',').unwrap_or_default();
        (!label.is_empty()).then_some(label)
    });
    all.filter(move |label| label.split_once('=').is_none_or(|(name, _)| Some(name) != bound))
}
