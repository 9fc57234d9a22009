//! Documents of Sloth.
//!
//! Source: sloth.dev, specification `prometheus/v1`.

use homeostat_judge_rules::objectives::{Indicator, ObjectiveAlerts, QueryObjective, Severity, has_window};

use super::{super::scalars::Text, PERIOD_DAYS, labels, percent, query};
use crate::config::{
    read::{Any, Context, Entries, Read, record},
    scalar::Number,
    source::At,
    tree::Node,
};

record! {
    /// A document of Sloth.
    SlothFile {
        /// `prometheus/v1`
        "version" version: Text => required;
        /// The service.
        "service" service: Text => required;
        /// Labels of all series.
        "labels" labels: Entries<Text, Text> => optional;
        /// Plugins are not understood.
        "slo_plugins" plugins: Any => optional;
        /// Objectives.
        "slos" slos: Vec<At<SlothSlo>> => required;
    }
}

record! {
    /// An objective of Sloth.
    SlothSlo {
        /// Its name.
        "name" name: Text => required;
        /// For people.
        "description" description: Text => optional;
        /// Percent of good events.
        "objective" objective: Number => required;
        /// Labels of its series.
        "labels" labels: Entries<Text, Text> => optional;
        /// How errors are measured.
        "sli" sli: SlothSli => required;
        /// What is alerted.
        "alerting" alerting: SlothAlerting => required;
        /// Plugins are not understood.
        "plugins" plugins: Any => optional;
    }
}

record! {
    /// How errors are measured.
    SlothSli {
        /// By events.
        "events" events: SlothEvents => optional;
        /// By a share.
        "raw" raw: SlothRaw => optional;
        /// Not understood.
        "plugin" plugin: Any => optional;
    }
}

record! {
    /// Errors and all events.
    SlothEvents {
        /// Errors in the window.
        "error_query" error_query: Text => required;
        /// All events in the window.
        "total_query" total_query: Text => required;
    }
}

record! {
    /// The share of errors.
    SlothRaw {
        /// In the window.
        "error_ratio_query" error_ratio_query: Text => required;
    }
}

record! {
    /// What is alerted.
    SlothAlerting {
        /// Name of both alerts.
        "name" name: Text => default "''";
        /// Labels of both.
        "labels" labels: Entries<Text, Text> => optional;
        /// Annotations of both.
        "annotations" annotations: Entries<Text, Text> => optional;
        /// The fast one.
        "page_alert" page: SlothAlert => default "{}";
        /// The slow one.
        "ticket_alert" ticket: SlothAlert => default "{}";
    }
}

record! {
    /// One of the two.
    SlothAlert {
        /// It is not wanted.
        "disable" disable: bool => default "false";
        /// Its labels.
        "labels" labels: Entries<Text, Text> => optional;
        /// Its annotations.
        "annotations" annotations: Entries<Text, Text> => optional;
    }
}

/// The objectives of a document.
pub(super) fn of_document(document: &Node, cx: &mut Context<'_>) -> Vec<At<QueryObjective>> {
    let Some(file) = SlothFile::read(document, cx) else { return Vec::new() };
    let (Some(service), Some(slos)) = (&file.service, &file.slos) else { return Vec::new() };
    let shared = labels(file.labels.as_ref(), cx);
    refuse_plugin(file.plugins.as_ref(), cx);
    let mut objectives = Vec::new();
    for at in &slos.value {
        let slo = &at.value;
        refuse_plugin(slo.plugins.as_ref(), cx);
        let (Some(name), Some(target), Some(sli), Some(alerting)) =
            (&slo.name, &slo.objective, &slo.sli, &slo.alerting)
        else {
            continue;
        };
        let (indicator, target_percent) = (sloth_indicator(sli, cx), percent(target, 1.0, cx));
        let alerts = sloth_alerts(&alerting.value, cx);
        let own = labels(slo.labels.as_ref(), cx);
        let inherited = shared.iter().filter(|(name, _)| !own.iter().any(|(known, _)| known == name));
        let labels = inherited.chain(&own).cloned().collect();
        let (Some(indicator), Some(target_percent)) = (indicator, target_percent) else { continue };
        objectives.push(At::new(
            QueryObjective {
                service: service.value.0.clone(),
                name: name.value.0.clone(),
                target_percent,
                period_days: PERIOD_DAYS,
                indicator,
                labels,
                alerts,
            },
            name.place,
        ));
    }
    objectives
}

fn refuse_plugin(plugin: Option<&At<Any>>, cx: &mut Context<'_>) {
    if let Some(at) = plugin {
        cx.error(at.place, "plugins of Sloth are not understood", "write the queries out under `events` or `raw`");
    }
}

fn sloth_indicator(sli: &At<SlothSli>, cx: &mut Context<'_>) -> Option<Indicator> {
    let SlothSli { events, raw, plugin } = &sli.value;
    refuse_plugin(plugin.as_ref(), cx);
    match (events, raw) {
        (Some(events), None) => {
            let (errors, total) = (events.value.error_query.as_ref()?, events.value.total_query.as_ref()?);
            let (errors, total) = (windowed(errors, cx), windowed(total, cx));
            Some(Indicator::Events { errors: errors?, total: total? })
        }
        (None, Some(raw)) => {
            let ratio = raw.value.error_ratio_query.as_ref()?;
            windowed(ratio, cx).map(Indicator::Ratio)
        }
        (None, None) if plugin.is_some() => None,
        _ => {
            cx.error(sli.place, "an indicator needs exactly one of `events` and `raw`", "keep one of them");
            None
        }
    }
}

/// A query that says where its window goes.
fn windowed(at: &At<Text>, cx: &mut Context<'_>) -> Option<String> {
    let text = query(at, cx)?;
    if !has_window(text) {
        let help = "write `{{.window}}` where its range stands, as in `rate(x[{{.window}}])`";
        cx.error(at.place, "the query does not say where its window goes", help);
        return None;
    }
    Some(text.to_owned())
}

fn sloth_alerts(raw: &SlothAlerting, cx: &mut Context<'_>) -> ObjectiveAlerts {
    let mut one = |at: &Option<At<SlothAlert>>| {
        let alert = at.as_ref().map(|at| &at.value)?;
        let disabled = alert.disable.as_ref().is_some_and(|at| at.value);
        let severity =
            Severity { labels: labels(alert.labels.as_ref(), cx), annotations: texts(alert.annotations.as_ref()) };
        (!disabled).then_some(severity)
    };
    let (page, ticket) = (one(&raw.page), one(&raw.ticket));
    ObjectiveAlerts {
        name: raw.name.as_ref().map_or_else(String::new, |at| at.value.0.clone()),
        labels: labels(raw.labels.as_ref(), cx),
        annotations: texts(raw.annotations.as_ref()),
        page,
        ticket,
    }
}

fn texts(raw: Option<&At<Entries<Text, Text>>>) -> Vec<(String, String)> {
    let pairs = raw.iter().flat_map(|at| &at.value.0);
    pairs.map(|(name, value)| (name.value.0.clone(), value.value.0.clone())).collect()
}
