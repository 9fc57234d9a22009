//! Bytes of the metrics store: the record that its log holds for each batch, and the pages that its blocks consist of.
//!
//! ```text
//! block file   header │ pages of chunks, times, series, lists, values, names │ footer │ trailer
//! chunk        column of values ── shares its column of times with the other series of its target
//! ```
//!
//! Not here: files and memory (`store-series`), frames around records of the log (`wal_record`).
//! `docs/format/series-wal.md`, `series-block.md` and `series-chunk.md` have every byte.

pub mod bits;
pub mod chunk_page;
pub mod decimal;
pub mod dictionary;
pub mod footer;
pub mod frame;
pub mod histogram;
pub mod histograms;
pub mod ints;
pub mod manifest;
pub mod postings;
mod reader;
pub mod record;
pub mod series_page;
pub mod values;

pub use reader::Malformed;
