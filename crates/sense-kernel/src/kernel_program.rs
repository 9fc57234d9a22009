//! One program for the kernel with its maps: loaded, or refused with a reason that fits on a screen.

use std::{
    collections::VecDeque,
    os::unix::fs::MetadataExt as _,
    sync::{Mutex, MutexGuard, PoisonError},
};

use libbpf_rs::{ErrorKind, Map, MapCore as _, Object, ObjectBuilder, PrintLevel, ProgramMut};

use crate::probes::Refused;

/// What the loading library said last; verifiers explain themselves in megabytes of which the end matters.
static SAID: Mutex<VecDeque<String>> = Mutex::new(VecDeque::new());
/// Lines that are kept of it.
const SAID_LINES_MAX: usize = 12;
/// Bytes of one line that are kept.
const LINE_BYTES_MAX: usize = 160;

/// A program that the kernel has taken. It is gone when this is dropped.
#[derive(Debug)]
pub(crate) struct KernelProgram {
    object: Object,
}

impl KernelProgram {
    /// Loads programs of an object with the maps of all of them; some maps with another size than the object says.
    pub(crate) fn load(bytes: &[u8], programs: &[&str], sizes: &[(&str, u32)]) -> Result<Self, Refused> {
        knows_processes_by_our_numbers()?;
        libbpf_rs::set_print(Some((PrintLevel::Warn, listen)));
        said().clear();
        let what = format!("the kernel program `{}`", programs.join("`, `"));
        let refused = |error: libbpf_rs::Error| refused(&what, &error);
        let mut open = ObjectBuilder::default().open_memory(bytes).map_err(refused)?;
        for mut each in open.progs_mut() {
            let is_wanted = programs.iter().any(|program| each.name() == *program);
            each.set_autoload(is_wanted);
        }
        for mut map in open.maps_mut() {
            if let Some((_, size)) = sizes.iter().find(|(name, _)| map.name() == *name) {
                map.set_max_entries(*size).map_err(refused)?;
            }
        }
        Ok(Self { object: open.load().map_err(refused)? })
    }

    pub(crate) fn map(&self, name: &str) -> Result<Map<'_>, Refused> {
        self.object.maps().find(|map| map.name() == name).ok_or_else(|| missing("map", name))
    }

    pub(crate) fn maps(&self) -> impl Iterator<Item = Map<'_>> {
        self.object.maps()
    }

    pub(crate) fn program(&self, name: &str) -> Result<ProgramMut<'_>, Refused> {
        self.object.progs_mut().find(|program| program.name() == name).ok_or_else(|| missing("program", name))
    }
}

/// Number of the first namespace of processes: `PROC_PID_INIT_INO` of the kernel's `include/linux/proc_ns.h`.
const FIRST_NAMESPACE: u64 = 0xEFFF_FFFC;

/// Programs in the kernel know processes by the numbers of the first namespace, `/proc` by those of ours: where they differ,
/// somebody else would be watched, or nobody.
fn knows_processes_by_our_numbers() -> Result<(), Refused> {
    let ours = std::fs::metadata("/proc/self/ns/pid").ok().map(|found| found.ino());
    if ours.is_none_or(|ours| ours == FIRST_NAMESPACE) {
        return Ok(());
    }
    Err(Refused {
        what: "watching from within a container".to_owned(),
        reason: "processes have other numbers here than in the kernel".to_owned(),
        remedy: "share the host's namespace of processes (`--pid=host`, in Kubernetes `hostPID: true`)",
    })
}

/// What the kernel said no to, in a few words.
pub(crate) fn refused(what: &str, error: &libbpf_rs::Error) -> Refused {
    let remedy = match error.kind() {
        ErrorKind::PermissionDenied => {
            "run as root or with CAP_BPF, CAP_PERFMON and CAP_SYS_PTRACE; some kernels refuse it to everybody"
        }
        _ => "",
    };
    let details: Vec<String> = said().drain(..).collect();
    let reason = if details.is_empty() { error.to_string() } else { format!("{error} ({})", details.join(" | ")) };
    Refused { what: what.to_owned(), reason, remedy }
}

fn missing(kind: &str, name: &str) -> Refused {
    Refused { what: format!("the {kind} `{name}`"), reason: "the object does not have it".to_owned(), remedy: "" }
}

fn listen(_level: PrintLevel, text: String) {
    let mut said = said();
    for line in text.lines().filter(|line| !line.trim().is_empty()) {
        if said.len() == SAID_LINES_MAX {
            said.pop_front();
        }
        said.push_back(line.trim().chars().take(LINE_BYTES_MAX).collect());
    }
}

fn said() -> MutexGuard<'static, VecDeque<String>> {
    SAID.lock().unwrap_or_else(PoisonError::into_inner)
}
