//! The vocabulary that all rooms share: plain values, no I/O, no async, no clock.
//!
//! A value of one of these types is already valid: constructors hold the ranges, so that no room checks twice.
//! Types that end up on disk or on the wire derive `serde`; their JSON form is part of the public API
//! (`docs/format/journal.md`) and changes only by addition.
//!
//! Not here: decisions (`judge-*`, `act-guard`, `control`), codecs (`wire`), reading clocks (the edges).

pub mod action;
pub mod change;
pub mod error_chain;
pub mod evidence;
pub mod explanation;
pub mod go_regex;
pub mod histogram;
pub mod incident;
pub mod kernel;
pub mod labels;
pub mod metric;
pub mod name;
pub mod notice;
pub mod number_text;
pub mod objective;
pub mod outcome;
pub mod profile;
pub mod rollout;
pub mod sample;
pub mod share;
pub mod time;
pub mod verdict;
pub mod view;

pub use action::{ActionId, ActionMode};
pub use change::{Actor, ChangeEvent, ChangeKind, ConfigDigest, ConfigRead};
pub use histogram::Histogram;
pub use incident::IncidentId;
pub use labels::{Labels, LabelsBuilder};
pub use metric::{MetricKind, MetricMetadata};
pub use name::{ObjectiveName, ReceiverName, RolloutName, RouteName, ServiceName, VersionName};
pub use objective::Objective;
pub use outcome::{CellId, CellKey, OutcomeClass, OutcomeCounts, OutcomeDelta};
pub use sample::{Sample, SampleRun, SampleValue, TimeMs};
pub use share::Weight;
pub use time::{Span, Timestamp};
