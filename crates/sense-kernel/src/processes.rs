//! Which processes are looked at.

use std::{
    cell::OnceCell,
    collections::BTreeSet,
    fs,
    path::{Path, PathBuf},
};

use crate::memory_map::name_of;

/// Bytes that the kernel keeps of a command's name.
const COMMAND_BYTES: usize = 15;

/// Processes of one capture.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Targets {
    /// Every process of the machine, and the kernel's own work.
    Machine,
    /// These, with all their threads.
    Processes(BTreeSet<u32>),
}

/// Why there is nothing to look at.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NoProcess {
    /// No such number.
    #[error("there is no process {0}")]
    Pid(u32),
    /// No such name.
    #[error(
        "no process belongs to a service `{0}`: it is the name of a program's file, or of a systemd unit without `.service`"
    )]
    Service(String),
}

impl Targets {
    /// These processes, all of which must be there.
    pub fn processes(pids: impl IntoIterator<Item = u32>) -> Result<Self, NoProcess> {
        let pids: BTreeSet<u32> = pids.into_iter().collect();
        match pids.iter().find(|pid| !Path::new(&format!("/proc/{pid}")).exists()) {
            Some(missing) => Err(NoProcess::Pid(*missing)),
            None => Ok(Self::Processes(pids)),
        }
    }

    /// The processes of a service.
    pub fn service(name: &str) -> Result<Self, NoProcess> {
        let pids = processes_of_service(name);
        if pids.is_empty() { Err(NoProcess::Service(name.to_owned())) } else { Ok(Self::Processes(pids)) }
    }
}

/// All processes whose program's file has this name, or that run in the systemd unit `NAME.service`.
pub fn processes_of_service(name: &str) -> BTreeSet<u32> {
    pids().filter(|pid| Called::of(*pid).is_of_service(name)).collect()
}

/// For each of these names all processes of that service, as [`processes_of_service`] finds them, and all whose command has
/// the name, as far as the kernel keeps it. Looks at each process once, however many names there are.
pub fn processes_named(names: &[&str]) -> Vec<BTreeSet<u32>> {
    let mut found = vec![BTreeSet::new(); names.len()];
    if names.is_empty() {
        return found;
    }
    for called in pids().map(Called::of) {
        for (name, found) in names.iter().zip(&mut found) {
            if called.is_command(name) || called.is_of_service(name) {
                found.insert(called.pid);
            }
        }
    }
    found
}

/// What a process is called. Each thing is read when it is asked for, and once.
struct Called {
    pid: u32,
    command: OnceCell<Vec<u8>>,
    program: OnceCell<PathBuf>,
    groups: OnceCell<String>,
}

impl Called {
    fn of(pid: u32) -> Self {
        Self { pid, command: OnceCell::new(), program: OnceCell::new(), groups: OnceCell::new() }
    }

    /// Whether its program's file has this name, or it runs in the systemd unit `NAME.service`.
    fn is_of_service(&self, name: &str) -> bool {
        let pid = self.pid;
        let program = self.program.get_or_init(|| fs::read_link(format!("/proc/{pid}/exe")).unwrap_or_default());
        if name_of(&program.file_name().unwrap_or_default().to_string_lossy()) == name {
            return true;
        }
        let groups = self.groups.get_or_init(|| fs::read_to_string(format!("/proc/{pid}/cgroup")).unwrap_or_default());
        let unit = format!("/{name}.service");
        groups.lines().any(|group| group.ends_with(&unit) || group.contains(&format!("{unit}/")))
    }

    /// Whether its command has this name, as far as the kernel keeps it.
    fn is_command(&self, name: &str) -> bool {
        let known = name.as_bytes().get(..COMMAND_BYTES).unwrap_or(name.as_bytes());
        let pid = self.pid;
        let command = self.command.get_or_init(|| fs::read(format!("/proc/{pid}/comm")).unwrap_or_default());
        command.trim_ascii_end() == known
    }
}

/// The short name of a process; `None` when it has gone.
pub fn process_name(pid: u32) -> Option<String> {
    fs::read_to_string(format!("/proc/{pid}/comm")).ok().map(|name| name.trim_end().to_owned())
}

/// The control group of a process, such as `/system.slice/nginx.service`; `None` when it has gone. Where there are several
/// hierarchies, that of the services' manager.
pub fn control_group(pid: u32) -> Option<String> {
    let text = fs::read_to_string(format!("/proc/{pid}/cgroup")).ok()?;
    let path = |wanted: &str| {
        text.lines().find_map(|line| {
            let (hierarchy, path) = line.split_once(':')?.1.split_once(':')?;
            (hierarchy == wanted).then(|| path.to_owned())
        })
    };
    let own = |path: &String| path != "/";
    path("").filter(own).or_else(|| path("name=systemd")).or_else(|| path(""))
}

/// Numbers of all processes there are.
pub(crate) fn pids() -> impl Iterator<Item = u32> {
    let entries = fs::read_dir("/proc").into_iter().flatten();
    entries.filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn processes_are_found_by_the_name_of_their_file() {
        let own = std::env::current_exe().unwrap();
        let name = own.file_name().unwrap().to_str().unwrap();
        let pid = std::process::id();
        assert!(processes_of_service(name).contains(&pid));
        assert_eq!(Targets::processes([pid]), Ok(Targets::Processes([pid].into())));
        assert_eq!(Targets::processes([pid, u32::MAX]), Err(NoProcess::Pid(u32::MAX)));
        let nobody = Targets::service("nobody runs this").unwrap_err();
        assert!(nobody.to_string().contains("`nobody runs this`"));
        // The command of a test is its thread's name, of which the kernel keeps fifteen bytes, and that of the process its file's.
        let command = process_name(pid).unwrap();
        let found = processes_named(&[name, "nobody runs this", &command, &format!("{command:.15}{}", "x".repeat(9))]);
        let is_there: Vec<bool> = found.iter().map(|pids| pids.contains(&pid)).collect();
        assert_eq!(is_there, [true, false, true, command.len() == COMMAND_BYTES]);
        assert!(processes_named(&[]).is_empty());
    }
}
