//! The HTTP API under `/homeostat/v1/`, health, metrics, and the files of the embedded console.
//!
//! One table ([`endpoints`]) says what is served, by whom it may be used and what it answers; the router and the
//! OpenAPI document are both made from it, so neither can know a path that the other does not.
//! What the API shows and does comes from the process it runs in, through [`backend::Backend`].
//!
//! Not here: decisions (`control`), storage (`store-events`), the console's sources (`web/`).
//! Invariants: every answer but the console's files is JSON, text or an event stream with security headers; every error
//! is an RFC 9457 problem; every limit is in [`limits`]; nobody drives anything without being named in the audit.

pub mod assets;
pub mod backend;
pub mod body;
pub mod limits;
pub mod openapi;
pub mod profiles;
pub mod prometheus;
pub mod server;
pub mod spec;

mod auth;
mod browser;
mod endpoints;
mod events;
mod extract;
mod handlers;
mod listen;
mod metrics;
mod problem;
mod shared;

pub use assets::Console;
pub use backend::Backend;
pub use endpoints::catalogue;
pub use server::{ApiServer, BindError};
pub use shared::{ApiHandle, TokensRefused};
