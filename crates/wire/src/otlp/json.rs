//! A request in JSON, rewritten as protobuf while it is read.
//!
//! Tables say which key is which field; no tree is built, so that memory stays within the size of the text. Unknown keys
//! pass. As OTLP has it: keys in lowerCamelCase, trace and span ids in hexadecimal, enums as numbers (names are taken as
//! well), whole numbers of 64 bits as texts or numbers.
//!
//! Source: opentelemetry.io, "OTLP Specification", "JSON Protobuf Encoding"; protobuf.dev, "ProtoJSON Format".

use std::fmt;

use base64::{
    Engine as _,
    engine::{
        DecodePaddingMode,
        general_purpose::{GeneralPurpose, GeneralPurposeConfig},
    },
};
use serde::de::{DeserializeSeed, Deserializer, Error, IgnoredAny, MapAccess, SeqAccess, Visitor};

use crate::protobuf::{
    close_message, open_message, put_bytes, put_double, put_fixed64, put_int, put_sint, put_text, put_uint,
};

/// Rewrites a request. Errors name line and column. Lists within lists end at the 128 levels of `serde_json`.
pub fn protobuf_of_json(text: &[u8]) -> Result<Vec<u8>, serde_json::Error> {
    protobuf_of(&REQUEST, text)
}

/// Rewrites any message that is described here.
pub(super) fn protobuf_of(message: &'static Message, text: &[u8]) -> Result<Vec<u8>, serde_json::Error> {
    let mut out = Vec::with_capacity(text.len() / 2);
    let mut deserializer = serde_json::Deserializer::from_slice(text);
    deserializer.deserialize_map(MessageVisitor { message, out: &mut out })?;
    deserializer.end()?;
    Ok(out)
}

/// Fields of a message by their keys.
pub(super) type Message = [(&'static str, u32, Kind)];

/// What a key holds.
#[derive(Clone, Copy)]
pub(super) enum Kind {
    Text,
    Hex,
    Base64,
    Bool,
    /// `uint32` and `uint64`.
    Uint,
    /// `int32` and `int64`.
    Int,
    /// `sint32`.
    Sint,
    Fixed64,
    Sfixed64,
    Double,
    /// Names from number 0 on.
    Enum(&'static [&'static str]),
    Message(&'static Message),
}

static REQUEST: [(&str, u32, Kind); 1] = [("resourceMetrics", 1, Kind::Message(&RESOURCE_METRICS))];
static RESOURCE_METRICS: [(&str, u32, Kind); 3] = [
    ("resource", 1, Kind::Message(&RESOURCE)),
    ("scopeMetrics", 2, Kind::Message(&SCOPE_METRICS)),
    ("schemaUrl", 3, Kind::Text),
];
static RESOURCE: [(&str, u32, Kind); 1] = [("attributes", 1, Kind::Message(&KEY_VALUE))];
static SCOPE_METRICS: [(&str, u32, Kind); 3] =
    [("scope", 1, Kind::Message(&SCOPE)), ("metrics", 2, Kind::Message(&METRIC)), ("schemaUrl", 3, Kind::Text)];
static SCOPE: [(&str, u32, Kind); 3] =
    [("name", 1, Kind::Text), ("version", 2, Kind::Text), ("attributes", 3, Kind::Message(&KEY_VALUE))];
static KEY_VALUE: [(&str, u32, Kind); 3] =
    [("key", 1, Kind::Text), ("value", 2, Kind::Message(&ANY_VALUE)), ("keyStrindex", 3, Kind::Int)];
static ANY_VALUE: [(&str, u32, Kind); 8] = [
    ("stringValue", 1, Kind::Text),
    ("boolValue", 2, Kind::Bool),
    ("intValue", 3, Kind::Int),
    ("doubleValue", 4, Kind::Double),
    ("arrayValue", 5, Kind::Message(&ARRAY)),
    ("kvlistValue", 6, Kind::Message(&KEY_VALUES)),
    ("bytesValue", 7, Kind::Base64),
    ("stringValueStrindex", 8, Kind::Int),
];
static ARRAY: [(&str, u32, Kind); 1] = [("values", 1, Kind::Message(&ANY_VALUE))];
static KEY_VALUES: [(&str, u32, Kind); 1] = [("values", 1, Kind::Message(&KEY_VALUE))];
static METRIC: [(&str, u32, Kind); 8] = [
    ("name", 1, Kind::Text),
    ("description", 2, Kind::Text),
    ("unit", 3, Kind::Text),
    ("gauge", 5, Kind::Message(&NUMBERS)),
    ("sum", 7, Kind::Message(&NUMBERS)),
    ("histogram", 9, Kind::Message(&HISTOGRAM)),
    ("exponentialHistogram", 10, Kind::Message(&EXPONENTIAL_HISTOGRAM)),
    ("summary", 11, Kind::Message(&SUMMARY)),
];
const TEMPORALITY: Kind = Kind::Enum(&[
    "AGGREGATION_TEMPORALITY_UNSPECIFIED",
    "AGGREGATION_TEMPORALITY_DELTA",
    "AGGREGATION_TEMPORALITY_CUMULATIVE",
]);
static NUMBERS: [(&str, u32, Kind); 3] = [
    ("dataPoints", 1, Kind::Message(&NUMBER_POINT)),
    ("aggregationTemporality", 2, TEMPORALITY),
    ("isMonotonic", 3, Kind::Bool),
];
static HISTOGRAM: [(&str, u32, Kind); 2] =
    [("dataPoints", 1, Kind::Message(&HISTOGRAM_POINT)), ("aggregationTemporality", 2, TEMPORALITY)];
static EXPONENTIAL_HISTOGRAM: [(&str, u32, Kind); 2] =
    [("dataPoints", 1, Kind::Message(&EXPONENTIAL_POINT)), ("aggregationTemporality", 2, TEMPORALITY)];
static SUMMARY: [(&str, u32, Kind); 1] = [("dataPoints", 1, Kind::Message(&SUMMARY_POINT))];
static NUMBER_POINT: [(&str, u32, Kind); 7] = [
    ("startTimeUnixNano", 2, Kind::Fixed64),
    ("timeUnixNano", 3, Kind::Fixed64),
    ("asDouble", 4, Kind::Double),
    ("exemplars", 5, Kind::Message(&EXEMPLAR)),
    ("asInt", 6, Kind::Sfixed64),
    ("attributes", 7, Kind::Message(&KEY_VALUE)),
    ("flags", 8, Kind::Uint),
];
static HISTOGRAM_POINT: [(&str, u32, Kind); 9] = [
    ("startTimeUnixNano", 2, Kind::Fixed64),
    ("timeUnixNano", 3, Kind::Fixed64),
    ("count", 4, Kind::Fixed64),
    ("sum", 5, Kind::Double),
    ("bucketCounts", 6, Kind::Fixed64),
    ("explicitBounds", 7, Kind::Double),
    ("exemplars", 8, Kind::Message(&EXEMPLAR)),
    ("attributes", 9, Kind::Message(&KEY_VALUE)),
    ("flags", 10, Kind::Uint),
];
static EXPONENTIAL_POINT: [(&str, u32, Kind); 12] = [
    ("attributes", 1, Kind::Message(&KEY_VALUE)),
    ("startTimeUnixNano", 2, Kind::Fixed64),
    ("timeUnixNano", 3, Kind::Fixed64),
    ("count", 4, Kind::Fixed64),
    ("sum", 5, Kind::Double),
    ("scale", 6, Kind::Sint),
    ("zeroCount", 7, Kind::Fixed64),
    ("positive", 8, Kind::Message(&BUCKETS)),
    ("negative", 9, Kind::Message(&BUCKETS)),
    ("flags", 10, Kind::Uint),
    ("exemplars", 11, Kind::Message(&EXEMPLAR)),
    ("zeroThreshold", 14, Kind::Double),
];
static BUCKETS: [(&str, u32, Kind); 2] = [("offset", 1, Kind::Sint), ("bucketCounts", 2, Kind::Uint)];
static SUMMARY_POINT: [(&str, u32, Kind); 7] = [
    ("startTimeUnixNano", 2, Kind::Fixed64),
    ("timeUnixNano", 3, Kind::Fixed64),
    ("count", 4, Kind::Fixed64),
    ("sum", 5, Kind::Double),
    ("quantileValues", 6, Kind::Message(&QUANTILE)),
    ("attributes", 7, Kind::Message(&KEY_VALUE)),
    ("flags", 8, Kind::Uint),
];
static QUANTILE: [(&str, u32, Kind); 2] = [("quantile", 1, Kind::Double), ("value", 2, Kind::Double)];
static EXEMPLAR: [(&str, u32, Kind); 6] = [
    ("timeUnixNano", 2, Kind::Fixed64),
    ("asDouble", 3, Kind::Double),
    ("spanId", 4, Kind::Hex),
    ("traceId", 5, Kind::Hex),
    ("asInt", 6, Kind::Sfixed64),
    ("filteredAttributes", 7, Kind::Message(&KEY_VALUE)),
];

/// `ExportProfilesServiceRequest` of `v1development`.
pub(super) static PROFILES: [(&str, u32, Kind); 2] =
    [("resourceProfiles", 1, Kind::Message(&RESOURCE_PROFILES)), ("dictionary", 2, Kind::Message(&DICTIONARY))];
static RESOURCE_PROFILES: [(&str, u32, Kind); 2] =
    [("resource", 1, Kind::Message(&RESOURCE)), ("scopeProfiles", 2, Kind::Message(&SCOPE_PROFILES))];
static SCOPE_PROFILES: [(&str, u32, Kind); 1] = [("profiles", 2, Kind::Message(&PROFILE))];
static PROFILE: [(&str, u32, Kind); 7] = [
    ("sampleType", 1, Kind::Message(&VALUE_TYPE)),
    ("samples", 2, Kind::Message(&SAMPLE)),
    ("timeUnixNano", 3, Kind::Fixed64),
    ("durationNano", 4, Kind::Uint),
    ("periodType", 5, Kind::Message(&VALUE_TYPE)),
    ("period", 6, Kind::Int),
    ("attributeIndices", 11, Kind::Int),
];
static VALUE_TYPE: [(&str, u32, Kind); 2] = [("typeStrindex", 1, Kind::Int), ("unitStrindex", 2, Kind::Int)];
static SAMPLE: [(&str, u32, Kind); 4] = [
    ("stackIndex", 1, Kind::Int),
    ("attributeIndices", 2, Kind::Int),
    ("values", 4, Kind::Int),
    ("timestampsUnixNano", 5, Kind::Fixed64),
];
static DICTIONARY: [(&str, u32, Kind); 6] = [
    ("mappingTable", 1, Kind::Message(&MAPPING)),
    ("locationTable", 2, Kind::Message(&LOCATION)),
    ("functionTable", 3, Kind::Message(&FUNCTION)),
    ("stringTable", 5, Kind::Text),
    ("attributeTable", 6, Kind::Message(&KEY_VALUE_AND_UNIT)),
    ("stackTable", 7, Kind::Message(&STACK)),
];
static MAPPING: [(&str, u32, Kind); 4] = [
    ("memoryStart", 1, Kind::Uint),
    ("memoryLimit", 2, Kind::Uint),
    ("fileOffset", 3, Kind::Uint),
    ("filenameStrindex", 4, Kind::Int),
];
static LOCATION: [(&str, u32, Kind); 3] =
    [("mappingIndex", 1, Kind::Int), ("address", 2, Kind::Uint), ("lines", 3, Kind::Message(&LINE))];
static LINE: [(&str, u32, Kind); 2] = [("functionIndex", 1, Kind::Int), ("line", 2, Kind::Int)];
static FUNCTION: [(&str, u32, Kind); 3] =
    [("nameStrindex", 1, Kind::Int), ("systemNameStrindex", 2, Kind::Int), ("filenameStrindex", 3, Kind::Int)];
static KEY_VALUE_AND_UNIT: [(&str, u32, Kind); 3] =
    [("keyStrindex", 1, Kind::Int), ("value", 2, Kind::Message(&ANY_VALUE)), ("unitStrindex", 3, Kind::Int)];
static STACK: [(&str, u32, Kind); 1] = [("locationIndices", 1, Kind::Int)];

/// Writes the fields of a message.
struct MessageVisitor<'o> {
    message: &'static Message,
    out: &'o mut Vec<u8>,
}

impl<'de> Visitor<'de> for MessageVisitor<'_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<(), A::Error> {
        while let Some(field) = map.next_key_seed(KeySeed(self.message))? {
            match field {
                Some(&(key, number, kind)) => {
                    map.next_value_seed(ValueSeed { key, number, kind, out: &mut *self.out })?;
                }
                None => {
                    map.next_value::<IgnoredAny>()?;
                }
            }
        }
        Ok(())
    }
}

/// Finds a key's field.
struct KeySeed(&'static Message);

impl<'de> DeserializeSeed<'de> for KeySeed {
    type Value = Option<&'static (&'static str, u32, Kind)>;
    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Self::Value, D::Error> {
        deserializer.deserialize_identifier(self)
    }
}

impl Visitor<'_> for KeySeed {
    type Value = Option<&'static (&'static str, u32, Kind)>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a key")
    }

    fn visit_str<E: Error>(self, key: &str) -> Result<Self::Value, E> {
        Ok(self.0.iter().find(|(name, ..)| *name == key))
    }
}

/// Writes a value as a field; the values of a list one after the other.
struct ValueSeed<'o> {
    key: &'static str,
    number: u32,
    kind: Kind,
    out: &'o mut Vec<u8>,
}

impl<'de> DeserializeSeed<'de> for ValueSeed<'_> {
    type Value = ();
    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl ValueSeed<'_> {
    fn wrong<E: Error>(&self) -> E {
        let expected = match self.kind {
            Kind::Text => "a text",
            Kind::Hex => "bytes in hexadecimal",
            Kind::Base64 => "bytes in base64",
            Kind::Bool => "true or false",
            Kind::Uint | Kind::Int | Kind::Sint | Kind::Fixed64 | Kind::Sfixed64 => "a whole number, or one as a text",
            Kind::Double => "a number",
            Kind::Enum(_) => "a number or a name of the enum",
            Kind::Message(_) => "an object or a list of objects",
        };
        E::custom(format_args!("`{}` is not {expected}", self.key))
    }

    /// Writes a whole number that is not negative.
    fn whole<E: Error>(self, value: u64) -> Result<(), E> {
        match self.kind {
            Kind::Uint | Kind::Enum(_) => put_uint(self.number, value, self.out),
            Kind::Fixed64 => put_fixed64(self.number, value, self.out),
            Kind::Double => put_double(self.number, value as f64, self.out),
            _ => return i64::try_from(value).map_err(|_| self.wrong()).and_then(|value| self.signed(value)),
        }
        Ok(())
    }

    fn signed<E: Error>(self, value: i64) -> Result<(), E> {
        match self.kind {
            Kind::Int => put_int(self.number, value, self.out),
            Kind::Sint => put_sint(self.number, value, self.out),
            Kind::Sfixed64 => put_fixed64(self.number, value as u64, self.out),
            Kind::Double => put_double(self.number, value as f64, self.out),
            _ => return Err(self.wrong()),
        }
        Ok(())
    }
}

/// Reads base64 of either alphabet, padded or not, as ProtoJSON does.
fn base64(text: &str) -> Option<Vec<u8>> {
    let any = GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent);
    let alphabet = if text.contains(['-', '_']) { base64::alphabet::URL_SAFE } else { base64::alphabet::STANDARD };
    GeneralPurpose::new(&alphabet, any).decode(text).ok()
}

fn hex(text: &str) -> Option<Vec<u8>> {
    let digits = text.chars().map(|c| c.to_digit(16).map(|digit| digit as u8)).collect::<Option<Vec<_>>>()?;
    let pairs = digits.chunks(2).map(|pair| match pair {
        [high, low] => Some(high << 4 | low),
        _ => None,
    });
    pairs.collect()
}

impl<'de> Visitor<'de> for ValueSeed<'_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a value")
    }

    /// `null` is the same as no key.
    fn visit_unit<E: Error>(self) -> Result<(), E> {
        Ok(())
    }

    fn visit_bool<E: Error>(self, value: bool) -> Result<(), E> {
        if !matches!(self.kind, Kind::Bool) {
            return Err(self.wrong());
        }
        put_uint(self.number, value.into(), self.out);
        Ok(())
    }

    fn visit_u64<E: Error>(self, value: u64) -> Result<(), E> {
        self.whole(value)
    }

    fn visit_i64<E: Error>(self, value: i64) -> Result<(), E> {
        self.signed(value)
    }

    fn visit_f64<E: Error>(self, value: f64) -> Result<(), E> {
        if matches!(self.kind, Kind::Double) {
            put_double(self.number, value, self.out);
            return Ok(());
        }
        // Numbers such as 1e3 and 2.0 are whole.
        if value.fract() != 0.0 || 9.0e15 < value.abs() {
            return Err(self.wrong());
        }
        if value < 0.0 { self.signed(value as i64) } else { self.whole(value as u64) }
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<(), E> {
        match self.kind {
            Kind::Text => put_text(self.number, text, self.out),
            Kind::Hex => put_bytes(self.number, &hex(text).ok_or_else(|| self.wrong())?, self.out),
            Kind::Base64 => put_bytes(self.number, &base64(text).ok_or_else(|| self.wrong())?, self.out),
            Kind::Enum(names) => {
                let number = names.iter().position(|name| *name == text).ok_or_else(|| self.wrong())?;
                put_uint(self.number, number as u64, self.out);
            }
            Kind::Double => {
                let value = match text {
                    "Infinity" => f64::INFINITY,
                    "-Infinity" => f64::NEG_INFINITY,
                    text => text.parse().map_err(|_| self.wrong())?,
                };
                put_double(self.number, value, self.out);
            }
            Kind::Bool | Kind::Message(_) => return Err(self.wrong()),
            _ => {
                return match (text.parse::<u64>(), text.parse::<i64>()) {
                    (Ok(value), _) => self.whole(value),
                    (_, Ok(value)) => self.signed(value),
                    _ => Err(self.wrong()),
                };
            }
        }
        Ok(())
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<(), A::Error> {
        let Self { key, number, kind, out } = self;
        while list.next_element_seed(ValueSeed { key, number, kind, out: &mut *out })?.is_some() {}
        Ok(())
    }

    fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<(), A::Error> {
        let Kind::Message(message) = self.kind else { return Err(self.wrong()) };
        let open = open_message(self.number, self.out);
        MessageVisitor { message, out: &mut *self.out }.visit_map(map)?;
        close_message(open, self.out);
        Ok(())
    }
}
