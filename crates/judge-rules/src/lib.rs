//! Recording and alerting rules as Prometheus has them, as a pure calculation.
//!
//! ```text
//! Group (checked) ──▶ GroupState ── evaluate(rule, t) ──▶ samples to write: recorded series, ALERTS, stale markers
//!                         │  ▲                        └──▶ alerts that are due to be sent
//!                 view for │  └── SeriesSource: what is stored by now, the rules before it included
//!                 the API  ▼
//! ```
//!
//! A rule sees what the rules before it in its group have written, because its evaluation is a step of its own: the
//! caller writes the samples and then takes the next step.
//!
//! Not here: reading files (`homeostat`'s configuration), schedules and sending (the server), receivers (`act-notify`).
//! Invariants: nothing reads a clock; the same series at the same instants give the same samples and alerts; a rule that
//! fails leaves the state that it had (but for alerts over the limit of their group, which are cleared).
//! Source: prometheus.io/docs/prometheus/latest/configuration/{recording_rules,alerting_rules}.

pub mod alert;
pub mod evaluation;
pub mod group;
pub mod indicator;
pub mod objectives;
pub mod template;
pub mod view;

pub use alert::{Alert, AlertState, DueAlert};
pub use evaluation::{Environment, GroupState, Surroundings};
pub use group::{Alerting, Group, Rule, RuleKind};
