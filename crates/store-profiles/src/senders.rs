//! Who sends windows, and how far they have come: what is sent again counts once.
//!
//! The number of a sender's last window stands in the log with the window itself, so both are there or neither is. Before the
//! log forgets records, what they said is written to the file `senders` beside it.
//!
//! ```text
//! senders   a line each: sender, 16 hexadecimal digits │ last number │ when it was heard, ms since 1970
//! ```
//!
//! A sender that was not heard for as long as a profile may be late is forgotten: what it could send again is refused by its
//! time.

use std::{collections::HashMap, fmt::Write as _, fs, io, path::Path};

use homeostat_store_wal::{Disk, RealDisk, Ticket, disk::replace};
use homeostat_wire::profiles::WindowId;

use crate::limits::{FUTURE_MAX_MS, LATE_MAX_MS, SENDERS_MAX};

/// The file's name, in the log's directory.
pub(crate) const FILE: &str = "senders";
/// Bytes of a line at most: 16 digits, twice 20, three separators.
const LINE_BYTES: u64 = 64;

/// How long a sender is remembered: what it could send again is refused afterwards.
const SILENCE_MS: i64 = LATE_MAX_MS + FUTURE_MAX_MS;

/// Senders by their number.
#[derive(Debug)]
pub(crate) struct Senders {
    known: HashMap<u64, Known>,
    /// Nobody has been silent for long enough before then, so nobody need be looked through.
    first_silent_ms: i64,
}

impl Default for Senders {
    fn default() -> Self {
        Self { known: HashMap::new(), first_silent_ms: i64::MAX }
    }
}

#[derive(Clone, Debug)]
struct Known {
    number: u64,
    heard_ms: i64,
    /// When the last window is durable; `None` when it is.
    ticket: Option<Ticket>,
}

impl Known {
    /// From then on it has been silent for long enough, unless it is heard before.
    fn silent_ms(&self) -> i64 {
        self.heard_ms.saturating_add(SILENCE_MS + 1)
    }
}

/// A window that was taken before.
#[derive(Debug)]
pub(crate) struct Before {
    /// When it is durable; `None` when it is.
    pub(crate) ticket: Option<Ticket>,
}

/// What is written before the log forgets, and what has to be durable for it to be true.
#[derive(Debug)]
pub(crate) struct Snapshot {
    text: String,
    pub(crate) newest: Option<Ticket>,
}

impl Senders {
    /// What is known of a window that was taken before.
    pub(crate) fn repeated(&self, window: WindowId) -> Option<Before> {
        let known = self.known.get(&window.sender).filter(|known| window.number <= known.number)?;
        Some(Before { ticket: known.ticket.clone() })
    }

    /// Makes room for a sender; false when there is none. Costs nothing as long as nobody can have been silent for long enough.
    pub(crate) fn room_for(&mut self, sender: u64, now_ms: i64) -> bool {
        if self.known.len() < SENDERS_MAX || self.known.contains_key(&sender) {
            return true;
        }
        self.first_silent_ms <= now_ms && self.forget_silent(now_ms) > 0
    }

    /// A window was taken.
    pub(crate) fn took(&mut self, window: WindowId, heard_ms: i64, ticket: Option<Ticket>) {
        let known = self.known.entry(window.sender).or_insert(Known { number: 0, heard_ms, ticket: None });
        if known.number < window.number {
            *known = Known { number: window.number, heard_ms: heard_ms.max(known.heard_ms), ticket };
        }
        self.first_silent_ms = self.first_silent_ms.min(known.silent_ms());
    }

    /// Looks through all, forgets who has been silent for long enough, and gives how many they were.
    fn forget_silent(&mut self, now_ms: i64) -> usize {
        let before = self.known.len();
        self.known.retain(|_, known| now_ms < known.silent_ms());
        self.first_silent_ms = self.known.values().map(Known::silent_ms).min().unwrap_or(i64::MAX);
        before - self.known.len()
    }

    /// How many there are.
    pub(crate) fn len(&self) -> usize {
        self.known.len()
    }

    pub(crate) fn snapshot(&self) -> Snapshot {
        let newest = self.known.values().filter_map(|known| known.ticket.as_ref()).max_by_key(|ticket| ticket.seq());
        let mut sorted: Vec<_> = self.known.iter().collect();
        sorted.sort_unstable_by_key(|(sender, _)| **sender);
        let mut text = String::new();
        for (sender, Known { number, heard_ms, .. }) in sorted {
            // A text takes everything.
            let _ = writeln!(text, "{sender:016x} {number} {heard_ms}");
        }
        Snapshot { text, newest: newest.cloned() }
    }

    /// Reads the file; one that is missing holds nobody. `None` for one that is none.
    pub(crate) fn read(dir: &Path, now_ms: i64) -> io::Result<Option<Self>> {
        let text = match RealDisk.read(&dir.join(FILE), SENDERS_MAX as u64 * LINE_BYTES) {
            Ok(bytes) => String::from_utf8_lossy(&bytes).into_owned(),
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Some(Self::default())),
            Err(error) => return Err(error),
        };
        let mut senders = Self::default();
        for line in text.lines() {
            let Some((sender, known)) = parse(line) else { return Ok(None) };
            senders.known.insert(sender, known);
        }
        senders.forget_silent(now_ms);
        Ok(Some(senders))
    }
}

impl Snapshot {
    /// Writes the file, if it says anything new.
    pub(crate) fn write(&self, dir: &Path) -> io::Result<()> {
        let path = dir.join(FILE);
        let is_there = fs::read(&path).is_ok_and(|there| there == self.text.as_bytes());
        if is_there || (self.text.is_empty() && !path.exists()) {
            return Ok(());
        }
        replace(&RealDisk, dir, FILE, self.text.as_bytes())
    }
}

fn parse(line: &str) -> Option<(u64, Known)> {
    let mut words = line.split_ascii_whitespace();
    let sender = words.next().filter(|sender| sender.len() == 16)?;
    let (number, heard_ms) = (words.next()?.parse().ok()?, words.next()?.parse().ok()?);
    let known = Known { number, heard_ms, ticket: None };
    words.next().is_none().then_some((u64::from_str_radix(sender, 16).ok()?, known))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn window(sender: u64, number: u64) -> WindowId {
        WindowId { sender, number }
    }

    #[test]
    fn what_was_taken_is_known_after_a_restart_and_nonsense_is_told() {
        let dir = tempfile::tempdir().unwrap();
        let mut senders = Senders::read(dir.path(), 0).unwrap().unwrap();
        senders.snapshot().write(dir.path()).unwrap();
        assert!(!dir.path().join(FILE).exists(), "nobody sends, so there is no file");
        senders.took(window(7, 3), 1_000, None);
        senders.took(window(u64::MAX, 1), 2_000, None);
        // Late news of an old window takes nothing back.
        senders.took(window(7, 2), 3_000, None);
        senders.snapshot().write(dir.path()).unwrap();
        let known = |senders: &Senders, sender, number| senders.repeated(window(sender, number)).is_some();
        let again = Senders::read(dir.path(), 5_000).unwrap().unwrap();
        for senders in [&senders, &again] {
            assert!(known(senders, 7, 3) && known(senders, 7, 1) && known(senders, u64::MAX, 1));
            assert!(!known(senders, 7, 4) && !known(senders, 8, 1));
        }
        let late = 1_000 + LATE_MAX_MS + FUTURE_MAX_MS;
        let later = |now_ms| Senders::read(dir.path(), now_ms).unwrap().unwrap().len();
        assert_eq!((later(late), later(late + 1), later(late + 1_001)), (2, 1, 0));
        for bad in ["x", "0000000000000007 3", "7 3 1000", "0000000000000007 3 1000 9", "0000000000000007 -3 1000"] {
            fs::write(dir.path().join(FILE), bad).unwrap();
            assert!(Senders::read(dir.path(), 0).unwrap().is_none(), "{bad}");
        }
    }

    #[test]
    fn silent_senders_make_room_and_others_stay() {
        let mut senders = Senders::default();
        for sender in 0..SENDERS_MAX as u64 {
            senders.took(window(sender, 1), 10, None);
        }
        let newcomer = SENDERS_MAX as u64;
        assert!(senders.room_for(5, 10) && !senders.room_for(newcomer, 10));
        assert!(!senders.room_for(newcomer, 10 + SILENCE_MS));
        // All but one are heard again, so a newcomer has to look through all of them once and never again.
        for sender in 1..SENDERS_MAX as u64 {
            senders.took(window(sender, 2), 20, None);
        }
        assert_eq!(senders.first_silent_ms, 11 + SILENCE_MS);
        assert!(senders.room_for(newcomer, 11 + SILENCE_MS));
        assert_eq!((senders.len(), senders.first_silent_ms), (SENDERS_MAX - 1, 21 + SILENCE_MS));
        senders.took(window(newcomer, 1), 30, None);
        assert!(!senders.room_for(newcomer + 1, 20 + SILENCE_MS));
        assert!(senders.room_for(newcomer + 1, 21 + SILENCE_MS));
        assert_eq!((senders.len(), senders.first_silent_ms), (1, 31 + SILENCE_MS));
    }
}
