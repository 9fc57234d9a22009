//! Objectives of both origins: short forms in `Service` documents, and OpenSLO `SLO` documents (`openslo.rs`).
//!
//! Here are the rules that hold for both: the ranges of targets and windows, and what the judge's rings can hold.

use std::collections::BTreeMap;

use homeostat_model::{
    Objective, ObjectiveName, RouteName, Span, VersionName,
    objective::{BurnRule, OnPage, Sli, Target},
};

use super::{
    super::{
        document::{Document, Documents},
        raw::service as raw,
        read::Context,
        scalar::{Share, Whole},
        source::{At, Place},
    },
    names::Known,
    openslo, receivers,
    routes::Route,
    services::Service,
    value, within,
};

/// Budget periods: the judge's longest ring holds 30 d; below an hour a budget is only noise.
pub(super) const PERIOD: (Span, Span) = (Span::from_hours(1), Span::from_days(30));
/// Live windows: the judge's 10 ms ring holds 60 s.
pub(super) const FAST_WINDOW: (Span, Span) = (Span::from_ms(10), Span::from_secs(60));
/// The live window unless said otherwise.
pub(super) const FAST_WINDOW_DEFAULT: Span = Span::from_secs(1);
/// The least number of events unless said otherwise: at three nines it takes three failures to page then, not one.
pub(super) const MIN_EVENTS_DEFAULT: u64 = 200;

/// Slot widths of the judge's rings with the longest window that each holds.
const RINGS: [(Span, Span); 4] = [
    (Span::from_ms(10), Span::from_secs(60)),
    (Span::from_secs(1), Span::from_hours(1)),
    (Span::from_mins(1), Span::from_days(3)),
    (Span::from_hours(1), Span::from_days(30)),
];

/// The slots of which a window of this length is made; `None` when it is longer than all rings.
pub(super) fn slot_of(window: Span) -> Option<Span> {
    RINGS.iter().find(|(_, longest)| window <= *longest).map(|(slot, _)| *slot)
}

/// Reports a window that the rings cannot hold, or that is no whole number of their slots.
pub(super) fn check_window(what: &str, window: &At<Span>, cx: &mut Context<'_>) {
    match slot_of(window.value) {
        _ if window.value == Span::ZERO => cx.error(window.place, format!("{what} of no length"), "write a longer one"),
        None => cx.error(
            window.place,
            format!("{what} of {} is longer than the 30 days that are kept", window.value),
            "write at most `30d`",
        ),
        Some(slot) if !window.value.ns().is_multiple_of(slot.ns()) => cx.error(
            window.place,
            format!("{what} of {} is measured in slots of {slot}, of which it is no whole number", window.value),
            format!("write a multiple of {slot}"),
        ),
        Some(_) => {}
    }
}

/// The default rules that fit into a period.
pub(super) fn default_rules(period: Span) -> Vec<BurnRule> {
    BurnRule::DEFAULTS.into_iter().filter(|rule| rule.long <= period).collect()
}

/// A target, if it lies strictly between 0 and 1.
pub(super) fn target(share: f64, place: Place, cx: &mut Context<'_>) -> Option<Target> {
    if let Ok(target) = Target::new(share) {
        Some(target)
    } else {
        cx.error(
            place,
            "a target lies strictly between 0 and 100 %",
            "write for example `99.9%`; 100 % leaves no budget to spend",
        );
        None
    }
}

/// Checks the objectives of all documents. Each comes with its place; names are unique over both origins.
pub(super) fn check(
    documents: &Documents,
    services: &[Service],
    routes: &[Route],
    known: &Known,
    cx: &mut Context<'_>,
) -> Vec<At<Objective>> {
    let mut all = Vec::new();
    for document in &documents.services {
        all.extend(short_forms(document, known, cx));
    }
    all.extend(openslo::check(documents, services, routes, known, cx));
    let mut seen: BTreeMap<ObjectiveName, Place> = BTreeMap::new();
    for objective in &all {
        let name = &objective.value.name;
        // Two `SLO` documents of one name were reported when names were collected.
        let twins =
            |p: &Place| documents.slos.iter().filter(|d| d.name.as_ref().is_some_and(|n| n.place == *p)).count() == 1;
        if let Some(first) = seen.insert(name.clone(), objective.place)
            && !(twins(&first) && twins(&objective.place))
        {
            cx.error(
                objective.place,
                format!("another objective has the name `{name}`"),
                "rename one; short forms in `Service` documents are named SERVICE-availability and SERVICE-latency",
            );
        }
    }
    all
}

fn short_forms(
    document: &Document<super::super::raw::service::Service>,
    known: &Known,
    cx: &mut Context<'_>,
) -> Vec<At<Objective>> {
    let Some(raw) = document.spec.as_ref().and_then(|spec| spec.objectives.as_ref()) else { return Vec::new() };
    let common = Common::of(&raw.value, known, cx);
    if raw.value.availability.is_none() && raw.value.latency.is_none() && cx.is_sound(raw.place) {
        cx.error(
            raw.place,
            "no objective is given",
            "add `availability: 99.9%` or `latency: {target: 99%, within: 300ms}`",
        );
    }
    let Some(service) = document.name.as_ref().and_then(|name| {
        // Problems of the name were reported with the service.
        homeostat_model::ServiceName::new(&name.value).ok()
    }) else {
        return Vec::new();
    };
    let mut all = Vec::new();
    let mut add = |suffix: &str, share: &At<Share>, sli: Sli, cx: &mut Context<'_>| {
        let written = share.value.0;
        if 1.0 < written && written < 100.0 {
            let help = format!("write `{written}%`; a target needs its percent sign");
            cx.error(share.place, format!("a target of {written} is out of range"), help);
            return None;
        }
        let target = target(written, share.place, cx)?;
        let name = match ObjectiveName::new(&format!("{service}-{suffix}")) {
            Ok(name) => name,
            Err(error) => {
                cx.error(
                    share.place,
                    format!("the objective's name `{service}-{suffix}` is not possible: {error}"),
                    "shorten the service's name",
                );
                return None;
            }
        };
        all.push(At::new(common.objective(name, &service, sli, target), share.place));
        Some(())
    };
    if let Some(share) = &raw.value.availability {
        add("availability", share, Sli::Availability, cx);
    }
    if let Some(latency) = raw.value.latency.as_ref().map(|l| &l.value) {
        let threshold = latency.within.as_ref().map(|w| threshold(w, cx));
        if let (Some(share), Some(threshold)) = (&latency.target, threshold) {
            add("latency", share, Sli::Latency { threshold }, cx);
        }
    }
    all
}

/// Reports latency thresholds that cannot be meant.
pub(super) fn threshold(at: &At<Span>, cx: &mut Context<'_>) -> Span {
    within(Some(at), "a latency threshold", (Span::from_us(10), Span::from_hours(1)), cx)
}

/// What the short forms of one service share.
struct Common {
    period: Span,
    fast_window: Span,
    min_events: u64,
    on_page: OnPage,
    receivers: Vec<homeostat_model::ReceiverName>,
}

impl Common {
    fn of(raw: &raw::Objectives, known: &Known, cx: &mut Context<'_>) -> Self {
        for (what, window) in [("a period", &raw.period), ("a live window", &raw.fast_window)] {
            if let Some(window) = window.as_ref().filter(|w| slot_of(w.value).is_some()) {
                check_window(what, window, cx);
            }
        }
        Self {
            period: within(raw.period.as_ref(), "a period", PERIOD, cx),
            fast_window: within(raw.fast_window.as_ref(), "a live window", FAST_WINDOW, cx),
            min_events: value(raw.min_events.as_ref(), Whole(MIN_EVENTS_DEFAULT)).0,
            on_page: value(raw.on_page.as_ref(), OnPage::Notify),
            receivers: receivers::named(raw.receivers.as_ref(), known, cx),
        }
    }

    fn objective(
        &self,
        name: ObjectiveName,
        service: &homeostat_model::ServiceName,
        sli: Sli,
        target: Target,
    ) -> Objective {
        Objective {
            display_name: name.to_string(),
            name,
            service: service.clone(),
            routes: Vec::<RouteName>::new(),
            version: None::<VersionName>,
            sli,
            target,
            period: self.period,
            fast_window: self.fast_window,
            min_events: self.min_events,
            burn_rules: default_rules(self.period),
            on_page: self.on_page,
            receivers: self.receivers.clone(),
            indicator: None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::raw::openslo::Metadata;

    #[test]
    fn the_reference_tells_the_defaults_that_are_in_force() {
        let record = Metadata::record();
        let about = record.fields.iter().find(|field| field.key == "annotations").map(|field| field.about);
        let told = format!("`homeostat.dev/min-events` (`{MIN_EVENTS_DEFAULT}`)");
        assert!(about.is_some_and(|about| about.contains(&told)), "{told}: {about:?}");
    }
}
