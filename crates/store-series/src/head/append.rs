//! Samples into the head: what is accepted, in Prometheus' words.
//!
//! Of two samples of one series at the same time the first one stays: the same value again is no error, another one is
//! rejected. An older sample is rejected unless it lies within the out-of-order window.
//!
//! Source of the rules: `tsdb/head_append.go` of Prometheus (`appendable`).

use std::sync::Arc;

use homeostat_model::{
    Histogram, Labels, TimeMs,
    sample::{START_UNKNOWN, start_at},
};
use homeostat_wire::series::{
    histogram::{BUCKETS_MAX, SPANS_MAX, same_bits},
    record::RecordBuilder,
};

use super::{Head, LabelHasher, Limits, Part, Series, State, starts::NO_STARTS};
use crate::{
    batch::{Batch, PassedOver, Scratch, histogram_bytes},
    report::{Accepted, Reason, Rejection, Rejections},
};

/// No series: rejected, or not looked for yet.
const NO_SERIES: u32 = u32::MAX;

/// What is in the log was accepted under the limits of its time.
const RESTORE: Limits = Limits { series_max: usize::MAX, window_ms: i64::MAX };

/// What became of one sample.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Fate {
    Stored,
    /// It was there already.
    Repeated,
}

impl Batch {
    /// Hashes the labels; needs no lock.
    pub(crate) fn hash(&mut self, hasher: &LabelHasher) {
        let Self { series, text, .. } = self;
        for entry in series {
            entry.hash = hasher.hash(text.get(entry.labels.clone()).unwrap_or_default());
        }
    }
}

impl Head {
    /// Takes a batch in. What has to be in the log stands in the batch's record afterwards.
    pub(crate) fn append(&mut self, batch: &mut Batch, limits: Limits) -> (Accepted, Rejections) {
        let mut scratch = std::mem::take(&mut batch.scratch);
        let Scratch { ids, record, passed_over, appended } = &mut scratch;
        passed_over.clear();
        *appended = true;
        let mut done = (Accepted::default(), Rejections::default());
        // Three loops on purpose: see the module's header of `head`.
        ids.clear();
        ids.extend(batch.series.iter().map(|entry| self.guess(entry.hash).unwrap_or(NO_SERIES)));
        for (id, entry) in ids.iter_mut().zip(&batch.series) {
            if !self.is(*id, batch.text(&entry.labels)) {
                *id = NO_SERIES;
            }
        }
        for at in 0..ids.len() {
            let known = ids.get(at).copied().unwrap_or(NO_SERIES);
            self.append_series(batch, at, known, (record, passed_over), limits, &mut done);
            // Exemplars come later and want to know the series.
            if let (Some(slot), Some(entry)) = (ids.get_mut(at), batch.series.get(at))
                && *slot == NO_SERIES
                && !entry.exemplars.is_empty()
            {
                *slot = self.find(entry.hash, batch.text(&entry.labels)).unwrap_or(NO_SERIES);
            }
        }
        batch.scratch = scratch;
        done
    }

    fn append_series(
        &mut self,
        batch: &Batch,
        at: usize,
        known: u32,
        (record, passed_over): (&mut RecordBuilder, &mut PassedOver),
        limits: Limits,
        done: &mut (Accepted, Rejections),
    ) {
        let Some(entry) = batch.series.get(at) else { return };
        let packed = batch.text(&entry.labels);
        let floats = batch.floats.get(entry.floats.clone()).unwrap_or_default();
        let histograms = batch.histograms.get(entry.histograms.clone()).unwrap_or_default();
        let describe = |reason, t_ms, detail| Rejection {
            reason,
            labels: Labels::from_packed(packed).unwrap_or_default(),
            t_ms,
            detail,
        };
        let id = match known {
            NO_SERIES => match self.find_or_create(entry.hash, packed, limits) {
                Ok(id) => id,
                Err(reason) => {
                    let count = (floats.len() + histograms.len()) as u64;
                    let first = floats.first().map(|f| f.0).or(histograms.first().map(|h| h.0)).unwrap_or(0);
                    done.1.add(reason, count, || describe(reason, first, None));
                    passed_over.floats.extend(entry.floats.clone());
                    passed_over.histograms.extend(entry.histograms.clone());
                    return;
                }
            },
            id => id,
        };
        let mut histograms = entry.histograms.clone().zip(histograms).peekable();
        for (place, (t_ms, value)) in entry.floats.clone().zip(floats) {
            // A series of both kinds brings two lists; together they are in order.
            while let Some((place, (earlier, value))) = histograms.next_if(|(_, (t, _))| t < t_ms) {
                let start_ms = start_at(&batch.histogram_starts, place);
                if !self.append_histogram(id, (*earlier, start_ms), value, record, limits, done, &describe) {
                    passed_over.histograms.push(place);
                }
            }
            let (accepted, rejected) = &mut *done;
            let start_ms = start_at(&batch.float_starts, place);
            match self.float(id, *t_ms, *value, start_ms, limits) {
                Ok(fate) => {
                    accepted.floats += 1;
                    accepted.repeated += u64::from(fate == Fate::Repeated);
                    if fate == Fate::Stored {
                        let log_ref = self.logged(id, record);
                        record.float(log_ref, *t_ms, *value);
                        record.float_start(start_ms);
                    } else if !self.is_newest(id, *t_ms) {
                        passed_over.floats.push(place);
                    }
                }
                Err(reason) => {
                    rejected.add(reason, 1, || describe(reason, *t_ms, None));
                    passed_over.floats.push(place);
                }
            }
        }
        for (place, (t_ms, value)) in histograms {
            let start_ms = start_at(&batch.histogram_starts, place);
            if !self.append_histogram(id, (*t_ms, start_ms), value, record, limits, done, &describe) {
                passed_over.histograms.push(place);
            }
        }
    }

    fn is_newest(&self, id: u32, t_ms: TimeMs) -> bool {
        self.series.get(id as usize).is_some_and(|series| series.newest_t == t_ms)
    }

    /// Returns true when it was taken: stored now, or before as the newest.
    #[expect(clippy::too_many_arguments, reason = "a part of `append_series` that is needed twice")]
    fn append_histogram(
        &mut self,
        id: u32,
        (t_ms, start_ms): (TimeMs, TimeMs),
        value: &Arc<Histogram>,
        record: &mut RecordBuilder,
        limits: Limits,
        (accepted, rejected): &mut (Accepted, Rejections),
        describe: &dyn Fn(Reason, TimeMs, Option<String>) -> Rejection,
    ) -> bool {
        let fate = match check(value) {
            Ok(()) => self.histogram(id, t_ms, value, start_ms, limits).map_err(|reason| (reason, None)),
            Err(detail) => Err((Reason::InvalidHistogram, Some(detail))),
        };
        match fate {
            Ok(fate) => {
                accepted.histograms += 1;
                accepted.repeated += u64::from(fate == Fate::Repeated);
                if fate == Fate::Stored {
                    let log_ref = self.logged(id, record);
                    record.histogram(log_ref, t_ms, value);
                    record.histogram_start(start_ms);
                }
                fate == Fate::Stored || self.is_newest(id, t_ms)
            }
            Err((reason, detail)) => {
                rejected.add(reason, 1, || describe(reason, t_ms, detail));
                false
            }
        }
    }

    /// What the log calls a series; its labels go into the record when they do not stand in this generation yet.
    #[inline]
    pub(crate) fn logged(&mut self, id: u32, record: &mut RecordBuilder) -> u64 {
        let (generation, next_ref) = (self.generation, &mut self.next_ref);
        let Some(series) = self.series.get_mut(id as usize) else { return 0 };
        if series.generation != generation {
            series.generation = generation;
            series.log_ref = *next_ref;
            *next_ref += 1;
            record.define(series.log_ref, series.labels.as_packed());
        }
        series.log_ref
    }

    /// A series of the log's, created if need be; `None` when its labels are none.
    pub(crate) fn restore(&mut self, hash: u32, packed: &str, log_ref: u64) -> Option<u32> {
        self.next_ref = self.next_ref.max(log_ref.saturating_add(1));
        self.find_or_create(hash, packed, RESTORE).ok()
    }

    /// A float of the log's: it was accepted once, in whatever order.
    pub(crate) fn restore_float(&mut self, id: u32, t_ms: TimeMs, value: f64, start_ms: TimeMs) {
        self.float(id, t_ms, value, start_ms, RESTORE).ok();
    }

    /// A histogram of the log's.
    pub(crate) fn restore_histogram(&mut self, id: u32, t_ms: TimeMs, value: &Arc<Histogram>, start_ms: TimeMs) {
        self.histogram(id, t_ms, value, start_ms, RESTORE).ok();
    }

    /// Adds a float to a series.
    #[inline]
    pub(super) fn float(
        &mut self,
        id: u32,
        t_ms: TimeMs,
        value: f64,
        start_ms: TimeMs,
        limits: Limits,
    ) -> Result<Fate, Reason> {
        let Some(series) = self.series.get_mut(id as usize) else { return Err(Reason::SeriesLimit) };
        if series.state != State::Empty && t_ms <= series.newest_t {
            return self.float_not_newer(id, t_ms, value, start_ms, limits);
        }
        // The page of an earlier generation stays as it is: it may be on its way into a block.
        let seal = series.written != self.generation;
        if seal {
            series.enter(self.generation);
        }
        series.newest_t = t_ms;
        series.state = State::Float;
        series.page = self.pages.push(series.page, seal, &mut series.tail, t_ms, value);
        if start_ms != START_UNKNOWN || series.starts != NO_STARTS {
            self.note_start(id, t_ms, start_ms);
        }
        self.count(t_ms);
        Ok(Fate::Stored)
    }

    #[cold]
    fn float_not_newer(
        &mut self,
        id: u32,
        t_ms: TimeMs,
        value: f64,
        start_ms: TimeMs,
        limits: Limits,
    ) -> Result<Fate, Reason> {
        let same = |other: f64| {
            if other.to_bits() == value.to_bits() { Ok(Fate::Repeated) } else { Err(Reason::Duplicate) }
        };
        let series = self.series.get(id as usize).ok_or(Reason::SeriesLimit)?;
        if t_ms == series.newest_t {
            return match series.state {
                State::Float => same(f64::from_bits(series.tail.last_bits)),
                _ => Err(Reason::Duplicate),
            };
        }
        in_window(series, t_ms, limits)?;
        if self.histogram_at(id, t_ms).is_some() {
            return Err(Reason::Duplicate);
        }
        if let Some(other) = self.float_at(id, t_ms) {
            return same(other);
        }
        self.enter(id);
        self.active.late.entry(id).or_default().float(t_ms, value, start_ms);
        self.count(t_ms);
        Ok(Fate::Stored)
    }

    /// Adds a histogram to a series.
    pub(super) fn histogram(
        &mut self,
        id: u32,
        t_ms: TimeMs,
        value: &Arc<Histogram>,
        start_ms: TimeMs,
        limits: Limits,
    ) -> Result<Fate, Reason> {
        let Some(series) = self.series.get_mut(id as usize) else { return Err(Reason::SeriesLimit) };
        if series.state != State::Empty && t_ms <= series.newest_t {
            if t_ms < series.newest_t {
                in_window(series, t_ms, limits)?;
            }
            if let Some(other) = self.histogram_at(id, t_ms) {
                return if same_bits(&other, value) { Ok(Fate::Repeated) } else { Err(Reason::Duplicate) };
            }
            if self.float_at(id, t_ms).is_some() {
                return Err(Reason::Duplicate);
            }
            self.enter(id);
            self.active.late.entry(id).or_default().histogram(t_ms, Arc::clone(value), start_ms);
        } else {
            series.enter(self.generation);
            series.newest_t = t_ms;
            series.state = State::Histogram;
            if start_ms != START_UNKNOWN || series.starts != NO_STARTS {
                self.note_start(id, t_ms, start_ms);
            }
            self.active.histograms.entry(id).or_default().push((t_ms, Arc::clone(value)));
        }
        self.active.histogram_bytes += histogram_bytes(value);
        self.count(t_ms);
        Ok(Fate::Stored)
    }

    #[inline]
    fn count(&mut self, t_ms: TimeMs) {
        let part = &mut self.active;
        part.span = Some(part.span.map_or((t_ms, t_ms), |(from, to)| (from.min(t_ms), to.max(t_ms))));
        part.samples += 1;
        self.newest_t = Some(self.newest_t.map_or(t_ms, |newest| newest.max(t_ms)));
    }

    fn enter(&mut self, id: u32) {
        if let Some(series) = self.series.get_mut(id as usize) {
            series.enter(self.generation);
        }
    }

    /// The float of a series at an instant, in order or late.
    fn float_at(&self, id: u32, t_ms: TimeMs) -> Option<f64> {
        let series = self.series.get(id as usize)?;
        let page = self.pages.chain(series.page).find(|page| page.first_t() <= t_ms);
        let in_order = page.and_then(|page| {
            let (mut times, mut values) = (Vec::new(), Vec::new());
            page.decode(&mut times, &mut values);
            values.get(times.binary_search(&t_ms).ok()?).copied()
        });
        in_order.or_else(|| self.parts().into_iter().find_map(|part| part.late.get(&id)?.float_at(t_ms)))
    }

    fn histogram_at(&self, id: u32, t_ms: TimeMs) -> Option<Arc<Histogram>> {
        let in_part = |part: &Part| {
            let in_order = part.histograms.get(&id).and_then(|samples| {
                let at = samples.binary_search_by_key(&t_ms, |(t, _)| *t).ok()?;
                samples.get(at).map(|(_, value)| Arc::clone(value))
            });
            in_order.or_else(|| part.late.get(&id)?.histogram_at(t_ms))
        };
        let last = || self.last_histograms.get(&id).filter(|(t, _)| *t == t_ms).map(|(_, value)| Arc::clone(value));
        self.parts().into_iter().find_map(in_part).or_else(last)
    }
}

impl Series {
    /// Notes that it is written in this generation: what it has so far is frozen.
    fn enter(&mut self, generation: u32) {
        if self.written != generation {
            self.frozen = self.page;
            self.written = generation;
        }
    }
}

fn in_window(series: &Series, t_ms: TimeMs, limits: Limits) -> Result<(), Reason> {
    if limits.window_ms == 0 {
        return Err(Reason::OutOfOrder);
    }
    let unlimited = limits.window_ms == i64::MAX;
    if !unlimited && t_ms < series.newest_t.saturating_sub(limits.window_ms) { Err(Reason::TooOld) } else { Ok(()) }
}

/// A histogram that the log and the blocks can hold, and that every reader understands.
fn check(value: &Histogram) -> Result<(), String> {
    value.check().map_err(|error| error.to_string())?;
    let sides = [&value.positive, &value.negative];
    if value.custom_bounds.len() > SPANS_MAX || sides.iter().any(|side| side.spans.len() > SPANS_MAX) {
        return Err(format!("more than {SPANS_MAX} spans or bounds"));
    }
    if sides.iter().any(|side| side.counts.len() > BUCKETS_MAX) {
        return Err(format!("more than {BUCKETS_MAX} buckets"));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use homeostat_model::histogram::{BucketSpan, Buckets};

    use super::*;

    #[test]
    fn a_record_is_not_longer_than_the_batch_says() {
        let mut batch = Batch::default();
        for series in 0..20_i64 {
            batch.series([("__name__", "f"), ("n", &series.to_string())]).unwrap();
            for at in 0..10 {
                let t_ms = 1_700_000_000_000 + 15_000 * at + 997 * series;
                batch.float_since(t_ms, 0.1 * (at * series) as f64, t_ms - 15_000);
            }
        }
        batch.series([("__name__", "h")]).unwrap();
        for at in 0..10_u64 {
            let counts = (0..160).map(|bucket| (bucket * 7 + at * 1_000_003) as f64).collect();
            let positive = Buckets { spans: vec![BucketSpan { offset: 0, len: 160 }], counts };
            let histogram = Histogram { count: 1e12, positive, ..Histogram::default() };
            batch.histogram_since(at as i64, histogram, 5 * at as i64);
        }
        let said = batch.log_bytes();
        batch.hash(&LabelHasher::default());
        let (accepted, _) = Head::default().append(&mut batch, RESTORE);
        assert_eq!((accepted.floats, accepted.histograms), (200, 10));
        let record = batch.scratch.record.finish().len();
        assert!(record <= said && said < 3 * record, "{record} bytes, {said} said");
    }
}
