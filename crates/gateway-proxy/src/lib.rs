//! The HTTP data plane.

pub mod spec;
