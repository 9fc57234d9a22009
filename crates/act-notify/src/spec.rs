//! Receivers as configured and checked.

use homeostat_model::{ReceiverName, Span};

/// A secret text: never printed, never serialised.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(String);

impl Secret {
    /// Takes a secret.
    pub fn new(text: String) -> Self {
        Self(text)
    }

    /// The text itself; for signing and sending only.
    pub fn reveal(&self) -> &str {
        &self.0
    }
}

impl std::fmt::Debug for Secret {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Secret(…)")
    }
}

/// One place that notifications go to.
#[derive(Clone, Debug, PartialEq)]
pub struct ReceiverSpec {
    /// Its name.
    pub name: ReceiverName,
    /// What it is.
    pub kind: ReceiverKind,
    /// Whether it hears when things are well again.
    pub send_resolved: bool,
    /// Messages a minute at most; more are grouped into the next message. Chat bots allow 20.
    pub per_minute_max: u32,
    /// Until the receiver has answered.
    pub timeout: Span,
    /// Retried with backoff for this long after the first failure, then given up, counted and logged.
    pub give_up_after: Span,
    /// Title and text in place of the defaults.
    pub template: Option<TemplateSpec>,
}

/// minijinja templates over the notice: `status`, `labels`, `annotations`, `alerts`, `starts_at`, `ends_at`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TemplateSpec {
    /// One line; the default when absent.
    pub title: Option<String>,
    /// The body; the default when absent.
    pub text: Option<String>,
}

/// What kind of receiver, with what it takes to reach it. URLs count as secrets: chat bots carry their token in them.
#[derive(Clone, Debug, PartialEq)]
pub enum ReceiverKind {
    /// Alertmanager's webhook payload, version "4".
    Webhook {
        /// `http://` or `https://`.
        url: Secret,
        /// Sent as `Authorization: Bearer …`.
        bearer: Option<Secret>,
    },
    /// Slack incoming webhook.
    Slack {
        /// The webhook's address.
        url: Secret,
    },
    /// DingTalk bot.
    DingTalk {
        /// The bot's address with its access token.
        url: Secret,
        /// Signing secret.
        secret: Option<Secret>,
    },
    /// Feishu or Lark bot.
    Feishu {
        /// The bot's address.
        url: Secret,
        /// Signing secret.
        secret: Option<Secret>,
    },
    /// WeCom bot.
    WeCom {
        /// The bot's address with its key.
        url: Secret,
    },
}
