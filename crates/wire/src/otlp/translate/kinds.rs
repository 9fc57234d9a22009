//! Each kind of data point as series.

use homeostat_model::{histogram::SCHEMA_MIN, sample::stale_marker};

use super::{Kind, Metric, PointError, Temporality, Translator, unsupported};
use crate::{
    intake::{Fault, SeriesSink},
    otlp::{
        ExplicitHistograms,
        delta::Total,
        point::{self, start_millis},
    },
};

impl<'a, S: SeriesSink> Translator<'a, '_, S> {
    pub(super) fn give_number(&mut self, value: Option<f64>, metric: &Metric<'a, '_>) -> Result<(), PointError> {
        let (name, labels) = self.identify(metric)?;
        let exemplars = self.exemplars(name)?;
        let stale = self.head.is_stale();
        let value = match value {
            _ if stale => stale_marker(),
            Some(value) => value,
            None => return Err(unsupported("the point has no value; set asDouble or asInt")),
        };
        let (start_ms, value) = if stale || metric.kind == Kind::Gauge || metric.temporality == Temporality::Cumulative
        {
            (self.head.start_ms().filter(|_| metric.kind == Kind::Sum), value)
        } else {
            match self.total(metric, name, &labels, Total::Number(value))? {
                (start_ns, Total::Number(total)) => (start_millis(start_ns), *total),
                _ => (None, value),
            }
        };
        self.give_float(&labels, name, None, value, start_ms, &exemplars.iter().collect::<Vec<_>>())
    }

    pub(super) fn give_explicit(
        &mut self,
        mut histogram: point::Explicit,
        metric: &Metric<'a, '_>,
    ) -> Result<(), PointError> {
        let (name, labels) = self.identify(metric)?;
        let exemplars = self.exemplars(name)?;
        let stale = self.head.is_stale();
        let mut start_ms = self.head.start_ms();
        if !stale
            && metric.temporality != Temporality::Cumulative
            && let (start_ns, Total::Explicit(total)) =
                self.total(metric, name, &labels, Total::Explicit(histogram.clone()))?
        {
            (start_ms, histogram) = (start_millis(start_ns), total.clone());
        }
        if self.options.explicit_histograms == ExplicitHistograms::CustomBounds {
            let native = if stale { Ok(point::stale_histogram()) } else { histogram.native() };
            return self.give_native(&labels, name, native, start_ms, &exemplars.iter().collect::<Vec<_>>());
        }
        let or_stale = |value: f64| if stale { stale_marker() } else { value };
        if let Some(sum) = histogram.sum {
            self.give_float(&labels, &format!("{name}_sum"), None, or_stale(sum), start_ms, &[])?;
        }
        let total = or_stale(histogram.count as f64);
        self.give_float(&labels, &format!("{name}_count"), None, total, start_ms, &[])?;
        let bucket = format!("{name}_bucket");
        let mut lower = f64::NEG_INFINITY;
        let mut below = 0_u64;
        for (bound, count) in histogram.bounds.iter().zip(&histogram.counts) {
            below = below.saturating_add(*count);
            let within: Vec<_> =
                exemplars.iter().filter(|exemplar| lower < exemplar.value && exemplar.value <= *bound).collect();
            let le = bound_text(*bound);
            self.give_float(&labels, &bucket, Some(("le", &le)), or_stale(below as f64), start_ms, &within)?;
            lower = *bound;
        }
        // Also what is no number.
        let above: Vec<_> = exemplars.iter().filter(|e| e.value.is_nan() || lower < e.value).collect();
        self.give_float(&labels, &bucket, Some(("le", "+Inf")), total, start_ms, &above)
    }

    pub(super) fn give_exponential(
        &mut self,
        point: &point::Exponential,
        metric: &Metric<'a, '_>,
    ) -> Result<(), PointError> {
        let (name, labels) = self.identify(metric)?;
        let exemplars = self.exemplars(name)?;
        let exemplars: Vec<_> = exemplars.iter().collect();
        let mut start_ms = self.head.start_ms();
        if self.head.is_stale() {
            return self.give_native(&labels, name, Ok(point::stale_histogram()), start_ms, &exemplars);
        }
        if point.scale < i64::from(SCHEMA_MIN) {
            return Err(PointError::Fault(Fault::Scale { scale: point.scale }));
        }
        let mut native = point.native();
        if let (Ok(delta), true) = (&native, metric.temporality != Temporality::Cumulative)
            && let (start_ns, Total::Exponential(total)) =
                self.total(metric, name, &labels, Total::Exponential(delta.clone()))?
        {
            (start_ms, native) = (start_millis(start_ns), Ok(total.clone()));
        }
        self.give_native(&labels, name, native, start_ms, &exemplars)
    }

    pub(super) fn give_summary(&mut self, summary: &point::Summary, metric: &Metric<'a, '_>) -> Result<(), PointError> {
        let (name, labels) = self.identify(metric)?;
        let (stale, start_ms) = (self.head.is_stale(), self.head.start_ms());
        let or_stale = |value: f64| if stale { stale_marker() } else { value };
        self.give_float(&labels, &format!("{name}_sum"), None, or_stale(summary.sum), start_ms, &[])?;
        self.give_float(&labels, &format!("{name}_count"), None, or_stale(summary.count as f64), start_ms, &[])?;
        for (quantile, value) in &summary.quantiles {
            let quantile = bound_text(*quantile);
            self.give_float(&labels, name, Some(("quantile", &quantile)), or_stale(*value), start_ms, &[])?;
        }
        Ok(())
    }
}

/// A bound or a quantile in the shortest plain digits, as Prometheus' receiver writes them: not as a scrape has them.
fn bound_text(value: f64) -> String {
    match value {
        f64::INFINITY => "+Inf".to_owned(),
        f64::NEG_INFINITY => "-Inf".to_owned(),
        value => value.to_string(),
    }
}
