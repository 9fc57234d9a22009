//! What others push to us: samples by Prometheus remote write 1.0 and 2.0 and OTLP over HTTP and gRPC, profiles as clients of
//! Pyroscope and OpenTelemetry send them.
//!
//! ```text
//! body ── budget of bytes ──▶ worker: unpack, decode, append ──▶ wait for the disk ──▶ 204
//!              │ full: 503           │ nonsense: 400/413/415          │ full, broken: 503
//! ```
//!
//! All doors share the budget and the workers. They differ in how they say things: a status and words in remote write,
//! `partial_success` and a `google.rpc.Status` in OTLP, a trailer in gRPC.
//!
//! An answer in the 200s is only given when everything that was taken is as durable as the store promises. Good samples
//! of a request are kept when others are bad; the answer then says what was lost (400 in remote write, a partial success
//! in OTLP), so that a sender does not send it again.
//!
//! Under overload memory stays bounded: bodies share one budget, few requests are decoded at once, and the store's queue
//! has its own limit. Who does not fit is told 503 with `Retry-After`, before anything was taken.
//!
//! Not here: the formats (`wire`), order and age of samples (`store-series`).
//! Sources: prometheus.io/docs/specs/prw/remote_write_spec and remote_write_spec_2_0; opentelemetry.io, "OTLP
//! Specification"; `grpc/grpc` `doc/PROTOCOL-HTTP2.md`.

pub mod fold;
pub mod govern;
pub mod intake;
pub mod limits;
pub mod profiles;

mod body;
mod checked;
mod counters;
mod gate;
mod grpc;
mod gzip;
mod media;
mod otlp;
mod otlp_profiles;
mod problem;
mod remote_write;

pub use intake::{Durable, Intake, NotTaken, Rejected, Taken, Written};
pub use limits::ReceiveLimits;
pub use otlp::{OtlpReceiver, OtlpSettings};
pub use profiles::{ProfileIntake, ProfileReceiver, ProfileRefused};
pub use remote_write::Receiver;
