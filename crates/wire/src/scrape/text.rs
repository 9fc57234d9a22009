//! Prometheus' text format, versions 0.0.4 and 1.0.0 (the same with quoted names).
//!
//! Read as Prometheus reads it: blanks between all parts, blank lines and comments anywhere, metadata in any place.

use std::borrow::Cow;

use homeostat_model::MetricKind;

use super::{
    FamilyFact, SampleRole, ScrapeError, ScrapeFault, ScrapeOptions, ScrapeSink, ScrapedSample, ScrapedValue,
    SeriesKey,
    cursor::{At, Cursor},
    labels::{self, Dialect, LabelBuffer},
    number::parse_float,
};
use crate::intake::{IntakeLimits, count};

/// Reads a body.
pub(super) fn parse<S: ScrapeSink>(text: &str, options: &ScrapeOptions, sink: &mut S) -> Result<(), ScrapeError> {
    let mut parser = Parser {
        cursor: Cursor::new(text),
        labels: LabelBuffer::default(),
        limits: options.limits.of_labels(),
        kind: MetricKind::Unknown,
        sink,
    };
    let mut samples = 0;
    while let Some(line) = parser.line() {
        if line.map_err(|at| at.in_text(text))? == Line::Sample {
            count(&mut samples, options.limits.samples_max, "samples")?;
        }
    }
    Ok(())
}

/// What a line was.
#[derive(PartialEq, Eq)]
enum Line {
    Sample,
    Other,
}

struct Parser<'a, 's, S> {
    cursor: Cursor<'a>,
    labels: LabelBuffer<'a>,
    limits: IntakeLimits,
    /// That of the last family whose type was given.
    kind: MetricKind,
    sink: &'s mut S,
}

impl<S: ScrapeSink> Parser<'_, '_, S> {
    /// Reads a line; `None` at the end.
    fn line(&mut self) -> Option<Result<Line, At>> {
        self.cursor.take_blanks();
        let result = match self.cursor.peek()? {
            b'\n' => {
                self.cursor.take(b'\n');
                Ok(Line::Other)
            }
            b'#' => self.comment().map(|()| Line::Other),
            _ => self.sample().map(|()| Line::Sample),
        };
        Some(result)
    }

    /// Metadata; any other comment passes.
    fn comment(&mut self) -> Result<(), At> {
        self.cursor.take(b'#');
        let mut ahead = self.cursor;
        ahead.take_blanks();
        let help = ahead.take_word("HELP");
        if !(help || ahead.take_word("TYPE")) || !ahead.take_blanks() || !self.cursor.take_blanks() {
            self.cursor.take_line();
            return Ok(());
        }
        let family = labels::read_family(&mut ahead)?;
        self.cursor = ahead;
        if !matches!(ahead.peek(), None | Some(b' ' | b'\t' | b'\n')) {
            return Err(ahead.expected("a blank after the metric name"));
        }
        if help {
            // One blank separates; further ones belong to the text.
            let _ = self.cursor.take(b' ') || self.cursor.take(b'\t');
            let text = self.cursor.take_line();
            let text = if text.contains('\\') { labels::unescape(text, false).into() } else { Cow::Borrowed(text) };
            self.sink.family(&family, FamilyFact::Help(&text));
            return Ok(());
        }
        self.cursor.take_blanks();
        let word = self.cursor;
        let Ok(kind) = self.cursor.take_line().trim_end_matches([' ', '\t']).parse() else {
            return Err(word.expected("counter, gauge, histogram, summary or untyped"));
        };
        self.kind = kind;
        self.sink.family(&family, FamilyFact::Kind(kind));
        Ok(())
    }

    fn sample(&mut self) -> Result<(), At> {
        let begin = self.cursor;
        let guessed = labels::guess(&self.cursor, Dialect::Text);
        let known = self.sink.recognise(guessed.as_bytes());
        let mut bytes = None;
        if known.is_some() {
            self.cursor.skip(guessed.len());
        } else {
            let series = labels::read(&mut self.cursor, Dialect::Text, &mut self.labels)?;
            bytes = (series == guessed).then_some(series.as_bytes());
            self.labels.spell_bounds(self.kind);
        }
        self.cursor.take_blanks();
        let at = self.cursor;
        let value = self.cursor.take_while(|byte| !matches!(byte, b' ' | b'\t' | b'\n' | b'{'));
        let value = parse_float(value).ok_or_else(|| at.expected("a value"))?;
        let t_ms = self.time()?;
        let sample = ScrapedSample {
            value: ScrapedValue::Float(value),
            t_ms,
            start_ms: None,
            role: SampleRole::Value,
            exemplars: &[],
        };
        if let Some(known) = known {
            self.sink.sample(SeriesKey::Known(known), sample);
            return Ok(());
        }
        let sink = &mut *self.sink;
        self.labels
            .with(&self.limits, |labels| {
                sink.sample(SeriesKey::Labels { labels, bytes }, sample);
            })
            .map_err(|fault| begin.fault(ScrapeFault::Series(fault)))
    }

    /// The time, if there is one, and the end of the line.
    fn time(&mut self) -> Result<Option<i64>, At> {
        self.cursor.take_blanks();
        let at = self.cursor;
        let text = self.cursor.take_while(|byte| !matches!(byte, b' ' | b'\t' | b'\n'));
        let t_ms = match text {
            "" => None,
            text => Some(text.parse().map_err(|_| at.expected("a time in whole milliseconds"))?),
        };
        self.cursor.take_blanks();
        if self.cursor.take(b'\n') || self.cursor.peek().is_none() {
            Ok(t_ms)
        } else {
            Err(self.cursor.expected("the end of the line"))
        }
    }
}
