//! One message to one receiver: several notices with what they have in common.
//!
//! Not here: what it looks like for each receiver (`payload`), which notices go together (`lane`).

use std::collections::BTreeMap;

use homeostat_model::{
    Timestamp,
    notice::{Notice, NoticeStatus},
};

use crate::limits::DELAYED_AFTER;

/// Name and text pairs, ascending.
pub type Pairs = BTreeMap<String, String>;

/// Notices that are told together; at least one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Message {
    /// The receiver's name.
    pub receiver: String,
    /// What belongs together; several groups are joined by commas.
    pub group: String,
    /// Firing if anything in it is still wrong.
    pub status: NoticeStatus,
    /// In the order in which they happened.
    pub alerts: Vec<Alert>,
    /// Labels that all alerts share.
    pub labels: Pairs,
    /// Annotations that all alerts share.
    pub annotations: Pairs,
    /// When the oldest notice in it was handed over, if that is so long ago that people should know.
    pub delayed_since: Option<Timestamp>,
    /// Where the console is, if that is configured; without a slash at the end.
    pub external_url: Option<String>,
}

/// One notice within a message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Alert {
    /// Wrong or over.
    pub status: NoticeStatus,
    /// Identifying pairs.
    pub labels: Pairs,
    /// Explaining pairs.
    pub annotations: Pairs,
    /// When it began.
    pub starts_at: Timestamp,
    /// When it ended.
    pub ends_at: Option<Timestamp>,
    /// Where the console shows it; empty without an external URL.
    pub link: String,
}

impl Alert {
    /// The hash by which Alertmanager and its clients tell alerts apart, as 16 hexadecimal digits: FNV-1a over the
    /// sorted labels, each name and value followed by 0xFF (`prometheus/common`, `LabelSet.Fingerprint`).
    pub fn fingerprint(&self) -> String {
        const OFFSET: u64 = 14_695_981_039_346_656_037;
        const PRIME: u64 = 1_099_511_628_211;
        let add = |hash: u64, byte: u8| (hash ^ u64::from(byte)).wrapping_mul(PRIME);
        let pairs = self.labels.iter().flat_map(|(name, value)| [name, value]);
        let bytes = pairs.flat_map(|text| text.bytes().chain([0xFF]));
        format!("{:016x}", bytes.fold(OFFSET, add))
    }
}

impl Message {
    /// Puts notices into one message; `None` when there are none. Each comes with the instant it was handed over.
    pub fn of<'a>(
        receiver: &str,
        notices: impl IntoIterator<Item = (&'a Notice, Timestamp)>,
        now: Timestamp,
        external_url: Option<&str>,
    ) -> Option<Self> {
        let external_url = external_url.map(|url| url.trim_end_matches('/').to_owned());
        let (mut alerts, mut groups, mut oldest) = (Vec::new(), Vec::new(), now);
        for (notice, taken_at) in notices {
            oldest = oldest.min(taken_at);
            if !groups.contains(&notice.group) {
                groups.push(notice.group.clone());
            }
            alerts.push(Alert {
                status: notice.status,
                labels: notice.labels.clone(),
                annotations: notice.annotations.clone(),
                starts_at: notice.starts_at,
                ends_at: notice.ends_at,
                link: link(external_url.as_deref(), &notice.group),
            });
        }
        let delayed_since = (now.since(oldest) > DELAYED_AFTER.into()).then_some(oldest);
        let first = alerts.first()?;
        let labels = shared(&first.labels, alerts.iter().map(|alert| &alert.labels));
        let annotations = shared(&first.annotations, alerts.iter().map(|alert| &alert.annotations));
        let (group, status) = (groups.join(","), status(&alerts));
        Some(Self {
            receiver: receiver.to_owned(),
            group,
            status,
            alerts,
            labels,
            annotations,
            delayed_since,
            external_url,
        })
    }

    /// The earliest beginning.
    pub fn starts_at(&self) -> Timestamp {
        self.alerts.iter().map(|alert| alert.starts_at).min().unwrap_or_default()
    }

    /// The latest end; `None` while anything is wrong.
    pub fn ends_at(&self) -> Option<Timestamp> {
        let ends = self.alerts.iter().filter_map(|alert| alert.ends_at).max();
        ends.filter(|_| self.status == NoticeStatus::Resolved)
    }
}

/// Firing if the latest word on any alert is firing. A message that was held up may tell both of the same alert.
fn status(alerts: &[Alert]) -> NoticeStatus {
    let latest: BTreeMap<&Pairs, NoticeStatus> = alerts.iter().map(|alert| (&alert.labels, alert.status)).collect();
    let firing = latest.values().any(|status| *status == NoticeStatus::Firing);
    if firing { NoticeStatus::Firing } else { NoticeStatus::Resolved }
}

fn shared<'a>(first: &Pairs, all: impl Iterator<Item = &'a Pairs> + Clone) -> Pairs {
    let everywhere = |(name, value): &(&String, &String)| all.clone().all(|pairs| pairs.get(*name) == Some(*value));
    first.iter().filter(everywhere).map(|(name, value)| (name.clone(), value.clone())).collect()
}

/// The console's page of a group: `incident/INC-3` is shown at `#/incident/3`, all others on the first page.
fn link(external_url: Option<&str>, group: &str) -> String {
    let Some(url) = external_url else { return String::new() };
    match group.strip_prefix("incident/INC-") {
        Some(id) if !id.is_empty() && id.bytes().all(|b| b.is_ascii_digit()) => format!("{url}/#/incident/{id}"),
        _ => format!("{url}/"),
    }
}

/// RFC 3339 in UTC.
pub(crate) fn rfc3339(at: Timestamp) -> String {
    // All of our range lies within jiff's.
    jiff::Timestamp::from_nanosecond(i128::from(at.unix_ns())).map(|at| at.to_string()).unwrap_or_default()
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    /// A notice of an incident; `extra` is one more label.
    pub(crate) fn notice(key: &str, status: NoticeStatus, extra: (&str, &str)) -> Notice {
        let began = Timestamp::from_unix_ms(1_750_000_000_123);
        let pair = |name: &str, value: &str| (name.to_owned(), value.to_owned());
        Notice {
            key: key.to_owned(),
            receiver: "chat".parse().unwrap(),
            group: "incident/INC-3".to_owned(),
            status,
            labels: [
                pair("alertname", "CanaryWorse"),
                pair("service", "shop"),
                pair("severity", "page"),
                pair(extra.0, extra.1),
            ]
            .into(),
            annotations: [
                pair("summary", "shop v2 fails 35 % of its requests"),
                pair("description", "11 of 31 requests failed; rolled back after 120 ms."),
            ]
            .into(),
            starts_at: began,
            ends_at: (status == NoticeStatus::Resolved).then(|| Timestamp::from_unix_ms(1_750_000_060_000)),
        }
    }

    fn message(notices: &[Notice], late_ms: i64) -> Message {
        let taken = Timestamp::from_unix_ms(1_750_000_000_200);
        let now = Timestamp::from_unix_ms(1_750_000_000_200 + late_ms);
        Message::of("chat", notices.iter().map(|n| (n, taken)), now, Some("https://homeostat.example/")).unwrap()
    }

    #[test]
    fn fingerprints_are_those_of_prometheus() {
        let alert = |labels: &[(&str, &str)]| Alert {
            status: NoticeStatus::Firing,
            labels: labels.iter().map(|(n, v)| ((*n).to_owned(), (*v).to_owned())).collect(),
            annotations: Pairs::new(),
            starts_at: Timestamp::default(),
            ends_at: None,
            link: String::new(),
        };
        // The vector of prometheus/common's own test: 5799056148416392346.
        let vector = alert(&[("name", "garland, briggs"), ("fear", "love is not enough")]);
        assert_eq!(vector.fingerprint(), format!("{:016x}", 5_799_056_148_416_392_346_u64));
        assert_eq!(alert(&[]).fingerprint(), "cbf29ce484222325");
    }

    #[test]
    fn a_message_holds_what_its_notices_share() {
        let (firing, resolved) = (NoticeStatus::Firing, NoticeStatus::Resolved);
        let both = message(&[notice("a", firing, ("version", "v2")), notice("b", firing, ("version", "v3"))], 0);
        assert_eq!(both.labels.keys().collect::<Vec<_>>(), ["alertname", "service", "severity"]);
        assert_eq!((both.status, both.group.as_str()), (firing, "incident/INC-3"));
        assert_eq!(both.alerts[0].link, "https://homeostat.example/#/incident/3");
        let over = message(&[notice("a", firing, ("version", "v2")), notice("b", resolved, ("version", "v2"))], 0);
        assert_eq!(over.status, resolved, "the latest word on the same alert counts");
        let half = message(&[notice("a", resolved, ("version", "v2")), notice("b", firing, ("version", "v3"))], 0);
        assert_eq!(half.status, firing);
        assert!(Message::of("chat", [], Timestamp::default(), None).is_none());
    }

    #[test]
    fn only_late_messages_say_that_they_are_late() {
        let notices = [notice("a", NoticeStatus::Firing, ("version", "v2"))];
        assert_eq!(message(&notices, 60_000).delayed_since, None);
        assert_eq!(message(&notices, 60_001).delayed_since, Some(Timestamp::from_unix_ms(1_750_000_000_200)));
    }
}
