//! The section `remote_write`: where samples are sent on, and how.

use std::{collections::BTreeSet, path::Path, time::Duration};

use homeostat_relay_write::{RelaySpec, Version, limits::AGE_MAX};
use homeostat_sense_scrape::spec::{Credentials, HttpSpec, Secret};
use http::Uri;
use sha2::{Digest as _, Sha256};

use super::{
    http::HttpKeys,
    jobs::rules,
    raw::{PrometheusFile, QueueConfig, RemoteWrite},
    scalars::PromDuration,
};
use crate::config::{read::Context, source::At};

/// A destination with the way to it.
#[derive(Clone, Debug, PartialEq)]
pub struct Remote {
    /// What is sent and how it waits.
    pub relay: RelaySpec,
    /// Where to.
    pub url: String,
    /// How it is spoken to.
    pub http: HttpSpec,
    /// Longest request.
    pub timeout: Duration,
}

/// Checks all destinations.
pub(super) fn check(file: &PrometheusFile, dir: &Path, cx: &mut Context<'_>) -> Vec<At<Remote>> {
    let global = file.global.as_ref().map(|at| &at.value);
    let external: Vec<(String, String)> = global
        .and_then(|global| global.external_labels.as_ref())
        .iter()
        .flat_map(|at| at.value.0.iter().map(|(name, value)| (name.value.0.clone(), value.value.0.clone())))
        .collect();
    let remotes = file.remote_write.iter().flat_map(|at| &at.value);
    remotes.filter_map(|raw| remote(raw, &external, dir, cx)).collect()
}

/// Two destinations of one name would share a queue.
pub(super) fn refuse_twins(remotes: &[At<Remote>], cx: &mut Context<'_>) {
    let mut seen = BTreeSet::new();
    for remote in remotes {
        let name = &remote.value.relay.name;
        if !seen.insert(name) {
            let help = "give each destination a `name` of its own";
            cx.error(remote.place, format!("there is a second destination `{name}`"), help);
        }
    }
}

fn remote(raw: &RemoteWrite, external: &[(String, String)], dir: &Path, cx: &mut Context<'_>) -> Option<At<Remote>> {
    let at = raw.url.as_ref()?;
    let Some((url, shown, user)) = address(&at.value.0) else {
        let help = "write it whole, with `http://` or `https://`";
        cx.error(at.place, "a destination has no address that can be reached", help);
        return None;
    };
    let keys = HttpKeys {
        basic_auth: raw.basic_auth.as_ref(),
        authorization: raw.authorization.as_ref(),
        bearer_token: raw.bearer_token.as_ref(),
        bearer_token_file: raw.bearer_token_file.as_ref(),
        tls_config: raw.tls_config.as_ref(),
        follow_redirects: false,
        http_headers: None,
    };
    if user.is_some() {
        cx.secrets.push(at.place);
    }
    let mut http = keys.check(dir, cx);
    http.credentials = http.credentials.or(user);
    let headers = raw.headers.iter().flat_map(|at| &at.value.0);
    http.headers = headers.map(|(name, value)| (name.value.0.clone(), value.value.0.clone())).collect();
    if raw.send_exemplars.as_ref().is_some_and(|at| at.value)
        && let Some(at) = &raw.send_exemplars
    {
        cx.warn(at.place, "`send_exemplars` is not used", "exemplars stay here; leave the key out to silence this");
    }
    let name = raw.name.as_ref().map_or_else(|| hash(&at.value.0), |at| at.value.0.clone());
    let version = raw.protobuf_message.as_ref().map_or(Version::V1, |at| at.value);
    let mut relay = RelaySpec {
        version,
        external_labels: external.to_vec(),
        relabel: rules(raw.write_relabel_configs.as_ref(), cx),
        native_histograms: version == Version::V2 || raw.send_native_histograms.as_ref().is_some_and(|at| at.value),
        ..RelaySpec::named(&name, &shown)
    };
    if let Some(queue) = &raw.queue_config {
        waiting(&queue.value, &mut relay, cx);
    }
    let timeout = raw.remote_timeout.as_ref().map_or(Duration::from_secs(30), |at| at.value.0);
    Some(At::new(Remote { relay, url, http, timeout }, raw.name.as_ref().map_or(at.place, |at| at.place)))
}

fn waiting(raw: &QueueConfig, relay: &mut RelaySpec, cx: &mut Context<'_>) {
    let time = |at: &Option<At<PromDuration>>, otherwise| at.as_ref().map_or(otherwise, |at| at.value.0);
    if let Some(at) = &raw.max_samples_per_send {
        relay.samples_per_send_max = usize::try_from(at.value.0).unwrap_or(usize::MAX);
    }
    if let Some(at) = &raw.max_shards {
        relay.concurrency = usize::try_from(at.value.0).unwrap_or(usize::MAX).max(1);
    }
    relay.batch_deadline = time(&raw.batch_send_deadline, relay.batch_deadline);
    relay.backoff_min = time(&raw.min_backoff, relay.backoff_min).max(Duration::from_millis(1));
    relay.backoff_max = time(&raw.max_backoff, relay.backoff_max);
    let age = time(&raw.sample_age_limit, Duration::ZERO);
    relay.age_max = if age.is_zero() { AGE_MAX } else { age };
    if relay.backoff_max < relay.backoff_min
        && let Some(at) = &raw.min_backoff
    {
        cx.error(at.place, "the first wait is longer than the longest", "make `max_backoff` at least as long");
    }
}

/// The address without secrets, the same to be shown, and who its user is.
fn address(text: &str) -> Option<(String, String, Option<Credentials>)> {
    let uri: Uri = text.parse().ok()?;
    if !matches!(uri.scheme_str(), Some("http" | "https")) {
        return None;
    }
    let authority = uri.authority()?.as_str();
    let (user, host) = authority.rsplit_once('@').map_or((None, authority), |(user, host)| (Some(user), host));
    let scheme = uri.scheme_str()?;
    let path = uri.path_and_query().map_or("/", |path| path.as_str());
    let credentials = user.map(|user| {
        let (user, password) = user.split_once(':').unwrap_or((user, ""));
        Credentials::Basic { user: user.to_owned(), password: Secret::Text(password.to_owned()) }
    });
    Some((format!("{scheme}://{host}{path}"), format!("{scheme}://{host}{}", uri.path()), credentials))
}

/// A name for a destination without one, the same after every restart.
fn hash(url: &str) -> String {
    let digest = Sha256::digest(url);
    let [first, second, third, ..] = digest.as_slice() else { return String::new() };
    format!("{first:02x}{second:02x}{third:02x}")
}
