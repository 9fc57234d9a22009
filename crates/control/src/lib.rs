//! Composes judge, explain and act.

mod cells;
pub mod command;
mod control;
pub mod event;
mod splits;
mod traffic;

pub use command::Command;
pub use control::{Control, RestoreError};
pub use event::{ControlSpec, ControlledService, Event};
