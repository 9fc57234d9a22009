//! The binary's rooms: configuration, wiring of all parts (`runtime`), subcommands (`cli`).
//!
//! The only crate that knows everyone. A library as well, so that tests and the demo start the same runtime that
//! `homeostat up` starts.

mod cases;
pub mod cli;
pub mod config;
pub mod runtime;
