//! Composes judge, explain and act: `step(now, event) -> commands`.
//!
//! The idea: one state machine is told everything that happens (a configuration, a tick of outcomes, an order, a report of
//! the gateway) and answers with everything that is to be done (a shift, a record, a recording, a notice, a refusal).
//! It reads no clock and has no source of chance, so a journal of its events is also a proof of its commands.
//!
//! The parts: [`Control`] the outside; `configure` taking over declarations; `rollout` (with its `trial`, `verify`)
//! one rollout's life; `objective` burning budgets; `forgotten` a past with a hole; `announced` changes told from outside; `world` what they share: guard, ledger of actions, open incidents;
//! `cells` what a counter means; `splits` arithmetic of weights; `view` the read model; [`recorder`] the black box.
//!
//! Not here: statistics (`judge-canary`, `judge-slo`), permission (`act-guard`), carrying anything out (the edges).
//! Invariants: same events, same commands, also over snapshot and restore; shifts come first; every shift has a record;
//! a canary that was taken back has no traffic until somebody gives it some; everything that is kept has a limit.

mod announced;
mod bad_run;
mod cells;
pub mod command;
mod configure;
mod control;
pub mod event;
mod forgotten;
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
