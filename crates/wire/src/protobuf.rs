//! Protocol Buffers by hand: a reader that borrows and a writer that needs no sizes beforehand.
//!
//! The messages that come in by the million are few and small, so each decoder matches field numbers itself: nothing is
//! generated, nothing is copied, nothing is allocated. The reader knows where it stands, so that an error names the byte.
//!
//! Not here: messages (each format has its own module), groups (not in proto3: refused).
//! Invariants: reading never allocates, never reads past the given slice, and ends after at most one step per byte.
//! Source: protobuf.dev, "Encoding".

mod read;
mod write;

pub use read::{Field, ProtobufError, ProtobufFault, Reader, Value};
pub(crate) use write::{close_message, open_message};
pub use write::{
    put_bytes, put_double, put_fixed64, put_int, put_message, put_packed_doubles, put_packed_sints, put_packed_uints,
    put_sint, put_text, put_uint,
};
