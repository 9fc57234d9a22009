//! Titles and texts: the defaults, the users' templates, and what they may see.
//!
//! Values are escaped for the receiver that reads them, so that a label can neither forge a link nor call everybody in a
//! channel; a template's own words are taken as they are. A template that fails while rendering falls back to the
//! default, which cannot fail, and is counted: a message that looks plain is better than none.

use homeostat_model::{Timestamp, notice::NoticeStatus};
use minijinja::{
    AutoEscape, Environment, UndefinedBehavior, Value,
    value::{Serde, ValueKind},
};
use serde_json::json;

use crate::{
    limits::{TEMPLATE_FUEL, TITLE_CHARS_MAX},
    message::{Alert, Message, Pairs, rfc3339},
    spec::TemplateSpec,
};

const TITLE: &str = "[{{ status | upper }}{% if alerts | length > 1 %}:{{ alerts | length }}{% endif %}] \
     {{ annotations.summary or labels.alertname or 'Homeostat' }}{% if labels.service %} ({{ labels.service }}){% endif %}";

const TEXT: &str = "\
{% if delayed_since %}Delivered late: it was to be sent at {{ delayed_since }}.\n{% endif %}\
{% for alert in alerts %}\
{% if alerts | length > 1 %}{{ alert.status | upper }}: {{ alert.annotations.summary or alert.labels.alertname }}\n{% endif %}\
{% if alert.annotations.description %}{{ alert.annotations.description }}\n{% endif %}\
{% for name, value in alert.labels | items %}{% if name != 'alertname' %}{{ name }}: {{ value }}\n{% endif %}{% endfor %}\
since {{ alert.starts_at }}{% if alert.ends_at %} until {{ alert.ends_at }}{% endif %}\n\
{% if alert.link %}{{ alert.link }}\n{% endif %}\
{% if not loop.last %}\n{% endif %}\
{% endfor %}";

/// How a receiver reads text.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Markup {
    /// As it is.
    Plain,
    /// Slack's: `&`, `<` and `>` are special.
    Slack,
    /// Markdown of DingTalk and WeCom, which also read `<@all>` and `<font>`.
    Markdown,
}

/// What is wrong with a template; the text names it and the line.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the {which} template {problem}")]
pub struct TemplateError {
    /// `title` or `text`.
    pub which: &'static str,
    /// What the engine says.
    pub problem: String,
}

/// A rendered message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rendered {
    /// One line of at most [`TITLE_CHARS_MAX`] characters.
    pub title: String,
    /// The body.
    pub text: String,
    /// Templates of the user that failed and gave way to the default.
    pub failed: u32,
}

/// Tries templates on a message of one alert and of several, firing and over. An error is the user's to mend.
pub fn check(spec: &TemplateSpec) -> Result<(), TemplateError> {
    let samples = [sample(1, NoticeStatus::Firing), sample(3, NoticeStatus::Resolved)];
    for (which, source) in [("title", &spec.title), ("text", &spec.text)] {
        let Some(source) = source else { continue };
        for message in &samples {
            let tried = render_one(source, message, Markup::Plain);
            let _ = tried.map_err(|error| TemplateError { which, problem: describe(&error) })?;
        }
    }
    Ok(())
}

/// Renders title and text; never fails.
pub fn render(spec: Option<&TemplateSpec>, message: &Message, markup: Markup) -> Rendered {
    let mut failed = 0;
    let mut one = |own: Option<&String>, default: &str| {
        if let Some(source) = own {
            match render_one(source, message, markup) {
                Ok(text) => return text,
                Err(_) => failed += 1,
            }
        }
        render_one(default, message, markup)
            .unwrap_or_else(|_| "Homeostat has something to say; see the console".to_owned())
    };
    let title = one(spec.and_then(|spec| spec.title.as_ref()), TITLE);
    let text = one(spec.and_then(|spec| spec.text.as_ref()), TEXT);
    let title = title.lines().next().unwrap_or_default().chars().take(TITLE_CHARS_MAX).collect();
    Rendered { title, text: text.trim_end().to_owned(), failed }
}

fn render_one(source: &str, message: &Message, markup: Markup) -> Result<String, minijinja::Error> {
    let mut environment = Environment::new();
    environment.set_fuel(Some(TEMPLATE_FUEL));
    environment.set_undefined_behavior(UndefinedBehavior::Chainable);
    environment.set_auto_escape_callback(|_| AutoEscape::None);
    environment.set_formatter(move |out, _, value| {
        if matches!(value.kind(), ValueKind::Undefined | ValueKind::None) {
            return Ok(());
        }
        let text = value.to_string();
        let text = if value.is_safe() { text } else { escape(&text, markup) };
        out.write_str(&text).map_err(minijinja::Error::from)
    });
    environment.render_str(source, values(message))
}

/// What a template sees.
fn values(message: &Message) -> Value {
    let shown = |alert: &Alert| {
        json!({
            "status": alert.status,
            "labels": alert.labels,
            "annotations": alert.annotations,
            "starts_at": rfc3339(alert.starts_at),
            "ends_at": alert.ends_at.map(rfc3339),
            "fingerprint": alert.fingerprint(),
            "link": alert.link,
        })
    };
    let values = json!({
        "status": message.status,
        "receiver": message.receiver,
        "group": message.group,
        "labels": message.labels,
        "annotations": message.annotations,
        "alerts": message.alerts.iter().map(shown).collect::<Vec<_>>(),
        "starts_at": rfc3339(message.starts_at()),
        "ends_at": message.ends_at().map(rfc3339),
        "delayed_since": message.delayed_since.map(rfc3339),
        "external_url": message.external_url,
    });
    Value::from(Serde(values))
}

fn escape(text: &str, markup: Markup) -> String {
    if markup == Markup::Plain {
        return text.to_owned();
    }
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;")
}

/// Kind, detail and line; not the source, which the user has before them.
fn describe(error: &minijinja::Error) -> String {
    let place = error.line().map(|line| format!(" (line {line})")).unwrap_or_default();
    let detail = error.detail().map(|detail| format!(": {detail}")).unwrap_or_default();
    format!("fails: {}{detail}{place}", error.kind())
}

fn sample(count: usize, status: NoticeStatus) -> Message {
    let pairs =
        |names: &[&str]| -> Pairs { names.iter().map(|name| ((*name).to_owned(), "sample".to_owned())).collect() };
    let alert = Alert {
        status,
        labels: pairs(&["alertname", "service", "severity"]),
        annotations: pairs(&["summary", "description"]),
        starts_at: Timestamp::default(),
        ends_at: Some(Timestamp::default()).filter(|_| status == NoticeStatus::Resolved),
        link: "https://homeostat.example/".to_owned(),
    };
    Message {
        receiver: "sample".to_owned(),
        group: "sample".to_owned(),
        status,
        labels: alert.labels.clone(),
        annotations: alert.annotations.clone(),
        alerts: vec![alert; count],
        delayed_since: None,
        external_url: None,
    }
}

#[cfg(test)]
mod tests {
    use expect_test::{Expect, expect};

    use super::*;
    use crate::message::tests::notice;

    fn message(count: usize, status: NoticeStatus) -> Message {
        let notices: Vec<_> =
            (0..count).map(|n| notice("k", status, ("version", ["v2", "<!channel> & co"][n % 2]))).collect();
        let at = Timestamp::from_unix_ms(1_750_000_000_000);
        let late = Timestamp::from_unix_ms(1_750_000_000_000 + 90_000);
        let now = if count > 1 { late } else { at };
        Message::of("chat", notices.iter().map(|n| (n, at)), now, Some("https://h.example")).unwrap()
    }

    fn check_default(message: &Message, markup: Markup, expected: &Expect) {
        let rendered = render(None, message, markup);
        expected.assert_eq(&format!("{}\n---\n{}\n", rendered.title, rendered.text));
    }

    #[test]
    fn defaults_say_what_where_since_when() {
        check_default(
            &message(1, NoticeStatus::Firing),
            Markup::Plain,
            &expect![[r"
            [FIRING] shop v2 fails 35 % of its requests (shop)
            ---
            11 of 31 requests failed; rolled back after 120 ms.
            service: shop
            severity: page
            version: v2
            since 2025-06-15T15:06:40.123Z
            https://h.example/#/incident/3
        "]],
        );
        check_default(
            &message(2, NoticeStatus::Resolved),
            Markup::Slack,
            &expect![[r"
            [RESOLVED:2] shop v2 fails 35 % of its requests (shop)
            ---
            Delivered late: it was to be sent at 2025-06-15T15:06:40Z.
            RESOLVED: shop v2 fails 35 % of its requests
            11 of 31 requests failed; rolled back after 120 ms.
            service: shop
            severity: page
            version: v2
            since 2025-06-15T15:06:40.123Z until 2025-06-15T15:07:40Z
            https://h.example/#/incident/3

            RESOLVED: shop v2 fails 35 % of its requests
            11 of 31 requests failed; rolled back after 120 ms.
            service: shop
            severity: page
            version: &lt;!channel&gt; &amp; co
            since 2025-06-15T15:06:40.123Z until 2025-06-15T15:07:40Z
            https://h.example/#/incident/3
        "]],
        );
    }

    #[test]
    fn own_templates_keep_their_markup_and_escape_values() {
        let spec = TemplateSpec {
            title: Some("<!here> {{ alerts[1].labels.version }}\nsecond line".to_owned()),
            text: Some("{{ labels.nothing.at.all }}{{ status }} {{ starts_at }} {{ alerts | length }}".to_owned()),
        };
        assert_eq!(check(&spec), Ok(()));
        let rendered = render(Some(&spec), &message(2, NoticeStatus::Firing), Markup::Slack);
        assert_eq!(rendered.title, "<!here> &lt;!channel&gt; &amp; co");
        assert_eq!(rendered.text, "firing 2025-06-15T15:06:40.123Z 2");
        assert_eq!(rendered.failed, 0);
    }

    #[test]
    fn broken_templates_are_found_beforehand_and_survived_afterwards() {
        for (source, problem) in [
            ("{{ status", "syntax error"),
            ("{{ status | shout }}", "unknown filter"),
            ("{% for a in alerts %}{{ a }}", "syntax error"),
            ("{{ 1 // 0 }}", "the text template fails"),
            ("{% for a in range(99999) %}{% for b in range(99999) %}x{% endfor %}{% endfor %}", "fuel"),
        ] {
            let spec = TemplateSpec { title: None, text: Some(source.to_owned()) };
            let error = check(&spec).unwrap_err().to_string();
            assert!(error.contains(problem), "{source}: {error}");
            let rendered = render(Some(&spec), &message(1, NoticeStatus::Firing), Markup::Plain);
            assert_eq!((rendered.failed, rendered.text.starts_with("11 of 31")), (1, true), "{source}");
        }
    }
}
