//! The HTTP API.

pub mod backend;
pub mod spec;
