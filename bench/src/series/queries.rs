//! The ten questions of a dashboard.

use std::fmt::Write as _;

use serde::Serialize;

/// A question: a name for the table, and the path with its parameters.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Question {
    pub(crate) name: &'static str,
    pub(crate) path: String,
}

/// All ten, over a fleet that was scraped until `end_ms` and a history of 30 days before that.
pub(crate) fn all(start_ms: i64, end_ms: i64) -> Vec<Question> {
    let (start, end) = (start_ms / 1000, end_ms / 1000);
    let instant =
        |name, query: &str| Question { name, path: format!("/api/v1/query?query={}&time={end}", encode(query)) };
    let range = |name, query: &str, from: i64, step: i64| Question {
        name,
        path: format!("/api/v1/query_range?query={}&start={from}&end={end}&step={step}", encode(query)),
    };
    vec![
        instant("instant_selector", r#"http_requests_total{job="job-3",code="500"}"#),
        range("rate_5m_by_job", "sum by (job) (rate(http_requests_total[5m]))", start, 15),
        instant(
            "histogram_quantile_10k",
            r#"histogram_quantile(0.99, sum by (job, le) (rate(http_request_duration_seconds_bucket{job=~"job-[0-8]"}[5m])))"#,
        ),
        instant("topk_10", "topk(10, rate(http_requests_total[5m]))"),
        range("range_30d_step_1h", "avg by (site) (power_watts)", end - 30 * 86_400, 3_600),
        Question { name: "label_values", path: format!("/api/v1/label/instance/values?start={start}&end={end}") },
        instant("regex_selector", r#"sum by (queue) (queue_depth{instance=~"10\\.0\\..*7:9100",queue=~"q[1-5]"})"#),
        Question {
            name: "series_match",
            path: format!("/api/v1/series?match[]={}&start={start}&end={end}", encode(r#"up{region="region-2"}"#)),
        },
        range(
            "max_over_time",
            r#"max by (kind) (max_over_time(process_memory_bytes{region="region-1"}[5m]))"#,
            start,
            60,
        ),
        range(
            "error_ratio_by_job",
            r#"sum by (job) (rate(http_requests_total{code=~"5.."}[5m])) / sum by (job) (rate(http_requests_total[5m]))"#,
            start,
            30,
        ),
    ]
}

/// Percent-encodes everything but letters and digits.
fn encode(text: &str) -> String {
    let mut out = String::with_capacity(text.len() * 2);
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() {
            out.push(char::from(byte));
        } else {
            let _ = write!(out, "%{byte:02X}"); // Writing to a text cannot fail.
        }
    }
    out
}

/// What an answer holds: entries of `data` or of `data.result`, to see that all servers found something alike.
pub(crate) fn entries(answer: &[u8]) -> Option<usize> {
    let answer: serde_json::Value = serde_json::from_slice(answer).ok()?;
    let data = answer.get("data")?;
    data.get("result").unwrap_or(data).as_array().map(Vec::len)
}

#[cfg(test)]
mod tests {
    use http::Uri;

    use super::*;

    #[test]
    fn all_ten_are_valid_paths_with_names_of_their_own() {
        let questions = all(1_700_000_000_000, 1_700_001_800_000);
        let names: std::collections::BTreeSet<_> = questions.iter().map(|question| question.name).collect();
        assert_eq!(names.len(), 10);
        assert!(questions.iter().all(|question| question.path.parse::<Uri>().is_ok()));
    }

    #[test]
    fn entries_are_counted_in_both_forms() {
        assert_eq!(entries(br#"{"data":["a","b"]}"#), Some(2));
        assert_eq!(entries(br#"{"data":{"resultType":"vector","result":[{}]}}"#), Some(1));
        assert_eq!(entries(b"{}"), None);
    }
}
