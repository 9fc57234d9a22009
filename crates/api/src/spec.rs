//! Settings of the API.

use std::net::SocketAddr;

/// Where the API listens and who may use it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ApiSpec {
    /// Loopback by default. Elsewhere at least one token is required; the configuration is refused without.
    pub listen: SocketAddr,
    /// Where people reach the console, `http://` or `https://`, without a slash at the end; used in links. `None`: at
    /// `listen`.
    pub external_url: Option<String>,
    /// Tokens. When there are none, everybody who reaches the loopback address may do everything.
    pub tokens: Vec<TokenSpec>,
}

/// One bearer token, known by its hash.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TokenSpec {
    /// Shown in the audit.
    pub name: String,
    /// SHA-256 of the token.
    pub sha256: [u8; 32],
    /// What it may do.
    pub role: Role,
}

/// What a token may do; each role includes the ones before it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Role {
    /// See everything.
    Read,
    /// Drive rollouts, decide about actions.
    Operate,
    /// Reload the configuration, break-glass.
    Admin,
}

impl Role {
    /// The word used in configuration and errors.
    pub const fn label(self) -> &'static str {
        match self {
            Self::Read => "read",
            Self::Operate => "operate",
            Self::Admin => "admin",
        }
    }
}
