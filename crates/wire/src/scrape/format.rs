//! Which format a target answers in.

/// What a scraper asks for: protobuf for native histograms first, then OpenMetrics, then text. Names of any UTF-8 are
/// welcome.
pub const ACCEPT: &str = "application/vnd.google.protobuf;proto=io.prometheus.client.MetricFamily;encoding=delimited;q=0.6,\
    application/openmetrics-text;version=1.0.0;escaping=allow-utf-8;q=0.5,\
    application/openmetrics-text;version=0.0.1;q=0.4,\
    text/plain;version=1.0.0;escaping=allow-utf-8;q=0.3,text/plain;version=0.0.4;q=0.2,*/*;q=0.1";

/// A format of what targets answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    /// Prometheus' text, versions 0.0.4 and 1.0.0.
    Text,
    /// OpenMetrics' text, versions 0.0.1 and 1.0.0.
    OpenMetrics,
    /// `io.prometheus.client.MetricFamily` messages, each with its length in front.
    Protobuf,
}

impl Format {
    /// The format that a `Content-Type` names; `None` for others, where Prometheus takes what the target is configured
    /// to speak (`fallback_scrape_protocol`).
    pub fn of_content_type(header: &str) -> Option<Self> {
        let mut parts = header.split(';').map(str::trim);
        let media = parts.next().unwrap_or_default();
        let is = |name: &str| media.eq_ignore_ascii_case(name);
        if is("text/plain") {
            return Some(Self::Text);
        }
        if is("application/openmetrics-text") {
            return Some(Self::OpenMetrics);
        }
        if !is("application/vnd.google.protobuf") {
            return None;
        }
        let parameters: Vec<_> = parts.filter_map(|part| part.split_once('=')).collect();
        let has = |name: &str, value: &str| {
            parameters.iter().any(|(n, v)| n.trim().eq_ignore_ascii_case(name) && v.trim().trim_matches('"') == value)
        };
        let ours = has("proto", "io.prometheus.client.MetricFamily") && has("encoding", "delimited");
        ours.then_some(Self::Protobuf)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn content_types_name_their_format() {
        for (header, format) in [
            ("text/plain; version=0.0.4; charset=utf-8", Some(Format::Text)),
            ("text/plain", Some(Format::Text)),
            ("Application/OpenMetrics-Text;version=1.0.0", Some(Format::OpenMetrics)),
            (
                "application/vnd.google.protobuf; proto=io.prometheus.client.MetricFamily; encoding=delimited",
                Some(Format::Protobuf),
            ),
            ("application/vnd.google.protobuf; proto=io.prometheus.client.MetricFamily; encoding=text", None),
            ("application/json", None),
            ("", None),
        ] {
            assert_eq!(Format::of_content_type(header), format, "{header}");
        }
    }
}
