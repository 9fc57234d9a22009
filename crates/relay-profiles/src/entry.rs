//! A record of the queue's log: one window, as it will be sent.
//!
//! ```text
//! version u8 = 1 │ arrived i64 LE, ms since 1970 │ push.v1.PushRequest with one profile
//! ```

use homeostat_model::{Labels, TimeMs, profile::Profile};
use homeostat_wire::{pprof, pyroscope::encode_push};

const VERSION: u8 = 1;

/// One window.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// When it was queued, by the wall clock.
    pub arrived_ms: TimeMs,
    /// The request's body: `push.v1.PushRequest`.
    pub body: Vec<u8>,
}

/// A record that cannot be read.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BadEntry {
    /// It ends too early.
    #[error("a window's record has {len} bytes; it begins with nine of its own")]
    Short {
        /// How long it is.
        len: usize,
    },
    /// A newer program has written it.
    #[error("version {found} of a window's record is not known here (only {VERSION} is)")]
    Version {
        /// As read.
        found: u8,
    },
}

impl Entry {
    /// A profile as it will be sent. It must have been redacted.
    pub fn of(labels: &Labels, profile: &Profile, arrived_ms: TimeMs) -> Self {
        Self { arrived_ms, body: encode_push(labels.iter(), &pprof::write(profile)) }
    }

    /// Writes it.
    pub fn encode(&self) -> Vec<u8> {
        let mut out = Vec::with_capacity(1 + 8 + self.body.len());
        out.push(VERSION);
        out.extend_from_slice(&self.arrived_ms.to_le_bytes());
        out.extend_from_slice(&self.body);
        out
    }

    /// Reads it.
    pub fn decode(record: &[u8]) -> Result<Self, BadEntry> {
        let short = BadEntry::Short { len: record.len() };
        let (version, rest) = record.split_first().ok_or_else(|| short.clone())?;
        if *version != VERSION {
            return Err(BadEntry::Version { found: *version });
        }
        let (arrived, body) = rest.split_first_chunk().ok_or(short)?;
        Ok(Self { arrived_ms: TimeMs::from_le_bytes(*arrived), body: body.to_vec() })
    }
}

#[cfg(test)]
mod tests {
    use homeostat_model::profile::{LabelSet, Stack, ValueType};
    use homeostat_wire::{pprof::PprofLimits, pyroscope::decode_push};

    use super::*;

    #[test]
    fn a_window_comes_back_and_every_cut_is_refused() {
        let mut profile = Profile::new(vec![ValueType::new("samples", "count")]);
        profile.started_ns = 5;
        profile.add(Stack::EMPTY, LabelSet::NONE, &[3]);
        let entry = Entry::of(&Labels::new([("service_name", "shop")]), &profile, -7);
        let record = entry.encode();
        assert_eq!(Entry::decode(&record).as_ref(), Ok(&entry));
        let sent = decode_push(&entry.body).unwrap();
        assert_eq!(sent[0].labels, [("service_name".to_owned(), "shop".to_owned())]);
        let read = pprof::read(&sent[0].profile, &PprofLimits::default()).unwrap();
        assert_eq!((sent.len(), read.started_ns, read.total(0)), (1, 5, 3));
        for cut in 0..9 {
            assert_eq!(Entry::decode(&record[..cut]), Err(BadEntry::Short { len: cut }));
        }
        assert_eq!(Entry::decode(&[2, 0]), Err(BadEntry::Version { found: 2 }));
    }
}
