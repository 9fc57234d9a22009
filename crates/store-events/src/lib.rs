//! The journal.

pub mod spec;
