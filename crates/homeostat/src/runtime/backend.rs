//! The process behind its API: snapshots for readers, messages for whoever wants something done.

use std::{
    sync::{Arc, atomic::Ordering},
    time::Duration,
};

use homeostat_api::backend::{
    Answer, AuditEntry, Backend, ConfigStatus, Health, IncidentDetail, NewChange, OperateError, Operation, PartHealth,
    StoreError, StreamItem,
};
use homeostat_gateway_proxy::GatewayHandle;
use homeostat_model::{
    Actor, IncidentId, Span, Timestamp,
    incident::{BlackBox, Incident},
    view::View,
};
use homeostat_store_events::Journal;
use homeostat_wire::exposition::Exposition;
use tokio::sync::{broadcast, oneshot};

use super::{
    clock::Clock,
    inbox::Inbox,
    kernel_calls, kernel_strip,
    late::LateParts,
    message::Message,
    metrics,
    reload::ReloadHandle,
    shared::{MetricsHealth, Shared, lock},
};

/// How long a person waits for control before hearing that the outcome is unknown.
const OPERATE_TIMEOUT: Duration = Duration::from_secs(2);

/// Control ends a round at least twice a second; five seconds without one means that it is stuck.
const CONTROL_SILENCE_MAX: Span = Span::from_secs(5);

/// See the module's header.
#[derive(Debug)]
pub(super) struct ProcessBackend {
    clock: Clock,
    shared: Arc<Shared>,
    inbox: Arc<Inbox<Message>>,
    gateway: GatewayHandle,
    reload: ReloadHandle,
    late: Arc<LateParts>,
}

impl ProcessBackend {
    pub(super) fn new(
        clock: Clock,
        shared: Arc<Shared>,
        inbox: Arc<Inbox<Message>>,
        gateway: GatewayHandle,
        reload: ReloadHandle,
        late: Arc<LateParts>,
    ) -> Self {
        Self { clock, shared, inbox, gateway, reload, late }
    }

    /// From now on the process is not ready any more.
    pub(super) fn stopping(&self) {
        self.shared.stopping.store(true, Ordering::Relaxed);
    }

    /// Runs a read of the journal on a thread where it may block.
    fn read<T: Send + 'static>(
        &self,
        read: impl FnOnce(&Journal) -> Result<T, StoreError> + Send + 'static,
    ) -> Answer<'_, Result<T, StoreError>> {
        let journal = self.late.journal().cloned();
        Box::pin(async move {
            let Some(journal) = journal else {
                return Err(StoreError("the journal is not open yet; /homeostat/v1/health says why".to_owned()));
            };
            match tokio::task::spawn_blocking(move || read(&journal)).await {
                Ok(answer) => answer,
                Err(problem) => Err(StoreError(format!("the read ended early: {problem}"))),
            }
        })
    }

    /// Whether the operation names something that there is.
    fn known(&self, operation: &Operation) -> Result<(), OperateError> {
        let view = self.shared.view.load();
        if view.at == Timestamp::default() {
            return Err(OperateError::Unavailable);
        }
        match operation {
            Operation::Rollout { rollout, .. } if !view.rollouts.iter().any(|known| known.rollout.name == *rollout) => {
                let names =
                    view.rollouts.iter().map(|known| known.rollout.name.as_str()).collect::<Vec<_>>().join(", ");
                let list = if names.is_empty() { "none is declared".to_owned() } else { format!("there are: {names}") };
                Err(OperateError::NotFound(format!("there is no rollout `{rollout}`; {list}")))
            }
            Operation::Announce { change: NewChange { service: Some(service), .. } }
                if !view.services.iter().any(|known| known.name == *service) =>
            {
                let names = view.services.iter().map(|known| known.name.as_str()).collect::<Vec<_>>().join(", ");
                Err(OperateError::NotFound(format!(
                    "there is no service `{service}`; there are: {names}. Leave it out if the change touches all"
                )))
            }
            Operation::Rollout { .. }
            | Operation::Decide { .. }
            | Operation::BreakGlass { .. }
            | Operation::Announce { .. } => Ok(()),
        }
    }

    fn part(part: &str, trouble: Option<String>) -> PartHealth {
        PartHealth { part: part.to_owned(), ok: trouble.is_none(), detail: trouble.unwrap_or_default() }
    }

    fn control_trouble(&self) -> Option<String> {
        let silent = self.clock.now().since(self.shared.control_last_alive());
        (silent > CONTROL_SILENCE_MAX && self.late.journal().is_some()).then(|| {
            format!(
                "control has not finished a round for {}; the gateway serves on, nothing is judged",
                Span::from_ms(silent.ms())
            )
        })
    }

    fn gateway_trouble(&self) -> Option<String> {
        if self.shared.stopping.load(Ordering::Relaxed) {
            return Some(
                "it was asked to stop: running requests are finished, new connections are not taken".to_owned(),
            );
        }
        let dead = self.gateway.stats().workers.iter().filter(|worker| !worker.alive).count();
        (dead > 0).then(|| format!("{dead} workers have ended; the others serve on, a restart brings them back"))
    }

    fn journal_trouble(&self) -> Option<String> {
        match self.late.journal() {
            None => Some(
                lock(&self.shared.journal_trouble).clone().unwrap_or_else(|| "the journal is being opened".to_owned()),
            ),
            Some(journal) => super::journal::trouble(journal),
        }
    }

    fn notify_trouble(&self) -> Option<String> {
        match self.late.notify() {
            None => Some("the outbox is not open yet; the log says why".to_owned()),
            Some(notify) => {
                let problems = notify.stats().problems();
                (!problems.is_empty()).then(|| problems.join("; "))
            }
        }
    }

    fn config_trouble(&self) -> Option<String> {
        let config = lock(&self.shared.config);
        config.rejected_at.map(|_| {
            let first = config.problems.first().map_or("", String::as_str);
            format!("the configuration on disk was refused, the old one is in force: {first}")
        })
    }
}

impl Backend for ProcessBackend {
    fn view(&self) -> Arc<View> {
        self.shared.view.load_full()
    }

    fn subscribe(&self) -> broadcast::Receiver<Arc<StreamItem>> {
        self.shared.stream.subscribe()
    }

    fn operate(&self, operation: Operation, by: Actor, reason: String) -> Answer<'_, Result<(), OperateError>> {
        Box::pin(async move {
            self.known(&operation)?;
            let (reply, answer) = oneshot::channel();
            if self.inbox.push(Message::Operate { operation, by, reason, reply }).is_err() {
                return Err(OperateError::Unavailable);
            }
            match tokio::time::timeout(OPERATE_TIMEOUT, answer).await {
                Ok(Ok(outcome)) => outcome,
                Ok(Err(_)) | Err(_) => Err(OperateError::Unavailable),
            }
        })
    }

    fn incidents(&self, before: Option<IncidentId>, limit: usize) -> Answer<'_, Result<Vec<Incident>, StoreError>> {
        self.read(move |journal| Ok(journal.incidents(before, limit)))
    }

    fn incident(&self, id: IncidentId) -> Answer<'_, Result<Option<IncidentDetail>, StoreError>> {
        self.read(move |journal| {
            let detail = |incident: Incident| IncidentDetail {
                actions: journal.actions_of(id),
                has_black_box: journal.has_black_box(id),
                incident,
            };
            Ok(journal.incident(id).map(detail))
        })
    }

    fn black_box(&self, id: IncidentId) -> Answer<'_, Result<Option<BlackBox>, StoreError>> {
        self.read(move |journal| journal.black_box(id).map_err(|problem| StoreError(problem.to_string())))
    }

    fn audit(&self, limit: usize) -> Answer<'_, Result<Vec<AuditEntry>, StoreError>> {
        self.read(move |journal| {
            let entry = |line: homeostat_store_events::AuditLine| AuditEntry {
                at: line.at,
                by: line.by,
                what: line.what,
                reason: line.reason,
            };
            Ok(journal.audit(limit).into_iter().map(entry).collect())
        })
    }

    fn config(&self) -> ConfigStatus {
        lock(&self.shared.config).clone()
    }

    fn reload(&self, by: Actor) -> Answer<'_, ConfigStatus> {
        Box::pin(async move {
            match self.reload.reload(by).await {
                Some(status) => status,
                None => self.config(),
            }
        })
    }

    fn health(&self) -> Health {
        let mut parts = vec![
            Self::part("gateway", self.gateway_trouble()),
            Self::part("control", self.control_trouble()),
            Self::part("journal", self.journal_trouble()),
            Self::part("notify", self.notify_trouble()),
            Self::part("config", self.config_trouble()),
        ];
        match lock(&self.shared.metrics).clone() {
            MetricsHealth::Off => {}
            MetricsHealth::Fine(_) => parts.push(Self::part("metrics", None)),
            MetricsHealth::Trouble(problem) => parts.push(Self::part("metrics", Some(problem))),
        }
        // A refused configuration or a deaf receiver is bad news, not a reason to take the process out of service.
        let ready = parts
            .iter()
            .filter(|part| matches!(part.part.as_str(), "gateway" | "control" | "journal"))
            .all(|part| part.ok);
        Health { ready, parts }
    }

    fn metrics(&self, out: &mut String) {
        let mut exposition = Exposition::new(out);
        metrics::build(&mut exposition);
        metrics::outcomes(&mut exposition, &lock(&self.shared.totals));
        metrics::latencies(&mut exposition, &lock(&self.shared.totals));
        metrics::view(&mut exposition, &self.shared.view.load());
        metrics::control(
            &mut exposition,
            &self.shared.counters,
            self.inbox.merged_ticks(),
            self.clock.wall_offset_ns(),
        );
        metrics::gateway(&mut exposition, &self.gateway.stats());
        lock(&self.shared.profiling).metrics(&mut exposition);
        kernel_strip::metrics(&mut exposition, &lock(&self.shared.kernel));
        kernel_calls::metrics(&mut exposition, &lock(&self.shared.calls));
        if let Some(journal) = self.late.journal() {
            super::journal::metrics(&mut exposition, journal);
        }
        if let Some(notify) = self.late.notify() {
            notify.stats().write_metrics(out);
        }
    }
}
