//! `prometheus.WriteRequest`.

use super::{Stop, WriteError, histogram, kind_of, set_time};
use crate::{
    intake::{FloatSample, IntakeLimits, MetadataView, SeriesBuilder, SeriesSink},
    protobuf::{ProtobufError, Reader},
};

/// Reads an unpacked request and hands what it holds to `sink`, in the order of the request.
pub fn decode_v1<S: SeriesSink>(body: &[u8], limits: &IntakeLimits, sink: &mut S) -> Result<(), WriteError> {
    Decoder { builder: SeriesBuilder::new(limits), sink }
        .request(Reader::new(body))
        .map_err(|stop| stop.into_error("prometheus.WriteRequest"))
}

struct Decoder<'a, 'l, 's, S> {
    builder: SeriesBuilder<'a, 'l>,
    sink: &'s mut S,
}

impl<'a, S: SeriesSink> Decoder<'a, '_, '_, S> {
    fn request(&mut self, mut request: Reader<'a>) -> Result<(), Stop> {
        while let Some(field) = request.field()? {
            match field.number {
                1 => self.series(field.message()?)?,
                3 => self.metadata(field.message()?)?,
                _ => {}
            }
        }
        Ok(())
    }

    fn series(&mut self, message: Reader<'a>) -> Result<(), Stop> {
        self.builder.begin()?;
        let (bytes, behind) = split_labels(message)?;
        let known = bytes.and_then(|bytes| self.sink.recognise(bytes));
        let mut fields = if known.is_some() { behind } else { message };
        while let Some(field) = fields.field()? {
            match field.number {
                1 => {
                    let (name, value) = label(field.message()?)?;
                    self.builder.label_bytes(name, value);
                }
                2 => self.builder.sample(sample(field.message()?)?)?,
                3 => self.exemplar(field.message()?)?,
                4 => {
                    let timed = histogram::read(field.message()?)?;
                    self.builder.histogram(timed.t_ms, timed.start_ms, timed.histogram, self.sink)?;
                }
                _ => {}
            }
        }
        self.builder.finish(known, bytes, self.sink);
        Ok(())
    }

    fn exemplar(&mut self, mut message: Reader<'a>) -> Result<(), Stop> {
        let (mut value, mut t_ms) = (0.0, 0);
        self.builder.begin_exemplar();
        while let Some(field) = message.field()? {
            match field.number {
                1 => {
                    let (name, value) = label(field.message()?)?;
                    self.builder.exemplar_label_bytes(name, value);
                }
                2 => value = field.double()?,
                3 => t_ms = field.uint()? as i64,
                _ => {}
            }
        }
        Ok(self.builder.end_exemplar(value, set_time(t_ms), self.sink)?)
    }

    fn metadata(&mut self, mut message: Reader<'a>) -> Result<(), Stop> {
        let (mut kind, mut family, mut help, mut unit) = (0, &[][..], &[][..], &[][..]);
        while let Some(field) = message.field()? {
            match field.number {
                1 => kind = field.uint()?,
                2 => family = field.bytes()?,
                4 => help = field.bytes()?,
                5 => unit = field.bytes()?,
                _ => {}
            }
        }
        // Words for people are no reason to refuse anything.
        let (Ok(family), Ok(help), Ok(unit)) = (str::from_utf8(family), str::from_utf8(help), str::from_utf8(unit))
        else {
            return Ok(());
        };
        if !family.is_empty() {
            self.builder.metadata(MetadataView { family, kind: kind_of(kind), help, unit }, self.sink)?;
        }
        Ok(())
    }
}

/// A series' labels as bytes, and what follows them. Everybody writes the labels first; `None` when some stand elsewhere
/// or there are none.
fn split_labels(message: Reader<'_>) -> Result<(Option<&[u8]>, Reader<'_>), ProtobufError> {
    let mut behind = message;
    let mut next = message;
    while next.field()?.is_some_and(|field| field.number == 1) {
        behind = next;
    }
    let len = message.as_bytes().len() - behind.as_bytes().len();
    // `next` stands behind the first field that is no label.
    while let Some(field) = next.field()? {
        if field.number == 1 {
            return Ok((None, behind));
        }
    }
    Ok((message.as_bytes().get(..len).filter(|bytes| !bytes.is_empty()), behind))
}

#[inline]
fn label(mut message: Reader<'_>) -> Result<(&[u8], &[u8]), ProtobufError> {
    let (mut name, mut value) = (&[][..], &[][..]);
    while let Some(field) = message.field()? {
        match field.number {
            1 => name = field.bytes()?,
            2 => value = field.bytes()?,
            _ => {}
        }
    }
    Ok((name, value))
}

#[inline]
fn sample(mut message: Reader<'_>) -> Result<FloatSample, ProtobufError> {
    let mut sample = FloatSample { t_ms: 0, value: 0.0, start_ms: None };
    while let Some(field) = message.field()? {
        match field.number {
            1 => sample.value = field.double()?,
            2 => sample.t_ms = field.uint()? as i64,
            // Not of 1.0: our own queue keeps starts there until they leave as 2.0.
            3 => sample.start_ms = set_time(field.uint()? as i64),
            _ => {}
        }
    }
    Ok(sample)
}
