//! Exemplars: the trace and span that were at work, and attributes that did not become labels.

use std::borrow::Cow;

use homeostat_model::TimeMs;

use super::{
    point::start_millis,
    value::{ValueError, read_attribute},
};
use crate::{
    intake::{Fault, IntakeLimits, Label, normalise},
    protobuf::Reader,
};

/// Characters of an exemplar's labels, names and values together.
/// Source: OpenMetrics 1.0, "Exemplars".
const CHARS_MAX: usize = 128;

/// An exemplar that was read.
#[derive(Debug)]
pub(super) struct Exemplar<'a> {
    labels: Vec<(&'a str, Cow<'a, str>)>,
    pub(super) value: f64,
    pub(super) t_ms: Option<TimeMs>,
}

impl<'a> Exemplar<'a> {
    /// Reads an exemplar. Attributes that would make it too long are left out, all of them.
    pub(super) fn read(mut message: Reader<'a>, limits: &IntakeLimits) -> Result<Self, ValueError> {
        let (mut attributes, mut value, mut time_ns) = (Vec::new(), None, 0);
        let (mut trace, mut span) = (&[][..], &[][..]);
        while let Some(field) = message.field()? {
            match field.number {
                2 => time_ns = field.fixed64()?,
                3 => value = Some(field.double()?),
                4 => span = field.bytes()?,
                5 => trace = field.bytes()?,
                6 => value = Some(field.fixed64()? as i64 as f64),
                7 if attributes.len() < limits.labels_max => {
                    attributes.push(read_attribute(field.message()?, attributes.len())?);
                }
                _ => {}
            }
        }
        let Some(value) = value else {
            let what = "an exemplar has no value; set asDouble or asInt";
            return Err(ValueError::Fault(Fault::Unsupported { what }));
        };
        let ids = [("trace_id", trace), ("span_id", span)];
        let mut labels: Vec<(&str, Cow<'_, str>)> = ids
            .into_iter()
            .filter(|(_, id)| id.iter().any(|byte| *byte != 0))
            .map(|(name, id)| (name, hex(id).into()))
            .collect();
        let chars = |labels: &[(&str, Cow<'_, str>)]| -> usize {
            labels.iter().map(|(name, value)| name.chars().count() + value.chars().count()).sum()
        };
        if chars(&labels) + chars(&attributes) <= CHARS_MAX {
            labels.append(&mut attributes);
        }
        Ok(Self { labels, value, t_ms: start_millis(time_ns) })
    }

    /// Its labels, sorted and checked.
    pub(super) fn labels(&self, limits: &IntakeLimits) -> Result<Vec<Label<'_>>, Fault> {
        let mut labels = self.labels.iter().map(|(name, value)| (*name, &**value)).collect();
        normalise(&mut labels, limits)?;
        Ok(labels)
    }
}

fn hex(bytes: &[u8]) -> String {
    bytes
        .iter()
        .flat_map(|byte| [byte >> 4, byte & 0xf])
        .filter_map(|digit| char::from_digit(digit.into(), 16))
        .collect()
}
