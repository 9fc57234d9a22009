//! Composes judge, explain and act: `step(now, event) -> commands`.
mod bad_run;
mod cells;
pub mod command;
mod configure;
mod control;
pub mod event;
mod incidents;
mod ledger;
mod objective;
pub mod recorder;
mod rollout;
mod splits;
mod traffic;
mod trial;
mod two_sample;
mod verify;
mod view;
mod words;
mod world;

pub use command::Command;
pub use control::{Control, RestoreError};
pub use event::{ControlSpec, ControlledService, Event};
pub use recorder::Recorder;
