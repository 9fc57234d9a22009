//! Where targets come from. Each source is a task that says its whole list again whenever it changes; the last good list
//! stays when a source cannot be read, because a broken file must not look like a fleet that is gone.

mod dns;
mod file;
mod http;
pub mod listing;

use std::{fmt, sync::Arc};

use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use crate::spec::{Discovery, TargetGroup};

/// Bytes of a file or an answer with targets; ten thousand of them take about a megabyte.
pub const LIST_BYTES_MAX: u64 = 16 << 20;
/// Label that names the file a target comes from.
const META_FILEPATH: &str = "__meta_filepath";
/// Label that names the URL a target comes from.
const META_URL: &str = "__meta_url";

/// Reads a list of target groups from YAML or JSON; the error says where it is wrong. Given by the configuration, which
/// has the reader with places.
pub type ReadGroups = Arc<dyn Fn(&str) -> Result<Vec<TargetGroup>, String> + Send + Sync>;

/// What a source has found.
#[derive(Clone, Default)]
pub struct Found {
    /// All targets, by group.
    pub groups: Vec<TargetGroup>,
    /// Why the last look found nothing new, for the targets page.
    pub trouble: Option<String>,
}

impl fmt::Debug for Found {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Found").field("groups", &self.groups.len()).field("trouble", &self.trouble).finish()
    }
}

/// Follows a source until it is stopped. Ends at once for targets that are written down.
pub async fn follow(discovery: Discovery, read: ReadGroups, found: watch::Sender<Found>, stop: CancellationToken) {
    let following = async {
        match discovery {
            Discovery::Static(groups) => drop(found.send_replace(Found { groups, trouble: None })),
            Discovery::File { patterns, refresh } => file::follow(&patterns, refresh, read, &found).await,
            Discovery::Http { url, refresh, http } => http::follow(&url, refresh, Arc::new(*http), &found).await,
            Discovery::Dns { names, kind, port, refresh } => dns::follow(&names, kind, port, refresh, &found).await,
        }
    };
    stop.run_until_cancelled(following).await;
}

/// Says a new list, or keeps the last one and says what is wrong.
fn tell(found: &watch::Sender<Found>, source: &str, result: Result<Vec<TargetGroup>, String>) {
    found.send_if_modified(|last| match result {
        Ok(groups) => {
            let changed = last.groups != groups || last.trouble.is_some();
            *last = Found { groups, trouble: None };
            changed
        }
        Err(trouble) => {
            let trouble = Some(trouble);
            let changed = last.trouble != trouble;
            if changed {
                tracing::warn!(source, trouble, "targets cannot be read; the last ones stay");
                last.trouble = trouble;
            }
            changed
        }
    });
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_broken_source_keeps_its_last_targets() {
        let (found, seen) = watch::channel(Found::default());
        let group = TargetGroup { targets: vec!["a:1".into()], labels: Vec::new() };
        tell(&found, "x", Ok(vec![group.clone()]));
        tell(&found, "x", Err("broken".into()));
        assert_eq!(seen.borrow().groups, std::slice::from_ref(&group));
        assert_eq!(seen.borrow().trouble.as_deref(), Some("broken"));
        tell(&found, "x", Ok(vec![group]));
        assert_eq!(seen.borrow().trouble, None);
    }
}
