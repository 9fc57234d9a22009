//! The only maker of permits to act.
//!
//! The idea: judges and people *propose* plans; nothing outside changes unless the guard turned the plan into an
//! [`Admitted`] permit, and a permit is spent by executing it. The guard asks, in this order: is there evidence, is the
//! TTL bounded, may we act at all (break-glass, mode), is the blast radius small enough, have we acted too often or too
//! recently, and has a person agreed where one must.
//!
//! Protective actions (they only move traffic back to the version that served before) skip blast radius, rate and
//! cool-down, for a limit must never keep a bad release in service. They do not skip evidence, break-glass and mode.
//!
//! Not here: what to propose and when (`control`), carrying it out (`gateway-proxy`), remembering it (`store-events`).
//! Invariant: every admission and every refusal carries its reason; no clock is read.

mod evidence;
mod guard;
pub mod limits;
mod permit;
mod rate;

pub use guard::{Guard, Refused};
pub use limits::GuardLimits;
pub use permit::Admitted;
pub use rate::DONE_KEPT_MAX;
