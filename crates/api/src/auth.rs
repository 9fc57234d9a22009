//! Who asks, and what they may do.
//!
//! Tokens are known by their SHA-256 only. A presented token is hashed and compared with every known hash in constant
//! time, without stopping at the first match, so that timing tells nothing about which tokens exist. Hashing without
//! salt is sound here: tokens are random, not chosen by people (the configuration's documentation says so).
//!
//! Without any token the API is on loopback and everybody there is `local`, an admin; `browser` keeps web pages out.

use homeostat_model::Actor;
use http::{HeaderMap, HeaderValue, StatusCode, header};
use sha2::{Digest as _, Sha256};
use subtle::ConstantTimeEq as _;

use crate::{
    limits::TOKEN_BYTES_MAX,
    problem::Problem,
    spec::{Role, TokenSpec},
};

/// Who asks.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Identity {
    pub(crate) actor: Actor,
    pub(crate) role: Role,
}

/// What an endpoint asks of its users.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Access {
    /// Nothing: probes and the API's own description.
    Open,
    /// At least this role.
    Needs(Role),
}

/// Finds out who asks and whether they may. Errors: 401 without a known token, 403 with too small a role.
pub(crate) fn authorize(access: Access, tokens: &[TokenSpec], headers: &HeaderMap) -> Result<Identity, Problem> {
    if tokens.is_empty() {
        return Ok(Identity { actor: Actor::new("local"), role: Role::Admin });
    }
    let known = bearer(headers).map(|presented| find(tokens, presented));
    match (access, known) {
        (Access::Open, _) => Ok(Identity { actor: Actor::new("anonymous"), role: Role::Read }),
        (Access::Needs(_), None) => {
            Err(unauthorized("send `Authorization: Bearer TOKEN`", "Bearer realm=\"homeostat\""))
        }
        (Access::Needs(_), Some(None)) => Err(unauthorized(
            "the token is not known; the configuration lists the SHA-256 of each token",
            "Bearer realm=\"homeostat\", error=\"invalid_token\"",
        )),
        (Access::Needs(needed), Some(Some(token))) if token.role < needed => Err(Problem::new(
            StatusCode::FORBIDDEN,
            "forbidden",
            format!(
                "this needs a token with the role `{}`, `{}` has `{}`",
                needed.label(),
                token.name,
                token.role.label()
            ),
        )),
        (Access::Needs(_), Some(Some(token))) => Ok(Identity { actor: Actor::new(&token.name), role: token.role }),
    }
}

fn unauthorized(detail: &str, challenge: &'static str) -> Problem {
    let problem = Problem::new(StatusCode::UNAUTHORIZED, "unauthorized", detail);
    problem.with_header(header::WWW_AUTHENTICATE, HeaderValue::from_static(challenge))
}

/// The token of an `Authorization: Bearer` header; the scheme's case does not matter (RFC 9110, 11.1).
fn bearer(headers: &HeaderMap) -> Option<&[u8]> {
    let value = headers.get(header::AUTHORIZATION)?.as_bytes();
    let (scheme, token) = value.split_at_checked(7)?;
    let token = token.trim_ascii();
    (scheme.eq_ignore_ascii_case(b"bearer ") && !token.is_empty() && token.len() <= TOKEN_BYTES_MAX).then_some(token)
}

fn find<'a>(tokens: &'a [TokenSpec], presented: &[u8]) -> Option<&'a TokenSpec> {
    let hash: [u8; 32] = Sha256::digest(presented).into();
    let mut found = None;
    for token in tokens {
        if bool::from(token.sha256.ct_eq(&hash)) {
            found = Some(token);
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tokens() -> Vec<TokenSpec> {
        let token = |name: &str, role| TokenSpec {
            name: name.to_owned(),
            sha256: Sha256::digest(format!("{name}-token")).into(),
            role,
        };
        vec![token("watcher", Role::Read), token("pipeline", Role::Operate), token("root", Role::Admin)]
    }

    fn ask(authorization: Option<&str>, access: Access) -> String {
        let mut headers = HeaderMap::new();
        if let Some(value) = authorization {
            headers.insert(header::AUTHORIZATION, value.parse().unwrap());
        }
        match authorize(access, &tokens(), &headers) {
            Ok(identity) => format!("{} {}", identity.actor, identity.role.label()),
            Err(problem) => {
                let json = serde_json::to_value(problem).unwrap();
                format!("{} {}", json["status"], json["detail"].as_str().unwrap())
            }
        }
    }

    #[test]
    fn roles_include_the_ones_before_them() {
        let operate = Access::Needs(Role::Operate);
        assert_eq!(ask(Some("Bearer pipeline-token"), operate), "pipeline operate");
        assert_eq!(ask(Some("bearer  root-token "), operate), "root admin");
        assert_eq!(
            ask(Some("Bearer watcher-token"), operate),
            "403 this needs a token with the role `operate`, `watcher` has `read`"
        );
    }

    #[test]
    fn unknown_and_malformed_tokens_are_nobody() {
        let read = Access::Needs(Role::Read);
        let long = format!("Bearer {}", "x".repeat(TOKEN_BYTES_MAX + 1));
        for (value, begins) in [
            (None, "401 send"),
            (Some("Basic cm9vdDpyb290"), "401 send"),
            (Some("Bearer "), "401 send"),
            (Some("Bearer"), "401 send"),
            (Some(long.as_str()), "401 send"),
            (Some("Bearer root-toke"), "401 the token is not known"),
            (Some("Bearer root-token2"), "401 the token is not known"),
        ] {
            let answer = ask(value, read);
            assert!(answer.starts_with(begins), "{value:?}: {answer}");
        }
        assert_eq!(ask(None, Access::Open), "anonymous read");
    }
}
