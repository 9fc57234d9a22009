//! Profiles over OTLP: `POST /v1development/profiles`, and the call `ProfilesService/Export` over gRPC.
//!
//! They take the way of all pushed profiles: the same budget and workers, stored all or none, answered when durable. What
//! cannot be read of a request is told as a partial success, so that nobody sends it again.
//!
//! The protocol is in development; its states live behind [`ProfilesVersion`], each with a path of its own.
//! Source: opentelemetry.io, "OTLP Specification".

use std::sync::Arc;

use axum::{
    Router,
    extract::{Request, State},
    response::{IntoResponse as _, Response},
    routing::post,
};
use homeostat_wire::{
    otlp::profiles::{
        ExportError, ProfilesVersion, decode_profiles, profiles_protobuf_of_json, profiles_response,
        profiles_response_json,
    },
    pprof::PprofLimits,
};
use http::{StatusCode, header};

use crate::{
    grpc, gzip,
    media::{self, Format},
    otlp::failure,
    problem::{Kind, Problem},
    profiles::{ProfileIntake, ProfileReceiver, Read, labelled},
};

/// What could not be read, for the answer.
struct Said {
    rejected: u64,
    message: String,
}

/// A body as it came.
#[derive(Clone, Copy)]
struct Coming {
    version: ProfilesVersion,
    format: Format,
    gzip: bool,
    limits: PprofLimits,
}

impl<P: ProfileIntake> ProfileReceiver<P> {
    /// OTLP over HTTP, to be merged into a server's routes.
    pub fn otlp_http_router(self: &Arc<Self>) -> Router {
        let add = |router: Router<Arc<Self>>, version: ProfilesVersion| {
            let door = move |State(receiver): State<Arc<Self>>, request: Request| async move {
                receiver.over_http(version, request).await
            };
            router.route(version.http_path(), post(door))
        };
        ProfilesVersion::ALL.into_iter().fold(Router::new(), add).with_state(Arc::clone(self))
    }

    /// OTLP over gRPC, to be merged into the routes of an HTTP/2 server.
    pub fn otlp_grpc_router(self: &Arc<Self>) -> Router {
        let add = |router: Router<Arc<Self>>, version: ProfilesVersion| {
            let door = move |State(receiver): State<Arc<Self>>, request: Request| async move {
                receiver.over_grpc(version, request).await
            };
            router.route(version.grpc_path(), post(door))
        };
        ProfilesVersion::ALL.into_iter().fold(Router::new(), add).with_state(Arc::clone(self))
    }

    async fn over_http(&self, version: ProfilesVersion, request: Request) -> Response {
        let format = match media::format(request.headers()) {
            Ok(format) => format,
            Err(text) => {
                let response = (StatusCode::UNSUPPORTED_MEDIA_TYPE, text + "\n").into_response();
                return self.answered("otlp_http", false, response);
            }
        };
        let response = match self.export_over_http(version, format, request).await {
            Ok(Said { rejected, message }) => {
                let body = match format {
                    Format::Protobuf => profiles_response(rejected, &message),
                    Format::Json => profiles_response_json(rejected, &message).into_bytes(),
                };
                ([(header::CONTENT_TYPE, format.media_type())], body).into_response()
            }
            Err(problem) => failure(&problem, format),
        };
        self.answered("otlp_http", false, response)
    }

    async fn export_over_http(
        &self,
        version: ProfilesVersion,
        format: Format,
        request: Request,
    ) -> Result<Said, Problem> {
        let (parts, body) = request.into_parts();
        let gzip = media::gzip(&parts.headers, "content-encoding").map_err(|text| Problem::new(Kind::Media, text))?;
        let coming = Coming { version, format, gzip, limits: self.limits() };
        self.take(&parts.headers, body, move |bytes| coming.read(bytes)).await
    }

    async fn over_grpc(&self, version: ProfilesVersion, request: Request) -> Response {
        if let Some(response) = grpc::not_grpc(request.headers()) {
            return self.answered("otlp_grpc", false, response);
        }
        match self.export_over_grpc(version, request).await {
            Ok(Said { rejected, message }) => {
                self.counters().answered("otlp_grpc", 0);
                grpc::done(&profiles_response(rejected, &message))
            }
            Err(problem) => {
                self.counters().answered("otlp_grpc", problem.code().into());
                grpc::failed(&problem)
            }
        }
    }

    async fn export_over_grpc(&self, version: ProfilesVersion, request: Request) -> Result<Said, Problem> {
        let (parts, body) = request.into_parts();
        let knows_gzip =
            media::gzip(&parts.headers, "grpc-encoding").map_err(|text| Problem::new(Kind::Media, text))?;
        let limits = self.limits();
        self.take(&parts.headers, body, move |bytes| {
            let (gzip, message) = grpc::message(bytes, knows_gzip)?;
            Coming { version, format: Format::Protobuf, gzip, limits }.read(message)
        })
        .await
    }
}

impl Coming {
    fn read(self, bytes: &[u8]) -> Result<(Read, Said), Problem> {
        let unpacked;
        let bytes = if self.gzip {
            unpacked = gzip::unpack(bytes, self.limits.bytes_max)?;
            &unpacked[..]
        } else {
            bytes
        };
        let rewritten;
        let bytes = match self.format {
            Format::Protobuf => bytes,
            Format::Json => {
                rewritten = profiles_protobuf_of_json(self.version, bytes).map_err(|error| unreadable(&error))?;
                &rewritten
            }
        };
        let exported = decode_profiles(self.version, bytes, &self.limits).map_err(|error| unreadable(&error))?;
        let said = Said { rejected: exported.rejected, message: exported.message };
        let read = exported.profiles.into_iter().map(|(labels, profile)| labelled(labels, profile)).collect();
        Ok((read, said))
    }
}

fn unreadable(error: &ExportError) -> Problem {
    let kind = match error {
        ExportError::TooMany { .. } => Kind::TooLarge,
        _ => Kind::Unreadable,
    };
    Problem::of(kind, error)
}
