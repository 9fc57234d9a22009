//! OpenTelemetry's profiles: a request's tables and what points into them, as profiles of our own.
//!
//! The protocol is in development, and its messages have changed their meaning under one name before; so each version
//! is an adapter of its own behind [`ProfilesVersion`], and everything behind it sees labels and [`Profile`]s.
//!
//! ```text
//! request = dictionary (texts, functions, mappings, locations, stacks, attributes), resources
//! resource = attributes, scopes = profiles = (type, samples)
//! sample   = stack, attributes, values or instants
//! ```
//!
//! A profile that points nowhere is refused by itself and counted for the answer (`partial_success`); the others go on.
//! Resource and profile attributes become labels of the series, sample attributes labels of the samples.
//!
//! Not here: transport and answers' headers (`sense-receive`).
//! Sources: `open-telemetry/opentelemetry-proto` `profiles/v1development/profiles.proto` and
//! `collector/profiles/v1development/profiles_service.proto`.

mod dictionary;
mod room;
mod v1development;

use homeostat_model::{LabelsBuilder, profile::Profile};

use crate::{
    pprof::PprofLimits,
    protobuf::{ProtobufError, put_int, put_message, put_text},
};

/// Attributes of one resource, profile or sample at most; senders have some twenty.
pub const ATTRIBUTES_MAX: usize = 256;

/// Profiles of one request at most. An empty one is six bytes in the message and about a KiB in memory, so they are ten MiB; a
/// collector of a hundred machines with ten services and kinds each fits.
pub const PROFILES_MAX: usize = 10_000;

/// A version of the protocol.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ProfilesVersion {
    /// `v1development` with a table of stacks and with keys and units of attributes as texts of the dictionary.
    V1Development,
}

impl ProfilesVersion {
    /// All that are read.
    pub const ALL: [Self; 1] = [Self::V1Development];

    /// Its path over HTTP.
    pub const fn http_path(self) -> &'static str {
        match self {
            Self::V1Development => "/v1development/profiles",
        }
    }

    /// Its call over gRPC.
    pub const fn grpc_path(self) -> &'static str {
        match self {
            Self::V1Development => "/opentelemetry.proto.collector.profiles.v1development.ProfilesService/Export",
        }
    }
}

/// What a request brought.
#[derive(Debug, Default)]
pub struct Exported {
    /// Attributes of resource and profile as labels, and the profile. Who it is of (`service_name`) and what it is called
    /// (`__name__`) is for the receiver to complete.
    pub profiles: Vec<(LabelsBuilder, Profile)>,
    /// Profiles that could not be read.
    pub rejected: u64,
    /// Why the first of them could not; empty when none was rejected.
    pub message: String,
}

/// Why a request cannot be read at all.
#[derive(Debug, thiserror::Error)]
pub enum ExportError {
    /// The bytes are not the message, or that of another state of the protocol.
    #[error(
        "the body is no `ExportProfilesServiceRequest` as read here; check the sender's content type, and that its \
         protocol has a table of stacks"
    )]
    Malformed {
        /// Where and why it is not.
        #[from]
        source: ProtobufError,
    },
    /// The text is not the message in JSON.
    #[error("the body is no `ExportProfilesServiceRequest` in JSON")]
    Json {
        /// Where and why it is not.
        #[from]
        source: serde_json::Error,
    },
    /// There are profiles and nothing that says what they mean.
    #[error(
        "the request has profiles and no dictionary: its sender speaks an older state of the protocol; update the sender"
    )]
    NoDictionary,
    /// An attribute that cannot be a label.
    #[error("an attribute cannot be read: {0}")]
    Attribute(String),
    /// A limit is reached.
    #[error("byte {offset}: more than the {limit} {what} that are taken; send fewer profiles at once")]
    TooMany {
        /// What there is too much of.
        what: &'static str,
        /// How much is taken.
        limit: u64,
        /// Where the entry is that goes beyond it.
        offset: usize,
    },
}

/// Reads an unpacked request in protobuf. Limits are those of one pprof profile, for all profiles of the request together.
pub fn decode_profiles(version: ProfilesVersion, body: &[u8], limits: &PprofLimits) -> Result<Exported, ExportError> {
    if limits.bytes_max < body.len() {
        return Err(ExportError::TooMany { what: "bytes", limit: limits.bytes_max as u64, offset: limits.bytes_max });
    }
    match version {
        ProfilesVersion::V1Development => v1development::decode(body, limits),
    }
}

/// Rewrites a request in JSON as protobuf. Errors name line and column.
pub fn profiles_protobuf_of_json(version: ProfilesVersion, text: &[u8]) -> Result<Vec<u8>, ExportError> {
    match version {
        ProfilesVersion::V1Development => Ok(super::json::protobuf_of(&super::json::PROFILES, text)?),
    }
}

/// `ExportProfilesServiceResponse` in protobuf: empty unless something was rejected.
pub fn profiles_response(rejected: u64, message: &str) -> Vec<u8> {
    let mut out = Vec::new();
    if 0 < rejected {
        put_message(1, &mut out, |out| {
            put_int(1, rejected as i64, out);
            put_text(2, message, out);
        });
    }
    out
}

/// The same in JSON; whole numbers of 64 bits are texts there.
pub fn profiles_response_json(rejected: u64, message: &str) -> String {
    if rejected == 0 {
        return "{}".to_owned();
    }
    let partial = serde_json::json!({ "rejectedProfiles": rejected.to_string(), "errorMessage": message });
    serde_json::json!({ "partialSuccess": partial }).to_string()
}
