//! Sources of vocabulary and pure rooms name no clock, socket, file, task, thread, environment or unseeded chance.
//!
//! Such things come in as arguments, so that the same events give the same commands and a replayed log proves it.
//! Tests inside those rooms are free to use them.

use std::{fs, path::Path};

use crate::{
    Findings, arrows,
    rust_paths::{NamedPath, named_paths},
    workspace::Workspace,
};

/// Paths whose use is refused, with what to do instead. A path also stands for everything below it.
const BANNED: [(&[&str], &str); 20] = [
    (&["std", "time", "Instant"], "time comes in as `Timestamp`"),
    (&["std", "time", "SystemTime"], "time comes in as `Timestamp`"),
    (&["std", "time", "UNIX_EPOCH"], "time comes in as `Timestamp`"),
    (&["std", "net", "TcpStream"], "sockets belong to edges"),
    (&["std", "net", "TcpListener"], "sockets belong to edges"),
    (&["std", "net", "UdpSocket"], "sockets belong to edges"),
    (&["std", "net", "ToSocketAddrs"], "looking names up belongs to edges"),
    (&["std", "fs"], "files belong to edges: take bytes"),
    (&["std", "thread"], "threads belong to edges and the binary"),
    (&["std", "env"], "nobody but the binary's configuration reads the environment"),
    (&["std", "process"], "processes belong to edges and the binary"),
    (&["std", "os"], "the operating system belongs to edges"),
    (&["std", "io", "stdin"], "terminals belong to the binary"),
    (&["std", "io", "stdout"], "terminals belong to the binary"),
    (&["std", "io", "stderr"], "terminals belong to the binary"),
    (&["std", "sync", "mpsc"], "queues connect tasks; a pure room has none"),
    (&["rand", "rng"], "chance comes in as a seeded generator"),
    (&["rand", "random"], "chance comes in as a seeded generator"),
    (&["rand", "rngs", "ThreadRng"], "chance comes in as a seeded generator"),
    (&["rand", "rngs", "SysRng"], "chance comes in as a seeded generator"),
];

/// Ends of paths that are refused: maps with the standard hasher list their entries in another order in every process.
const BANNED_ENDS: [&[&str]; 7] = [
    &["HashMap", "new"],
    &["HashMap", "with_capacity"],
    &["HashMap", "from"],
    &["HashSet", "new"],
    &["HashSet", "with_capacity"],
    &["HashSet", "from"],
    &["hash_map", "RandomState"],
];

/// Reads every source under `src` of every vocabulary and pure room.
pub(crate) fn check(workspace: &Workspace) -> Findings {
    let mut findings = Vec::new();
    for package in workspace.packages.iter().filter(|package| arrows::is_pure(package)) {
        visit(&package.dir().join("src"), &mut |file, source| {
            let shown = file.strip_prefix(&workspace.root).unwrap_or(file).display().to_string();
            findings.extend(impurities(source).into_iter().map(|(line, what)| format!("{shown}:{line}: {what}")));
        })?;
    }
    Ok(findings)
}

/// Lines of `source` that name something refused.
fn impurities(source: &str) -> Vec<(usize, String)> {
    named_paths(source).iter().filter_map(|path| Some((path.line, impurity(path)?))).collect()
}

fn impurity(path: &NamedPath) -> Option<String> {
    let segments: Vec<&str> = path.segments.iter().map(String::as_str).collect();
    let shown = segments.join("::");
    if let Some((_, instead)) = BANNED.iter().find(|(banned, _)| segments.starts_with(banned)) {
        return Some(format!("`{shown}` in a pure room: {instead}"));
    }
    // `use std::time;` or `use std::net::*;` would hide what is used below.
    let named = if segments.last() == Some(&"*") { segments.split_last().map(|(_, head)| head)? } else { &segments };
    if BANNED.iter().any(|(banned, _)| named.len() < banned.len() && 1 < named.len() && banned.starts_with(named))
        && !keeps_going(path)
    {
        return Some(format!("`{shown}` in a pure room: name what you take from it, so that this check can see it"));
    }
    BANNED_ENDS
        .iter()
        .any(|end| segments.windows(end.len()).any(|window| window == *end))
        .then(|| format!("`{shown}` in a pure room: its order is random, use `BTreeMap` or a map with a fixed hasher"))
}

/// `std::io` alone is harmless: the terminal's functions need to be called by name.
fn keeps_going(path: &NamedPath) -> bool {
    path.segments.iter().map(String::as_str).eq(["std", "io"])
        || path.segments.iter().map(String::as_str).eq(["std", "sync"])
}

/// Calls `with` for every Rust source below `dir`, in order of names.
fn visit(dir: &Path, with: &mut impl FnMut(&Path, &str)) -> Result<(), String> {
    let problem = |error: std::io::Error| format!("{}: {error}", dir.display());
    let mut entries: Vec<_> = fs::read_dir(dir).map_err(problem)?.collect::<Result<_, _>>().map_err(problem)?;
    entries.sort_by_key(fs::DirEntry::file_name);
    for path in entries.into_iter().map(|entry| entry.path()) {
        if path.is_dir() {
            visit(&path, with)?;
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            with(&path, &fs::read_to_string(&path).map_err(problem)?);
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lines(source: &str) -> Vec<usize> {
        impurities(source).into_iter().map(|(line, _)| line).collect()
    }

    #[test]
    fn addresses_and_durations_are_values_and_pass() {
        assert_eq!(
            impurities("use std::{net::{IpAddr, SocketAddr}, time::Duration, io, fmt};\nuse std::sync::Arc;"),
            []
        );
    }

    #[test]
    fn clocks_sockets_files_and_threads_are_found_however_they_are_imported() {
        assert_eq!(lines("use std::time::{Duration, Instant};"), [1]);
        assert_eq!(lines("use std::{\n  net::TcpStream,\n  fs::{self, File},\n};"), [2, 3, 3]);
        assert_eq!(lines("fn f() {\n  std::thread::spawn(g);\n  let _ = std::env::args();\n}"), [2, 3]);
        assert_eq!(lines("use std::time;\nuse std::net::*;"), [1, 2]);
    }

    #[test]
    fn maps_in_random_order_are_found() {
        assert_eq!(lines("let a = HashMap::new();\nlet b: Fixed = HashMap::default();"), [1]);
        assert_eq!(lines("let s = rand::rng();"), [1]);
    }
}
