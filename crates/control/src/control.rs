//! The state machine's outside: `step`, deadlines, snapshot and restore.

use std::collections::BTreeMap;

use homeostat_model::{IncidentId, ServiceName, Timestamp, action::Split, view::View};
use serde::{Deserialize, Serialize};

use crate::{Command, ControlSpec, Event};

/// The control loop's whole state. The same events at the same times give the same commands, also after
/// [`Control::snapshot`] and [`Control::restore`] in between.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Control {
    now: Timestamp,
    spec: ControlSpec,
}

/// Why a snapshot could not be read.
#[derive(Debug, thiserror::Error)]
pub enum RestoreError {
    /// It is not what [`Control::snapshot`] writes.
    #[error("the snapshot of the control state cannot be read; replay the journal from an older segment")]
    Malformed(#[source] serde_json::Error),
}

impl Control {
    /// A loop that knows nothing yet; the first event has to be [`Event::Configured`].
    pub fn new(start: Timestamp) -> Self {
        Self { now: start, spec: ControlSpec::default() }
    }

    /// Takes one event and returns what is to be done, in order; shifts come first.
    /// `now` never runs backwards: an earlier instant counts as the latest one.
    pub fn step(&mut self, now: Timestamp, event: Event) -> Vec<Command> {
        self.now = self.now.max(now);
        if let Event::Configured(spec) = event {
            self.spec = *spec;
        }
        Vec::new()
    }

    /// The next instant at which [`Event::Tick`] is due even if nothing was counted; always after the latest step.
    pub fn next_deadline(&self) -> Option<Timestamp> {
        None
    }

    /// The split that each service should have now: what the serving table must show whenever it is built anew.
    pub fn desired_splits(&self) -> BTreeMap<ServiceName, Split> {
        self.spec.services.iter().map(|s| (s.name.clone(), s.split.clone())).collect()
    }

    /// Everything there is to see.
    pub fn view(&self, now: Timestamp) -> View {
        View { at: now, ..View::default() }
    }

    /// Incidents that are not closed, ascending.
    pub fn open_incident_ids(&self) -> Vec<IncidentId> {
        Vec::new()
    }

    /// The whole state as JSON.
    pub fn snapshot(&self) -> Vec<u8> {
        serde_json::to_vec(self).unwrap_or_default()
    }

    /// Reads a snapshot back.
    pub fn restore(snapshot: &[u8]) -> Result<Self, RestoreError> {
        serde_json::from_slice(snapshot).map_err(RestoreError::Malformed)
    }
}
