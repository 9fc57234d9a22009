//! Scrapes expositions of targets that it finds, and hands samples to a sink.

pub mod duration;
pub mod spec;
pub mod target;
