//! Who did what: one line for each operation of a person, read off the journal's steps.
//!
//! A past with a hole gets a line too: who reads the audit must know that lines may be missing.
//!
//! Not here: events of control as types; this only looks at those that belong here, by their JSON form.
//! Invariant: the same step gives the same line, now and after a restart.

use homeostat_model::{
    ActionId, Actor, ChangeEvent, ConfigRead, RolloutName, Timestamp,
    action::Decision,
    change::{ReadCause, ReadOutcome},
    rollout::Verb,
};
use serde::Deserialize;

/// One line of the audit.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AuditLine {
    /// Number of the journal's record.
    pub seq: u64,
    /// When.
    pub at: Timestamp,
    /// Who.
    pub by: Actor,
    /// What, and what became of it, as one line.
    pub what: String,
    /// Their reason; may be empty.
    pub reason: String,
}

/// The events that belong here. Field names are part of the journal's format.
#[derive(Deserialize)]
#[serde(rename_all = "snake_case", tag = "event")]
enum Operation {
    Rollout { rollout: RolloutName, verb: Verb, by: Actor, reason: String },
    Decide { action: ActionId, decision: Decision, by: Actor, reason: String },
    BreakGlass { engaged: bool, by: Actor, reason: String },
    Forgot { records: u64, reason: String },
    Changed(ChangeEvent),
    ConfigRead(ConfigRead),
}

#[derive(Deserialize)]
struct Refusal {
    reason: String,
}

/// Marks that an operation's JSON holds. Looked for before parsing: a configuration event can have megabytes.
const MARKS: [&str; 6] = [
    "\"event\":\"rollout\"",
    "\"event\":\"decide\"",
    "\"event\":\"break_glass\"",
    "\"event\":\"forgot\"",
    "\"event\":\"changed\"",
    "\"event\":\"config_read\"",
];

impl AuditLine {
    /// Reads a step; `None` when nobody but Homeostat was involved.
    pub(crate) fn of_step(seq: u64, at: Timestamp, event: &[u8], commands: &[u8]) -> Option<Self> {
        let text = std::str::from_utf8(event).ok()?;
        if !MARKS.iter().any(|mark| text.contains(mark)) {
            return None;
        }
        let (what, by, reason) = match serde_json::from_str(text).ok()? {
            Operation::Rollout { rollout, verb, by, reason } => {
                (format!("rollout {rollout}: {}", verb_word(verb)), by, reason)
            }
            Operation::Decide { action, decision, by, reason } => {
                (format!("action {action}: {}", decision_words(decision)), by, reason)
            }
            Operation::BreakGlass { engaged, by, reason } => {
                let word = if engaged { "engaged" } else { "released" };
                (format!("break-glass {word}"), by, reason)
            }
            Operation::Changed(change) => (announced(&change), change.by, String::new()),
            Operation::ConfigRead(read) => (config_read(&read), read.by, String::new()),
            Operation::Forgot { records, reason } => {
                (format!("the journal has a hole of up to {records} records"), Actor::homeostat(), reason)
            }
        };
        let what = match refusal(commands) {
            Some(refused) => format!("{what} (refused: {refused})"),
            None => what,
        };
        Some(Self { seq, at, by, what, reason })
    }
}

fn refusal(commands: &[u8]) -> Option<String> {
    let commands: Vec<serde_json::Value> = serde_json::from_slice(commands).ok()?;
    let refuse = commands.into_iter().find(|c| c.get("command").is_some_and(|name| name == "refuse"))?;
    serde_json::from_value::<Refusal>(refuse).ok().map(|refusal| refusal.reason)
}

fn announced(change: &ChangeEvent) -> String {
    let whose = match (&change.service, &change.version) {
        (Some(service), Some(version)) => format!(" of {service} {version}"),
        (Some(service), None) => format!(" of {service}"),
        (None, Some(version)) => format!(" of {version}"),
        (None, None) => String::new(),
    };
    format!("change announced: {}{whose}: {}", change.kind.label(), change.summary)
}

fn config_read(read: &ConfigRead) -> String {
    let (new, cause) = (
        read.read.short(),
        match read.cause {
            ReadCause::Start => return format!("configuration {} at the start", read.read.short()),
            ReadCause::File => "a file changed",
            ReadCause::Signal => "signal",
            ReadCause::Api => "API",
        },
    );
    let old = read.before.as_ref().map_or("none", |digest| digest.short());
    match read.outcome {
        ReadOutcome::InForce => format!("configuration reload ({cause}): {old} → {new} in force"),
        ReadOutcome::SameMeaning if old == new => format!("configuration reload ({cause}): {new} unchanged"),
        ReadOutcome::SameMeaning => format!("configuration reload ({cause}): {old} → {new}, which means the same"),
        ReadOutcome::Refused { problems } => {
            let s = if problems == 1 { "" } else { "s" };
            format!("configuration reload ({cause}): {new} refused with {problems} problem{s}, {old} stays in force")
        }
    }
}

const fn verb_word(verb: Verb) -> &'static str {
    match verb {
        Verb::Start => "start",
        Verb::StartFrozen => "start although frozen",
        Verb::Pause => "pause",
        Verb::Resume => "resume",
        Verb::Promote => "promote",
        Verb::Abort => "abort",
    }
}

fn decision_words(decision: Decision) -> String {
    match decision {
        Decision::Approve => "approve".to_owned(),
        Decision::Reject => "reject".to_owned(),
        Decision::Undo => "undo".to_owned(),
        Decision::Extend { ttl } => format!("extend to {ttl}"),
    }
}
