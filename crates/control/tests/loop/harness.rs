//! A gateway without sockets: traffic follows the split in force, shifts are carried out and reported, time jumps.
//! Every invariant is checked after every step, whatever test is running.

use std::collections::BTreeMap;

use homeostat_control::{Command, Control, ControlSpec, Event};
use homeostat_model::{
    ActionId, CellId, OutcomeClass, OutcomeCounts, OutcomeDelta, ServiceName, Span, Timestamp, VersionName, Weight,
    action::Split, outcome::TICK,
};

use crate::invariants::Invariants;

/// Where the time line of every test begins: some time in 2033.
pub(crate) const START: Timestamp = Timestamp::from_unix_ms(2_000_000_000_000);

/// How requests of a version go wrong.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Fault {
    /// Share of errors.
    pub(crate) errors: f64,
    /// Share of answers slower than the first threshold.
    pub(crate) slow: f64,
    /// Requests a second, sent before, that end now and have failed.
    pub(crate) late: f64,
}

/// Requests left over from ticks before: shares become whole numbers without chance.
#[derive(Debug, Default)]
struct Remainder {
    requests: f64,
    errors: f64,
    slow: f64,
    late: f64,
}

#[derive(Debug)]
pub(crate) struct Loop {
    pub(crate) control: Control,
    pub(crate) now: Timestamp,
    /// The serving table.
    pub(crate) table: BTreeMap<ServiceName, Split>,
    pub(crate) spec: ControlSpec,
    /// Whether shifts are carried out and reported at once.
    pub(crate) applies: bool,
    /// Every this many steps the state is written and read back; 0 for never.
    pub(crate) restore_every: u64,
    steps: u64,
    remainders: BTreeMap<(ServiceName, VersionName), Remainder>,
    invariants: Invariants,
}

impl Loop {
    pub(crate) fn new(restore_every: u64) -> Self {
        Self {
            control: Control::new(START),
            now: START,
            table: BTreeMap::new(),
            spec: ControlSpec::default(),
            applies: true,
            restore_every,
            steps: 0,
            remainders: BTreeMap::new(),
            invariants: Invariants::default(),
        }
    }

    /// One step and, when the gateway is willing, the answers to its shifts. All commands with their times.
    pub(crate) fn step(&mut self, event: Event) -> Vec<(Timestamp, Command)> {
        self.steps += 1;
        if self.restore_every > 0 && self.steps.is_multiple_of(self.restore_every) {
            self.control = Control::restore(&self.control.snapshot().unwrap()).unwrap();
        }
        if let Event::Configured(spec) = &event {
            self.spec = (**spec).clone();
        }
        let rebuilds = matches!(event, Event::Configured(_));
        let commands = self.control.step(self.now, event.clone());
        self.invariants.check(self.now, &event, &commands, &self.control);
        if rebuilds {
            self.table = self.control.desired_splits();
        }
        let shifts: Vec<(ActionId, ServiceName, Split)> = commands
            .iter()
            .filter_map(|command| match command {
                Command::Shift { permit } => {
                    let plan = permit.plan();
                    Some((plan.id, plan.service.clone(), plan.to.clone()))
                }
                _ => None,
            })
            .collect();
        let mut out: Vec<_> = commands.into_iter().map(|command| (self.now, command)).collect();
        if self.applies {
            for (action, service, split) in shifts {
                self.table.insert(service, split);
                self.now = self.now + Span::from_ms(1);
                out.extend(self.step(Event::Applied { action, ahead_of_disk: false }));
            }
        }
        out
    }

    /// The next tick of 10 ms, with `rate` requests a second and service.
    pub(crate) fn tick(
        &mut self,
        rates: &BTreeMap<ServiceName, f64>,
        faults: &BTreeMap<(ServiceName, VersionName), Fault>,
    ) -> Vec<(Timestamp, Command)> {
        self.now = Timestamp::from_unix_ns((self.now.slot(TICK) + 1) * TICK.ns() as i64);
        let deltas = self.deltas(rates, faults);
        let due = self.control.next_deadline().is_some_and(|at| at <= self.now);
        if deltas.is_empty() && !due { Vec::new() } else { self.step(Event::Tick { deltas }) }
    }

    fn deltas(
        &mut self,
        rates: &BTreeMap<ServiceName, f64>,
        faults: &BTreeMap<(ServiceName, VersionName), Fault>,
    ) -> Vec<OutcomeDelta> {
        let mut deltas = Vec::new();
        for (cell, key) in &self.spec.cells {
            let rate = rates.get(&key.service).copied().unwrap_or(0.0);
            let routes = self.spec.services.iter().find(|s| s.name == key.service).map_or(1, |s| s.routes.len());
            let share = self
                .table
                .get(&key.service)
                .and_then(|split| split.iter().find(|(v, _)| *v == key.version))
                .map_or(Weight::ZERO, |(_, weight)| *weight);
            let id = (key.service.clone(), key.version.clone());
            let fault = faults.get(&id).copied().unwrap_or_default();
            let rest = self.remainders.entry(id).or_default();
            let requests = whole(&mut rest.requests, rate * share.percent() / 1e4 / routes as f64);
            let errors = whole(&mut rest.errors, requests as f64 * fault.errors).min(requests);
            let slow = whole(&mut rest.slow, (requests - errors) as f64 * fault.slow).min(requests - errors);
            let late = whole(&mut rest.late, fault.late / 1e2 / routes as f64);
            let mut counts = OutcomeCounts::of(OutcomeClass::Ok, requests - errors);
            counts += OutcomeCounts::of(OutcomeClass::ServerError, errors + late);
            counts.slow[0] = slow;
            if !counts.is_empty() {
                deltas.push(OutcomeDelta { cell: *cell, counts });
            }
        }
        deltas.sort_by_key(|d: &OutcomeDelta| d.cell);
        deltas
    }

    /// Lets time pass without traffic; only deadlines wake the loop.
    pub(crate) fn idle(&mut self, until: Timestamp) -> Vec<(Timestamp, Command)> {
        let mut out = Vec::new();
        while let Some(at) = self.control.next_deadline().filter(|at| *at <= until) {
            self.now = at;
            out.extend(self.step(Event::Tick { deltas: Vec::new() }));
        }
        self.now = self.now.max(until);
        out
    }

    /// The process dies and comes back: state from the snapshot, other cell ids.
    pub(crate) fn restart(&mut self, down_for: Span) -> Vec<(Timestamp, Command)> {
        self.restart_with(down_for, Vec::new())
    }

    /// As [`Self::restart`], but records of the journal are missing since the snapshot.
    pub(crate) fn restart_with_a_hole(&mut self, down_for: Span, records: u64) -> Vec<(Timestamp, Command)> {
        let reason = format!("the journal lacks {records} records");
        self.restart_with(down_for, vec![Event::Forgot { records, reason }])
    }

    fn restart_with(&mut self, down_for: Span, first: Vec<Event>) -> Vec<(Timestamp, Command)> {
        self.control = Control::restore(&self.control.snapshot().unwrap()).unwrap();
        self.now = self.now + down_for;
        for (id, _) in &mut self.spec.cells {
            *id = CellId(id.0 + 100);
        }
        let mut out: Vec<_> = first.into_iter().flat_map(|event| self.step(event)).collect();
        out.extend(self.step(Event::Restarted));
        out.extend(self.step(Event::Configured(Box::new(self.spec.clone()))));
        out
    }
}

fn whole(rest: &mut f64, more: f64) -> u64 {
    *rest += more;
    // Sums of tenths do not reach whole numbers exactly.
    let whole = (*rest + 1e-9).floor();
    *rest -= whole;
    whole as u64
}
