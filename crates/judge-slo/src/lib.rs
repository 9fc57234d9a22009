//! Objectives judged over sliding windows: error budgets and multi-window burn rates, as a pure calculation.
//!
//! Intuition: the budget is a tank, the burn rate says how much faster than planned it drains. A short window notices
//! early but is noisy, a long one is sure but slow: paging needs both.
//!
//! [`ObjectiveJudge`] keeps one objective's events in four rings of slots and one running sum per window, so that the
//! cost of a tick does not depend on the length of the windows. [`events`] turns outcomes of requests into good and bad
//! events.
//!
//! Not here: canary against baseline (`judge-canary`), what follows from a verdict (`control`), reading OpenSLO documents
//! (the binary's configuration room).
//! Invariants: no clock is read; time never runs backwards, a late event counts in the newest slot; silence and
//! unmeasured time are never taken for health.
//! Source: Google, The Site Reliability Workbook, "Alerting on SLOs", multiwindow, multi-burn-rate alerts.

mod coverage;
mod judge;
mod ring;
mod rings;
mod sli;
mod state;

pub use coverage::GAPS_MAX;
pub use judge::{ObjectiveJudge, RuleChange};
pub use rings::{HISTORY_MAX, IDLE_BYTES_MAX, RINGS_BYTES_MAX};
pub use sli::events;
pub use state::StateError;
