//! The gateway's decisions as pure functions over a compiled, immutable table.

pub mod spec;
