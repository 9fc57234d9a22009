//! The HTTP data plane: accepts, checks, routes, forwards, counts. It serves even when everything else is dead.
//!
//! ```text
//!            ┌ worker 0: runtime, listeners, pools, counters ┐
//!  clients ──┤ worker 1: the same                            ├── upstreams
//!            └ ...                                           ┘
//!                  ▲ one pointer: the route table   │ counters, exemplars: read from outside
//!                  │                                ▼
//!             GatewayHandle::swap_table       collect, latencies, take_exemplars, stats
//! ```
//!
//! A request, in reading order: `client` (connection), [`policy`] (what is let in), `forward` (route, send, retry),
//! `pool` (upstream connections), `body` (streaming both ways), `exchange` (limits and outcome), [`cells`] (counting).
//!
//! Left to others: which route, version and endpoint (`gateway-route`), what the counts mean (`judge-*`).
//! Invariants: no request waits for a lock, a disk or another thread; every routed request is counted once; every buffer,
//! queue and wait has a limit.

mod answer;
mod body;
pub mod cells;
pub mod classify;
mod client;
mod client_io;
mod collect;
mod exchange;
mod exec;
mod exemplar;
mod forward;
mod gateway;
pub mod histogram;
mod hop;
mod listen;
pub mod policy;
mod pool;
pub mod spec;
mod stats;
mod tls;
mod tunnel;
mod worker;

pub use gateway::{DrainReport, Gateway, GatewayHandle, StartError, WORKERS_MAX};
pub use stats::{GatewayStats, ListenerStats, WorkerStats};
pub use tls::{TlsError, check_tls_files};
