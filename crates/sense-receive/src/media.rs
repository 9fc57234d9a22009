//! What a body says it is: protocol version or format by `Content-Type`, compression by `Content-Encoding`.

use http::{HeaderMap, HeaderValue, header};

/// The media type of both versions.
const PROTOBUF: &str = "application/x-protobuf";
/// Name of the message of 1.0.
const V1: &str = "prometheus.WriteRequest";
/// Name of the message of 2.0.
const V2: &str = "io.prometheus.write.v2.Request";

/// Version of remote write.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Version {
    /// 1.0.
    V1,
    /// 2.0.
    V2,
}

impl Version {
    /// As it is called in metrics.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::V1 => "1.0",
            Self::V2 => "2.0",
        }
    }
}

/// Finds out the version. Without a content type it is 1.0, as old senders have it. Errors say what is taken.
pub(crate) fn version(headers: &HeaderMap) -> Result<Version, String> {
    let Some(value) = headers.get(header::CONTENT_TYPE) else { return Ok(Version::V1) };
    let text = shown(value);
    let mut parts = text.split(';').map(str::trim);
    if !parts.next().unwrap_or_default().eq_ignore_ascii_case(PROTOBUF) {
        return Err(format!("expected {PROTOBUF} as the first (media) part, got {text} content-type"));
    }
    for part in parts {
        let Some((name, value)) = part.split_once('=') else {
            return Err(format!("expected parameters to be key-values, got {part} in {text} content-type"));
        };
        if name.trim().eq_ignore_ascii_case("proto") {
            return match value.trim().trim_matches('"') {
                V1 => Ok(Version::V1),
                V2 => Ok(Version::V2),
                other => Err(format!("the message {other} is not taken here; send {V1} or {V2}")),
            };
        }
    }
    Ok(Version::V1)
}

/// Checks that the body is a snappy block; without a header it is taken to be one, as old senders have it.
pub(crate) fn check_encoding(headers: &HeaderMap) -> Result<(), String> {
    match headers.get(header::CONTENT_ENCODING) {
        Some(value) if !value.as_bytes().eq_ignore_ascii_case(b"snappy") => {
            let encoding = shown(value);
            Err(format!("{encoding} encoding (compression) is not accepted by this server; only snappy is acceptable"))
        }
        _ => Ok(()),
    }
}

/// How OTLP's messages are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Format {
    /// Protobuf.
    Protobuf,
    /// JSON.
    Json,
}

impl Format {
    /// Its media type.
    pub(crate) fn media_type(self) -> &'static str {
        match self {
            Self::Protobuf => PROTOBUF,
            Self::Json => "application/json",
        }
    }
}

/// Finds out how a message of OTLP is written; there is no default.
pub(crate) fn format(headers: &HeaderMap) -> Result<Format, String> {
    let text = headers.get(header::CONTENT_TYPE).map(shown).unwrap_or_default();
    let media = text.split(';').next().unwrap_or_default().trim();
    let all = [Format::Protobuf, Format::Json];
    let found = all.into_iter().find(|format| media.eq_ignore_ascii_case(format.media_type()));
    found.ok_or_else(|| format!("expected application/x-protobuf or application/json, got {text:?} as content-type"))
}

/// Whether a message of OTLP is packed; `name` is the header that says so.
pub(crate) fn gzip(headers: &HeaderMap, name: &str) -> Result<bool, String> {
    let Some(value) = headers.get(name) else { return Ok(false) };
    match value.as_bytes() {
        bytes if bytes.eq_ignore_ascii_case(b"gzip") => Ok(true),
        b"" | b"identity" => Ok(false),
        _ => Err(format!("{} encoding (compression) is not accepted; send gzip or identity", shown(value))),
    }
}

/// A header's value, short enough to be shown.
fn shown(value: &HeaderValue) -> String {
    String::from_utf8_lossy(value.as_bytes()).chars().take(200).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(name: header::HeaderName, value: &'static str) -> HeaderMap {
        HeaderMap::from_iter([(name, HeaderValue::from_static(value))])
    }

    #[test]
    fn the_version_is_a_parameter_of_the_content_type() {
        for (value, expected) in [
            ("application/x-protobuf", Some(Version::V1)),
            ("Application/X-Protobuf; charset=utf-8", Some(Version::V1)),
            ("application/x-protobuf;proto=prometheus.WriteRequest", Some(Version::V1)),
            ("application/x-protobuf; proto=io.prometheus.write.v2.Request", Some(Version::V2)),
            ("application/x-protobuf;proto=\"io.prometheus.write.v2.Request\"", Some(Version::V2)),
            ("application/x-protobuf;proto=io.prometheus.write.v3.Request", None),
            ("application/x-protobuf;proto", None),
            ("application/json", None),
            ("", None),
        ] {
            assert_eq!(version(&headers(header::CONTENT_TYPE, value)).ok(), expected, "{value}");
        }
        assert_eq!(version(&HeaderMap::new()), Ok(Version::V1));
    }

    #[test]
    fn otlp_says_what_it_is() {
        let of = |value| format(&headers(header::CONTENT_TYPE, value));
        assert_eq!(of("application/x-protobuf"), Ok(Format::Protobuf));
        assert_eq!(of("Application/JSON; charset=utf-8"), Ok(Format::Json));
        assert!(of("text/plain").unwrap_err().contains("got \"text/plain\""));
        assert!(format(&HeaderMap::new()).is_err());
        let packed = |value| gzip(&headers(header::CONTENT_ENCODING, value), "content-encoding");
        assert_eq!((packed("GZIP"), packed("identity")), (Ok(true), Ok(false)));
        assert!(packed("zstd").is_err());
        assert_eq!(gzip(&HeaderMap::new(), "grpc-encoding"), Ok(false));
    }

    #[test]
    fn only_snappy_is_taken() {
        assert!(check_encoding(&HeaderMap::new()).is_ok());
        assert!(check_encoding(&headers(header::CONTENT_ENCODING, "Snappy")).is_ok());
        assert!(check_encoding(&headers(header::CONTENT_ENCODING, "gzip")).unwrap_err().starts_with("gzip encoding"));
        assert!(check_encoding(&headers(header::CONTENT_ENCODING, "")).is_err());
    }
}
