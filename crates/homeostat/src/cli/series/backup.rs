//! `homeostat series backup` and `homeostat series restore`.
//!
//! What is sent is a snapshot: second names of files that never change. A running server makes one when it is asked; of a
//! stopped store one is made here, after what its log holds has moved into a block. Afterwards the snapshot is removed,
//! which removes names, not samples.

use std::{
    fs,
    path::{Path, PathBuf},
    process::ExitCode,
    time::Duration,
};

use bytes::Bytes;
use homeostat_model::error_chain::chain;
use homeostat_store_archive::{Archive, ArchiveError, Marks};
use homeostat_store_objects::PlaceError;
use homeostat_store_series::{SeriesStore, StoreOptions};
use http::Request;
use http_body_util::{BodyExt as _, Full, Limited};
use hyper_util::{client::legacy::Client, rt::TokioExecutor};

use super::{Done, Failure, Meter, STORE_DIR, size, store_in};
use crate::cli::environment;

/// Folder of snapshots within a data directory.
const SNAPSHOTS_DIR: &str = "snapshots";
/// The file that makes a directory a store.
const MANIFEST: &str = "MANIFEST";
/// What a store has once it was opened. A log without a manifest is a young store: its samples would come back among
/// older ones.
const LOG_DIR: &str = "log";
/// How long a server may take for a snapshot: it writes what it has in memory into a block.
const SNAPSHOT_WAIT: Duration = Duration::from_mins(10);
/// Longest answer of a server that is read: a name, or an error.
const ANSWER_BYTES_MAX: usize = 64 << 10;
/// How long the log of a stopped store may take to end.
const CLOSE_WAIT: Duration = Duration::from_mins(1);
/// What a bucket's client is told, by the names that other tools use.
const SETTINGS: [&str; 14] = [
    "AWS_ACCESS_KEY_ID",
    "AWS_SECRET_ACCESS_KEY",
    "AWS_SESSION_TOKEN",
    "AWS_REGION",
    "AWS_DEFAULT_REGION",
    "AWS_ENDPOINT_URL",
    "AWS_ENDPOINT_URL_S3",
    "AWS_ALLOW_HTTP",
    "AWS_VIRTUAL_HOSTED_STYLE_REQUEST",
    "AWS_ROLE_ARN",
    "AWS_ROLE_SESSION_NAME",
    "AWS_WEB_IDENTITY_TOKEN_FILE",
    "AWS_CONTAINER_CREDENTIALS_RELATIVE_URI",
    "AWS_CONTAINER_CREDENTIALS_FULL_URI",
];

#[derive(Debug, clap::Args)]
pub(super) struct Backup {
    /// The data directory of the server
    #[arg(long, value_name = "DIR")]
    data: PathBuf,
    /// Where to: a directory or s3://BUCKET/PREFIX (credentials and endpoint from AWS_… variables)
    #[arg(long, value_name = "URL")]
    to: String,
    /// Address of the server if it runs, as http://127.0.0.1:9090; it needs --enable-admin-api
    #[arg(long, value_name = "URL")]
    server: Option<String>,
}

#[derive(Debug, clap::Args)]
pub(super) struct Restore {
    /// Where from: a directory or s3://BUCKET/PREFIX
    #[arg(long, value_name = "URL")]
    from: String,
    /// The data directory to be; its store must not exist yet
    #[arg(long, value_name = "DIR", required_unless_present = "list")]
    data: Option<PathBuf>,
    /// Name of the backup; the latest one unless given
    #[arg(long)]
    name: Option<String>,
    /// Only lists what there is
    #[arg(long)]
    list: bool,
}

impl From<ArchiveError> for Failure {
    fn from(error: ArchiveError) -> Self {
        match error {
            ArchiveError::Place(PlaceError::Url { .. })
            | ArchiveError::NotEmpty { .. }
            | ArchiveError::NoBackup { .. }
            | ArchiveError::Exists { .. }
            | ArchiveError::Foreign { .. } => Self::user(error.to_string()),
            other => Self::other(chain(&other)),
        }
    }
}

fn runtime() -> Result<tokio::runtime::Runtime, Failure> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    runtime.map_err(|error| Failure::other(format!("cannot start a runtime: {error}")))
}

fn archive(url: &str) -> Result<Archive, Failure> {
    let settings = SETTINGS.iter().filter_map(|name| Some(((*name).to_owned(), environment(name)?)));
    Ok(Archive::open(url, settings)?)
}

impl Backup {
    pub(super) fn run(self) -> Done {
        let archive = archive(&self.to)?;
        let name = jiff::Timestamp::now().strftime("%Y%m%dT%H%M%S%.3fZ").to_string();
        let runtime = runtime()?;
        let (dir, is_ours) = match &self.server {
            Some(server) => (runtime.block_on(asked(server, &self.data))?, true),
            None => stopped(&self.data, &name)?,
        };
        let mut meter = Meter::new("sending");
        let done = runtime.block_on(archive.back_up(&dir, &name, |progress| meter.at(at(progress))));
        meter.end();
        if is_ours {
            // Best effort: what stays are second names of files that the store has anyhow.
            fs::remove_dir_all(&dir).ok();
        }
        let done = done?;
        let text = format!(
            "backup {name}: {} files, {}; sent {} of them, {}\n",
            done.files,
            size(done.bytes),
            done.files_sent,
            size(done.bytes_sent)
        );
        Ok((text, ExitCode::SUCCESS))
    }
}

impl Restore {
    pub(super) fn run(self) -> Done {
        let archive = archive(&self.from)?;
        let runtime = runtime()?;
        let Some(data) = self.data.filter(|_| !self.list) else {
            let names = runtime.block_on(archive.backups())?;
            return Ok((names.into_iter().map(|name| name + "\n").collect(), ExitCode::SUCCESS));
        };
        let dir = data.join(STORE_DIR);
        let mut meter = Meter::new("fetching");
        let name = self.name.as_deref();
        let marks = Marks { last: MANIFEST, used: LOG_DIR };
        let done = runtime.block_on(archive.restore(name, &dir, marks, |progress| meter.at(at(progress))));
        meter.end();
        let done = done?;
        let text = format!(
            "backup {}: {} files, {}; fetched {} of them into {}\n",
            done.name,
            done.files,
            size(done.bytes),
            done.files_fetched,
            dir.display()
        );
        Ok((text, ExitCode::SUCCESS))
    }
}

fn at(progress: homeostat_store_archive::Progress) -> homeostat_store_series::Progress {
    homeostat_store_series::Progress { done: progress.done, all: progress.all }
}

/// Makes a snapshot of a store that nobody uses; gives its folder, and whether it is to be removed afterwards.
fn stopped(data: &Path, name: &str) -> Result<(PathBuf, bool), Failure> {
    let dir = store_in(data)?;
    if !dir.join(LOG_DIR).exists() {
        if !dir.join(MANIFEST).is_file() {
            let dir = dir.display();
            return Err(Failure::user(format!(
                "{dir} has no {MANIFEST}: a restore into it has not ended; run it again, or `homeostat series repair`"
            )));
        }
        // A snapshot, or a backup that was restored and never opened: it is what would be made.
        return Ok((dir, false));
    }
    let (store, _) = SeriesStore::open(&dir, StoreOptions { retention: None, ..StoreOptions::default() })
        .map_err(|error| in_use(Failure::from(error)))?;
    let snapshot = data.join(SNAPSHOTS_DIR).join(format!("backup-{name}"));
    let made = store.snapshot_into(&snapshot);
    let closed = store.close(CLOSE_WAIT);
    let ready = made.map_err(|error| Failure::other(chain(&error))).and_then(|()| {
        closed.map_err(|lost| Failure::other(format!("{lost} records of the log did not reach the disk in time")))
    });
    if ready.is_err() {
        // Half a snapshot would hold the space of its blocks for ever.
        fs::remove_dir_all(&snapshot).ok();
    }
    ready.map(|()| (snapshot, true))
}

fn in_use(failure: Failure) -> Failure {
    match failure {
        Failure { said, code: 2 } => Failure::user(format!("{said}, or name its address with --server URL")),
        other => other,
    }
}

/// Has a running server make a snapshot; gives its folder.
async fn asked(server: &str, data: &Path) -> Result<PathBuf, Failure> {
    let uri = format!("{}/api/v1/admin/tsdb/snapshot", server.trim_end_matches('/'));
    let request = Request::post(&uri).body(Full::new(Bytes::new()));
    let request = request.map_err(|_| Failure::user(format!("`{server}` is no address; write http://HOST:PORT")))?;
    let client = Client::builder(TokioExecutor::new()).build_http();
    let answer = async {
        let answer = client.request(request).await.map_err(|error| chain(&error))?;
        let status = answer.status();
        let body = Limited::new(answer.into_body(), ANSWER_BYTES_MAX).collect().await;
        let body = body.map_err(|error| error.to_string())?.to_bytes();
        let said: serde_json::Value = serde_json::from_slice(&body).unwrap_or_default();
        let name = said.pointer("/data/name").and_then(serde_json::Value::as_str).map(str::to_owned);
        name.ok_or_else(|| match said.get("error").and_then(serde_json::Value::as_str) {
            Some(error) => format!("it answers {status}: {error}"),
            None => format!("it answers {status}"),
        })
    };
    let name = tokio::time::timeout(SNAPSHOT_WAIT, answer).await;
    let name = name.unwrap_or_else(|_| Err(format!("no answer within {} s", SNAPSHOT_WAIT.as_secs())));
    let name = name.map_err(|said| Failure::other(format!("{server} makes no snapshot: {said}")))?;
    let dir = data.join(SNAPSHOTS_DIR).join(&name);
    // The folder is removed afterwards: the answer must not choose another one.
    let is_one_name = name.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'-'))
        && name.starts_with(|first: char| first.is_ascii_alphanumeric());
    if !is_one_name || !dir.join(MANIFEST).is_file() {
        let data = data.display();
        return Err(Failure::user(format!(
            "snapshot {name} of {server} is not in {data}; is it that server's --data?"
        )));
    }
    Ok(dir)
}
