//! Bytes of the profile store: the record that its log holds for each profile, and the parts that its blocks consist of.
//!
//! ```text
//! block file   header │ symbols, pages; symbols, pages; … │ footer │ trailer
//! symbols      texts, frames, stacks and labels of one service, each once
//! page         profiles of one series: times, and rows that point to stacks
//! ```
//!
//! Every part is compressed by itself and has a checksum of its own, so that a query reads what it needs, and damage has a
//! place. Not here: files and memory (`store-profiles`). `docs/format/profiles.md` has every byte.

mod ends;
mod footer;
mod part;
mod record;
mod rows;
mod symbols;
mod window;

pub use ends::{
    EndsError, HEADER_BYTES, MAGIC, TRAILER_BYTES, VERSION, check_header, decode_trailer, encode_header, encode_trailer,
};
pub use footer::{Footer, PageEntry, Partition, Series, Subject};
pub use part::{PART_BYTES_MAX, PartError, open_part, put_part};
pub use record::{RecordError, decode_record, encode_record, encode_record_of, window_of_record};
pub use rows::{Entries, Entry, Rows, put_entry};
pub use symbols::{decode_symbols, encode_symbols, symbols_bytes_max};
pub use window::{BadWindow, REPEATED_HEADER, WINDOW_HEADER, WindowId};

pub use crate::series::{Malformed, frame::PageRef};
