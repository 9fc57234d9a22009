//! Bytes of the metrics store: the record that its log holds for each batch.
//!
//! Not here: files and memory (`store-series`), frames around records (`wal_record`).

pub mod histogram;
pub mod record;
