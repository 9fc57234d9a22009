//! The demonstration's configuration: an ordinary file, so that everything it shows can be had with `homeostat up`.

use std::{net::SocketAddr, path::Path};

/// Who listens where.
#[derive(Clone, Copy, Debug)]
pub(super) struct Addresses {
    gateway: SocketAddr,
    api: SocketAddr,
    v1: SocketAddr,
    v2: SocketAddr,
    recommender: SocketAddr,
}

impl Addresses {
    /// Gateway and API on whatever loopback port is free.
    pub(super) fn free([v1, v2, recommender]: [SocketAddr; 3]) -> Self {
        let free = SocketAddr::from(([127, 0, 0, 1], 0));
        Self { gateway: free, api: free, v1, v2, recommender }
    }
}

/// The configuration as a file of its own, with ports that people know.
pub(super) fn sample() -> String {
    let at = |port| SocketAddr::from(([127, 0, 0, 1], port));
    let addresses = Addresses { gateway: at(8080), api: at(7700), v1: at(8081), v2: at(8082), recommender: at(8083) };
    text(&addresses, Path::new("homeostat-data"))
}

/// The configuration.
pub(super) fn text(addresses: &Addresses, journal: &Path) -> String {
    let Addresses { gateway, api, v1, v2, recommender } = addresses;
    // A path in double quotes: JSON's escapes are YAML's too.
    let path = homeostat_shop::recommender::PATH;
    let journal = serde_json::Value::from(journal.to_string_lossy().into_owned());
    format!(
        r"# The flash-sale shop. Customers keep their version: an order lives where it was placed.
apiVersion: homeostat/v1
kind: Service
metadata: {{name: shop}}
spec:
  versions:
    v1: http://{v1}
    v2: http://{v2}
  sticky: {{header: x-user}}
  objectives:
    availability: 99.9%
  # Both versions ask it through the gateway, which counts what it answers: a fault of its own is not the release's.
  dependsOn: recommender
  # The shops serve no profiles, so the kernel takes them, often: a bad release has a second or two.
  profiling: {{from: kernel, window: 1s, rate: 1999}}
---
# Nobody watches a demonstration for the 5 minutes that pages take by default, so its windows are a minute and
# five seconds.
apiVersion: openslo/v1
kind: SLO
metadata: {{name: shop-latency, annotations: {{homeostat.dev/min-events: 50}}}}
spec:
  service: shop
  indicator: {{spec: {{thresholdMetric: {{metricSource: {{type: Homeostat, spec: {{unit: ms}}}}}}}}}}
  timeWindow: [{{duration: 30d, isRolling: true}}]
  budgetingMethod: Occurrences
  objectives: [{{target: 0.99, op: lte, value: 100}}]
  alertPolicies:
    - spec:
        conditions:
          - spec: {{severity: page, condition: {{kind: burnrate, threshold: 14.4, lookbackWindow: 1m}}}}
---
apiVersion: homeostat/v1
kind: Service
metadata: {{name: recommender}}
spec:
  versions:
    v1: http://{recommender}
  objectives:
    latency: {{target: 99%, within: 100ms}}
---
apiVersion: homeostat/v1
kind: Route
metadata: {{name: recommended}}
spec: {{service: recommender, path: {path}}}
---
apiVersion: homeostat/v1
kind: Route
metadata: {{name: shop}}
spec: {{service: shop}}
---
# v2 gets 5 % of the customers, and more once it is shown to be no worse; nothing as soon as it is shown to be worse.
apiVersion: homeostat/v1
kind: Rollout
metadata: {{name: shop}}
spec:
  service: shop
  canary: v2
  steps:
    - {{weight: 5%, gate: evidence, atLeast: 3m}}
    - 25%
    - 100%
---
apiVersion: homeostat/v1
kind: Gateway
spec:
  listeners: ['{gateway}']
  workers: 1
---
apiVersion: homeostat/v1
kind: Api
spec: {{listen: '{api}'}}
---
apiVersion: homeostat/v1
kind: Store
spec: {{dir: {journal}}}
"
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::load_str;

    #[test]
    fn the_configuration_is_accepted_without_a_warning() {
        let checked = load_str("demo.yaml", &sample()).unwrap();
        assert!(checked.warnings.to_string().is_empty(), "{}", checked.warnings);
        assert_eq!((checked.rollouts.len(), checked.objectives.len()), (1, 3));
        // Both objectives are compared: faults that are no errors show as slowness.
        assert_eq!(checked.rollouts[0].test.slis.len(), 2);
    }

    #[test]
    fn a_directory_with_any_name_is_quoted() {
        let addresses = Addresses::free(["127.0.0.1:1", "127.0.0.1:2", "127.0.0.1:3"].map(|at| at.parse().unwrap()));
        let odd = Path::new("/tmp/it's \"here\": #1 \\ ü");
        let checked = load_str("demo.yaml", &text(&addresses, odd)).unwrap();
        assert_eq!(checked.store.dir, odd);
    }
}
