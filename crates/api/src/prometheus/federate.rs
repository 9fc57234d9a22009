//! `/federate`: the newest sample of each series that is asked for, as text for another Prometheus to scrape.
//!
//! A sample counts while it is within the lookback and not followed by a stale marker. Native histograms have no place in
//! the text format and are left out, as Prometheus does for clients that ask for text. A series without `instance` gets
//! an empty one, so that the scraper with `honor_labels` does not put its own in.

use std::{
    collections::{BTreeMap, btree_map::Entry},
    sync::Arc,
};

use axum::{
    extract::{Request, State},
    response::Response,
};
use homeostat_model::{
    Labels, SampleRun, TimeMs,
    labels::{METRIC_NAME, is_plain_label_name, is_plain_metric_name},
    sample::is_stale,
};
use homeostat_promql::{Matcher, Select, SeriesSource, SourceError};
use http::{HeaderMap, HeaderValue, header};

use super::{
    PrometheusApi, error::ApiError, language, now_ms, number::push_value, params::Params, stream::Writer, turns::Wanted,
};

/// Label that says where a series comes from.
const INSTANCE: &str = "instance";

/// How names are written that are no identifiers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Escaping {
    /// In quotes, for clients that say that they can read them.
    Quotes,
    /// With underscores for what does not fit.
    Underscores,
}

impl Escaping {
    fn accepted(headers: &HeaderMap) -> Self {
        let accepted = headers.get_all(header::ACCEPT).iter().filter_map(|value| value.to_str().ok());
        let mut parts = accepted.flat_map(|value| value.split([',', ';']).map(str::trim));
        if parts.any(|part| part == "escaping=allow-utf-8") { Self::Quotes } else { Self::Underscores }
    }

    fn content_type(self) -> HeaderValue {
        HeaderValue::from_static(match self {
            Self::Quotes => "text/plain; version=1.0.0; charset=utf-8; escaping=allow-utf-8",
            Self::Underscores => "text/plain; version=0.0.4; charset=utf-8; escaping=underscores",
        })
    }
}

pub(crate) async fn federate(State(api): State<Arc<PrometheusApi>>, request: Request) -> Result<Response, ApiError> {
    let escaping = Escaping::accepted(request.headers());
    let wanted = Wanted { content_type: escaping.content_type(), ..api.wanted(request.headers()) };
    let params = Params::of(request).await?;
    let selectors = language::selectors(&params)?;
    let end_ms = now_ms();
    let start_ms = end_ms.saturating_sub(api.policy.options.lookback_ms);
    let held = Arc::clone(&api);
    let work = move |stop: &_| {
        let newest = newest(&*held.backend.source(stop), &selectors, start_ms, end_ms);
        let newest = newest.map_err(|error| ApiError::of_source(&error, stop))?;
        Ok(move |writer: &mut Writer| {
            let mut family = "";
            for ((metric, labels), (t_ms, value)) in &newest {
                if family != metric {
                    family = metric;
                    push_head(&mut writer.buffer, metric, escaping);
                }
                push_sample(&mut writer.buffer, metric, labels, escaping);
                push_value(&mut writer.buffer, *value);
                writer.buffer.extend_from_slice(format!(" {t_ms}\n").as_bytes());
                writer.checkpoint()?;
            }
            Ok(())
        })
    };
    api.turns.run(wanted, work).await
}

/// Time and value by metric and labels.
type Newest = BTreeMap<(String, Labels), (TimeMs, f64)>;

fn newest(
    source: &(dyn SeriesSource + Send + Sync),
    selectors: &[Vec<Matcher>],
    start_ms: TimeMs,
    end_ms: TimeMs,
) -> Result<Newest, SourceError> {
    let mut found = Newest::new();
    for matchers in selectors {
        for series in source.select(&Select { matchers, start_ms, end_ms })? {
            // A series without a name belongs to no family.
            let Some(metric) = series.labels.metric().map(str::to_owned) else { continue };
            let Entry::Vacant(place) = found.entry((metric, series.labels)) else { continue };
            let mut last = None;
            for run in series.runs {
                last = match run? {
                    SampleRun::Floats { t_ms, values, .. } => t_ms.last().copied().zip(values.last().copied()),
                    SampleRun::Histograms { .. } => None,
                };
            }
            if let Some(sample) = last.filter(|(_, value)| !is_stale(*value)) {
                place.insert(sample);
            }
        }
    }
    Ok(found)
}

fn push_head(out: &mut Vec<u8>, metric: &str, escaping: Escaping) {
    out.extend_from_slice(b"# TYPE ");
    push_name(out, metric, is_plain_metric_name(metric), escaping);
    out.extend_from_slice(b" untyped\n");
}

/// Appends name and labels with the space behind them.
fn push_sample(out: &mut Vec<u8>, metric: &str, labels: &Labels, escaping: Escaping) {
    let plain = is_plain_metric_name(metric) || escaping == Escaping::Underscores;
    if plain {
        push_name(out, metric, is_plain_metric_name(metric), escaping);
    }
    out.push(b'{');
    if !plain {
        push_quoted(out, metric);
        out.push(b',');
    }
    let others = labels.iter().filter(|(name, _)| *name != METRIC_NAME);
    let instance = labels.get(INSTANCE).is_none().then_some((INSTANCE, ""));
    for (index, (name, value)) in others.chain(instance).enumerate() {
        if index > 0 {
            out.push(b',');
        }
        push_name(out, name, is_plain_label_name(name), escaping);
        out.push(b'=');
        push_quoted(out, value);
    }
    out.extend_from_slice(b"} ");
}

fn push_name(out: &mut Vec<u8>, name: &str, plain: bool, escaping: Escaping) {
    match escaping {
        _ if plain => out.extend_from_slice(name.as_bytes()),
        Escaping::Quotes => push_quoted(out, name),
        Escaping::Underscores => {
            let fits = |index: usize, c: char| c == '_' || c.is_ascii_alphabetic() || (index > 0 && c.is_ascii_digit());
            out.extend(name.chars().enumerate().map(|(index, c)| if fits(index, c) { c as u8 } else { b'_' }));
        }
    }
}

/// Text in double quotes with the escapes of the text format.
fn push_quoted(out: &mut Vec<u8>, text: &str) {
    out.push(b'"');
    for byte in text.bytes() {
        match byte {
            b'\\' | b'"' => out.extend_from_slice(&[b'\\', byte]),
            b'\n' => out.extend_from_slice(b"\\n"),
            _ => out.push(byte),
        }
    }
    out.push(b'"');
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_that_are_no_identifiers_are_quoted_only_for_those_who_can_read_them() {
        let labels = Labels::new([("__name__", "http.requests"), ("a b", "x\"\n\\"), ("instance", "h:1")]);
        let shown = |escaping| {
            let mut out = Vec::new();
            push_head(&mut out, "http.requests", escaping);
            push_sample(&mut out, "http.requests", &labels, escaping);
            String::from_utf8(out).unwrap()
        };
        assert_eq!(
            shown(Escaping::Quotes),
            "# TYPE \"http.requests\" untyped\n{\"http.requests\",\"a b\"=\"x\\\"\\n\\\\\",instance=\"h:1\"} "
        );
        assert_eq!(
            shown(Escaping::Underscores),
            "# TYPE http_requests untyped\nhttp_requests{a_b=\"x\\\"\\n\\\\\",instance=\"h:1\"} "
        );
    }
}
