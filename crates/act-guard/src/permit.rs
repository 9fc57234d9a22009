//! The permit itself.

use homeostat_model::action::Plan;
use serde::Serialize;

/// A plan that passed the guard. Only the guard makes one, it cannot be copied or read back from a file, and executing it consumes it.
#[derive(Debug, PartialEq, Serialize)]
#[must_use = "an admitted plan that nobody executes leaves its action hanging"]
pub struct Admitted {
    plan: Plan,
    /// Why it was admitted, for the audit.
    because: String,
}

impl Admitted {
    pub(crate) fn new(plan: Plan, because: String) -> Self {
        Self { plan, because }
    }

    /// What is permitted.
    pub fn plan(&self) -> &Plan {
        &self.plan
    }

    /// Why it was admitted.
    pub fn because(&self) -> &str {
        &self.because
    }

    /// Spends the permit.
    pub fn into_plan(self) -> Plan {
        self.plan
    }
}
