//! The documents that stand alone: `Guard`, `Gateway`, `Api`, `Store`, `Sensing`. Without a document every default holds.

use std::{
    net::SocketAddr,
    path::{Path, PathBuf},
};

use homeostat_act_guard::GuardLimits;
use homeostat_api::spec::{ApiSpec, TokenSpec};
use homeostat_gateway_proxy::{
    TlsError, check_tls_files,
    spec::{ListenerSpec, ProxyLimits, ProxySpec, TlsFiles},
};
use homeostat_model::{ActionMode, Span, Weight};
use homeostat_store_events::spec::{CommitSpec, StoreSpec};
use sha2::Digest;

use super::{
    super::{
        SensingSpec,
        document::Document,
        raw::{guard as raw_guard, process as raw},
        read::{Context, Outside, Read},
        scalar::{Bytes, Whole},
        source::{At, Place},
        tree::{Data, Node},
    },
    value, within,
};

/// Characters of a token at least: 16 of 62 kinds are 95 bits, beyond guessing over a network.
const TOKEN_CHARS_MIN: usize = 16;

/// The document, or one in which everything keeps its default.
fn only<T: Read + Clone>(documents: &[Document<T>], cx: &mut Context<'_>) -> Option<(T, Place)> {
    if let Some(document) = documents.first() {
        document.spec.clone().map(|spec| (spec, document.place))
    } else {
        let place = Place { file: 0, line: 1, column: 1, width: 1 };
        T::read(&Node { place, data: Data::Null }, cx).map(|spec| (spec, place))
    }
}

/// The smallest memory of sensing: two busy programs, a side each.
const SENSING_BYTES_MIN: u64 = 16 << 20;

/// Checks how much sensing may take.
pub(super) fn sensing(documents: &[Document<raw::Sensing>], cx: &mut Context<'_>) -> SensingSpec {
    let mut spec = SensingSpec::default();
    let Some((raw, _)) = only(documents, cx) else { return spec };
    for (field, what) in [(&raw.memory, "profiles of two busy programs"), (&raw.process_memory, "any process")] {
        if let Some(at) = field.as_ref().filter(|at| at.value.0 < SENSING_BYTES_MIN) {
            cx.error(at.place, format!("too little for {what}"), "write at least `16MiB`");
        }
    }
    spec.windows_bytes_max = raw.memory.map_or(spec.windows_bytes_max, |at| at.value.0);
    spec.rss_bytes_max = raw.process_memory.map_or(spec.rss_bytes_max, |at| at.value.0);
    spec
}

/// Checks the guard's limits.
pub(super) fn guard(documents: &[Document<raw_guard::Guard>], cx: &mut Context<'_>) -> GuardLimits {
    const SECOND: Span = Span::from_secs(1);
    let Some((raw, _)) = only(documents, cx) else { return GuardLimits::default() };
    let traffic_max = value(raw.traffic.as_ref(), Weight::FULL);
    if let Some(at) = raw.traffic.as_ref().filter(|at| at.value == Weight::ZERO) {
        cx.error(
            at.place,
            "a guard that moves no traffic refuses every action",
            "write `mode: observe` in rollouts to only watch",
        );
    }
    GuardLimits {
        routes_max: value(raw.routes.as_ref(), Whole(50)).0 as usize,
        traffic_max,
        actions_per_hour_max: value(raw.actions_per_hour.as_ref(), Whole(60)).0 as u32,
        cooldown: within(raw.cooldown.as_ref(), "a cool-down", (Span::ZERO, Span::from_days(1)), cx),
        ttl_max: within(raw.ttl.as_ref(), "a TTL", (SECOND, Span::from_days(365)), cx),
        approval_ttl: within(raw.approval_ttl.as_ref(), "an approval time", (SECOND, Span::from_days(7)), cx),
        default_mode: value(raw.default_mode.as_ref(), ActionMode::Approve),
    }
}

/// Checks sockets, workers and limits of the data plane.
pub(super) fn gateway(documents: &[Document<raw::Gateway>], cores: usize, cx: &mut Context<'_>) -> ProxySpec {
    let mut spec = ProxySpec {
        listeners: Vec::new(),
        workers: cores.clamp(1, 256),
        limits: ProxyLimits::default(),
        trust_forwarded: false,
    };
    let Some((raw, _)) = only(documents, cx) else { return spec };
    if let Some(workers) = raw.workers {
        spec.workers = workers.value.0 as usize;
    }
    spec.trust_forwarded = value(raw.trust_forwarded.as_ref(), false);
    if let Some(limits) = &raw.limits {
        spec.limits = self::limits(&limits.value, cx);
    }
    for at in raw.listeners.iter().flat_map(|l| &l.value) {
        let Some(listener) = listener(&at.value.0, cx) else { continue };
        if let Some(other) = spec.listeners.iter().find(|l| overlap(l.address, listener.address)) {
            cx.error(
                at.place,
                format!("this address is taken by the listener `{}`", other.name),
                "choose another port",
            );
        }
        if spec.listeners.iter().any(|l| l.name == listener.name && l.address != listener.address) {
            cx.error(at.place, format!("another listener has the name `{}`", listener.name), "choose another name");
        }
        spec.listeners.push(listener);
    }
    if let Some(list) = raw.listeners.as_ref().filter(|list| list.value.is_empty()) {
        cx.error(list.place, "a gateway needs at least one listener", "write `listeners: ['127.0.0.1:8080']`");
    }
    spec
}

fn listener(raw: &raw::Listener, cx: &mut Context<'_>) -> Option<ListenerSpec> {
    let address = raw.address.as_ref()?.value;
    let name = raw.name.as_ref().map_or_else(|| address.to_string(), |name| name.value.clone());
    let tls = match &raw.tls {
        None => None,
        Some(tls) => Some(tls_files(&name, tls.value.certificate.as_ref()?, tls.value.key.as_ref()?, cx)),
    };
    Some(ListenerSpec { name, address, tls })
}

/// The files of a TLS listener, tried as the gateway will try them.
fn tls_files(listener: &str, certificate: &At<String>, key: &At<String>, cx: &mut Context<'_>) -> TlsFiles {
    let files = TlsFiles { certificate: PathBuf::from(&certificate.value), key: PathBuf::from(&key.value) };
    // Both are looked for before either counts, so that both are reported.
    let here = [certificate, key].map(|file| is_here(file, cx)) == [true, true];
    if here && let Err(problem) = check_tls_files(listener, &files) {
        match problem {
            TlsError::File { what, path, source, .. } => {
                let place = if what == "certificate" { certificate.place } else { key.place };
                cx.error(
                    place,
                    format!("`{}` cannot be read as PEM: {source}", path.display()),
                    format!("give a readable file that holds the {what} in PEM, and check that it is the right one"),
                );
            }
            TlsError::Pair { source, .. } => cx.error(
                key.place,
                format!("this key and the certificate `{}` do not work together: {source}", certificate.value),
                "give the key that belongs to the first certificate of the file",
            ),
        }
    }
    files
}

/// Whether a file can be tried here; reports one that should be and is not.
fn is_here(file: &At<String>, cx: &mut Context<'_>) -> bool {
    if cx.outside == Outside::Text {
        return false;
    }
    let found = Path::new(&file.value).exists();
    if !found && cx.outside == Outside::Elsewhere {
        cx.assumed.insert(file.value.clone());
    } else if !found {
        cx.error(
            file.place,
            format!("there is no file `{}`, or it may not be seen", file.value),
            "write its path; a relative one starts at the working directory of the process",
        );
    }
    found
}

/// Whether two sockets cannot both be opened: same port, and one address includes the other. Port 0 is always free.
fn overlap(a: SocketAddr, b: SocketAddr) -> bool {
    // `[::]` also takes IPv4 connections where the system's default has not been changed.
    let all = |x: SocketAddr, y: SocketAddr| x.ip().is_unspecified() && (x.is_ipv6() || y.is_ipv4());
    a.port() != 0 && a.port() == b.port() && (a.ip() == b.ip() || all(a, b) || all(b, a))
}

fn limits(raw: &raw::Limits, cx: &mut Context<'_>) -> ProxyLimits {
    const RANGE: (Span, Span) = (Span::from_ms(1), Span::from_days(1));
    let defaults = ProxyLimits::default();
    let size = |at: Option<&At<Bytes>>, what: &str, (min, max): (u64, u64), cx: &mut Context<'_>| {
        let Some(at) = at else { return min };
        if !(min..=max).contains(&at.value.0) {
            cx.error(
                at.place,
                format!("{what} of {} bytes is out of range", at.value.0),
                format!("write {min} to {max} bytes"),
            );
        }
        at.value.0
    };
    ProxyLimits {
        header_bytes_max: size(raw.header_bytes.as_ref(), "a header limit", (8 << 10, 1 << 20), cx) as usize,
        headers_max: value(raw.headers.as_ref(), Whole(defaults.headers_max as u64)).0 as usize,
        body_bytes_max: size(raw.body_bytes.as_ref(), "a body limit", (0, 1 << 50), cx),
        connections_max: value(raw.connections.as_ref(), Whole(defaults.connections_max as u64)).0 as usize,
        streams_max: value(raw.streams.as_ref(), Whole(u64::from(defaults.streams_max))).0 as u32,
        header_timeout: within(raw.header_timeout.as_ref(), "a time limit", RANGE, cx),
        keep_alive: within(raw.keep_alive.as_ref(), "a time limit", RANGE, cx),
        upstream_idle_max: value(raw.upstream_idle.as_ref(), Whole(defaults.upstream_idle_max as u64)).0 as usize,
        drain: within(raw.drain.as_ref(), "a drain time", (Span::ZERO, Span::from_hours(1)), cx),
    }
}

/// Checks the API's address and tokens.
pub(super) fn api(documents: &[Document<raw::Api>], proxy: &ProxySpec, cx: &mut Context<'_>) -> ApiSpec {
    let fallback = ApiSpec { listen: SocketAddr::from(([127, 0, 0, 1], 7700)), external_url: None, tokens: Vec::new() };
    let Some((raw, place)) = only(documents, cx) else { return fallback };
    let Some(listen) = &raw.listen else { return fallback };
    let written = raw.tokens.as_ref().map(|t| t.value.as_slice()).unwrap_or_default();
    if !listen.value.ip().is_loopback() && written.is_empty() {
        cx.error(
            listen.place,
            "beyond the loopback address the API needs at least one token",
            "add `tokens: [{name: ops, role: admin, token: ${API_TOKEN}}]`, or listen on `127.0.0.1`",
        );
    }
    let external_url = raw.external_url.as_ref().and_then(|at| external_url(at, cx));
    let is_encrypted = external_url.as_ref().is_some_and(|url| url.starts_with("https://"));
    if !(listen.value.ip().is_loopback() || written.is_empty() || is_encrypted) {
        cx.warn(
            listen.place,
            "the API speaks cleartext: beyond the loopback address tokens can be read on their way",
            "listen on `127.0.0.1` behind a proxy that speaks TLS; if there is one in front already, \
             add `externalUrl:` with its `https://` address",
        );
    }
    if let Some(other) = proxy.listeners.iter().find(|l| overlap(l.address, listen.value)) {
        let at = if documents.is_empty() { place } else { listen.place };
        cx.error(
            at,
            format!("the API's address {} is taken by the listener `{}`", listen.value, other.name),
            "choose another port for one of the two",
        );
    }
    let names: Vec<At<String>> = written.iter().filter_map(|t| t.value.name.clone()).collect();
    super::distinct(&names, cx);
    let tokens = written.iter().filter_map(|at| token(at, cx)).collect();
    ApiSpec { listen: listen.value, external_url, tokens }
}

/// The console's address as people reach it, without a slash at the end; scheme and host in lower case.
fn external_url(at: &At<String>, cx: &mut Context<'_>) -> Option<String> {
    let uri = at.value.parse::<http::Uri>().ok().filter(|uri| uri.host().is_some_and(|host| !host.is_empty()));
    let scheme = uri.as_ref().and_then(|uri| uri.scheme_str()).filter(|scheme| matches!(*scheme, "http" | "https"));
    let help = "write for example `https://homeostat.example.org`, with a path if the proxy serves it under one";
    let (Some(uri), Some(scheme)) = (&uri, scheme) else {
        cx.error(at.place, format!("`{}` is not the address of a console", at.value), help);
        return None;
    };
    let authority = uri.authority().map_or("", |authority| authority.as_str());
    if authority.contains('@') || at.value.contains(['?', '#']) {
        cx.error(at.place, "the address of the console holds no user, query or fragment", help);
        return None;
    }
    Some(format!("{scheme}://{authority}{}", uri.path().trim_end_matches('/')))
}

fn token(at: &At<raw::Token>, cx: &mut Context<'_>) -> Option<TokenSpec> {
    let raw = &at.value;
    let sha256 = match (&raw.token, &raw.sha256) {
        (Some(token), None) => {
            let text = token.value.0.reveal();
            if text.chars().count() < TOKEN_CHARS_MIN {
                cx.error(
                    token.place,
                    "this token is too short to be safe",
                    format!(
                        "write at least {TOKEN_CHARS_MIN} random characters, such as `openssl rand -hex 16` prints"
                    ),
                );
            }
            Some(sha2::Sha256::digest(text.as_bytes()).into())
        }
        (None, Some(sum)) => Some(sum.value.0),
        (Some(_), Some(sum)) => {
            cx.error(sum.place, "a token is given by itself or by its SHA-256, not by both", "remove one of the two");
            None
        }
        (None, None) => {
            if cx.is_sound(at.place) {
                cx.error(at.place, "the token is missing", "add `token: ${NAME}` or `sha256:`");
            }
            None
        }
    };
    Some(TokenSpec { name: raw.name.as_ref()?.value.clone(), sha256: sha256?, role: raw.role.as_ref()?.value })
}

/// Checks the journal's settings.
pub(super) fn store(documents: &[Document<raw::Store>], cx: &mut Context<'_>) -> StoreSpec {
    let mut spec = StoreSpec::new(PathBuf::from("homeostat-data"));
    let Some((raw, _)) = only(documents, cx) else { return spec };
    if let Some(dir) = &raw.dir {
        if dir.value.trim().is_empty() {
            cx.error(dir.place, "the data directory has no name", "write a path, such as `/var/lib/homeostat`");
        }
        spec.dir = PathBuf::from(&dir.value);
    }
    // The newest snapshot that recovery may use is a minute old: ticks must reach back further than that.
    spec.ticks_kept = within(raw.ticks_kept.as_ref(), "a retention", (Span::from_mins(5), Span::from_days(365)), cx);
    spec.incidents_kept =
        within(raw.incidents_kept.as_ref(), "a retention", (Span::from_hours(1), Span::from_days(3650)), cx);
    if let Some(kept) = raw.incidents_kept.as_ref().filter(|kept| kept.value < spec.ticks_kept) {
        cx.error(
            kept.place,
            "incidents would be forgotten before the ticks they were judged by",
            format!("write at least {}", spec.ticks_kept),
        );
    }
    if let Some(bytes) = &raw.bytes {
        if bytes.value.0 < 64 << 20 {
            cx.error(bytes.place, "too little for a day of one service", "write at least `64MiB`");
        }
        spec.bytes_max = bytes.value.0;
    }
    if let Some(commit) = &raw.commit {
        spec.commit = self::commit(&commit.value.0, cx);
    }
    spec
}

fn commit(raw: &raw::Commit, cx: &mut Context<'_>) -> CommitSpec {
    let (Some(interval), Some(bytes)) = (&raw.interval, &raw.bytes) else { return CommitSpec::EveryRecord };
    if !(1..=64 << 20).contains(&bytes.value.0) {
        cx.error(bytes.place, "a group of this size is out of range", "write 1 byte to 64MiB");
    }
    CommitSpec::Group {
        interval: within(Some(interval), "a commit interval", (Span::from_us(100), Span::from_secs(1)), cx),
        bytes: bytes.value.0 as usize,
    }
}
