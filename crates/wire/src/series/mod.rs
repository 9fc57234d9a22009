//! Bytes of the metrics store: the record that its log holds for each batch, and columns of times and values.
//!
//! Not here: files and memory (`store-series`), frames around records (`wal_record`).

pub mod bits;
pub mod decimal;
pub mod histogram;
pub mod ints;
mod reader;
pub mod record;
pub mod values;

pub use reader::Malformed;
