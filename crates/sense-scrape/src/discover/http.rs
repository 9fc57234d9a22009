//! Targets from a URL (`http_sd_configs`): a JSON list of groups, asked for at each refresh.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use homeostat_model::error_chain::chain;
use serde::Deserialize;
use tokio::{sync::watch, time::MissedTickBehavior};

use super::{Found, LIST_BYTES_MAX, META_URL, tell};
use crate::{
    fetch::{Answer, Fetcher, Question},
    spec::{HttpSpec, TargetGroup},
};

/// Longest wait for an answer.
const ANSWER_WITHIN: Duration = Duration::from_secs(30);

/// A group as it stands in the answer.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Group {
    targets: Vec<String>,
    #[serde(default)]
    labels: BTreeMap<String, String>,
}

pub(super) async fn follow(url: &str, refresh: Duration, http: Arc<HttpSpec>, found: &watch::Sender<Found>) {
    let fetcher = match Fetcher::new(http) {
        Ok(fetcher) => fetcher,
        Err(error) => return tell(found, url, Err(format!("{url}: {}", chain(&error)))),
    };
    let mut ticks = tokio::time::interval(refresh);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        ticks.tick().await;
        let question = Question {
            url,
            timeout: ANSWER_WITHIN.min(refresh),
            accept: "application/json",
            compression: true,
            body_bytes_max: LIST_BYTES_MAX,
        };
        let answer = fetcher.get(&question).await.map_err(|error| format!("{url}: {}", chain(&error)));
        tell(found, url, answer.and_then(|answer| groups_of(url, &answer)));
    }
}

fn groups_of(url: &str, answer: &Answer) -> Result<Vec<TargetGroup>, String> {
    let kind = answer.content_type.split(';').next().unwrap_or_default().trim();
    if !kind.eq_ignore_ascii_case("application/json") {
        return Err(format!("{url}: the answer's content type is {kind:?}; it must be application/json"));
    }
    let groups: Vec<Group> = serde_json::from_slice(&answer.body).map_err(|error| format!("{url}: {error}"))?;
    let group = |group: Group| {
        let mut labels: Vec<_> = group.labels.into_iter().collect();
        labels.push((META_URL.to_owned(), url.to_owned()));
        TargetGroup { targets: group.targets, labels }
    };
    Ok(groups.into_iter().map(group).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn groups_are_read_and_anything_else_is_told() {
        let answer = |kind: &str, body: &'static str| Answer { body: body.into(), content_type: kind.to_owned() };
        let body = r#"[{"targets":["a:1","b:2"],"labels":{"zone":"x"}},{"targets":[]}]"#;
        let groups = groups_of("http://sd", &answer("application/json; charset=utf-8", body)).unwrap();
        assert_eq!(groups.len(), 2);
        let labels = &groups.first().unwrap().labels;
        assert_eq!(labels.first().unwrap(), &("zone".to_owned(), "x".to_owned()));
        assert!(groups_of("http://sd", &answer("text/html", "<p>")).unwrap_err().contains("must be application/json"));
        assert!(
            groups_of("http://sd", &answer("application/json", "[{\"target\":[]}]")).unwrap_err().contains("target")
        );
    }
}
