//! The gateway's decisions as pure functions over a compiled, immutable table.
//!
//! A [`spec::GatewaySpec`] is compiled once per configuration into a [`RouteTable`]; a worker loads the table once per
//! request, asks [`RouteTable::find`] for the route and [`Matched::choose`] for the version, and keeps that answer to
//! the end of the request. Neither allocates. A changed split replaces one service and shares everything else.
//!
//! Not here: sockets, pools and counters (`gateway-proxy`), deciding on splits (`control`), reading configuration.
//! Invariant: no clock and no chance in here; time and random numbers come in as arguments.

pub mod balance;
mod cell;
mod compile;
mod condition;
mod host;
pub mod path;
mod path_tree;
mod problem;
mod siphash;
pub mod spec;
mod split;
pub mod sticky;
mod table;

pub use cell::{CellRegistry, CellsFull};
pub use problem::{CompileProblem, HostFault, Place, ProblemKind, SplitProblem};
pub use split::{BUCKETS, SplitSequence, SplitTable};
pub use table::{ChosenBy, Matched, Route, RouteTable, Service, Version, VersionChoice};
