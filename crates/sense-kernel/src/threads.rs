//! What the threads of processes wait for, as the kernel knows it: a census without a program in the kernel.
//!
//! `/proc/PID/task/TID/stack` has the functions of the kernel that a thread waits in, for who may trace it (root); `wchan` has
//! the innermost one, for its owner. A thread that runs waits in nothing, which the kernel writes as `0`.
//!
//! Source: `man 5 proc_pid_stack`, `man 5 proc_pid_wchan`.

use std::{fs, path::Path};

use homeostat_model::profile::{Frame, LabelSet, Profile, Stack, Text, ValueType};

/// Threads that are looked at: a census of more says nothing else, and takes a second.
const THREADS_MAX: usize = 10_000;
/// Functions of a stack; the kernel's own limit is 64.
const FRAMES_MAX: usize = 64;

/// Threads of these processes, counted by the functions of the kernel that they wait in. Processes that are gone have none.
pub fn threads(pids: impl IntoIterator<Item = u32>) -> Profile {
    let mut profile = Profile::new(vec![ValueType::new("threads", "count")]);
    let tasks =
        pids.into_iter().flat_map(|pid| fs::read_dir(format!("/proc/{pid}/task")).into_iter().flatten().flatten());
    for task in tasks.take(THREADS_MAX) {
        let stack = stack(&mut profile, &waits_in(&task.path()));
        profile.add(stack, LabelSet::NONE, &[1]);
    }
    profile
}

/// Functions of the kernel, the innermost first.
fn waits_in(task: &Path) -> Vec<String> {
    let read = |name: &str| fs::read_to_string(task.join(name)).unwrap_or_default();
    let functions: Vec<String> = read("stack").lines().take(FRAMES_MAX).filter_map(function).collect();
    if functions.is_empty() {
        vec![Some(read("wchan")).filter(|name| !name.is_empty()).unwrap_or("0".to_owned())]
    } else {
        functions
    }
}

/// `[<0>] futex_wait_queue+0x60/0x90` is in `futex_wait_queue`.
fn function(line: &str) -> Option<String> {
    let name = line.split_ascii_whitespace().nth(1)?.split('+').next()?;
    (!name.is_empty()).then(|| name.to_owned())
}

fn stack(profile: &mut Profile, functions: &[String]) -> Stack {
    let module = profile.intern("[kernel]");
    functions.iter().rev().fold(Stack::EMPTY, |at, name| {
        let function = profile.intern(name);
        let frame = Frame { function, file: Text::EMPTY, line: 0, module, address: 0, inlined: false };
        profile.push_frame(at, frame)
    })
}

#[cfg(test)]
mod tests {
    use std::{sync::mpsc, thread};

    use super::*;

    #[test]
    fn every_thread_is_counted_once_and_those_that_wait_say_where() {
        let (end, wait) = mpsc::channel::<()>();
        let waiting = thread::spawn(move || wait.recv());
        let census = threads([std::process::id()]);
        let tasks = fs::read_dir("/proc/self/task").unwrap().count() as i64;
        // Threads of other tests come and go meanwhile.
        assert!(2 <= census.total(0) && census.total(0) <= 2 * tasks + 2, "{} of {tasks}", census.total(0));
        let names: Vec<_> = census.rows().flat_map(|row| census.stacks().walk(row.stack)).collect();
        assert!(names.iter().all(|frame| census.text(frame.module) == "[kernel]"));
        drop(end);
        waiting.join().unwrap().unwrap_err();
        assert_eq!(threads([u32::MAX]).rows().len(), 0);
    }

    #[test]
    fn lines_of_stacks_are_read() {
        for (line, wanted) in [
            ("[<0>] futex_wait_queue+0x60/0x90", Some("futex_wait_queue")),
            ("[<0>] ext4_sync_file+0x1/0x2 [ext4]", Some("ext4_sync_file")),
            ("[<0>] 0xffffffffffffffff", Some("0xffffffffffffffff")),
            ("[<0>]", None),
            ("", None),
            ("[<0>] +0x1", None),
        ] {
            assert_eq!(function(line).as_deref(), wanted, "{line}");
        }
    }
}
