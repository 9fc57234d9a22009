//! What a small Prometheus is asked: dashboards that somebody looks at, now more, now less.

use std::{
    net::SocketAddr,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use hyper::Method;
use rand::{RngExt as _, SeedableRng};
use rand_xoshiro::Xoshiro256PlusPlus;
use tokio::time::{Instant, sleep};

use crate::client;

/// Questions of a dashboard, percent-encoded.
const QUERIES: [&str; 5] = [
    "rate(prometheus_http_requests_total%5B1m%5D)",
    "sum%20by%20(handler)%20(rate(prometheus_http_request_duration_seconds_bucket%5B5m%5D))",
    "histogram_quantile(0.9,%20sum%20by%20(le)%20(rate(prometheus_http_request_duration_seconds_bucket%5B2m%5D)))",
    "topk(5,%20%7B__name__%3D~%22go_.%2B%22%7D)",
    "count(%7B__name__%3D~%22.%2B%22%7D)",
];
/// Ranges and steps in seconds.
const RANGES: [(u64, u64); 3] = [(300, 5), (900, 15), (1_800, 30)];
/// The shortest pause between two questions.
const PAUSE_MIN: Duration = Duration::from_millis(20);

/// Asks until it is aborted. Answers do not matter.
pub(crate) async fn load(at: SocketAddr) {
    let (began, mut chance) = (Instant::now(), Xoshiro256PlusPlus::seed_from_u64(7));
    loop {
        let pause = -(1.0 - chance.random::<f64>()).ln() / rate(began.elapsed().as_secs());
        sleep(Duration::from_secs_f64(pause).max(PAUSE_MIN)).await;
        let _answer = client::ask(at, Method::GET, &question(&mut chance), "").await;
    }
}

/// Questions a second: a slow wave between 1.7 and 13, and 6 more in every fourth stretch of five minutes.
fn rate(seconds: u64) -> f64 {
    let wave = 7.5 + 5.8 * (seconds as f64 / 420.0).sin();
    if seconds / 300 % 4 == 3 { wave + 6.0 } else { wave }
}

fn question(chance: &mut Xoshiro256PlusPlus) -> String {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs());
    if chance.random_bool(0.3) {
        return format!(
            "/api/v1/series?match%5B%5D=%7Bjob%3D%22self%22%7D&start={}&end={now}",
            now.saturating_sub(600)
        );
    }
    let query = QUERIES.get(chance.random_range(0..QUERIES.len())).copied().unwrap_or_default();
    let (range, step) = RANGES.get(chance.random_range(0..RANGES.len())).copied().unwrap_or((300, 5));
    format!("/api/v1/query_range?query={query}&start={}&end={now}&step={step}", now.saturating_sub(range))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn there_is_load_at_any_time_and_it_varies() {
        let rates: Vec<f64> = (0..7_200).map(rate).collect();
        assert!(rates.iter().all(|rate| (1.0..20.0).contains(rate)));
        assert!(rates.iter().any(|rate| *rate < 3.0) && rates.iter().any(|rate| 12.0 < *rate));
    }
}
