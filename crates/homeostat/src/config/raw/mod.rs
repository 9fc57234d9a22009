//! Documents as written by the user: every field optional, nothing but its own form checked.
//!
//! These types exist between reading and checking only. Their doc comments are the reference (`docs/config.md`) and
//! the JSON Schema's descriptions, so they speak to the user.

pub(crate) mod guard;
pub(crate) mod openslo;
pub(crate) mod process;
pub(crate) mod receiver;
pub(crate) mod rollout;
pub(crate) mod route;
pub(crate) mod service;
