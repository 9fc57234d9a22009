//! What a receiver's answer means: delivered, try again, or never.
//!
//! Chat bots answer 200 and say in the body whether they mean it. Their texts are not repeated: they may quote the
//! address or the token. Their numbers are enough.
//!
//! Sources: RFC 9110 (429, Retry-After); DingTalk, Feishu and WeCom, "Global error codes".

use std::time::Duration;

use serde::Deserialize;

use crate::{
    limits::{RATE_WINDOW, RETRY_AFTER_MAX},
    spec::ReceiverKind,
    transport::{Reply, SendError},
};

/// What to do with the message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Verdict {
    Delivered,
    /// Try again, not before `after` if that is given.
    Retry {
        after: Option<Duration>,
        why: String,
    },
    /// The receiver will never take it.
    Refused {
        why: String,
    },
}

pub(crate) fn judge(kind: &ReceiverKind, result: &Result<Reply, SendError>) -> Verdict {
    match result {
        Err(error) => Verdict::Retry { after: None, why: error.to_string() },
        Ok(reply) => match reply.status {
            200..=299 => bot_answer(kind, &reply.body),
            408 | 429 | 500..=599 => {
                let after = reply.retry_after.map(|after| after.min(RETRY_AFTER_MAX));
                Verdict::Retry { after, why: format!("it answered {}", reply.status) }
            }
            300..=399 => Verdict::Refused {
                why: format!("it answered {}, a redirect; configure the final address", reply.status),
            },
            401 | 403 | 404 | 410 => {
                Verdict::Refused { why: format!("it answered {}; check its address and secret", reply.status) }
            }
            status => Verdict::Refused { why: format!("it answered {status}") },
        },
    }
}

/// DingTalk and WeCom say `errcode`, Feishu `code` or, in its older form, `StatusCode`.
#[derive(Deserialize)]
struct BotAnswer {
    #[serde(alias = "errcode", alias = "StatusCode")]
    code: Option<i64>,
}

fn bot_answer(kind: &ReceiverKind, body: &[u8]) -> Verdict {
    /// Codes that mean "too fast" or "busy", of the three bots together; they do not overlap with other meanings.
    const BUSY: [i64; 8] = [-1, 130_101, 130_102, 410_100, 45_009, 45_033, 11_232, 9_499];
    if matches!(kind, ReceiverKind::Webhook { .. } | ReceiverKind::Slack { .. }) {
        return Verdict::Delivered;
    }
    let code = serde_json::from_slice::<BotAnswer>(body).ok().and_then(|answer| answer.code);
    match code {
        Some(0) => Verdict::Delivered,
        Some(code) if BUSY.contains(&code) => {
            Verdict::Retry { after: Some(RATE_WINDOW), why: format!("the bot answered code {code}: too many messages") }
        }
        Some(code) => {
            Verdict::Refused { why: format!("the bot answered code {code}; check its address, secret and keywords") }
        }
        None => Verdict::Retry { after: None, why: "the answer was not that of a bot".to_owned() },
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::spec::Secret;

    fn verdict(kind: &ReceiverKind, status: u16, body: &str) -> String {
        let reply = Reply { status, retry_after: Some(Duration::from_secs(7)), body: body.as_bytes().to_vec() };
        match judge(kind, &Ok(reply)) {
            Verdict::Delivered => "delivered".to_owned(),
            Verdict::Retry { after, .. } => format!("retry {:?}", after.map(|after| after.as_secs())),
            Verdict::Refused { .. } => "refused".to_owned(),
        }
    }

    #[test]
    fn answers_are_told_apart() {
        let url = || Secret::new("http://r/".to_owned());
        let hook = ReceiverKind::Webhook { url: url(), bearer: None };
        for (status, expected) in [
            (200, "delivered"),
            (204, "delivered"),
            (301, "refused"),
            (400, "refused"),
            (404, "refused"),
            (408, "retry Some(7)"),
            (413, "refused"),
            (429, "retry Some(7)"),
            (500, "retry Some(7)"),
            (503, "retry Some(7)"),
        ] {
            assert_eq!(verdict(&hook, status, "<html>"), expected, "{status}");
        }
        let dingtalk = ReceiverKind::DingTalk { url: url(), secret: None };
        let feishu = ReceiverKind::Feishu { url: url(), secret: None };
        for (kind, body, expected) in [
            (&dingtalk, r#"{"errcode":0,"errmsg":"ok"}"#, "delivered"),
            (&dingtalk, r#"{"errcode":310000,"errmsg":"sign not match"}"#, "refused"),
            (&dingtalk, r#"{"errcode":130101,"errmsg":"send too fast"}"#, "retry Some(60)"),
            (&feishu, r#"{"StatusCode":0,"StatusMessage":"success"}"#, "delivered"),
            (&feishu, r#"{"code":19021,"msg":"sign match fail"}"#, "refused"),
            (&feishu, r#"{"code":11232,"msg":"frequency limited"}"#, "retry Some(60)"),
            (&feishu, "<html>captive portal</html>", "retry None"),
        ] {
            assert_eq!(verdict(kind, 200, body), expected, "{body}");
        }
    }
}
