//! The outbox's records and what they add up to: which notices wait, and which keys have ended.
//!
//! Not here: the log on disk (`outbox`). `docs/format/outbox.md` describes the records.
//! Invariants: no clock, no disk; whatever the bytes, replaying them ends with a state or with the first record that is
//! not understood, and takes memory in proportion to them.

use std::collections::{HashSet, VecDeque};

use homeostat_model::{ReceiverName, Span, Timestamp, notice::Notice};
use serde::{Deserialize, Serialize};

use crate::limits::{SEEN_MAX, SEEN_RETENTION};

/// What an outbox's records add up to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OutboxState {
    /// Notices that have not ended, in the order in which they were taken.
    pub waiting: Vec<Notice>,
    /// Keys that have ended, oldest first.
    pub ended: Vec<(ReceiverName, String)>,
}

/// A record that is none.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("record {index} of the outbox is not understood: {problem}")]
pub struct UnreadableRecord {
    /// Its position, from 0.
    pub index: u64,
    /// What the reader says.
    pub problem: String,
}

/// Reads the payloads of an outbox's log in order. Gives the state, and a single record that says the same as all of them:
/// what compaction writes.
pub fn replay<'a>(records: impl IntoIterator<Item = &'a [u8]>) -> Result<(OutboxState, Vec<u8>), UnreadableRecord> {
    let mut replay = Replay::default();
    for (index, record) in (0..).zip(records) {
        replay.visit(index, record);
    }
    if let Some((index, problem)) = replay.unreadable {
        return Err(UnreadableRecord { index, problem });
    }
    let state = OutboxState {
        waiting: replay.kept.iter().map(|kept| kept.notice.clone()).collect(),
        ended: replay.known.ended.iter().map(|seen| (seen.receiver.clone(), seen.key.clone())).collect(),
    };
    let snapshot = Record::Snapshot { kept: replay.kept, seen: replay.known.ended.into_iter().collect() };
    // Our own types with string keys: writing them to memory cannot fail.
    Ok((state, serde_json::to_vec(&snapshot).unwrap_or_default()))
}

/// A notice that has not ended, as it is kept.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Kept {
    pub(crate) notice: Notice,
    pub(crate) taken_at: Timestamp,
    /// When its first attempt failed.
    pub(crate) failing_since: Option<Timestamp>,
}

/// A notice that has ended.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Seen {
    pub(crate) receiver: ReceiverName,
    pub(crate) key: String,
    pub(crate) at: Timestamp,
}

/// One record of the log. Its JSON form is what is on disk.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "record")]
pub(crate) enum Record {
    Taken { notice: Notice, at: Timestamp },
    Failing { receiver: ReceiverName, key: String, at: Timestamp },
    Ended { receiver: ReceiverName, key: String, at: Timestamp },
    Snapshot { kept: Vec<Kept>, seen: Vec<Seen> },
}

impl Record {
    /// The latest instant that it tells of.
    fn latest(&self) -> Option<Timestamp> {
        match self {
            Self::Taken { at, .. } | Self::Failing { at, .. } | Self::Ended { at, .. } => Some(*at),
            Self::Snapshot { kept, seen } => {
                kept.iter().map(|kept| kept.taken_at).chain(seen.iter().map(|seen| seen.at)).max()
            }
        }
    }
}

/// Keys that were handed over: all that wait, and those that ended within the retention.
#[derive(Default)]
pub(crate) struct Known {
    pub(crate) keys: HashSet<(ReceiverName, String)>,
    pub(crate) ended: VecDeque<Seen>,
}

impl Known {
    pub(crate) fn end(&mut self, seen: Seen) {
        self.keys.insert((seen.receiver.clone(), seen.key.clone()));
        self.ended.push_back(seen);
    }

    /// Time in which the process was away does not make keys older.
    pub(crate) fn skip(&mut self, away: Span) {
        for seen in &mut self.ended {
            seen.at = seen.at + away;
        }
    }

    /// Forgets what is older than the retention, and the oldest beyond the limit.
    pub(crate) fn expire(&mut self, now: Timestamp) {
        while let Some(oldest) = self.ended.front() {
            if self.ended.len() <= SEEN_MAX && now.since(oldest.at) <= SEEN_RETENTION.into() {
                break;
            }
            if let Some(seen) = self.ended.pop_front() {
                self.keys.remove(&(seen.receiver, seen.key));
            }
        }
    }
}

/// The state that records add up to.
#[derive(Default)]
pub(crate) struct Replay {
    pub(crate) kept: Vec<Kept>,
    pub(crate) known: Known,
    pub(crate) records: u64,
    /// The latest instant in any record.
    pub(crate) last: Option<Timestamp>,
    /// The first record that this program does not understand.
    pub(crate) unreadable: Option<(u64, String)>,
}

impl Replay {
    pub(crate) fn visit(&mut self, seq: u64, payload: &[u8]) {
        match serde_json::from_slice(payload) {
            Ok(record) => self.apply(record),
            Err(error) => drop(self.unreadable.get_or_insert((seq, error.to_string()))),
        }
    }

    fn apply(&mut self, record: Record) {
        self.records += 1;
        self.last = self.last.max(record.latest());
        match record {
            Record::Taken { notice, at } => self.kept.push(Kept { notice, taken_at: at, failing_since: None }),
            Record::Failing { receiver, key, at } => {
                let found = self.kept.iter_mut().find(|kept| is(kept, &receiver, &key));
                if let Some(kept) = found {
                    kept.failing_since.get_or_insert(at);
                }
            }
            Record::Ended { receiver, key, at } => {
                self.kept.retain(|kept| !is(kept, &receiver, &key));
                self.known.end(Seen { receiver, key, at });
            }
            Record::Snapshot { kept, seen } => {
                *self = Self { kept, last: self.last, ..Self::default() };
                for seen in seen {
                    self.known.end(seen);
                }
            }
        }
    }
}

fn is(kept: &Kept, receiver: &ReceiverName, key: &str) -> bool {
    kept.notice.receiver == *receiver && kept.notice.key == key
}

#[cfg(test)]
mod tests {
    use homeostat_model::notice::NoticeStatus;

    use super::*;
    use crate::message::tests::notice;

    const NOW: Timestamp = Timestamp::from_unix_ms(1_750_000_000_000);

    fn encoded(record: &Record) -> Vec<u8> {
        serde_json::to_vec(record).unwrap()
    }

    #[test]
    fn one_snapshot_says_the_same_as_all_records() {
        let one = |key| notice(key, NoticeStatus::Firing, ("version", "v2"));
        let (receiver, key) = (one("a").receiver, "a".to_owned());
        let records = [
            encoded(&Record::Taken { notice: one("a"), at: NOW }),
            encoded(&Record::Taken { notice: one("b"), at: NOW }),
            encoded(&Record::Failing { receiver: receiver.clone(), key: "b".to_owned(), at: NOW }),
            encoded(&Record::Ended { receiver: receiver.clone(), key: key.clone(), at: NOW }),
        ];
        let (state, snapshot) = replay(records.iter().map(Vec::as_slice)).unwrap();
        assert_eq!((state.waiting.len(), &state.ended), (1, &vec![(receiver, key)]));
        assert_eq!(replay([snapshot.as_slice()]), Ok((state, snapshot.clone())));
    }

    #[test]
    fn the_first_record_that_is_not_understood_is_named() {
        let good = encoded(&Record::Snapshot { kept: Vec::new(), seen: Vec::new() });
        for bad in [&b""[..], b"{}", b"[1]", b"\xff", br#"{"record":"later"}"#] {
            let error = replay([good.as_slice(), bad, bad]).unwrap_err();
            assert_eq!(error.index, 1, "{error}");
        }
    }

    #[test]
    fn keys_are_remembered_up_to_the_limit() {
        let mut known = Known::default();
        for n in 0..SEEN_MAX + 5 {
            known.end(Seen { receiver: "chat".parse().unwrap(), key: n.to_string(), at: NOW });
            known.expire(NOW);
        }
        assert_eq!((known.ended.len(), known.keys.len()), (SEEN_MAX, SEEN_MAX));
    }
}
