//! Composes judge, explain and act.

pub mod command;
pub mod event;

pub use command::Command;
pub use event::{ControlSpec, ControlledService, Event};
