//! Alertmanagers get every alert again and again while it fires, so what is lost on the way comes anew: each has a bounded
//! queue in memory and a task of its own, so that one that is away holds no other up.
//!
//! Source: CONVENTIONS §5, `POST /api/v2/alerts`; names of metrics: Prometheus, `notifier`.

use std::{
    collections::VecDeque,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
};

use homeostat_act_notify::{payload::Outgoing, spec::Secret, transport::Transport};
use homeostat_wire::exposition::{Exposition, FamilyKind};
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;

use crate::config::prometheus::alerting::Alertmanager;

/// Alerts that wait for one Alertmanager, as in Prometheus. At 1 KiB each, 10 MiB; when one is away for longer, the oldest
/// give way, and come again with the next round.
const QUEUE_ALERTS_MAX: usize = 10_000;
/// Alerts of one request, as in Prometheus.
const REQUEST_ALERTS_MAX: usize = 64;

/// One alert as JSON, shared by the queues.
pub(super) type Posted = Arc<str>;

/// What waits for one Alertmanager.
#[derive(Debug)]
pub(super) struct Queue {
    to: Alertmanager,
    waiting: Mutex<VecDeque<Posted>>,
    wake: Notify,
    sent: AtomicU64,
    failed: AtomicU64,
    dropped: AtomicU64,
}

impl Queue {
    pub(super) fn new(to: Alertmanager) -> Self {
        let zero = || AtomicU64::new(0);
        let (sent, failed, dropped) = (zero(), zero(), zero());
        Self { to, waiting: Mutex::default(), wake: Notify::new(), sent, failed, dropped }
    }

    fn waiting(&self) -> MutexGuard<'_, VecDeque<Posted>> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Hands alerts over without waiting.
    pub(super) fn push(&self, alerts: &[Posted]) {
        let mut waiting = self.waiting();
        waiting.extend(alerts.iter().cloned());
        let dropped = waiting.len().saturating_sub(QUEUE_ALERTS_MAX);
        waiting.drain(..dropped);
        self.dropped.fetch_add(dropped as u64, Ordering::Relaxed);
        drop(waiting);
        self.wake.notify_one();
    }

    fn batch(&self) -> Vec<Posted> {
        let mut waiting = self.waiting();
        let len = waiting.len().min(REQUEST_ALERTS_MAX);
        waiting.drain(..len).collect()
    }

    /// Posts until it is stopped and nothing waits any more.
    pub(super) async fn run(self: Arc<Self>, transport: Arc<dyn Transport>, stop: CancellationToken) {
        loop {
            let batch = self.batch();
            if !batch.is_empty() {
                self.post(&*transport, &batch).await;
            } else if stop.run_until_cancelled(self.wake.notified()).await.is_none() {
                return;
            }
        }
    }

    async fn post(&self, transport: &dyn Transport, batch: &[Posted]) {
        let body = format!("[{}]", batch.join(",")).into_bytes();
        let url = Secret::new(self.to.url.clone());
        let outgoing = Outgoing { url, bearer: None, body, render_failures: 0 };
        let problem = match transport.send(outgoing, self.to.timeout).await {
            Ok(reply) if reply.status / 100 == 2 => None,
            Ok(reply) => Some(format!("it answered {}", reply.status)),
            Err(error) => Some(error.to_string()),
        };
        let count = batch.len() as u64;
        let Some(problem) = problem else {
            self.sent.fetch_add(count, Ordering::Relaxed);
            return;
        };
        // Prometheus counts an alert that failed in both.
        self.failed.fetch_add(count, Ordering::Relaxed);
        self.dropped.fetch_add(count, Ordering::Relaxed);
        tracing::warn!(alertmanager = self.to.url, problem, "alerts were not sent; they come again");
    }
}

/// Appends counts by the names that Prometheus has.
pub(super) fn metrics(queues: &[Arc<Queue>], out: &mut String) {
    if queues.is_empty() {
        return;
    }
    let mut exposition = Exposition::new(out);
    let help = "Alertmanagers that alerts are sent to.";
    exposition
        .family("prometheus_notifications_alertmanagers_discovered", FamilyKind::Gauge, help)
        .count(&[], queues.len() as u64);
    let (counter, gauge) = (FamilyKind::Counter, FamilyKind::Gauge);
    let mut family = |name, kind, help, value: fn(&Queue) -> u64| {
        let mut family = exposition.family(name, kind, help);
        for queue in queues {
            family.count(&[("alertmanager", &queue.to.url)], value(queue));
        }
    };
    family("prometheus_notifications_sent_total", counter, "Alerts that were sent.", |queue| {
        queue.sent.load(Ordering::Relaxed)
    });
    family("prometheus_notifications_errors_total", counter, "Alerts that could not be sent.", |queue| {
        queue.failed.load(Ordering::Relaxed)
    });
    let help = "Alerts that were dropped because too many waited, or because sending them failed.";
    family("prometheus_notifications_dropped_total", counter, help, |queue| queue.dropped.load(Ordering::Relaxed));
    family("prometheus_notifications_queue_length", gauge, "Alerts that wait to be sent.", |queue| {
        queue.waiting().len() as u64
    });
    family("prometheus_notifications_queue_capacity", gauge, "Alerts that may wait to be sent.", |_| {
        QUEUE_ALERTS_MAX as u64
    });
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use homeostat_act_notify::transport::{Answer, Reply};
    use tokio::sync::mpsc;

    use super::*;

    /// Tells which address got what; one of them never answers.
    struct World(mpsc::Sender<(String, String)>);

    impl Transport for World {
        fn send(&self, outgoing: Outgoing, _: Duration) -> Answer {
            let (url, body) = (outgoing.url.reveal().to_owned(), String::from_utf8(outgoing.body).unwrap());
            self.0.try_send((url.clone(), body)).unwrap();
            Box::pin(async move {
                match url.as_str() {
                    "away" => std::future::pending().await,
                    _ => {
                        Ok(Reply { status: if url == "ill" { 500 } else { 200 }, retry_after: None, body: Vec::new() })
                    }
                }
            })
        }
    }

    fn queue(url: &str) -> Arc<Queue> {
        Arc::new(Queue::new(Alertmanager { url: url.to_owned(), timeout: Duration::from_secs(1) }))
    }

    #[tokio::test]
    async fn one_that_is_away_holds_no_other_up_and_drops_are_counted() {
        let (heard, mut calls) = mpsc::channel(1000);
        let (transport, stop): (Arc<dyn Transport>, _) = (Arc::new(World(heard)), CancellationToken::new());
        let queues = ["away", "ill", "well"].map(queue);
        let tasks = queues.clone().map(|queue| tokio::spawn(queue.run(Arc::clone(&transport), stop.clone())));
        let round = |from: usize, to: usize| -> Vec<Posted> { (from..to).map(|n| n.to_string().into()).collect() };
        for queue in &queues {
            queue.push(&round(0, 1));
        }
        for _ in 0..3 {
            calls.recv().await.unwrap();
        }
        for queue in &queues {
            queue.push(&round(1, QUEUE_ALERTS_MAX + 6));
        }
        stop.cancel();
        let [away, ill, well] = tasks;
        ill.await.unwrap();
        well.await.unwrap();
        away.abort();
        let mut text = String::new();
        metrics(&queues, &mut text);
        for line in [
            "sent_total{alertmanager=\"well\"} 10001",
            "dropped_total{alertmanager=\"well\"} 5",
            "sent_total{alertmanager=\"away\"} 0",
            "dropped_total{alertmanager=\"away\"} 5",
            "queue_length{alertmanager=\"away\"} 10000",
            "queue_length{alertmanager=\"well\"} 0",
            "errors_total{alertmanager=\"ill\"} 10001",
            "dropped_total{alertmanager=\"ill\"} 10006",
        ] {
            assert!(text.contains(&format!("prometheus_notifications_{line}\n")), "{line}\n{text}");
        }
        let bodies: Vec<String> =
            std::iter::from_fn(|| calls.try_recv().ok()).filter(|c| c.0 == "well").map(|c| c.1).collect();
        assert!(bodies.first().is_some_and(|body| body.starts_with("[6,7,") && body.ends_with(",69]")), "{bodies:?}");
    }
}
