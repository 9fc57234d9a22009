//! The `Receiver` document.

use homeostat_model::Span;

use crate::config::{
    read::{Short, ShortForm, record},
    scalar::{SecretText, Whole},
    source::At,
};

record! {
    /// Where notifications go: exactly one of `webhook`, `slack`, `dingtalk`, `feishu` and `wecom`.
    Receiver {
        /// Alertmanager's webhook payload, version 4.
        "webhook" webhook: Short<Webhook> => optional;
        /// A Slack incoming webhook.
        "slack" slack: Short<Address> => optional;
        /// A DingTalk bot.
        "dingtalk" dingtalk: Short<SignedBot> => optional;
        /// A Feishu or Lark bot.
        "feishu" feishu: Short<SignedBot> => optional;
        /// A WeCom bot.
        "wecom" wecom: Short<Address> => optional;
        /// Whether it hears when things are well again.
        "sendResolved" send_resolved: bool => default "true";
        /// Messages a minute at most; more are grouped into the next message. Chat bots allow 20.
        "perMinute" per_minute: Whole<1, 10_000> => default "20";
        /// Until the receiver has answered.
        "timeout" timeout: Span => default "5s";
        /// Retried with backoff for this long after the first failure, then given up, counted and logged.
        "giveUpAfter" give_up_after: Span => default "24h";
        /// Title and text in place of the defaults.
        "template" template: Template => optional;
    }
}

record! {
    /// A webhook. The short form is its address.
    Webhook {
        /// `http://` or `https://`; `${NAME}` takes it from the environment.
        "url" url: SecretText => required;
        /// Sent as `Authorization: Bearer …`.
        "bearer" bearer: SecretText => optional;
    }
}

impl ShortForm for Webhook {
    type Short = SecretText;
    fn from_short(url: At<SecretText>) -> Self {
        Self { url: Some(url), bearer: None }
    }
}

record! {
    /// An address that carries its own token. The short form is the address.
    Address {
        /// `http://` or `https://`; `${NAME}` takes it from the environment.
        "url" url: SecretText => required;
    }
}

impl ShortForm for Address {
    type Short = SecretText;
    fn from_short(url: At<SecretText>) -> Self {
        Self { url: Some(url) }
    }
}

record! {
    /// A bot that checks signatures. The short form is its address.
    SignedBot {
        /// `http://` or `https://`; `${NAME}` takes it from the environment.
        "url" url: SecretText => required;
        /// The signing secret, if the bot asks for one.
        "secret" secret: SecretText => optional;
    }
}

impl ShortForm for SignedBot {
    type Short = SecretText;
    fn from_short(url: At<SecretText>) -> Self {
        Self { url: Some(url), secret: None }
    }
}

record! {
    /// minijinja templates over `status`, `labels`, `annotations`, `alerts`, `starts_at`, `ends_at`.
    Template {
        /// One line.
        "title" title: String => optional;
        /// The body.
        "text" text: String => optional;
    }
}
