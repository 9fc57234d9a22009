//! Watches configuration for changes.

use std::{
    ffi::OsStr,
    path::{Path, PathBuf},
};

use notify::Watcher as _;

/// Calls `on_change` for everything that happens in the folder of a file, or in a folder, until the result is dropped. A
/// folder that cannot be watched is no reason not to run: it is told, SIGHUP and the API still reload.
pub(super) fn watch(
    path: &Path,
    mut on_change: impl FnMut(notify::Event) + Send + 'static,
) -> Option<notify::RecommendedWatcher> {
    let on_event = move |event: notify::Result<notify::Event>| match event {
        Ok(event) if event.kind.is_access() => {}
        Ok(event) => on_change(event),
        Err(problem) => tracing::warn!(%problem, "watching the configuration stumbled; SIGHUP reloads it"),
    };
    // The folder, not the file: editors and ConfigMaps replace files, and a watch on the old one would go blind.
    let folder = if path.is_dir() {
        path
    } else {
        path.parent().filter(|p| !p.as_os_str().is_empty()).unwrap_or(Path::new("."))
    };
    let watcher = notify::recommended_watcher(on_event)
        .and_then(|mut watcher| watcher.watch(folder, notify::RecursiveMode::NonRecursive).map(|()| watcher));
    watcher
        .inspect_err(|problem| {
            tracing::warn!(%problem, folder = %folder.display(), "cannot watch the configuration; SIGHUP reloads it");
        })
        .ok()
}

/// What of a watched folder counts besides the file itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Besides {
    /// Nothing: one file is the whole configuration.
    Nothing,
    /// Its other YAML files.
    Yaml,
}

/// Whether something happened to the configuration, and not to a log or a data directory that lies beside it: what we
/// write there ourselves would otherwise wake us for ever. A ConfigMap swaps a link called `..data`.
pub(super) fn concerns(event: &notify::Event, name: Option<&OsStr>, besides: Besides) -> bool {
    let is_ours = |path: &PathBuf| {
        let is_yaml = path.extension().is_some_and(|extension| extension == "yaml" || extension == "yml");
        let is_link = path.file_name().is_some_and(|file| file.as_encoded_bytes().starts_with(b".."));
        let is_it = name.is_some() && path.file_name() == name;
        is_it || is_link || (is_yaml && besides == Besides::Yaml)
    };
    // Without a path: events were lost.
    event.need_rescan() || event.paths.is_empty() || event.paths.iter().any(is_ours)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_the_configuration_is_made_of_wakes_the_reloader() {
        let of = |paths: &[&str], name: Option<&str>, besides| {
            let event = notify::Event { paths: paths.iter().map(PathBuf::from).collect(), ..notify::Event::default() };
            concerns(&event, name.map(OsStr::new), besides)
        };
        let yaml = |paths: &[&str]| of(paths, Some("homeostat.conf"), Besides::Yaml);
        for ours in ["etc/a.yaml", "etc/b.yml", "etc/homeostat.conf", "etc/..data", "etc/..2026_11_21"] {
            assert!(yaml(&[ours]) && yaml(&["etc/up.log", ours]), "{ours}");
            assert_eq!(of(&[ours], Some("homeostat.conf"), Besides::Nothing), !ours.contains(".y"), "{ours}");
        }
        assert!(!yaml(&["etc/up.log"]) && !yaml(&["etc/homeostat-data", "etc/a.yaml~", "etc/4913"]));
        assert!(yaml(&[]) && of(&[], None, Besides::Nothing), "events were lost");
        assert!(!of(&["/"], None, Besides::Yaml));
    }
}
