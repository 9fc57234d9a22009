//! Whether a request brings deltas, by a look that skips everything else.

use super::resource::single_fields;
use crate::protobuf::{ProtobufError, Reader};

/// `AGGREGATION_TEMPORALITY_DELTA`.
pub(super) const DELTA: u64 = 1;

/// Returns true when a metric of the request says that its points are deltas. What cannot be read has none: reading it
/// in earnest tells why.
pub fn has_deltas(body: &[u8]) -> bool {
    look(body).unwrap_or(false)
}

fn look(body: &[u8]) -> Result<bool, ProtobufError> {
    let mut resources = Reader::new(body);
    while let Some(resource) = next(&mut resources, 1)? {
        let mut scopes = resource;
        while let Some(scope) = next(&mut scopes, 2)? {
            let mut metrics = scope;
            while let Some(metric) = next(&mut metrics, 2)? {
                for data in single_fields(metric, [7, 9, 10])?.into_iter().flatten() {
                    if temporality(data)? == DELTA {
                        return Ok(true);
                    }
                }
            }
        }
    }
    Ok(false)
}

/// The next message with this number.
fn next<'a>(reader: &mut Reader<'a>, number: u32) -> Result<Option<Reader<'a>>, ProtobufError> {
    while let Some(field) = reader.field()? {
        if field.number == number {
            return field.message().map(Some);
        }
    }
    Ok(None)
}

/// The last one given, as everywhere in protobuf.
fn temporality(mut data: Reader<'_>) -> Result<u64, ProtobufError> {
    let mut last = 0;
    while let Some(field) = data.field()? {
        if field.number == 2 {
            last = field.uint()?;
        }
    }
    Ok(last)
}
