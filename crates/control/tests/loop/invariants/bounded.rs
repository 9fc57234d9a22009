//! What is kept has a limit.

use homeostat_control::Control;
use homeostat_model::Timestamp;

pub(crate) fn check(now: Timestamp, control: &Control) {
    let view = control.view(now);
    assert!(view.actions.len() <= 100, "{} actions", view.actions.len());
    assert!(view.changes.len() <= 100, "{} changes", view.changes.len());
    assert!(view.open_incidents.len() <= 64, "{} open incidents", view.open_incidents.len());
    for incident in &view.open_incidents {
        assert!(incident.milestones.len() <= 64, "{} milestones", incident.milestones.len());
        assert!(incident.changes.len() <= 20 && incident.actions.len() <= 64 && incident.evidence.len() <= 16);
    }
}
