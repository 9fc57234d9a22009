//! `io.prometheus.write.v2.Request`.

use super::{Stop, WriteError, histogram, kind_of, set_time};
use crate::{
    intake::{Fault, FloatSample, IntakeLimits, MetadataView, SeriesBuilder, SeriesSink, TooMany},
    protobuf::{ProtobufError, Reader},
};

/// Symbols that the table may have for each series of the limit: most texts are shared.
const SYMBOLS_PER_SERIES: usize = 2;

/// Reads an unpacked request and hands what it holds to `sink`, in the order of the request.
pub fn decode_v2<S: SeriesSink>(body: &[u8], limits: &IntakeLimits, sink: &mut S) -> Result<(), WriteError> {
    let mut decoder =
        Decoder { builder: SeriesBuilder::new(limits), symbols: Vec::new(), references: Vec::new(), sink };
    decoder.request(Reader::new(body), limits).map_err(|stop| stop.into_error("io.prometheus.write.v2.Request"))
}

struct Decoder<'a, 'l, 's, S> {
    builder: SeriesBuilder<'a, 'l>,
    /// `None` stands for what is not UTF-8: only series that use it are refused.
    symbols: Vec<Option<&'a str>>,
    /// Those of the labels at hand.
    references: Vec<u64>,
    sink: &'s mut S,
}

/// What a series says about its metric, as references.
#[derive(Default)]
struct Metadata {
    kind: u64,
    help: u64,
    unit: u64,
}

impl<'a, S: SeriesSink> Decoder<'a, '_, '_, S> {
    /// Symbols may stand behind the series that use them, though nobody writes it so.
    fn request(&mut self, request: Reader<'a>, limits: &IntakeLimits) -> Result<(), Stop> {
        let limit = limits.series_max.saturating_mul(SYMBOLS_PER_SERIES);
        let mut fields = request;
        while let Some(field) = fields.field()? {
            if field.number == 4 {
                if self.symbols.len() == limit {
                    return Err(TooMany { what: "symbols", limit }.into());
                }
                self.symbols.push(str::from_utf8(field.bytes()?).ok());
            }
        }
        let mut fields = request;
        while let Some(field) = fields.field()? {
            if field.number == 5 {
                self.series(field.message()?)?;
            }
        }
        Ok(())
    }

    fn series(&mut self, message: Reader<'a>) -> Result<(), Stop> {
        self.builder.begin()?;
        self.references.clear();
        let (mut start_ms, mut metadata) = (None, Metadata::default());
        // What all samples need comes first.
        let mut fields = message;
        while let Some(field) = fields.field()? {
            match field.number {
                1 => field.uints(|reference| self.references.push(reference))?,
                // An earlier form of 2.0 gave the start once for all samples of a series.
                6 => start_ms = set_time(field.uint()? as i64),
                _ => {}
            }
        }
        self.labels();
        let mut fields = message;
        while let Some(field) = fields.field()? {
            match field.number {
                2 => self.builder.sample(sample(field.message()?, start_ms)?)?,
                3 => {
                    let timed = histogram::read(field.message()?)?;
                    self.builder.histogram(timed.t_ms, timed.start_ms.or(start_ms), timed.histogram, self.sink)?;
                }
                4 => self.exemplar(field.message()?)?,
                5 => metadata = read_metadata(field.message()?)?,
                _ => {}
            }
        }
        self.builder.finish(None, None, self.sink);
        self.metadata(&metadata)
    }

    fn labels(&mut self) {
        for pair in self.references.chunks(2) {
            match pair_of(&self.symbols, pair) {
                Ok((name, value)) => self.builder.label(name, value),
                Err(fault) => self.builder.fault(fault),
            }
        }
    }

    fn exemplar(&mut self, mut message: Reader<'a>) -> Result<(), Stop> {
        let (mut value, mut t_ms) = (0.0, 0);
        self.builder.begin_exemplar();
        self.references.clear();
        while let Some(field) = message.field()? {
            match field.number {
                1 => field.uints(|reference| self.references.push(reference))?,
                2 => value = field.double()?,
                3 => t_ms = field.uint()? as i64,
                _ => {}
            }
        }
        for pair in self.references.chunks(2) {
            match pair_of(&self.symbols, pair) {
                Ok((name, value)) => self.builder.exemplar_label(name, value),
                Err(fault) => self.builder.exemplar_fault(fault),
            }
        }
        Ok(self.builder.end_exemplar(value, set_time(t_ms), self.sink)?)
    }

    fn metadata(&mut self, metadata: &Metadata) -> Result<(), Stop> {
        // Reference 0 stands for "not set", also where symbol 0 is not empty as it should be.
        let text = |reference: u64| if reference == 0 { Ok("") } else { symbol(&self.symbols, reference) };
        let (Ok(help), Ok(unit)) = (text(metadata.help), text(metadata.unit)) else { return Ok(()) };
        let family = self.builder.metric();
        let kind = kind_of(metadata.kind);
        if family.is_empty() || (metadata.kind == 0 && help.is_empty() && unit.is_empty()) {
            return Ok(());
        }
        Ok(self.builder.metadata(MetadataView { family, kind, help, unit }, self.sink)?)
    }
}

fn symbol<'a>(symbols: &[Option<&'a str>], reference: u64) -> Result<&'a str, Fault> {
    let found = usize::try_from(reference).ok().and_then(|at| symbols.get(at));
    let text = found.ok_or(Fault::Reference { reference, symbols: symbols.len() })?;
    text.ok_or(Fault::SymbolEncoding { reference })
}

fn pair_of<'a>(symbols: &[Option<&'a str>], pair: &[u64]) -> Result<(&'a str, &'a str), Fault> {
    match pair {
        [name, value] => Ok((symbol(symbols, *name)?, symbol(symbols, *value)?)),
        _ => Err(Fault::OddReferences),
    }
}

#[inline]
fn sample(mut message: Reader<'_>, series_start_ms: Option<i64>) -> Result<FloatSample, ProtobufError> {
    let mut sample = FloatSample { t_ms: 0, value: 0.0, start_ms: series_start_ms };
    while let Some(field) = message.field()? {
        match field.number {
            1 => sample.value = field.double()?,
            2 => sample.t_ms = field.uint()? as i64,
            3 => sample.start_ms = set_time(field.uint()? as i64).or(series_start_ms),
            _ => {}
        }
    }
    Ok(sample)
}

fn read_metadata(mut message: Reader<'_>) -> Result<Metadata, ProtobufError> {
    let mut metadata = Metadata::default();
    while let Some(field) = message.field()? {
        match field.number {
            1 => metadata.kind = field.uint()?,
            3 => metadata.help = field.uint()?,
            4 => metadata.unit = field.uint()?,
            _ => {}
        }
    }
    Ok(metadata)
}
