//! Scrapes expositions of targets that it finds, and hands samples to a sink.

mod credentials;
pub mod discover;
pub mod duration;
pub mod fetch;
pub mod spec;
pub mod target;
mod tls;
