//! Requests of a service that is not behind the gateway are judged by what the kernel sees of them.

#![cfg(test)]

mod common;

use std::{net::SocketAddr, path::Path, time::Duration};

use common::{Load, PATIENCE, Upstream, start, until};
use homeostat::runtime::Running;
use homeostat_model::view::View;
use homeostat_sense_kernel::{ProbeState, examine};

/// A service that is asked directly; no route leads to it.
fn config(data: &Path, endpoint: SocketAddr) -> String {
    format!(
        "apiVersion: homeostat/v1\nkind: Service\nmetadata: {{name: orders}}\nspec:\n  versions: {{v1: \"http://{endpoint}\"}}\n  \
         calls: {{from: kernel}}\n  objectives: {{availability: 99%, period: 1h, minEvents: 20}}\n---\n\
         apiVersion: homeostat/v1\nkind: Gateway\nspec: {{listeners: ['127.0.0.1:0'], workers: 1}}\n---\n\
         apiVersion: homeostat/v1\nkind: Api\nspec: {{listen: \"127.0.0.1:0\"}}\n---\n\
         apiVersion: homeostat/v1\nkind: Store\nspec: {{dir: \"{}\"}}\n",
        data.display()
    )
}

fn metric(running: &Running, start: &str) -> Option<f64> {
    let mut text = String::new();
    running.backend().metrics(&mut text);
    text.lines().find_map(|line| line.strip_prefix(start)?.rsplit(' ').next()?.parse().ok())
}

async fn wait_for(running: &Running, name: &str, is_so: impl Fn(f64) -> bool) -> f64 {
    let waited = tokio::time::timeout(PATIENCE, async {
        loop {
            if let Some(value) = metric(running, name).filter(|value| is_so(*value)) {
                return value;
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    });
    waited.await.unwrap_or_else(|_| panic!("waited in vain for {name}, which is {:?}", metric(running, name)))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_service_that_is_asked_directly_breaks_its_objective() {
    let works = examine().into_iter().find(|probe| probe.name == "calls").unwrap();
    let dir = tempfile::tempdir().unwrap();
    let upstream = Upstream::start().await;
    let running = start(dir.path(), &config(&dir.path().join("data"), upstream.address)).await;
    until(&running, "control knows the objective", |view| view.objectives.len() == 1).await;
    if works.state != ProbeState::Ok {
        println!("SKIPPED: {works:?}");
        wait_for(&running, "homeostat_kernel_calls_programs", |value| value == 0.0).await;
        running.stop().await;
        return;
    }
    wait_for(&running, "homeostat_kernel_calls_programs", |value| 0.0 < value).await;
    // Nobody asks through the gateway.
    let load = Load::start(upstream.address, 4);
    let ok = "homeostat_requests_total{route=\"kernel\",service=\"orders\",version=\"v1\",outcome=\"ok\"}";
    wait_for(&running, ok, |count| 0.0 < count).await;
    upstream.fail(500);
    // Half of the requests fail where one in a hundred may. Nobody is paged yet: most of the last five minutes was not measured.
    let burns =
        |view: &View| view.objectives.iter().any(|o| o.fast.enough && o.fast.burn_rate.is_some_and(|rate| 14.4 < rate));
    until(&running, "the budget burns", burns).await;
    // Each request was counted once, and as what it was; unless that became too dear, and a part of the time is left out.
    let (answered, failed, lost) = load.stop().await;
    assert_eq!(lost, 0);
    let counted = |view: &View| {
        view.objectives.iter().map(|o| (o.period.events.good, o.period.events.bad)).next().unwrap_or_default()
    };
    if metric(&running, "homeostat_kernel_calls_counted_ratio") == Some(1.0) {
        until(&running, "all requests are counted", |view| counted(view) == (answered, failed)).await;
    } else {
        let (good, bad) = counted(&running.backend().view());
        assert!(good <= answered && bad <= failed, "{good} of {answered}, {bad} of {failed}");
        running.stop().await;
        return;
    }
    for kind in ["lost", "unanswered", "unasked"] {
        let name = format!("homeostat_kernel_calls_unknown_total{{kind=\"{kind}\"}}");
        assert_eq!(metric(&running, &name), Some(0.0), "{kind}");
    }
    let report = running.stop().await;
    assert!(report.journal_synced, "{report}");
}
