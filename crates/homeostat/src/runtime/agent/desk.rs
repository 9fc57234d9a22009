//! Where windows become entries of the queue: labelled, redacted, packed.

use std::sync::Arc;

use homeostat_model::{Labels, TimeMs, error_chain::chain, labels::METRIC_NAME, profile::Profile};
use homeostat_profile::Redaction;
use homeostat_relay_profiles::{NotQueued, WindowQueue};
use homeostat_sense_pprof::{ProfileSink, Storing};
use homeostat_sense_receive::profiles::SERVICE;
use homeostat_store_wal::{Ticket, WaitError};

/// The label that says which agent sensed it.
pub(crate) const AGENT: &str = "agent";

/// Takes windows of all services.
#[derive(Debug)]
pub(super) struct Desk {
    pub(super) queue: Arc<WindowQueue>,
    redaction: Redaction,
    /// Labels of every window.
    own: Vec<(String, String)>,
}

impl Desk {
    /// Every window gets `labels`, and which agent it is from.
    pub(super) fn new(queue: Arc<WindowQueue>, redaction: Redaction, labels: Vec<(String, String)>) -> Self {
        let agent = (AGENT.to_owned(), format!("{:016x}", queue.sender()));
        Self { queue, redaction, own: labels.into_iter().chain([agent]).collect() }
    }

    /// Labels of a service's windows, without what is measured.
    pub(super) fn labels(&self, service: &str) -> Labels {
        let own = self.own.iter().map(|(name, value)| (name.as_str(), value.as_str()));
        Labels::new(own.chain([(SERVICE, service)]))
    }

    /// Queues a window of CPU time.
    pub(super) fn take_cpu(&self, service: &str, profile: &Profile, now_ms: TimeMs) -> Result<Ticket, NotQueued> {
        self.take(&self.labels(service).with(METRIC_NAME, "process_cpu"), profile, now_ms)
    }

    /// Nothing that must not be kept comes further than this.
    fn take(&self, labels: &Labels, profile: &Profile, now_ms: TimeMs) -> Result<Ticket, NotQueued> {
        self.queue.push(&self.redaction.labels(labels), &self.redaction.profile(profile), now_ms)
    }
}

impl ProfileSink for Desk {
    fn push(&self, labels: &Labels, profile: &Profile, now_ms: TimeMs) -> Result<Storing, String> {
        let ticket = self.take(labels, profile, now_ms).map_err(|refused| refused.to_string())?;
        Ok(Box::pin(async move {
            match ticket.await {
                // One that the disk refuses for now waits in memory and is written later: whoever measures growth must not
                // bring it again.
                Ok(_) | Err(WaitError::Failing(_) | WaitError::NotYet) => Ok(()),
                Err(error @ WaitError::Closed) => Err(chain(&error)),
            }
        }))
    }
}
