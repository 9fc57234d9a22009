//! The section `otlp`: how OTLP becomes series.

use homeostat_wire::otlp::{ExplicitHistograms, LabelNaming, OtlpOptions, Promote};

use super::{
    raw::{Otlp, PrometheusFile},
    scalars::Text,
};
use crate::config::{read::Context, source::At};

/// Checks the section.
pub(super) fn check(file: &PrometheusFile, cx: &mut Context<'_>) -> Option<OtlpOptions> {
    let raw: &Otlp = &file.otlp.as_ref()?.value;
    let on = |at: &Option<At<bool>>, otherwise| at.as_ref().map_or(otherwise, |at| at.value);
    let defaults = OtlpOptions::default();
    Some(OtlpOptions {
        strategy: raw.translation_strategy.as_ref().map_or(defaults.strategy, |at| at.value),
        label_naming: LabelNaming {
            prefix_underscores: on(&raw.label_name_underscore_sanitization, true),
            keep_multiple_underscores: on(&raw.label_name_preserve_multiple_underscores, true),
        },
        promote: promote(raw, cx),
        keep_identifying: on(&raw.keep_identifying, false),
        promote_scope: on(&raw.promote_scope_metadata, false),
        explicit_histograms: if on(&raw.convert_histograms_to_nhcb, false) {
            ExplicitHistograms::CustomBounds
        } else {
            ExplicitHistograms::Classic
        },
        ..defaults
    })
}

fn promote(raw: &Otlp, cx: &mut Context<'_>) -> Promote {
    let keys = |at: &Option<At<Vec<Text>>>| at.iter().flat_map(|at| at.value.iter().map(|key| key.0.clone())).collect();
    let (listed, ignored): (Vec<String>, Vec<String>) =
        (keys(&raw.promote_resource_attributes), keys(&raw.ignore_resource_attributes));
    let all = raw.promote_all_resource_attributes.as_ref().is_some_and(|at| at.value);
    let place = |at: &Option<At<Vec<Text>>>| at.as_ref().map(|at| at.place);
    if all
        && !listed.is_empty()
        && let Some(place) = place(&raw.promote_resource_attributes)
    {
        cx.error(
            place,
            "all attributes are promoted already",
            "leave the list out, or `promote_all_resource_attributes`",
        );
    }
    if !all
        && !ignored.is_empty()
        && let Some(place) = place(&raw.ignore_resource_attributes)
    {
        cx.error(place, "nothing is promoted that could be ignored", "set `promote_all_resource_attributes: true`");
    }
    if all { Promote::AllExcept(ignored) } else { Promote::Listed(listed) }
}
