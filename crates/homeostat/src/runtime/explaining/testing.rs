//! An incident for tests.

use homeostat_model::{
    IncidentId, Timestamp,
    incident::{Incident, Stage, Subject},
    objective::Severity,
};

/// The budget of an objective of a service burns since an instant.
pub(super) fn burning(service: &str, objective: &str, began_at: Timestamp) -> Incident {
    about(service, Subject::Objective { objective: objective.parse().unwrap() }, began_at)
}

/// A service has been in trouble since an instant.
pub(super) fn about(service: &str, subject: Subject, began_at: Timestamp) -> Incident {
    Incident {
        id: IncidentId(1),
        title: format!("{service} is slow"),
        service: service.parse().unwrap(),
        subject,
        severity: Severity::Page,
        stage: Stage::Judged,
        began_at,
        opened_at: began_at,
        closed_at: None,
        evidence: Vec::new(),
        requests_harmed: 0,
        requests_total: 0,
        actions: Vec::new(),
        changes: Vec::new(),
        milestones: Vec::new(),
        explanation: None,
    }
}
