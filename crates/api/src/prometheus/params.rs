//! Parameters of a request: the query string and a form in the body, as one list of pairs.
//!
//! Texts of errors are those of Prometheus (`web/api/v1/api.go`), because clients show and compare them.

use axum::extract::Request;
use homeostat_model::TimeMs;
use homeostat_promql::literal::duration_ms;
use http::{HeaderMap, Method, StatusCode, header};
use http_body_util::{BodyExt as _, LengthLimitError, Limited};

use super::{
    error::{ApiError, ErrorKind},
    limits::FORM_BYTES_MAX,
};
use crate::limits::BODY_TIMEOUT;

/// Milliseconds in a second.
const MS: f64 = 1000.0;
/// The name that Prometheus' Go client gives to "since ever": the first instant that it can write down.
const EVER_FROM: &str = "-292273086-05-16T16:47:06Z";
/// The same for "for ever".
const EVER_TO: &str = "292277025-08-18T07:12:54.999999999Z";

/// Names with values, in the order of the body and then of the query string; names may repeat.
#[derive(Debug, Default)]
pub(crate) struct Params(Vec<(String, String)>);

impl Params {
    /// Reads both places. A body that is no form is left alone, as it is for every form handler.
    pub(crate) async fn of(request: Request) -> Result<Self, ApiError> {
        let (parts, body) = request.into_parts();
        let mut pairs = Vec::new();
        if parts.method != Method::GET && is_form(&parts.headers) {
            pairs = decode(&read(body).await?);
        }
        pairs.extend(decode(parts.uri.query().unwrap_or_default().as_bytes()));
        Ok(Self(pairs))
    }

    /// The first value of a name; empty when there is none.
    pub(crate) fn get(&self, name: &str) -> &str {
        self.0.iter().find(|(key, _)| key == name).map_or("", |(_, value)| value)
    }

    /// All values of a name.
    pub(crate) fn all<'a>(&'a self, name: &'a str) -> impl Iterator<Item = &'a str> + 'a {
        self.0.iter().filter(move |(key, _)| key == name).map(|(_, value)| value.as_str())
    }

    /// A point in time that must be given.
    pub(crate) fn time(&self, name: &'static str) -> Result<TimeMs, ApiError> {
        parse_time(self.get(name)).map_err(|problem| ApiError::parameter(name, problem))
    }

    /// A point in time, or `default` when it is not given.
    pub(crate) fn time_or(&self, name: &'static str, default: TimeMs) -> Result<TimeMs, ApiError> {
        if self.get(name).is_empty() { Ok(default) } else { self.time(name) }
    }

    /// A length of time in milliseconds that must be given.
    pub(crate) fn duration(&self, name: &'static str) -> Result<i64, ApiError> {
        parse_duration(self.get(name)).map_err(|problem| ApiError::parameter(name, problem))
    }

    /// A length of time in milliseconds, if it is given.
    pub(crate) fn duration_if(&self, name: &'static str) -> Result<Option<i64>, ApiError> {
        if self.get(name).is_empty() { Ok(None) } else { self.duration(name).map(Some) }
    }

    /// `limit`: results at most; `None` means all.
    pub(crate) fn limit(&self) -> Result<Option<usize>, ApiError> {
        self.count("limit")
    }

    /// A whole number that is not negative; absent and 0 are `None`.
    pub(crate) fn count(&self, name: &'static str) -> Result<Option<usize>, ApiError> {
        let text = self.get(name);
        if text.is_empty() {
            return Ok(None);
        }
        let refused = |problem: &str| ApiError::parameter(name, problem.to_owned());
        let number: i64 = text.parse().map_err(|_| refused(&format!("{text:?} is not a whole number")))?;
        let count = usize::try_from(number).map_err(|_| refused(&format!("{name} must be non-negative")))?;
        Ok((count > 0).then_some(count))
    }
}

fn is_form(headers: &HeaderMap) -> bool {
    let media_type = headers.get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default();
    let essence = media_type.split(';').next().unwrap_or_default().trim();
    essence.eq_ignore_ascii_case("application/x-www-form-urlencoded")
}

async fn read(body: axum::body::Body) -> Result<bytes::Bytes, ApiError> {
    match tokio::time::timeout(BODY_TIMEOUT, Limited::new(body, FORM_BYTES_MAX).collect()).await {
        Ok(Ok(body)) => Ok(body.to_bytes()),
        Ok(Err(error)) if error.is::<LengthLimitError>() => {
            let text = format!("the form has more than {FORM_BYTES_MAX} bytes");
            Err(ApiError::new(ErrorKind::BadData, text).with_status(StatusCode::PAYLOAD_TOO_LARGE))
        }
        Ok(Err(_)) => Err(ApiError::bad_data("the form ended before it was complete")),
        Err(_elapsed) => {
            let text = format!("the form did not arrive within {} s", BODY_TIMEOUT.as_secs());
            Err(ApiError::new(ErrorKind::Timeout, text).with_status(StatusCode::REQUEST_TIMEOUT))
        }
    }
}

fn decode(encoded: &[u8]) -> Vec<(String, String)> {
    form_urlencoded::parse(encoded).map(|(name, value)| (name.into_owned(), value.into_owned())).collect()
}

/// RFC 3339, or seconds since 1970 with decimals. Rounded to whole milliseconds.
pub(crate) fn parse_time(text: &str) -> Result<TimeMs, String> {
    if let Ok(seconds) = text.parse::<f64>() {
        let ms = (seconds * MS).round();
        if ms.is_finite() && (i64::MIN as f64..i64::MAX as f64).contains(&ms) {
            return Ok(ms as i64);
        }
    }
    match text {
        EVER_FROM => return Ok(i64::MIN),
        EVER_TO => return Ok(i64::MAX),
        _ => {}
    }
    match text.parse::<jiff::Timestamp>() {
        Ok(at) => Ok(at.as_millisecond()),
        Err(_) => Err(format!("cannot parse {text:?} to a valid timestamp")),
    }
}

/// A Prometheus duration (`5m`, `1h30m`, `100ms`) or seconds with decimals; in milliseconds, rounded towards zero.
pub(crate) fn parse_duration(text: &str) -> Result<i64, String> {
    if let Ok(seconds) = text.parse::<f64>() {
        let ns = seconds * 1e9;
        if ns.is_nan() || !(i64::MIN as f64..i64::MAX as f64).contains(&ns) {
            return Err(format!("cannot parse {text:?} to a valid duration. It overflows int64"));
        }
        return Ok((seconds * MS) as i64);
    }
    duration_ms(text).map_err(|_| format!("cannot parse {text:?} to a valid duration"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_seconds_or_rfc_3339() {
        for (text, expected) in [
            ("0", 0),
            ("1435781451.781", 1_435_781_451_781),
            ("-1.5", -1500),
            ("1e3", 1_000_000),
            ("2015-07-01T20:10:51.781Z", 1_435_781_451_781),
            ("2015-07-01T22:10:51.781+02:00", 1_435_781_451_781),
            (EVER_FROM, i64::MIN),
            (EVER_TO, i64::MAX),
        ] {
            assert_eq!(parse_time(text), Ok(expected), "{text}");
        }
        for text in ["", "now", "NaN", "Inf", "1e300", "2015-07-01"] {
            assert_eq!(parse_time(text), Err(format!("cannot parse {text:?} to a valid timestamp")));
        }
    }

    #[test]
    fn durations_are_seconds_or_units_from_large_to_small() {
        for (text, expected) in [
            ("15", 15_000),
            ("0.25", 250),
            ("-1", -1000),
            ("15s", 15_000),
            ("1h30m", 5_400_000),
            ("1d12h", 129_600_000),
            ("100ms", 100),
            ("0", 0),
            ("0s", 0),
        ] {
            assert_eq!(parse_duration(text), Ok(expected), "{text}");
        }
        for text in ["", "m", "5", "5m5m", "5s1m", "1.5h", "-5m", "5 m", "5µs", "293y", "99999999999999999999s", "1m5"]
        {
            assert_eq!(parse_duration(text).is_ok(), text == "5", "{text}");
        }
        assert!(parse_duration("1e300").unwrap_err().ends_with("It overflows int64"));
    }

    #[test]
    fn a_form_comes_before_the_query_string() {
        let mut params = Params(decode(b"match[]=a%7Bb%3D%22c%22%7D&query=1+%2B+1&match%5B%5D=x"));
        params.0.extend(decode(b"query=2&limit=5"));
        assert_eq!(params.get("query"), "1 + 1");
        assert_eq!(params.all("match[]").collect::<Vec<_>>(), ["a{b=\"c\"}", "x"]);
        assert_eq!(params.limit().unwrap(), Some(5));
        assert_eq!(params.get("none"), "");
    }
}
