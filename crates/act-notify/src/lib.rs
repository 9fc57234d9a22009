//! Notifications to people.

pub mod spec;
