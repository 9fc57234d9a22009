//! Fields to the end of a message.
//!
//! The functions write also zeros: whoever follows proto3, where a zero is not written, leaves them out.

use crate::varint;

const VARINT: u32 = 0;
const FIXED64: u32 = 1;
const DELIMITED: u32 = 2;

fn put_key(number: u32, wire_type: u32, out: &mut Vec<u8>) {
    varint::put(u64::from(number << 3 | wire_type), out);
}

/// Appends a `uint64`, `uint32`, `bool` or enum.
pub fn put_uint(number: u32, value: u64, out: &mut Vec<u8>) {
    put_key(number, VARINT, out);
    varint::put(value, out);
}

/// Appends an `int64` or `int32`: negative ones take ten bytes.
pub fn put_int(number: u32, value: i64, out: &mut Vec<u8>) {
    put_uint(number, value as u64, out);
}

/// Appends a `sint64` or `sint32`.
pub fn put_sint(number: u32, value: i64, out: &mut Vec<u8>) {
    put_uint(number, varint::zigzag(value), out);
}

/// Appends a `double`, bit by bit as it is.
pub fn put_double(number: u32, value: f64, out: &mut Vec<u8>) {
    put_fixed64(number, value.to_bits(), out);
}

/// Appends a `fixed64`.
pub fn put_fixed64(number: u32, value: u64, out: &mut Vec<u8>) {
    put_key(number, FIXED64, out);
    out.extend_from_slice(&value.to_le_bytes());
}

/// Appends a `string`.
pub fn put_text(number: u32, text: &str, out: &mut Vec<u8>) {
    put_bytes(number, text.as_bytes(), out);
}

/// Appends `bytes`.
pub fn put_bytes(number: u32, bytes: &[u8], out: &mut Vec<u8>) {
    put_key(number, DELIMITED, out);
    varint::put(bytes.len() as u64, out);
    out.extend_from_slice(bytes);
}

/// Appends a message that `write` appends field by field.
pub fn put_message(number: u32, out: &mut Vec<u8>, write: impl FnOnce(&mut Vec<u8>)) {
    let open = open_message(number, out);
    write(out);
    close_message(open, out);
}

/// A message whose fields follow; it ends with [`close_message`].
#[derive(Debug)]
pub(crate) struct OpenMessage {
    /// Where its length belongs.
    at: usize,
}

/// Begins a message. One byte is kept free for its length, which most messages fit; a longer one is moved up.
pub(crate) fn open_message(number: u32, out: &mut Vec<u8>) -> OpenMessage {
    put_key(number, DELIMITED, out);
    let at = out.len();
    out.push(0);
    OpenMessage { at }
}

/// Ends a message; everything since its beginning is in it.
pub(crate) fn close_message(OpenMessage { at }: OpenMessage, out: &mut Vec<u8>) {
    let len = out.len() - at - 1;
    if len < 0x80 {
        if let Some(slot) = out.get_mut(at) {
            *slot = len as u8;
        }
        return;
    }
    let mut prefix = Vec::with_capacity(varint::VARINT_BYTES_MAX);
    varint::put(len as u64, &mut prefix);
    out.splice(at..=at, prefix);
}

/// Appends repeated `double`s; nothing when there are none.
pub fn put_packed_doubles(number: u32, values: &[f64], out: &mut Vec<u8>) {
    if values.is_empty() {
        return;
    }
    put_key(number, DELIMITED, out);
    varint::put(8 * values.len() as u64, out);
    out.extend(values.iter().flat_map(|value| value.to_le_bytes()));
}

/// Appends repeated `sint64`s; nothing when there are none.
pub fn put_packed_sints(number: u32, values: impl IntoIterator<Item = i64>, out: &mut Vec<u8>) {
    put_packed_uints(number, values.into_iter().map(varint::zigzag), out);
}

/// Appends repeated `uint64`s or `uint32`s; nothing when there are none.
pub fn put_packed_uints(number: u32, values: impl IntoIterator<Item = u64>, out: &mut Vec<u8>) {
    let mut values = values.into_iter().peekable();
    if values.peek().is_some() {
        put_message(number, out, |out| values.for_each(|value| varint::put(value, out)));
    }
}
