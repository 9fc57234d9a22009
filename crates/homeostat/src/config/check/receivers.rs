//! `Receiver` documents.

use homeostat_act_notify::spec::{ReceiverKind, ReceiverSpec, Secret, TemplateSpec};
use homeostat_model::{ReceiverName, Span};

use super::{
    super::{
        document::Document,
        raw::receiver as raw,
        read::{Context, OneOrMany},
        scalar::{SecretText, Whole},
        source::{At, Place},
        suggest::one_of,
    },
    names::{Known, name_of, resolve},
    value, within,
};

/// Checks all receivers.
pub(super) fn check(documents: &[Document<raw::Receiver>], cx: &mut Context<'_>) -> Vec<ReceiverSpec> {
    documents.iter().filter_map(|document| receiver(document, cx)).collect()
}

/// The receivers named in a list, each of which must be declared; empty means all.
pub(super) fn named(
    list: Option<&At<OneOrMany<ReceiverName>>>,
    known: &Known,
    cx: &mut Context<'_>,
) -> Vec<ReceiverName> {
    let Some(list) = list else { return Vec::new() };
    let items = list.value.0.as_slice();
    if items.is_empty() {
        cx.error(
            list.place,
            "an empty list of receivers would mean all of them",
            "leave the key out to mean all receivers",
        );
    }
    for item in items {
        resolve("receiver", item.value.as_str(), item.place, known.receivers.iter().map(String::as_str), cx);
    }
    super::distinct(items, cx)
}

fn receiver(document: &Document<raw::Receiver>, cx: &mut Context<'_>) -> Option<ReceiverSpec> {
    let name = name_of::<ReceiverName, _>(document, cx);
    let raw = document.spec.as_ref()?;
    let kind = kind(raw, document.spec_place, cx);
    let template = raw.template.as_ref().map(|t| template(&t.value, cx));
    let timeout = within(raw.timeout.as_ref(), "a time-out", (Span::from_ms(100), Span::from_mins(1)), cx);
    let give_up_after =
        within(raw.give_up_after.as_ref(), "a retry time", (Span::from_secs(1), Span::from_days(30)), cx);
    if give_up_after < timeout {
        let place = super::place_of(raw.give_up_after.as_ref(), document.place);
        cx.error(place, "giving up before the first time-out", format!("write at least {timeout}"));
    }
    Some(ReceiverSpec {
        name: name?.value,
        kind: kind?,
        send_resolved: value(raw.send_resolved.as_ref(), true),
        per_minute_max: value(raw.per_minute.as_ref(), Whole(20)).0 as u32,
        timeout,
        give_up_after,
        template,
    })
}

fn kind(raw: &raw::Receiver, place: Place, cx: &mut Context<'_>) -> Option<ReceiverKind> {
    let mut kinds: Vec<(Place, Option<ReceiverKind>)> = Vec::new();
    if let Some(at) = &raw.webhook {
        let (hook, bearer) = (&at.value.0, secret(at.value.0.bearer.as_ref()));
        kinds.push((at.place, url(hook.url.as_ref(), cx).map(|url| ReceiverKind::Webhook { url, bearer })));
    }
    if let Some(at) = &raw.slack {
        kinds.push((at.place, url(at.value.0.url.as_ref(), cx).map(|url| ReceiverKind::Slack { url })));
    }
    if let Some(at) = &raw.dingtalk {
        let secret = secret(at.value.0.secret.as_ref());
        kinds.push((at.place, url(at.value.0.url.as_ref(), cx).map(|url| ReceiverKind::DingTalk { url, secret })));
    }
    if let Some(at) = &raw.feishu {
        let secret = secret(at.value.0.secret.as_ref());
        kinds.push((at.place, url(at.value.0.url.as_ref(), cx).map(|url| ReceiverKind::Feishu { url, secret })));
    }
    if let Some(at) = &raw.wecom {
        kinds.push((at.place, url(at.value.0.url.as_ref(), cx).map(|url| ReceiverKind::WeCom { url })));
    }
    let all = one_of(["webhook", "slack", "dingtalk", "feishu", "wecom"]);
    if kinds.is_empty() && cx.is_sound(place) {
        cx.error(place, "the receiver does not say what it is", format!("add {all}"));
    }
    for (extra, _) in kinds.iter().skip(1) {
        cx.error(*extra, "a receiver is one thing only", "write a `Receiver` document for each");
    }
    kinds.into_iter().next().and_then(|(_, kind)| kind)
}

fn secret(at: Option<&At<SecretText>>) -> Option<Secret> {
    at.map(|at| at.value.0.clone())
}

/// Checks an address without ever showing it.
fn url(at: Option<&At<SecretText>>, cx: &mut Context<'_>) -> Option<Secret> {
    let at = at?;
    let uri = at.value.0.reveal().parse::<http::Uri>().ok();
    let good = uri.is_some_and(|uri| {
        matches!(uri.scheme_str(), Some("http" | "https")) && uri.host().is_some_and(|h| !h.is_empty())
    });
    if !good {
        cx.error(at.place, "this is no address of a receiver", "write a URL that begins with `https://` or `http://`");
        return None;
    }
    Some(at.value.0.clone())
}

fn template(raw: &raw::Template, cx: &mut Context<'_>) -> TemplateSpec {
    for at in [&raw.title, &raw.text].into_iter().flatten() {
        if let Err(error) = minijinja::Environment::new().template_from_str(&at.value) {
            cx.error(
                at.place,
                format!("the template cannot be read: {error}"),
                "write minijinja, such as `{{ status }}: {{ labels.service }}`",
            );
        }
    }
    TemplateSpec {
        title: raw.title.as_ref().map(|at| at.value.clone()),
        text: raw.text.as_ref().map(|at| at.value.clone()),
    }
}
