//! Watches configuration for changes.

use std::path::Path;

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
