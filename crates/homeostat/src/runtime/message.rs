//! What is asked of the control thread besides ticks.

use homeostat_api::backend::{OperateError, Operation};
use homeostat_control::ControlSpec;
use homeostat_gateway_route::RouteTable;
use homeostat_model::{
    Actor, ChangeEvent, ConfigRead, IncidentId,
    explanation::{Explanation, ProfileKept},
    kernel::KernelStrip,
};
use tokio::sync::oneshot;

use super::indicators::Unmeasured;

/// A message in control's inbox.
#[derive(Debug)]
pub(super) enum Message {
    /// A compiled, checked configuration: take it over whole.
    Configure(Box<Configure>),
    /// The configuration was read: for the audit.
    ConfigRead(Box<ConfigRead>),
    /// The events of objectives could not be counted for a while; all of a round in one message, so that it does not take
    /// the lane from people.
    Unmeasured(Unmeasured),
    /// Somebody has looked into an incident.
    Explained {
        incident: IncidentId,
        explanation: Box<Explanation>,
        profiles: Vec<ProfileKept>,
        kernel: Vec<KernelStrip>,
    },
    /// A person or pipeline asks for something.
    Operate { operation: Operation, by: Actor, reason: String, reply: oneshot::Sender<Result<(), OperateError>> },
}

/// A configuration on its way into force.
#[derive(Debug)]
pub(super) struct Configure {
    /// Routes with the splits that the files declare; control's own splits are laid over them.
    pub(super) table: RouteTable,
    /// What control needs to know of it.
    pub(super) spec: ControlSpec,
    /// For the recorder; control notes it by itself. `None` for the first one of a process.
    pub(super) change: Option<ChangeEvent>,
    /// Told once the table serves.
    pub(super) done: Option<std::sync::mpsc::SyncSender<()>>,
}
