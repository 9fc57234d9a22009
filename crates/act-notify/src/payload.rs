//! Messages in each receiver's own form.
//!
//! Sources: CONVENTIONS §5 (Alertmanager's webhook, version "4"); Slack, "Incoming webhooks" and "Attachments";
//! DingTalk, "Custom robots"; Feishu, "Custom bot guide"; WeCom, "Group robots".

use homeostat_model::{Timestamp, notice::NoticeStatus};
use serde_json::{Value, json};

use crate::{
    message::{Message, Pairs, rfc3339},
    sign,
    spec::{ReceiverKind, ReceiverSpec, Secret},
    template::{self, Markup, Rendered},
};

/// WeCom cuts or refuses markdown beyond this many bytes.
const WECOM_BYTES_MAX: usize = 4_096;
/// DingTalk refuses messages of more than 20,000 bytes, Feishu of more than 20 KiB; half of it leaves room for escapes.
const CHAT_BYTES_MAX: usize = 10_000;
/// Slack shortens attachments by itself somewhere above this.
const SLACK_BYTES_MAX: usize = 7_000;

/// A request to a receiver, ready to be sent.
#[derive(Clone, Debug, PartialEq)]
pub struct Outgoing {
    /// Where to, with its signature.
    pub url: Secret,
    /// For `Authorization: Bearer`.
    pub bearer: Option<Secret>,
    /// JSON.
    pub body: Vec<u8>,
    /// Templates that failed on the way.
    pub render_failures: u32,
}

/// Builds the request of a message; `now` goes into signatures.
pub fn build(spec: &ReceiverSpec, message: &Message, now: Timestamp) -> Outgoing {
    let own = spec.template.as_ref();
    match &spec.kind {
        ReceiverKind::Webhook { url, bearer } => Outgoing {
            url: url.clone(),
            bearer: bearer.clone(),
            body: bytes(&alertmanager(message)),
            render_failures: 0,
        },
        ReceiverKind::Slack { url } => {
            chat(url.clone(), &template::render(own, message, Markup::Slack), |rendered| slack(rendered, message))
        }
        ReceiverKind::DingTalk { url, secret } => {
            let url = secret.as_ref().map_or_else(|| url.clone(), |secret| signed(url, secret, now.unix_ms()));
            chat(url, &template::render(own, message, Markup::Markdown), dingtalk)
        }
        ReceiverKind::Feishu { url, secret } => {
            chat(url.clone(), &template::render(own, message, Markup::Plain), |rendered| {
                feishu(rendered, secret.as_ref(), now.unix_ms().div_euclid(1_000))
            })
        }
        ReceiverKind::WeCom { url } => chat(url.clone(), &template::render(own, message, Markup::Markdown), wecom),
    }
}

fn chat(url: Secret, rendered: &Rendered, form: impl FnOnce(&Rendered) -> Value) -> Outgoing {
    Outgoing { url, bearer: None, body: bytes(&form(rendered)), render_failures: rendered.failed }
}

fn bytes(value: &Value) -> Vec<u8> {
    value.to_string().into_bytes()
}

/// Alertmanager's own payload. Nothing is ever truncated: what does not fit waits for the next message.
fn alertmanager(message: &Message) -> Value {
    let delayed = message.delayed_since.map(rfc3339);
    let annotations = |pairs: &Pairs| {
        let mut pairs = pairs.clone();
        pairs.extend(delayed.iter().map(|since| ("homeostat_delayed_since".to_owned(), since.clone())));
        pairs
    };
    let alerts: Vec<Value> = message
        .alerts
        .iter()
        .map(|alert| {
            json!({
                "status": alert.status,
                "labels": alert.labels,
                "annotations": annotations(&alert.annotations),
                "startsAt": rfc3339(alert.starts_at),
                // What Go writes for "no time"; clients compare with it.
                "endsAt": alert.ends_at.map_or_else(|| "0001-01-01T00:00:00Z".to_owned(), rfc3339),
                "generatorURL": alert.link,
                "fingerprint": alert.fingerprint(),
            })
        })
        .collect();
    let group_labels: Pairs =
        message.labels.iter().filter(|(name, _)| matches!(name.as_str(), "alertname" | "service")).map(owned).collect();
    json!({
        "version": "4",
        "groupKey": message.group,
        "truncatedAlerts": 0,
        "status": message.status,
        "receiver": message.receiver,
        "groupLabels": group_labels,
        "commonLabels": message.labels,
        "commonAnnotations": annotations(&message.annotations),
        "routeLabels": {},
        "externalURL": message.external_url.as_deref().unwrap_or_default(),
        "notification_reason": match message.status {
            NoticeStatus::Firing => "new alerts",
            NoticeStatus::Resolved => "all alerts resolved",
        },
        "alerts": alerts,
    })
}

fn owned((name, value): (&String, &String)) -> (String, String) {
    (name.clone(), value.clone())
}

fn slack(rendered: &Rendered, message: &Message) -> Value {
    let color = match message.status {
        NoticeStatus::Firing => "danger",
        NoticeStatus::Resolved => "good",
    };
    let text = cut(&rendered.text, SLACK_BYTES_MAX);
    json!({
        "text": rendered.title,
        "attachments": [{ "color": color, "fallback": rendered.title, "text": text, "mrkdwn_in": ["text"] }],
    })
}

fn dingtalk(rendered: &Rendered) -> Value {
    // Markdown joins single line breaks: two make a paragraph each.
    let text = cut(&rendered.text, CHAT_BYTES_MAX).replace('\n', "\n\n");
    json!({
        "msgtype": "markdown",
        "markdown": { "title": rendered.title, "text": format!("### {}\n\n{text}", rendered.title) },
    })
}

fn feishu(rendered: &Rendered, secret: Option<&Secret>, now_s: i64) -> Value {
    // Text elements are shown as they are; `<at>` means nothing in them.
    let lines: Vec<Value> =
        cut(&rendered.text, CHAT_BYTES_MAX).lines().map(|line| json!([{ "tag": "text", "text": line }])).collect();
    let mut body = json!({
        "msg_type": "post",
        "content": { "post": { "en_us": { "title": rendered.title, "content": lines } } },
    });
    if let (Some(secret), Value::Object(fields)) = (secret, &mut body) {
        fields.insert("timestamp".to_owned(), json!(now_s.to_string()));
        fields.insert("sign".to_owned(), json!(sign::feishu(now_s, secret.reveal())));
    }
    body
}

fn wecom(rendered: &Rendered) -> Value {
    let content = format!("**{}**\n{}", rendered.title, rendered.text);
    json!({ "msgtype": "markdown", "markdown": { "content": cut(&content, WECOM_BYTES_MAX) } })
}

/// DingTalk's address with time and signature in its query.
fn signed(url: &Secret, secret: &Secret, now_ms: i64) -> Secret {
    let sign = sign::escape_query(&sign::dingtalk(now_ms, secret.reveal()));
    let separator = if url.reveal().contains('?') { '&' } else { '?' };
    Secret::new(format!("{}{separator}timestamp={now_ms}&sign={sign}", url.reveal()))
}

/// As many whole characters as fit, with a mark where it was cut.
fn cut(text: &str, bytes_max: usize) -> String {
    const MARK: &str = "…";
    if text.len() <= bytes_max {
        return text.to_owned();
    }
    let end = text.floor_char_boundary(bytes_max.saturating_sub(MARK.len()));
    let head = text.get(..end).unwrap_or_default();
    format!("{head}{MARK}")
}

#[cfg(test)]
mod tests {
    use expect_test::expect;
    use homeostat_model::Span;

    use super::*;
    use crate::message::tests::notice;

    const NOW: Timestamp = Timestamp::from_unix_ms(1_750_000_000_500);

    fn built(kind: ReceiverKind, late: Span) -> (String, Value) {
        let notice = notice("k", NoticeStatus::Firing, ("version", "<@all>"));
        let message = Message::of("chat", [(&notice, NOW - late)], NOW, Some("https://h.example")).unwrap();
        let spec = ReceiverSpec {
            name: "chat".parse().unwrap(),
            kind,
            send_resolved: true,
            per_minute_max: 20,
            timeout: Span::from_secs(5),
            give_up_after: Span::from_hours(24),
            template: None,
        };
        let outgoing = build(&spec, &message, NOW);
        (outgoing.url.reveal().to_owned(), serde_json::from_slice(&outgoing.body).unwrap())
    }

    fn secret(text: &str) -> Secret {
        Secret::new(text.to_owned())
    }

    #[test]
    fn webhooks_get_the_alertmanager_payload() {
        let (_, body) = built(ReceiverKind::Webhook { url: secret("http://w/"), bearer: None }, Span::from_mins(61));
        expect![[r#"
            {
              "alerts": [
                {
                  "annotations": {
                    "description": "11 of 31 requests failed; rolled back after 120 ms.",
                    "homeostat_delayed_since": "2025-06-15T14:05:40.5Z",
                    "summary": "shop v2 fails 35 % of its requests"
                  },
                  "endsAt": "0001-01-01T00:00:00Z",
                  "fingerprint": "0a61d6618ce6ff26",
                  "generatorURL": "https://h.example/#/incident/3",
                  "labels": {
                    "alertname": "CanaryWorse",
                    "service": "shop",
                    "severity": "page",
                    "version": "<@all>"
                  },
                  "startsAt": "2025-06-15T15:06:40.123Z",
                  "status": "firing"
                }
              ],
              "commonAnnotations": {
                "description": "11 of 31 requests failed; rolled back after 120 ms.",
                "homeostat_delayed_since": "2025-06-15T14:05:40.5Z",
                "summary": "shop v2 fails 35 % of its requests"
              },
              "commonLabels": {
                "alertname": "CanaryWorse",
                "service": "shop",
                "severity": "page",
                "version": "<@all>"
              },
              "externalURL": "https://h.example",
              "groupKey": "incident/INC-3",
              "groupLabels": {
                "alertname": "CanaryWorse",
                "service": "shop"
              },
              "notification_reason": "new alerts",
              "receiver": "chat",
              "routeLabels": {},
              "status": "firing",
              "truncatedAlerts": 0,
              "version": "4"
            }"#]]
        .assert_eq(&serde_json::to_string_pretty(&body).unwrap());
    }

    #[test]
    fn chat_bots_get_their_forms_and_nobody_is_called_by_a_label() {
        let (_, slack) = built(ReceiverKind::Slack { url: secret("http://s/") }, Span::ZERO);
        assert_eq!(slack["text"], "[FIRING] shop v2 fails 35 % of its requests (shop)");
        assert_eq!(slack["attachments"][0]["color"], "danger");
        let (_, wecom) = built(ReceiverKind::WeCom { url: secret("http://w/") }, Span::ZERO);
        assert_eq!(wecom["msgtype"], "markdown");
        for body in [&slack, &wecom] {
            assert!(!body.to_string().contains("<@all>"), "{body}");
        }
    }

    #[test]
    fn dingtalk_is_signed_in_the_address_and_feishu_in_the_body() {
        let url = secret("https://ding.example/send?access_token=t");
        let (url, body) = built(ReceiverKind::DingTalk { url, secret: Some(secret("SEC")) }, Span::ZERO);
        let sign = sign::escape_query(&sign::dingtalk(1_750_000_000_500, "SEC"));
        assert_eq!(url, format!("https://ding.example/send?access_token=t&timestamp=1750000000500&sign={sign}"));
        assert_eq!(body["markdown"]["title"], "[FIRING] shop v2 fails 35 % of its requests (shop)");

        let url = secret("https://feishu.example/hook");
        let (url, body) = built(ReceiverKind::Feishu { url, secret: Some(secret("SEC")) }, Span::ZERO);
        assert_eq!(url, "https://feishu.example/hook");
        assert_eq!(
            (&body["timestamp"], &body["sign"]),
            (&json!("1750000000"), &json!(sign::feishu(1_750_000_000, "SEC")))
        );
        assert_eq!(body["content"]["post"]["en_us"]["content"][0][0]["tag"], "text");
    }

    #[test]
    fn long_texts_are_cut_between_characters() {
        let long = "ü".repeat(3_000);
        let short = cut(&long, WECOM_BYTES_MAX);
        assert!(short.len() <= WECOM_BYTES_MAX && short.ends_with('…'), "{}", short.len());
        assert_eq!(cut("abc", 3), "abc");
    }
}
