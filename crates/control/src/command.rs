//! What control wants done.

use homeostat_act_guard::Admitted;
use homeostat_model::{
    CellId, IncidentId, RolloutName, Timestamp, action::ActionRecord, incident::Incident, notice::Notice,
    rollout::Phase,
};
use serde::Serialize;

/// Something to be done outside. Executing any of them twice does no harm: after a crash the tail of the journal is
/// executed again.
#[derive(Debug, PartialEq, Serialize)]
#[serde(rename_all = "snake_case", tag = "command")]
pub enum Command {
    /// Change a service's split in the serving table, then report `Event::Applied` or `Event::Failed`.
    Shift {
        /// The permit; spent by executing it.
        permit: Admitted,
    },
    /// An action was proposed or changed its state: keep the record.
    RecordAction(Box<ActionRecord>),
    /// An incident was opened or changed: keep the record. Replaces the one with the same id.
    RecordIncident(Box<Incident>),
    /// Keep the recording of these cells with the incident. Comes once at the opening and once when the incident is
    /// closed, then with a later `to`; the longer recording replaces the shorter.
    FreezeBlackBox {
        /// For which incident.
        incident: IncidentId,
        /// Whose series; ascending.
        cells: Vec<CellId>,
        /// First instant wanted.
        from: Timestamp,
        /// Last instant wanted.
        to: Timestamp,
    },
    /// Tell people. Idempotent by `key`.
    Notify(Box<Notice>),
    /// A rollout changed its phase: for the event stream and the audit.
    RolloutMoved {
        /// Which.
        rollout: RolloutName,
        /// Where to.
        phase: Phase,
    },
    /// A request of a person was refused: tell whoever asked.
    Refuse {
        /// For people.
        reason: String,
    },
}

impl Command {
    /// Whether it may go ahead of a disk that does not answer within 20 ms.
    pub fn is_protective(&self) -> bool {
        matches!(self, Self::Shift { permit } if permit.plan().purpose.is_protective())
    }
}
