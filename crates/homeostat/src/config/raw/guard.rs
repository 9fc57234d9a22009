//! The `Guard` document.

use homeostat_model::{ActionMode, Span, Weight};

use crate::config::{read::record, scalar::Whole};

record! {
    /// How much may be done, how often, and by whom. Taking traffic away from a bad canary is protective: the limits
    /// count it but do not refuse it.
    Guard {
        /// Routes that one action may touch.
        "routes" routes: Whole<1, 100_000> => default "50";
        /// Share of a service's traffic that one action may move.
        "traffic" traffic: Weight => default "100%";
        /// Actions within any hour, over all services.
        "actionsPerHour" actions_per_hour: Whole<1, 1_000_000> => default "60";
        /// Quiet time of a service after an action before traffic may be moved away from the baseline again.
        "cooldown" cooldown: Span => default "30s";
        /// Longest life of an action before it is undone or renewed; bounds `freeze` and `progressDeadline` of rollouts.
        "ttl" ttl: Span => default "30d";
        /// How long a proposal waits for approval before it lapses.
        "approvalTtl" approval_ttl: Span => default "1h";
        /// Mode of actions that no declared rollout asked for.
        "defaultMode" default_mode: ActionMode => default "approve";
    }
}
