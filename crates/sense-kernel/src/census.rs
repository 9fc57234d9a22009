//! A census of a Go program's goroutines, read from its memory: how many, what they wait for, who started them.
//!
//! No probe is set and the program is not stopped, so it costs it nothing; a scan reads some hundred bytes a goroutine.
//! Since nothing is stopped, what is read may change meanwhile: the result is a sample. Where the runtime keeps things
//! depends on its version, so everything is checked before it is believed. A record that does not check is read again, then
//! left out and counted; when they are many, the layout must be another one and the census is refused.
//!
//! Stacks are walked by what the table of functions says that each has put on its stack: frame pointers are not kept for
//! goroutines in system calls before Go 1.23.
//!
//! Not here: where things are in which version (`go_layout`). Source: the Go source tree, `runtime/runtime2.go`.

use std::{
    collections::{BTreeMap, HashMap},
    fs::{self, File},
    os::unix::{fs::FileExt as _, process::parent_id},
    sync::Arc,
};

use homeostat_gosym::{
    Symbols,
    little_endian::{u32_at, u64_at},
};
use homeostat_model::profile::{Frame, LabelValue, Profile, Stack, Text, ValueType};

use crate::{
    file_bytes::FileBytes,
    go_layout::{self, Layout},
    memory_map::{mappings, name_of},
    probes::Refused,
};

/// Goroutines that are read; the list holds ended ones too, which are used again. 256 MiB of stacks at the least.
const GOROUTINES_MAX: u64 = 1 << 20;
/// Frames of one stack.
const FRAMES_MAX: usize = 64;
/// How often a record is read that does not check, because it changed meanwhile.
const READINGS: usize = 3;
/// Share of records that may look wrong all the same: fewer than one in so many.
const ONE_WRONG_IN: usize = 20;

/// Why no census is taken.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NoCensus {
    /// The process cannot be looked into.
    #[error("process {pid} cannot be looked into: {reason}; it takes root or CAP_SYS_PTRACE")]
    Unreadable {
        /// The process.
        pid: u32,
        /// What the system said.
        reason: String,
    },
    /// Its program is not one that is understood.
    #[error("process {pid} runs no Go program that is understood: {reason}")]
    NotUnderstood {
        /// The process.
        pid: u32,
        /// What is wrong with it.
        reason: String,
    },
    /// What was read makes no sense: the layout must be another one.
    #[error(
        "what process {pid} keeps about its goroutines does not check: {reason}; nothing is told rather than something wrong"
    )]
    Check {
        /// The process.
        pid: u32,
        /// What did not check.
        reason: String,
    },
}

/// Goroutines that wait for the same, at the same place, and were started at the same place.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Group {
    /// `running`, `runnable`, `in a system call`, or what it waits for in the runtime's own words.
    pub state: String,
    /// The function whose `go` statement started it; empty for the runtime's own first ones.
    pub creator: String,
    /// Functions, innermost first; empty for those that run.
    pub stack: Vec<String>,
}

/// All goroutines of a process at about one moment.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Census {
    /// How many of each.
    pub groups: BTreeMap<Group, u64>,
    /// Records that were left out because they did not check, each time they were read.
    pub unread: u64,
}

/// Goroutines that one place has started and not ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Growth {
    /// Who starts them.
    pub creator: String,
    /// What they wait for.
    pub state: String,
    /// How many there are now.
    pub now: u64,
    /// How many more than before.
    pub more: u64,
}

/// When growth is worth telling.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LeakRule {
    /// In a few words, what happened.
    pub name: &'static str,
    /// More than so many that one place has started, that wait for the same, and that have not ended.
    pub more_than: u64,
    /// Why so.
    pub because: &'static str,
}

/// The rule that is told.
pub const LEAKS_GOROUTINES: LeakRule = LeakRule {
    name: "leaks goroutines",
    more_than: 5000,
    because: "pools and connections of one place grow by some hundred; each goroutine that never ends keeps 2 KiB of stack and \
              whatever it refers to",
};

impl LeakRule {
    /// Whether a place has started too many that do not end.
    pub fn is_met(&self, growth: &Growth) -> bool {
        self.more_than < growth.more
    }
}

impl Census {
    /// All goroutines.
    pub fn goroutines(&self) -> u64 {
        self.groups.values().sum()
    }

    /// Goroutines that wait for a mutex: before Go 1.20 only the stack says that it is one, later the state does.
    pub fn lock_waiters(&self) -> u64 {
        const STATES: [&str; 3] = ["sync.Mutex.Lock", "sync.RWMutex.RLock", "sync.RWMutex.Lock"];
        let is_lock = |name: &String| name.starts_with("sync.(*Mutex)") || name.starts_with("sync.(*RWMutex)");
        let waits = |group: &Group| {
            STATES.contains(&group.state.as_str()) || (group.state == "semacquire" && group.stack.iter().any(is_lock))
        };
        self.groups.iter().filter(|(group, _)| waits(group)).map(|(_, count)| count).sum()
    }

    /// Places that start goroutines which do not end, by growth since an earlier census, the largest first. `at_least` so
    /// many more: those that have ended do not count, so a busy but healthy place does not grow.
    pub fn growth(&self, before: &Self, at_least: u64) -> Vec<Growth> {
        let sums = |census: &Self| {
            let mut sums = BTreeMap::<(String, String), u64>::new();
            for (group, count) in &census.groups {
                *sums.entry((group.creator.clone(), group.state.clone())).or_default() += count;
            }
            sums
        };
        let earlier = sums(before);
        let mut grown: Vec<_> = sums(self)
            .into_iter()
            .map(|((creator, state), now)| {
                let more = now.saturating_sub(earlier.get(&(creator.clone(), state.clone())).copied().unwrap_or(0));
                Growth { creator, state, now, more }
            })
            .filter(|growth| at_least.max(1) <= growth.more)
            .collect();
        grown.sort_by_key(|growth| std::cmp::Reverse(growth.more));
        grown
    }

    /// As a profile that counts goroutines, with what they wait for and who started them as labels.
    pub fn profile(&self) -> Profile {
        let kind = ValueType::new("goroutine", "count");
        let mut profile = Profile::new(vec![kind.clone()]);
        (profile.period_type, profile.period) = (kind, 1);
        let (state, creator) = (profile.intern("state"), profile.intern("creator"));
        for (group, count) in &self.groups {
            let mut at = Stack::EMPTY;
            // Goroutines that run show no stack; their state stands for it.
            let shown = if group.stack.is_empty() { std::slice::from_ref(&group.state) } else { &group.stack };
            for name in shown.iter().rev() {
                let function = profile.intern(name);
                let frame =
                    Frame { function, file: Text::EMPTY, line: 0, module: Text::EMPTY, address: 0, inlined: false };
                at = profile.push_frame(at, frame);
            }
            let texts = [(state, profile.intern(&group.state)), (creator, profile.intern(&group.creator))];
            let labels = texts.map(|(name, text)| (name, LabelValue::Text(text))).to_vec();
            let labels = profile.intern_labels(labels);
            profile.add(at, labels, &[i64::try_from(*count).unwrap_or(i64::MAX)]);
        }
        profile
    }
}

/// What a record says, in addresses: names come once for all that are alike.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct Goroutine {
    state: &'static str,
    /// 0 for the runtime's own first ones.
    creator: u64,
    /// Innermost first; where it began when it never ran.
    stack: Vec<u64>,
}

/// What a record says.
enum Seen {
    Alive(Goroutine),
    /// It has ended, or was never used; the record is kept for the next one.
    Ended,
}

/// What the table of functions says about an address.
#[derive(Debug)]
struct Place {
    /// Functions, inlined ones first; none where there is no code.
    names: Vec<String>,
    /// Bytes that the function has put on its stack there.
    stack_bytes: Option<u64>,
}

/// Names of addresses, each looked up once a census.
struct Names<'a> {
    process: &'a GoProcess,
    known: HashMap<u64, Arc<Place>>,
}

impl Names<'_> {
    fn at(&mut self, address: u64) -> Arc<Place> {
        let process = self.process;
        let look_up = || {
            let address = address.wrapping_sub(process.moved_by);
            let names = process.symbols.frames(address).into_iter().map(|frame| frame.function.into_owned()).collect();
            let stack_bytes = process.symbols.stack_bytes(address).and_then(|bytes| u64::try_from(bytes).ok());
            Arc::new(Place { names, stack_bytes })
        };
        Arc::clone(self.known.entry(address).or_insert_with(look_up))
    }

    fn is_code(&mut self, address: u64) -> bool {
        !self.at(address).names.is_empty()
    }

    /// The address whose names tell where a goroutine goes on: that of the call before, but for a function that has not begun.
    fn before(&mut self, address: u64) -> u64 {
        let call = address.wrapping_sub(1);
        let is_within = self.at(call).names.last() == self.at(address).names.last();
        if is_within { call } else { address }
    }

    fn group(&mut self, of: &Goroutine) -> Group {
        let creator = self.at(of.creator.wrapping_sub(1)).names.last().cloned().unwrap_or_default();
        let stack = of.stack.iter().flat_map(|address| self.at(*address).names.clone()).collect();
        Group { state: of.state.to_owned(), creator, stack }
    }
}

/// A Go process that is understood; takes one census after another.
#[derive(Debug)]
pub struct GoProcess {
    pid: u32,
    symbols: Symbols<FileBytes>,
    memory: File,
    layout: Layout,
    /// What is added to addresses of the file.
    moved_by: u64,
    /// Addresses at which the list may be.
    lists: Vec<u64>,
}

impl GoProcess {
    /// Opens a process: reads its program's tables, once.
    pub fn open(pid: u32) -> Result<Self, NoCensus> {
        let unreadable = |error: std::io::Error| NoCensus::Unreadable { pid, reason: error.to_string() };
        let not_understood = |reason: String| NoCensus::NotUnderstood { pid, reason };
        let program = FileBytes::new(File::open(format!("/proc/{pid}/exe")).map_err(unreadable)?);
        let symbols = Symbols::open(program).map_err(|error| not_understood(error.to_string()))?;
        let version = symbols.go_version().unwrap_or_else(|| "a Go before 1.18".to_owned());
        let layout = Layout::of(&version).filter(|_| cfg!(target_arch = "x86_64")).ok_or_else(|| {
            let (first, last) = (go_layout::KNOWN.start(), go_layout::KNOWN.end());
            let known = format!("go1.{first} to go1.{last} on x86-64 are what is known");
            not_understood(format!("it was made by {version}, and {known}"))
        })?;
        let maps = fs::read_to_string(format!("/proc/{pid}/maps")).map_err(unreadable)?;
        let code = fs::read_link(format!("/proc/{pid}/exe")).map_err(unreadable)?;
        let code = code.to_string_lossy();
        let mapped = mappings(&maps).into_iter().find(|mapping| mapping.path == name_of(&code));
        let moved_by =
            mapped.and_then(|mapped| Some(mapped.start.wrapping_sub(symbols.elf().address_of(mapped.offset)?)));
        let moved_by = moved_by.ok_or_else(|| not_understood("its code is not mapped".to_owned()))?;
        let lists: Vec<u64> = symbols.goroutine_lists().into_iter().map(|list| list.wrapping_add(moved_by)).collect();
        if lists.is_empty() {
            return Err(not_understood("its list of goroutines is not found".to_owned()));
        }
        let memory = File::open(format!("/proc/{pid}/mem")).map_err(unreadable)?;
        Ok(Self { pid, symbols, memory, layout, moved_by, lists })
    }

    /// Takes a census.
    pub fn census(&self) -> Result<Census, NoCensus> {
        let mut problem = "it has none".to_owned();
        for list in &self.lists {
            match self.census_of(*list) {
                Ok(census) => return Ok(census),
                Err(reason) => problem = reason,
            }
        }
        Err(NoCensus::Check { pid: self.pid, reason: problem })
    }

    fn census_of(&self, list: u64) -> Result<Census, String> {
        let [at, len, capacity] = [0, 8, 16].map(|word| self.word(list + word).unwrap_or(u64::MAX));
        if capacity < len || len == 0 || GOROUTINES_MAX < len || at % 8 != 0 {
            return Err(format!("a list of {len} goroutines with room for {capacity}"));
        }
        let mut pointers = vec![0; 8 * len as usize];
        self.memory.read_exact_at(&mut pointers, at).map_err(|error| format!("the list at {at:#x}: {error}"))?;
        let mut names = Names { process: self, known: HashMap::new() };
        let (mut alike, mut wrong) = (HashMap::<Goroutine, u64>::new(), 0);
        for pointer in pointers.chunks_exact(8).filter_map(|pointer| u64_at(pointer, 0)) {
            match (0..READINGS).find_map(|_| self.goroutine(pointer, &mut names)) {
                Some(Seen::Alive(goroutine)) => *alike.entry(goroutine).or_default() += 1,
                Some(Seen::Ended) => {}
                None => wrong += 1,
            }
        }
        if len as usize <= wrong * ONE_WRONG_IN {
            return Err(format!("{wrong} of {len} records look like no goroutine"));
        }
        let mut census = Census { groups: BTreeMap::new(), unread: wrong as u64 };
        for (goroutine, count) in alike {
            *census.groups.entry(names.group(&goroutine)).or_default() += count;
        }
        Ok(census)
    }

    /// One goroutine; `None` when the record makes no sense.
    fn goroutine(&self, at: u64, names: &mut Names<'_>) -> Option<Seen> {
        let layout = &self.layout;
        let mut record = [0; go_layout::RECORD_BYTES_MAX];
        let record = record.get_mut(..layout.record_bytes())?;
        self.memory.read_exact_at(record, at).ok()?;
        let field = |offset: usize| u64_at(record, offset);
        // A collection that looks at its stack sets one more bit.
        let status = u32_at(record, layout.status)? & !0x1000;
        let (id, creator, start) = (field(layout.id)?, field(layout.creator)?, field(layout.start)?);
        let reason = usize::from(*record.get(layout.reason)?);
        if (1 << 48) < id {
            return None;
        }
        let state = match status {
            // Not yet used, ended, and kept for threads of C.
            0 | 6 | 11 => return Some(Seen::Ended),
            1 | 9 => "runnable",
            2 | 8 => "running",
            3 => "in a system call",
            // Waiting, and waiting for what will never come, as the collector of Go 1.26 finds out.
            4 | 10 => layout.reasons.get(reason).copied()?,
            _ => return None,
        };
        if !names.is_code(start) || (creator != 0 && !names.is_code(creator.wrapping_sub(1))) {
            return None;
        }
        let mut stack = if state == "running" {
            Vec::new()
        } else {
            self.stack(field(Layout::PROGRAM_COUNTER)?, field(Layout::STACK_POINTER)?, names)
        };
        if stack.is_empty() && state != "running" {
            stack.push(start);
        }
        Some(Seen::Alive(Goroutine { state, creator, stack }))
    }

    /// Addresses along the calls of a goroutine that does not run, innermost first.
    fn stack(&self, goes_on_at: u64, stack_pointer: u64, names: &mut Names<'_>) -> Vec<u64> {
        /// Calls nothing: every goroutine returns to it.
        const OUTERMOST: &str = "runtime.goexit";
        let mut stack = Vec::new();
        let (mut address, mut top) = (names.before(goes_on_at), stack_pointer);
        loop {
            let place = names.at(address);
            let Some(function) = place.names.last() else { return stack };
            stack.push(address);
            if function == OUTERMOST || stack.len() == FRAMES_MAX {
                return stack;
            }
            // Above what the function has put there lies where its caller goes on.
            let back_at = place.stack_bytes.and_then(|bytes| top.checked_add(bytes));
            let Some((at, back)) = back_at.and_then(|at| Some((at, self.word(at)?))) else { return stack };
            (address, top) = (back.wrapping_sub(1), at.saturating_add(8));
        }
    }

    fn word(&self, address: u64) -> Option<u64> {
        let mut word = [0; 8];
        self.memory.read_exact_at(&mut word, address).ok()?;
        Some(u64::from_le_bytes(word))
    }
}

/// Whether other processes' memory may be read: that of the one that started us stands for all. The first process of a
/// machine would not do: it may be protected from everybody.
pub(crate) fn try_memory() -> Result<(), Refused> {
    let refused = |error: std::io::Error| Refused {
        what: "the memory of other processes".to_owned(),
        reason: error.to_string(),
        remedy: "run as root or with CAP_SYS_PTRACE",
    };
    File::open(format!("/proc/{}/mem", parent_id())).map(|_| ()).map_err(refused)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn census(groups: &[(&str, &str, u64)]) -> Census {
        let group = |state: &str, creator: &str| Group { state: state.into(), creator: creator.into(), stack: vec![] };
        let groups = groups.iter().map(|(state, creator, count)| (group(state, creator), *count)).collect();
        Census { groups, unread: 0 }
    }

    #[test]
    fn what_grows_is_told_by_creator_and_state() {
        let before = census(&[("chan receive", "main.leak", 10), ("IO wait", "net/http.(*Server).Serve", 100)]);
        let now = census(&[("chan receive", "main.leak", 6010), ("IO wait", "net/http.(*Server).Serve", 90)]);
        let expected = Growth { creator: "main.leak".into(), state: "chan receive".into(), now: 6010, more: 6000 };
        assert_eq!(now.growth(&before, 5000), std::slice::from_ref(&expected));
        assert!(LEAKS_GOROUTINES.is_met(&expected));
        assert!(!LEAKS_GOROUTINES.is_met(&Growth { more: 5000, ..expected }), "so many is not yet too many");
        assert_eq!(before.growth(&now, 1).len(), 1, "ten more wait for data again");
        assert_eq!(now.goroutines(), 6100);
    }

    #[test]
    fn a_profile_counts_goroutines() {
        let profile = census(&[("chan receive", "main.leak", 7), ("running", "", 1)]).profile();
        assert_eq!((profile.total(0), profile.rows().len()), (8, 2));
    }
}
