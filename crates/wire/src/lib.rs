//! Pure codecs: bytes in, values out, and back.
//!
//! Every decoder here takes hostile input: strict, bounded, free of panics, and fuzzed (`fuzz/`).
//! Not here: files, sockets, and what the values are used for.

pub mod exposition;
pub mod gzip;
pub mod intake;
pub mod journal;
mod native;
pub mod otlp;
pub mod pprof;
pub mod profiles;
pub mod protobuf;
pub mod pyroscope;
pub mod remote_write;
pub mod scrape;
pub mod series;
pub mod snappy;
pub mod varint;
pub mod wal_record;
