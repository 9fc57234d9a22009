//! What a cell's counts mean: whose service, which version, which objectives and which side of a rollout.
//!
//! Derived from the configuration alone and rebuilt with it, so that a tick is a walk over its changed cells and a few
//! additions: no search by name.

use homeostat_model::{
    CellId, CellKey, Objective, OutcomeCounts, ServiceName, Span, evidence::EventCounts, objective::Sli,
    rollout::Rollout,
};

use crate::ControlSpec;

/// Which of the two compared versions.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Side {
    Canary,
    Baseline,
    /// Of the service, but neither.
    Other,
}

/// How one SLI is read from a cell's counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum SliReader {
    Availability,
    /// Index into `OutcomeCounts::slow`.
    Slow(usize),
    /// The service counts no such threshold: nothing is measured.
    Unmeasured,
}

impl SliReader {
    pub(crate) fn new(sli: Sli, thresholds: &[Span]) -> Self {
        match sli {
            Sli::Availability => Self::Availability,
            Sli::Latency { threshold } => {
                thresholds.iter().position(|t| *t == threshold).map_or(Self::Unmeasured, Self::Slow)
            }
        }
    }

    pub(crate) fn read(self, counts: &OutcomeCounts) -> EventCounts {
        match self {
            Self::Availability => EventCounts { good: counts.answered(), bad: counts.bad() },
            Self::Slow(index) => {
                let bad = counts.slow.get(index).copied().unwrap_or(0);
                EventCounts { good: counts.answered().saturating_sub(bad), bad }
            }
            Self::Unmeasured => EventCounts::default(),
        }
    }
}

/// One cell's meaning, in indices.
#[derive(Clone, Debug)]
pub(crate) struct Binding {
    pub(crate) key: CellKey,
    /// Index into the services, and of the version within; `None` for events that queries count.
    pub(crate) traffic: Option<(usize, usize)>,
    /// The rollout of the service and which side of it this is.
    pub(crate) rollout: Option<(usize, Side)>,
    /// Objectives that count this cell.
    pub(crate) objectives: Vec<(usize, SliReader)>,
}

/// All cells by id; ids are dense, unknown ones are ignored.
#[derive(Clone, Debug, Default)]
pub(crate) struct CellTable {
    bindings: Vec<Option<Binding>>,
}

impl CellTable {
    /// Binds the cells of a configuration. `objectives` and `rollouts` in the order in which control keeps them.
    pub(crate) fn new<'a>(
        spec: &ControlSpec,
        objectives: impl Iterator<Item = &'a Objective> + Clone,
        rollouts: impl Iterator<Item = &'a Rollout> + Clone,
    ) -> Self {
        let mut table = Self::default();
        for (id, key) in &spec.cells {
            let Some(binding) = bind(spec, (*id, key), objectives.clone(), rollouts.clone()) else { continue };
            let at = id.0 as usize;
            if table.bindings.len() <= at {
                table.bindings.resize(at + 1, None);
            }
            if let Some(slot) = table.bindings.get_mut(at) {
                *slot = Some(binding);
            }
        }
        table
    }

    /// The meaning of a cell, if the configuration in force knows it.
    pub(crate) fn get(&self, id: CellId) -> Option<&Binding> {
        self.bindings.get(id.0 as usize)?.as_ref()
    }

    /// The cells of a service, ascending.
    pub(crate) fn of_service<'a>(&'a self, service: &'a ServiceName) -> impl Iterator<Item = (CellId, &'a CellKey)> {
        self.bindings.iter().enumerate().filter_map(move |(id, binding)| {
            let binding = binding.as_ref().filter(|b| b.key.service == *service)?;
            Some((CellId(u16::try_from(id).ok()?), &binding.key))
        })
    }
}

fn bind<'a>(
    spec: &ControlSpec,
    (id, key): (CellId, &CellKey),
    objectives: impl Iterator<Item = &'a Objective>,
    rollouts: impl Iterator<Item = &'a Rollout>,
) -> Option<Binding> {
    if let Some((_, name)) = spec.indicators.iter().find(|(indicated, _)| *indicated == id) {
        let objective = objectives.enumerate().find(|(_, o)| o.name == *name && o.indicator.is_some())?.0;
        let objectives = vec![(objective, SliReader::Availability)];
        return Some(Binding { key: key.clone(), traffic: None, rollout: None, objectives });
    }
    let service = spec.services.iter().position(|s| s.name == key.service)?;
    let declared = spec.services.get(service)?;
    let version = declared.versions.iter().position(|v| *v == key.version)?;
    let counts_here = |o: &Objective| {
        o.indicator.is_none()
            && o.service == key.service
            && (o.routes.is_empty() || o.routes.contains(&key.route))
            && o.version.as_ref().is_none_or(|v| *v == key.version)
    };
    let side = |r: &Rollout| match &key.version {
        v if *v == r.canary => Side::Canary,
        v if *v == r.baseline => Side::Baseline,
        _ => Side::Other,
    };
    Some(Binding {
        key: key.clone(),
        traffic: Some((service, version)),
        rollout: rollouts.enumerate().find(|(_, r)| r.service == key.service).map(|(at, r)| (at, side(r))),
        objectives: objectives
            .enumerate()
            .filter(|(_, o)| counts_here(o))
            .map(|(at, o)| (at, SliReader::new(o.sli, &declared.thresholds)))
            .collect(),
    })
}
