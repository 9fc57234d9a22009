//! The console's files, embedded in the binary.
//!
//! Everything under `crates/api/assets/` is part of the binary; `build.rs` writes the table. Files under `/assets/` carry
//! a hash of their content in their name and are kept by browsers for ever; all others, above all `index.html`, are
//! asked for each time and answered with 304 while they are unchanged. Pages within the console are told apart by the
//! part of the address after `#`, which never reaches the server.
//!
//! Not here: the console's sources and the proof that the files match them (`web/`).

use axum::{
    body::Body,
    response::{IntoResponse as _, Response},
};
use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Method, StatusCode, header, request::Parts};
use sha2::{Digest as _, Sha256};

use crate::problem::Problem;

/// One file.
#[derive(Clone, Copy, Debug)]
pub struct Asset {
    /// Path in URLs; begins with a slash.
    pub path: &'static str,
    /// As it is.
    pub plain: &'static [u8],
    /// Compressed by gzip, if such a file lies beside it.
    pub gzip: Option<&'static [u8]>,
}

/// The files of a console, ascending by path.
#[derive(Clone, Copy, Debug)]
pub struct Console(&'static [Asset]);

impl Console {
    /// What this binary carries.
    pub const fn embedded() -> Self {
        Self(include!(concat!(env!("OUT_DIR"), "/assets.rs")))
    }

    /// These files, ascending by path; for tests and other consoles.
    pub const fn of(files: &'static [Asset]) -> Self {
        Self(files)
    }

    fn find(&self, path: &str) -> Option<&'static Asset> {
        self.0.binary_search_by(|asset| asset.path.cmp(path)).ok().and_then(|at| self.0.get(at))
    }

    /// Answers a request that no endpoint wanted.
    pub(crate) fn answer(&self, parts: &Parts) -> Response {
        let path = parts.uri.path();
        let file = match path {
            "/" => self.find("/index.html"),
            path => self.find(path),
        };
        match file {
            Some(asset) if matches!(parts.method, Method::GET | Method::HEAD) => serve(asset, &parts.headers),
            Some(_) => {
                let problem =
                    Problem::new(StatusCode::METHOD_NOT_ALLOWED, "method_not_allowed", "files can only be read");
                problem.with_header(header::ALLOW, HeaderValue::from_static("GET, HEAD")).into_response()
            }
            None => {
                Problem::not_found("nothing is served here; `/homeostat/v1/openapi.json` lists what is").into_response()
            }
        }
    }
}

fn serve(asset: &Asset, headers: &HeaderMap) -> Response {
    let mut answer = HeaderMap::new();
    answer.insert(header::CONTENT_TYPE, HeaderValue::from_static(media_type(asset.path)));
    answer.insert(header::VARY, HeaderValue::from_static("accept-encoding"));
    let (body, encoding) = match asset.gzip {
        Some(gzip) if accepts_gzip(headers) => (gzip, Some("gzip")),
        _ => (asset.plain, None),
    };
    if let Some(encoding) = encoding {
        answer.insert(header::CONTENT_ENCODING, HeaderValue::from_static(encoding));
    }
    if asset.path.starts_with("/assets/") {
        answer.insert(header::CACHE_CONTROL, HeaderValue::from_static("public, max-age=31536000, immutable"));
    } else {
        answer.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-cache"));
        let tag = entity_tag(body);
        let unchanged = headers.get(header::IF_NONE_MATCH).is_some_and(|known| matches_tag(known, &tag));
        if let Ok(value) = HeaderValue::from_str(&tag) {
            answer.insert(header::ETAG, value);
        }
        if unchanged {
            return (StatusCode::NOT_MODIFIED, answer).into_response();
        }
    }
    (answer, Body::from(Bytes::from_static(body))).into_response()
}

/// Files outside `/assets/` are few and small: hashing them per request is cheaper than a place to keep the hash.
fn entity_tag(body: &[u8]) -> String {
    let head = Sha256::digest(body).first_chunk().copied().unwrap_or_default();
    format!("\"{:016x}\"", u64::from_be_bytes(head))
}

fn matches_tag(known: &HeaderValue, tag: &str) -> bool {
    known.to_str().is_ok_and(|known| {
        known.split(',').map(str::trim).any(|one| one == "*" || one.strip_prefix("W/").unwrap_or(one) == tag)
    })
}

/// Whether `gzip` is named and not refused by `q=0`.
fn accepts_gzip(headers: &HeaderMap) -> bool {
    let accepted = headers.get(header::ACCEPT_ENCODING).and_then(|value| value.to_str().ok()).unwrap_or_default();
    accepted.split(',').any(|one| {
        let mut parts = one.split(';').map(str::trim);
        let named = parts.next().is_some_and(|name| name.eq_ignore_ascii_case("gzip"));
        let quality = parts.find_map(|part| part.strip_prefix("q=")).map_or(Ok(1.0), str::parse::<f32>);
        named && quality.is_ok_and(|quality| quality > 0.0)
    })
}

fn media_type(path: &str) -> &'static str {
    match path.rsplit_once('.').map(|(_, extension)| extension) {
        Some("html") => "text/html; charset=utf-8",
        Some("js" | "mjs") => "text/javascript; charset=utf-8",
        Some("css") => "text/css; charset=utf-8",
        Some("json" | "map") => "application/json",
        Some("webmanifest") => "application/manifest+json",
        Some("svg") => "image/svg+xml",
        Some("png") => "image/png",
        Some("ico") => "image/x-icon",
        Some("wasm") => "application/wasm",
        Some("txt") => "text/plain; charset=utf-8",
        _ => "application/octet-stream",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const FILES: Console = Console::of(&[
        Asset { path: "/assets/app-1a2b.js", plain: b"plain", gzip: Some(b"zipped") },
        Asset { path: "/index.html", plain: b"<html>", gzip: None },
    ]);

    fn ask(method: Method, path: &str, headers: &[(&'static str, &str)]) -> Response {
        let mut request = http::Request::builder().method(method).uri(path);
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        FILES.answer(&request.body(()).unwrap().into_parts().0)
    }

    #[test]
    fn hashed_files_are_immutable_and_compressed_for_who_can_read_it() {
        for (accept, encoded) in [
            ("gzip, deflate, br", true),
            ("br;q=1.0, GZIP;q=0.5", true),
            ("gzip;q=0", false),
            ("identity", false),
            ("", false),
        ] {
            let response = ask(Method::GET, "/assets/app-1a2b.js", &[("accept-encoding", accept)]);
            assert_eq!(response.headers().contains_key("content-encoding"), encoded, "{accept}");
            assert_eq!(response.headers()["cache-control"], "public, max-age=31536000, immutable");
            assert_eq!(response.headers()["vary"], "accept-encoding");
        }
    }

    #[test]
    fn the_index_is_revalidated() {
        let page = ask(Method::GET, "/", &[]);
        assert_eq!(page.headers()["cache-control"], "no-cache");
        let tag = page.headers()["etag"].to_str().unwrap().to_owned();
        assert_eq!(ask(Method::GET, "/", &[("if-none-match", &tag)]).status(), StatusCode::NOT_MODIFIED);
        assert_eq!(ask(Method::GET, "/index.html", &[("if-none-match", "\"other\"")]).status(), StatusCode::OK);
        for (method, path, status) in [
            (Method::GET, "/homeostat/v1/nothing", 404),
            (Method::GET, "/assets/gone.js", 404),
            (Method::GET, "/../Cargo.toml", 404),
            (Method::POST, "/", 405),
        ] {
            assert_eq!(ask(method, path, &[]).status().as_u16(), status, "{path}");
        }
    }
}
