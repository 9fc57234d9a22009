//! Windows for tests, written as text, and what functions answer to them.
//!
//! `1=5 2=h3 3=c4r` are samples at 1, 2 and 3 s: the number 5; a histogram of three observations of 1 with exponential
//! buckets; one of four observations with the custom bounds 1, 5 and 10 (`d`: 1 and 5). Behind a histogram may stand what
//! it knows of resets: `r` reset, `n` none, `g` it is a gauge.

use std::{fmt::Write, sync::Arc};

use homeostat_model::{
    Histogram, SampleValue, TimeMs,
    histogram::{Buckets, CUSTOM_BOUNDS_SCHEMA, ResetHint},
};

use super::find;
use crate::{
    ast::{ByteSpan, Extend},
    eval::window::{Place, Window},
    note::{Note, Notes},
};

/// A window without samples.
pub(super) fn window(start_ms: TimeMs, end_ms: TimeMs) -> Window<'static> {
    Window {
        floats_t: &[],
        floats: &[],
        float_starts: &[],
        histograms_t: &[],
        histograms: &[],
        histogram_starts: &[],
        start_ms,
        end_ms,
        range_ms: end_ms - start_ms,
        eval_ms: end_ms,
        extend: Extend::None,
    }
}

/// Columns of one series.
#[derive(Debug, Default)]
pub(super) struct Columns {
    floats_t: Vec<TimeMs>,
    floats: Vec<f64>,
    histograms_t: Vec<TimeMs>,
    histograms: Vec<Arc<Histogram>>,
}

impl Columns {
    /// Reads samples as the module's header has them.
    pub(super) fn parse(samples: &str) -> Self {
        let mut columns = Self::default();
        for sample in samples.split_whitespace() {
            let (at_s, value) = sample.split_once('=').expect("time=value");
            let at_ms = (at_s.parse::<f64>().expect("seconds") * 1000.0).round() as TimeMs;
            match value.strip_prefix(['h', 'c', 'd']) {
                None => {
                    columns.floats_t.push(at_ms);
                    columns.floats.push(value.parse().expect("a number"));
                }
                Some(count) => {
                    columns.histograms_t.push(at_ms);
                    columns.histograms.push(Arc::new(histogram(&value[..1], count)));
                }
            }
        }
        columns
    }

    /// A window with only the samples that lie in it.
    pub(super) fn cut<'a>(&'a self, window: Window<'a>) -> Window<'a> {
        let inside = |t_ms: &[TimeMs]| {
            t_ms.partition_point(|at| *at <= window.start_ms)..t_ms.partition_point(|at| *at <= window.end_ms)
        };
        let (floats, histograms) = (inside(&self.floats_t), inside(&self.histograms_t));
        Window {
            floats_t: &self.floats_t[floats.clone()],
            floats: &self.floats[floats],
            histograms_t: &self.histograms_t[histograms.clone()],
            histograms: &self.histograms[histograms],
            ..window
        }
    }

    /// The window from one second to another, with all samples.
    pub(super) fn window(&self, start_s: f64, end_s: f64, extend: Extend) -> Window<'_> {
        Window {
            floats_t: &self.floats_t,
            floats: &self.floats,
            histograms_t: &self.histograms_t,
            histograms: &self.histograms,
            extend,
            ..window((start_s * 1000.0) as TimeMs, (end_s * 1000.0) as TimeMs)
        }
    }
}

fn histogram(layout: &str, count: &str) -> Histogram {
    let (count, reset_hint) = match count.split_at(count.len() - 1) {
        (count, "r") => (count, ResetHint::Reset),
        (count, "n") => (count, ResetHint::NotReset),
        (count, "g") => (count, ResetHint::Gauge),
        _ => (count, ResetHint::Unknown),
    };
    let count = count.parse().expect("a count");
    let one = Histogram { reset_hint, count, sum: count, ..Histogram::default() };
    let positive = Buckets::from_sorted([(0, count)]);
    match layout {
        "c" => Histogram { schema: CUSTOM_BOUNDS_SCHEMA, custom_bounds: [1.0, 5.0, 10.0].into(), positive, ..one },
        "d" => Histogram { schema: CUSTOM_BOUNDS_SCHEMA, custom_bounds: [1.0, 5.0].into(), positive, ..one },
        _ => Histogram { positive, ..one },
    }
}

/// What a function answers and tells.
#[derive(Debug)]
pub(super) struct Answer {
    value: Option<SampleValue>,
    /// Texts with their kind, warnings first, without their place.
    notes: Vec<String>,
}

impl Answer {
    pub(super) fn float(self) -> f64 {
        match self.value {
            Some(SampleValue::Float(value)) => value,
            other => panic!("{other:?} is not a number"),
        }
    }

    /// One line for the value, one for each note.
    pub(super) fn show(&self) -> String {
        let mut text = match &self.value {
            None => "nothing".to_owned(),
            Some(SampleValue::Float(value)) => format!("{value}"),
            Some(SampleValue::Histogram(histogram)) => show_histogram(histogram),
        };
        for note in &self.notes {
            write!(text, "\n  {note}").expect("a text takes everything");
        }
        text
    }
}

fn show_histogram(histogram: &Histogram) -> String {
    let Histogram { count, sum, positive, custom_bounds, reset_hint, .. } = histogram;
    let mut text = format!("count {count} sum {sum}");
    for (index, count) in positive.iter() {
        write!(text, " [{index}]={count}").expect("a text takes everything");
    }
    if histogram.has_custom_bounds() {
        write!(text, " bounds {custom_bounds:?}").expect("a text takes everything");
    }
    if *reset_hint != ResetHint::Unknown {
        write!(text, " {reset_hint:?}").expect("a text takes everything");
    }
    text
}

/// Asks a function without scalar arguments.
pub(super) fn answer(name: &str, window: &Window<'_>) -> Answer {
    answer_with(name, window, &[])
}

/// Asks a function about a window.
pub(super) fn answer_with(name: &str, window: &Window<'_>, params: &[f64]) -> Answer {
    let function = find(name).expect("a function over ranges");
    answer_of(|place, notes| function(window, params, place, notes))
}

/// What something answers about a series `m` in the query `f(m)`.
pub(super) fn answer_of(ask: impl FnOnce(&Place<'_>, &mut Notes) -> Option<SampleValue>) -> Answer {
    let place = Place { call: ByteSpan { start: 0, end: 4 }, args: &[ByteSpan { start: 2, end: 3 }], metric: "m" };
    let mut notes = Notes::default();
    let value = ask(&place, &mut notes);
    let without_place = |note: Note| {
        let text = note.render("f(m)");
        text.strip_prefix("PromQL ").and_then(|text| text.strip_suffix(" (1:3)")).expect("kind and place").to_owned()
    };
    Answer { value, notes: notes.iter().map(without_place).collect() }
}
