//! Carrying commands out: what protects at once, everything else once its step is on disk.
//!
//! Not here: when (the loop), who is told in the end (`act-notify`), what a split may be (`act-guard`).
//! Invariant: an older shift never undoes a newer one, whatever order the disk answers in.

use std::{sync::Arc, time::Duration};

use homeostat_act_guard::Admitted;
use homeostat_act_notify::EnqueueError;
use homeostat_api::backend::{OperateError, StreamItem};
use homeostat_control::{Command, Event};
use homeostat_model::{ServiceName, Timestamp};
use homeostat_store_events::Lost;

use super::{
    super::{
        message::Configure,
        shared::bump,
        tables::{overlaid, safe_splits},
    },
    ControlThread, Effects, Freeze,
};

/// How long a protective shift waits for a disk that does not answer.
const PROTECTIVE_WAIT: Duration = Duration::from_millis(20);

/// Notices that wait for the outbox's queue: an hour of a page a second.
const NOTICES_MAX: usize = 3_600;

impl ControlThread {
    /// Carries protective shifts of the newest step out, durable or not.
    pub(super) fn protect(&mut self) {
        let durable = self.pending.wait_newest(PROTECTIVE_WAIT);
        let serving = self.gateway.table();
        let Some(effects) = self.pending.newest() else { return };
        if durable && effects.configure.is_some() {
            // The table that comes with it is put into force first, in a moment.
            return;
        }
        let at = effects.at;
        let may_go = |command: &Command| match command {
            Command::Shift { permit } if command.is_protective() => {
                // A split for versions that only the table in waiting knows has to wait with it.
                serving.with_split(&permit.plan().service, &permit.plan().to).is_ok()
            }
            _ => false,
        };
        let (ahead, rest): (Vec<_>, Vec<_>) = std::mem::take(&mut effects.commands).into_iter().partition(may_go);
        effects.commands = rest;
        for command in ahead {
            self.stream_command(at, &command);
            if let Command::Shift { permit } = command {
                self.supersede(&permit.plan().service);
                self.shift(permit, !durable);
            }
        }
    }

    /// Shifts of a service that were decided earlier and still wait for the disk are void once a protective one has
    /// gone ahead of them: carried out later, they would take it back.
    fn supersede(&mut self, service: &ServiceName) {
        let newest = self.pending.len().saturating_sub(1);
        for effects in self.pending.iter_mut().take(newest) {
            effects.commands.retain(|command| shifted_service(command) != Some(service));
        }
    }

    /// The journal can take nothing any more: nothing of this step may happen but what protects, and whoever asked
    /// hears so. People are told of it all the same.
    pub(super) fn refuse(&mut self, effects: Effects, lost: &Lost) {
        bump(&self.shared.counters.steps_refused);
        tracing::error!(commands = effects.commands.len(), problem = %lost, "a step was refused");
        let protective = effects.commands.iter().any(Command::is_protective);
        for command in effects.commands {
            match command {
                Command::Shift { permit } if permit.plan().purpose.is_protective() => {
                    for older in self.pending.iter_mut() {
                        older.commands.retain(|command| shifted_service(command) != Some(&permit.plan().service));
                    }
                    self.shift(permit, true);
                }
                Command::Shift { permit } => {
                    let reason = "the journal does not take records; free or repair its disk".to_owned();
                    self.state.followups.push_back(Event::Failed { action: permit.plan().id, reason });
                }
                Command::Notify(notice) if protective => self.state.notices.push_back(*notice),
                Command::FreezeBlackBox { incident, cells, from, to } if protective => {
                    self.state.freezes.push(Freeze { incident, cells, from, to });
                }
                _ => {}
            }
        }
        // Dropping a configuration tells the reloader that it was not taken.
        if let Some(reply) = effects.reply {
            let _asker_left = reply.send(Err(OperateError::Unavailable));
        }
    }

    /// Carries out what has become durable.
    pub(super) fn settle(&mut self) {
        while let Some(effects) = self.pending.next_durable() {
            // Its own shifts are made for the new table.
            if let Some(configure) = effects.configure {
                self.take_over(*configure);
            }
            let mut refusal = None;
            for command in effects.commands {
                self.stream_command(effects.at, &command);
                match command {
                    Command::Shift { permit } => self.shift(permit, false),
                    Command::RecordAction(action) => self.journal.put_action(&action),
                    Command::RecordIncident(incident) => {
                        self.journal.put_incident(&incident);
                        self.shared.tell_opened(incident);
                    }
                    Command::RolloutMoved { .. } => {}
                    Command::FreezeBlackBox { incident, cells, from, to } => {
                        self.state.freezes.push(Freeze { incident, cells, from, to });
                    }
                    Command::Notify(notice) => self.state.notices.push_back(*notice),
                    Command::Refuse { reason } => refusal = Some(reason),
                }
            }
            self.send_notices();
            if let Some(reply) = effects.reply {
                let answer = refusal.map_or(Ok(()), |reason| Err(OperateError::Refused(reason)));
                self.state.answers.push((reply, answer));
            }
        }
    }

    /// Hands notices to the outbox; what it does not take now waits here, bounded.
    pub(super) fn send_notices(&mut self) {
        let notices = &mut self.state.notices;
        if let Some(notify) = self.late.notify() {
            while let Some(notice) = notices.pop_front() {
                match notify.enqueue(notice.clone()) {
                    Ok(()) => {}
                    Err(EnqueueError::Full) => {
                        notices.push_front(notice);
                        break;
                    }
                    Err(problem @ EnqueueError::Stopped) => {
                        tracing::error!(key = notice.key, %problem, "a notice was dropped");
                    }
                }
            }
        }
        while notices.len() > NOTICES_MAX {
            let dropped = notices.pop_front().map(|notice| notice.key);
            tracing::error!(key = dropped, "a notice was dropped: too many wait for the outbox");
        }
    }

    /// Swaps a service's split into the serving table and reports back to control.
    fn shift(&mut self, permit: Admitted, ahead_of_disk: bool) {
        let plan = permit.into_plan();
        let event = match self.gateway.table().with_split(&plan.service, &plan.to) {
            Ok(table) => {
                self.gateway.swap_table(Arc::new(table));
                self.state.executed.insert(plan.service.clone(), plan.to.clone());
                bump(&self.shared.counters.shifts);
                if ahead_of_disk {
                    bump(&self.shared.counters.shifts_ahead_of_disk);
                }
                tracing::info!(action = %plan.id, purpose = plan.purpose.label(), service = %plan.service, ahead_of_disk, "shifted");
                Event::Applied { action: plan.id, ahead_of_disk }
            }
            Err(problem) => {
                tracing::error!(action = %plan.id, service = %plan.service, %problem, "could not shift; the old table serves on");
                Event::Failed { action: plan.id, reason: problem.to_string() }
            }
        };
        self.state.followups.push_back(event);
    }

    /// Puts a new table into force, under the splits that control has decided.
    fn take_over(&mut self, configure: Configure) {
        let mut splits = self.control.desired_splits();
        // A shift that is decided but not on disk yet must not slip in with the table: its service keeps its split, or,
        // where that does not fit the new versions, its canary gets nothing until then.
        let safe = safe_splits(&configure.spec);
        for service in self.pending.iter().flat_map(|effects| &effects.commands).filter_map(shifted_service) {
            let Some(decided) = splits.get_mut(service) else { continue };
            let serving =
                self.state.executed.get(service).filter(|split| configure.table.with_split(service, split).is_ok());
            if let Some(split) = serving.or_else(|| safe.get(service)) {
                decided.clone_from(split);
            }
        }
        self.state.executed = splits;
        self.gateway.swap_table(Arc::new(overlaid(configure.table, &self.state.executed)));
        if let Some(done) = configure.done {
            let _asker_left = done.try_send(());
        }
    }

    fn stream_command(&self, at: Timestamp, command: &Command) {
        if self.shared.stream.receiver_count() > 0
            && let Ok(command) = serde_json::to_value(command)
        {
            self.shared.publish(StreamItem::Command { at, command });
        }
    }
}

/// The service whose split a command changes.
fn shifted_service(command: &Command) -> Option<&ServiceName> {
    match command {
        Command::Shift { permit } => Some(&permit.plan().service),
        _ => None,
    }
}
