//! `push.v1.PushRequest`, as protobuf and as JSON.
//!
//! ```text
//! PushRequest       1 series (RawProfileSeries)
//! RawProfileSeries  1 labels (LabelPair), 2 samples (RawSample)
//! LabelPair         1 name, 2 value          RawSample  1 raw_profile (pprof, gzip), 2 ID
//! ```
//!
//! Source: `grafana/pyroscope` `api/push/v1/push.proto`, `api/types/v1/types.proto`; protobuf.dev, "ProtoJSON Format".

use base64::{Engine as _, engine::general_purpose};
use serde::Deserialize;

use crate::protobuf::{ProtobufError, Reader, put_bytes, put_message, put_text};

/// Profiles of one request; clients send one each.
const SAMPLES_MAX: usize = 1_000;

/// A message that cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum BadPush {
    /// As protobuf.
    #[error("no push request: {0}")]
    Protobuf(#[from] ProtobufError),
    /// As JSON.
    #[error("no push request: {0}")]
    Json(#[from] serde_json::Error),
    /// A text that is no UTF-8.
    #[error("byte {offset}: a label is no UTF-8")]
    Text {
        /// Where.
        offset: usize,
    },
    /// Too many profiles.
    #[error("a request has at most {SAMPLES_MAX} profiles")]
    TooMany,
}

/// One profile with its labels.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PushSample {
    /// Names with values, as they came.
    pub labels: Vec<(String, String)>,
    /// pprof, with or without gzip.
    pub profile: Vec<u8>,
}

/// Writes a message with one profile, pprof with or without gzip.
pub fn encode_push<'a>(labels: impl IntoIterator<Item = (&'a str, &'a str)>, profile: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    put_message(1, &mut out, |out| {
        for (name, value) in labels {
            put_message(1, out, |out| {
                put_text(1, name, out);
                put_text(2, value, out);
            });
        }
        put_message(2, out, |out| put_bytes(1, profile, out));
    });
    out
}

/// Reads the message.
pub fn decode_push(message: &[u8]) -> Result<Vec<PushSample>, BadPush> {
    let mut samples = Vec::new();
    let mut reader = Reader::new(message);
    while let Some(field) = reader.field()? {
        if field.number == 1 {
            read_series(field.message()?, &mut samples)?;
        }
    }
    Ok(samples)
}

fn read_series(mut series: Reader<'_>, samples: &mut Vec<PushSample>) -> Result<(), BadPush> {
    let (mut labels, mut profiles) = (Vec::new(), Vec::new());
    while let Some(field) = series.field()? {
        match field.number {
            1 => labels.push(read_label(field.message()?)?),
            2 => {
                let mut sample = field.message()?;
                while let Some(field) = sample.field()? {
                    if field.number == 1 {
                        profiles.push(field.bytes()?);
                    }
                }
            }
            _ => {}
        }
    }
    for profile in profiles {
        push(samples, PushSample { labels: labels.clone(), profile: profile.to_vec() })?;
    }
    Ok(())
}

fn read_label(mut label: Reader<'_>) -> Result<(String, String), BadPush> {
    let (mut name, mut value) = (String::new(), String::new());
    while let Some(field) = label.field()? {
        let text = |bytes: &[u8]| {
            std::str::from_utf8(bytes).map(str::to_owned).map_err(|_| BadPush::Text { offset: field.offset })
        };
        match field.number {
            1 => name = text(field.bytes()?)?,
            2 => value = text(field.bytes()?)?,
            _ => {}
        }
    }
    Ok((name, value))
}

fn push(samples: &mut Vec<PushSample>, sample: PushSample) -> Result<(), BadPush> {
    if SAMPLES_MAX <= samples.len() {
        return Err(BadPush::TooMany);
    }
    samples.push(sample);
    Ok(())
}

#[derive(Deserialize)]
struct RequestJson {
    #[serde(default)]
    series: Vec<SeriesJson>,
}

#[derive(Deserialize)]
struct SeriesJson {
    #[serde(default)]
    labels: Vec<LabelJson>,
    #[serde(default)]
    samples: Vec<SampleJson>,
}

#[derive(Deserialize)]
struct LabelJson {
    #[serde(default)]
    name: String,
    #[serde(default)]
    value: String,
}

#[derive(Deserialize)]
struct SampleJson {
    #[serde(default, alias = "raw_profile", rename = "rawProfile", deserialize_with = "from_base64")]
    raw_profile: Vec<u8>,
}

/// JSON of protobuf takes both alphabets, with and without padding.
fn from_base64<'de, D: serde::Deserializer<'de>>(deserializer: D) -> Result<Vec<u8>, D::Error> {
    let text = std::borrow::Cow::<'de, str>::deserialize(deserializer)?;
    let plain = text.trim_end_matches('=');
    let url = plain.contains(['-', '_']);
    let engine = if url { &general_purpose::URL_SAFE_NO_PAD } else { &general_purpose::STANDARD_NO_PAD };
    engine.decode(plain).map_err(serde::de::Error::custom)
}

/// Reads the message from JSON.
pub fn decode_push_json(text: &[u8]) -> Result<Vec<PushSample>, BadPush> {
    let request: RequestJson = serde_json::from_slice(text)?;
    let mut samples = Vec::new();
    for series in request.series {
        let labels: Vec<_> = series.labels.into_iter().map(|label| (label.name, label.value)).collect();
        for sample in series.samples {
            push(&mut samples, PushSample { labels: labels.clone(), profile: sample.raw_profile })?;
        }
    }
    Ok(samples)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_read() {
        let labels = [("__name__", "process_cpu"), ("service_name", "")];
        let message = encode_push(labels, &[1, 2, 3]);
        let labels = labels.map(|(name, value)| (name.to_owned(), value.to_owned())).to_vec();
        assert_eq!(decode_push(&message).unwrap(), [PushSample { labels, profile: vec![1, 2, 3] }]);
    }

    #[test]
    fn both_forms_say_the_same() {
        let mut message = Vec::new();
        put_message(1, &mut message, |out| {
            put_message(1, out, |out| {
                put_text(1, "service_name", out);
                put_text(2, "shop", out);
            });
            put_message(2, out, |out| {
                put_bytes(1, &[0xfb, 0xff, 1], out);
                put_text(2, "an-id", out);
            });
        });
        let expected =
            PushSample { labels: vec![("service_name".into(), "shop".into())], profile: vec![0xfb, 0xff, 1] };
        assert_eq!(decode_push(&message).unwrap(), std::slice::from_ref(&expected));
        for raw in ["+/8B", "-_8B"] {
            let text = format!(
                r#"{{"series":[{{"labels":[{{"name":"service_name","value":"shop"}}],"samples":[{{"ID":"x","rawProfile":"{raw}"}}]}}]}}"#
            );
            assert_eq!(decode_push_json(text.as_bytes()).unwrap(), std::slice::from_ref(&expected));
        }
        assert!(decode_push_json(br#"{"series":[{"samples":[{"rawProfile":"!"}]}]}"#).is_err());
        assert!(decode_push(b"<html>").is_err() && decode_push_json(b"<html>").is_err());
        assert!(decode_push(&[]).unwrap().is_empty());
        for cut in 1..message.len() {
            assert!(decode_push(&message[..cut]).is_err(), "{cut}");
        }
        let many = format!(r#"{{"series":[{{"samples":[{}{{}}]}}]}}"#, "{},".repeat(SAMPLES_MAX));
        assert!(matches!(decode_push_json(many.as_bytes()), Err(BadPush::TooMany)));
    }
}
