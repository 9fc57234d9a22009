//! What each second's requests were like, from the gateway's own histogram.

use std::{collections::BTreeMap, fmt::Write as _, net::SocketAddr, path::Path};

use hyper::Method;

use crate::{Failed, client};

/// Bounds of which the requests beyond are kept, as the metrics write them.
const BOUNDS: [&str; 5] = ["0.01", "0.025", "0.05", "0.1", "0.25"];

/// Counts since the process began: all requests, those that failed, those beyond each bound.
type Counts = [u64; BOUNDS.len() + 2];

/// Counts of each second, by service.
#[derive(Debug, Default)]
pub(super) struct Traffic {
    last: BTreeMap<String, Counts>,
    seconds: BTreeMap<String, Vec<Counts>>,
}

impl Traffic {
    /// Reads the counters; what they grew by since the last time is a second.
    pub(super) async fn read(&mut self, api: SocketAddr) -> Result<(), Failed> {
        let text = client::must(api, Method::GET, "/metrics", "").await?;
        let now = counts(std::str::from_utf8(&text)?);
        for (service, counts) in &now {
            let Some(before) = self.last.get(service) else { continue };
            let mut more = *counts;
            for (more, before) in more.iter_mut().zip(before) {
                *more = more.saturating_sub(*before);
            }
            self.seconds.entry(service.clone()).or_default().push(more);
        }
        self.last = now;
        Ok(())
    }

    /// Requests that were counted.
    pub(super) fn requests(&self) -> u64 {
        self.seconds.values().flatten().map(|[all, ..]| all).sum()
    }

    /// Those of them that failed.
    pub(super) fn failed(&self) -> u64 {
        self.seconds.values().flatten().map(|[_, failed, ..]| failed).sum()
    }

    /// One line a service: its name, then for each second all requests, failed ones, and those beyond 10, 25, 50, 100 and
    /// 250 ms, divided by commas.
    pub(super) fn keep(&self, file: &Path) -> Result<(), Failed> {
        let mut text = String::new();
        for (service, seconds) in &self.seconds {
            text.push_str(service);
            for second in seconds {
                let numbers: Vec<String> = second.iter().map(u64::to_string).collect();
                write!(text, " {}", numbers.join(","))?;
            }
            text.push('\n');
        }
        Ok(std::fs::write(file, text)?)
    }
}

/// The counters of a page of metrics, by service.
fn counts(page: &str) -> BTreeMap<String, Counts> {
    let mut found = BTreeMap::<String, Counts>::new();
    for line in page.lines().filter(|line| !line.starts_with('#')) {
        let Some((series, value)) = line.rsplit_once(' ') else { continue };
        let Some((name, labels)) = series.split_once('{') else { continue };
        let label = |wanted: &str| {
            let begin = format!("{wanted}=\"");
            let from = labels.find(&begin)? + begin.len();
            labels.get(from..)?.split('"').next()
        };
        let (Some(service), Ok(value)) = (label("service"), value.parse::<f64>()) else { continue };
        let entry = found.entry(service.to_owned()).or_default();
        let mut add = |at: usize| {
            if let Some(count) = entry.get_mut(at) {
                *count += value as u64;
            }
        };
        match name {
            "homeostat_request_duration_seconds_count" => add(0),
            "homeostat_requests_total"
                if label("outcome").is_some_and(|outcome| !["ok", "client_error"].contains(&outcome)) =>
            {
                add(1);
            }
            "homeostat_request_duration_seconds_bucket" => {
                if let Some(at) = BOUNDS.iter().position(|bound| label("le") == Some(bound)) {
                    add(at + 2);
                }
            }
            _ => {}
        }
    }
    // Buckets count up to their bound; what is kept is what lies beyond.
    for counts in found.values_mut() {
        let [all, _, within @ ..] = counts;
        for within in within {
            *within = all.saturating_sub(*within);
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_page_is_summed_up_by_service() {
        let page = "# HELP\n\
            homeostat_requests_total{route=\"a-0\",service=\"a\",version=\"v1\",outcome=\"ok\"} 9\n\
            homeostat_requests_total{route=\"a-0\",service=\"a\",version=\"v1\",outcome=\"reset\"} 1\n\
            homeostat_request_duration_seconds_bucket{route=\"a-0\",service=\"a\",version=\"v1\",le=\"0.05\"} 7\n\
            homeostat_request_duration_seconds_bucket{route=\"a-0\",service=\"a\",version=\"v1\",le=\"0.1\"} 8\n\
            homeostat_request_duration_seconds_count{route=\"a-0\",service=\"a\",version=\"v1\"} 10\n\
            homeostat_request_duration_seconds_bucket{route=\"a-1\",service=\"a\",version=\"v1\",le=\"0.1\"} 5\n\
            homeostat_request_duration_seconds_count{route=\"a-1\",service=\"a\",version=\"v1\"} 5\n";
        let found = counts(page);
        assert_eq!(found["a"], [15, 1, 15, 15, 8, 2, 15]);
        assert_eq!(found.len(), 1);
    }
}
