//! Incidents as the API tells them, kept by number.

use std::{collections::BTreeMap, fmt, net::SocketAddr};

use homeostat_model::{
    IncidentId,
    explanation::{CauseKind, Hypothesis},
    incident::{Incident, Subject},
};
use hyper::Method;
use serde::Deserialize;
use serde_json::{Value, json};

use crate::{Failed, client};

#[derive(Deserialize)]
struct Page {
    incidents: Vec<Incident>,
}

/// All that was ever told.
#[derive(Debug, Default)]
pub(super) struct Seen(BTreeMap<IncidentId, Incident>);

impl Seen {
    pub(super) async fn look(&mut self, api: SocketAddr) -> Result<(), Failed> {
        let page: Page = serde_json::from_slice(&client::must(api, Method::GET, "/homeostat/v1/incidents", "").await?)?;
        self.0.extend(page.incidents.into_iter().map(|incident| (incident.id, incident)));
        Ok(())
    }

    /// How many there were.
    pub(super) fn incidents(&self) -> usize {
        self.0.len()
    }

    /// How many of them were given any cause.
    pub(super) fn named(&self) -> usize {
        self.0.values().filter(|incident| !causes(incident).is_empty()).count()
    }

    /// Each with what it was about and what was said.
    pub(super) fn causes(&self) -> Vec<Value> {
        let told = |incident: &Incident| {
            let about = match &incident.subject {
                Subject::Objective { objective } => objective.to_string(),
                Subject::Canary { rollout, .. } => rollout.to_string(),
            };
            let said: Vec<Value> = causes(incident)
                .iter()
                .map(|cause| {
                    json!({ "kind": cause.kind, "subject": cause.subject, "percent": cause.confidence_percent, "title": cause.title })
                })
                .collect();
            json!({
                "service": incident.service, "about": about, "explained": incident.explanation.is_some(),
                "opened_at": incident.opened_at, "harmed": incident.requests_harmed, "of": incident.requests_total, "causes": said,
            })
        };
        self.0.values().map(told).collect()
    }
}

fn causes(incident: &Incident) -> &[Hypothesis] {
    incident.explanation.as_ref().map_or(&[], |explanation| &explanation.hypotheses)
}

/// What people read.
impl fmt::Display for Seen {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{} incidents, {} of them with a cause", self.incidents(), self.named())?;
        for incident in self.0.values() {
            let said = causes(incident).iter().map(|cause| {
                let what = if cause.kind == CauseKind::Pattern { &cause.subject } else { &cause.title };
                format!("{what} ({} %)", cause.confidence_percent)
            });
            writeln!(f, "  {}: {}", incident.title, said.collect::<Vec<_>>().join(", "))?;
        }
        Ok(())
    }
}
