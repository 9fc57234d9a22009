//! Where objects are that never change: a directory or an S3-compatible bucket, by its address.
//!
//! Not here: what the objects are (`store-archive`, `store-profiles`), which of them make a whole.
//! Invariant: an object appears under its name when all of it is there and, in a directory, on disk.

mod connector;
mod place;

pub use place::{Place, PlaceError, Waits};
