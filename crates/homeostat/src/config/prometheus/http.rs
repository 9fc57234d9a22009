//! How HTTP servers are spoken to: credentials, certificates, headers.

use std::path::Path;

use homeostat_sense_scrape::spec::{Credentials, HttpSpec, Secret, TlsSpec};

use super::{
    raw::{Authorization, BasicAuth, HttpHeader, TlsConfig},
    scalars::{PlainSecret, Text},
};
use crate::config::{
    read::{Context, Entries},
    source::At,
};

/// The keys that jobs and `http_sd_configs` share.
pub(super) struct HttpKeys<'a> {
    pub(super) basic_auth: Option<&'a At<BasicAuth>>,
    pub(super) authorization: Option<&'a At<Authorization>>,
    pub(super) bearer_token: Option<&'a At<PlainSecret>>,
    pub(super) bearer_token_file: Option<&'a At<Text>>,
    pub(super) tls_config: Option<&'a At<TlsConfig>>,
    pub(super) follow_redirects: bool,
    pub(super) http_headers: Option<&'a At<Entries<Text, HttpHeader>>>,
}

impl HttpKeys<'_> {
    /// Checks them; relative paths start at `dir`.
    pub(super) fn check(&self, dir: &Path, cx: &mut Context<'_>) -> HttpSpec {
        HttpSpec {
            credentials: self.credentials(dir, cx),
            tls: self.tls(dir, cx),
            follow_redirects: self.follow_redirects,
            headers: self.headers(),
        }
    }

    fn credentials(&self, dir: &Path, cx: &mut Context<'_>) -> Option<Credentials> {
        let mut all = Vec::new();
        if let Some(at) = self.basic_auth {
            let secret = either(at, at.value.password.as_ref(), at.value.password_file.as_ref(), "password", dir, cx);
            if let (Some(user), Some(password)) = (&at.value.username, secret) {
                all.push((at.place, Credentials::Basic { user: user.value.0.clone(), password }));
            }
        }
        if let Some(at) = self.authorization {
            let (text, file) = (at.value.credentials.as_ref(), at.value.credentials_file.as_ref());
            if let (Some(kind), Some(token)) = (&at.value.kind, either(at, text, file, "credentials", dir, cx)) {
                all.push((at.place, Credentials::Token { kind: kind.value.0.clone(), token }));
            }
        }
        let bearer = |token| Credentials::Token { kind: "Bearer".to_owned(), token };
        if let Some(at) = self.bearer_token {
            all.push((at.place, bearer(at.value.0.clone())));
        }
        if let Some(at) = self.bearer_token_file {
            all.push((at.place, bearer(Secret::File(dir.join(&at.value.0)))));
        }
        if let Some((place, _)) = all.get(1) {
            cx.error(*place, "there are two ways to say who we are", "keep one of them");
        }
        all.into_iter().next().map(|(_, credentials)| credentials)
    }

    fn tls(&self, dir: &Path, cx: &mut Context<'_>) -> TlsSpec {
        let Some(at) = self.tls_config else { return TlsSpec::default() };
        let file = |text: &Option<At<Text>>| text.as_ref().map(|at| dir.join(&at.value.0));
        let client = match (file(&at.value.cert_file), file(&at.value.key_file)) {
            (Some(certificate), Some(key)) => Some((certificate, key)),
            (None, None) => None,
            _ => {
                cx.error(at.place, "`cert_file` and `key_file` belong together", "give both or none");
                None
            }
        };
        TlsSpec {
            ca_file: file(&at.value.ca_file),
            client,
            server_name: at.value.server_name.as_ref().map(|at| at.value.0.clone()),
            insecure_skip_verify: at.value.insecure_skip_verify.as_ref().is_some_and(|at| at.value),
        }
    }

    fn headers(&self) -> Vec<(String, String)> {
        let mut headers = Vec::new();
        for (name, header) in self.http_headers.iter().flat_map(|at| &at.value.0) {
            let values = header.value.values.iter().flat_map(|at| &at.value).map(|text| text.0.clone());
            let secrets = header.value.secrets.iter().flat_map(|at| &at.value);
            let secrets = secrets.filter_map(|secret| match &secret.0 {
                Secret::Text(text) => Some(text.clone()),
                Secret::File(_) => None,
            });
            headers.extend(values.chain(secrets).map(|value| (name.value.0.clone(), value)));
        }
        headers
    }
}

/// A secret that is written out or in a file, exactly one of them.
fn either<T>(
    at: &At<T>,
    text: Option<&At<PlainSecret>>,
    file: Option<&At<Text>>,
    key: &str,
    dir: &Path,
    cx: &mut Context<'_>,
) -> Option<Secret> {
    match (text, file) {
        (Some(text), None) => Some(text.value.0.clone()),
        (None, Some(file)) => Some(Secret::File(dir.join(&file.value.0))),
        (None, None) if !cx.is_sound(at.place) => None,
        _ => {
            let help = format!("write one of `{key}` and `{key}_file`");
            cx.error(at.place, format!("`{key}` must be given in one way"), help);
            None
        }
    }
}
