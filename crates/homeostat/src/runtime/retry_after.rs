//! `Retry-After`: how long a server wants to be left alone.

use std::time::Duration;

use http::{HeaderMap, header};

/// What the header says: seconds, or a date.
pub(super) fn retry_after(headers: &HeaderMap) -> Option<Duration> {
    let text = headers.get(header::RETRY_AFTER)?.to_str().ok()?.trim();
    if let Ok(seconds) = text.parse() {
        return Some(Duration::from_secs(seconds));
    }
    let date = jiff::fmt::rfc2822::DateTimeParser::new().relaxed_weekday(true).parse_timestamp(text).ok()?;
    Duration::try_from(date.duration_since(jiff::Timestamp::now())).ok()
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;

    use super::*;

    #[test]
    fn seconds_and_dates_are_read() {
        let of = |text: &'static str| {
            retry_after(&HeaderMap::from_iter([(header::RETRY_AFTER, HeaderValue::from_static(text))]))
        };
        assert_eq!((of("7"), of(" 0 ")), (Some(Duration::from_secs(7)), Some(Duration::ZERO)));
        assert!(of("Wed, 21 Oct 2065 07:28:00 GMT").unwrap() > Duration::from_hours(24 * 365));
        assert_eq!(
            (of("Wed, 21 Oct 2015 07:28:00 GMT"), of("soon"), retry_after(&HeaderMap::new())),
            (None, None, None)
        );
    }
}
