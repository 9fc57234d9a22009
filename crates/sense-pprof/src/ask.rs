//! One profile of one program.

use std::time::Duration;

use homeostat_model::profile::Profile;
use homeostat_sense_scrape::fetch::{FetchError, Fetcher, Question};
use homeostat_wire::pprof::{self, PprofError, PprofLimits};
use http::StatusCode;

use crate::kind::Kind;

/// How much longer than the time it measures a program may take to answer: it writes the profile when it is done.
pub const SLACK: Duration = Duration::from_secs(10);

/// What Go says when somebody else measures.
const IN_USE: &str = "already in use";

/// What a program gave.
#[derive(Debug)]
pub struct Asked {
    /// The profile; its beginning is when it was asked for.
    pub profile: Profile,
    /// It holds nothing, and the program has to be told to measure this kind.
    pub maybe_disabled: bool,
}

/// Why there is no profile.
#[derive(Debug, thiserror::Error)]
pub enum PullError {
    /// Somebody else measures; a program has one CPU profile at a time.
    #[error("somebody else takes a CPU profile of this program; try again when it is done")]
    Busy,
    /// There is no such address.
    #[error("the program does not serve {path}; import `net/http/pprof`, or leave this kind out")]
    NotServed {
        /// Which.
        path: &'static str,
    },
    /// The way there.
    #[error(transparent)]
    Fetch(FetchError),
    /// What came is no profile.
    #[error("the program answered, but not with a profile")]
    Profile(#[from] PprofError),
    /// Reading it ended without a result.
    #[error("the answer could not be read; this is our fault, please report it")]
    Bug,
}

/// Asks a program (`http://host:port`, with whatever stands before `/debug`) for a profile. `measure` is for how long CPU
/// time is measured; the other kinds are as they stand.
pub async fn ask(
    fetcher: &Fetcher,
    base: &str,
    kind: Kind,
    measure: Duration,
    asked_ns: i64,
) -> Result<Asked, PullError> {
    ask_within(fetcher, base, kind, measure, asked_ns, SLACK).await
}

/// Asks as [`ask`] does, with another time than [`SLACK`] for the answer.
pub async fn ask_within(
    fetcher: &Fetcher,
    base: &str,
    kind: Kind,
    measure: Duration,
    asked_ns: i64,
    slack: Duration,
) -> Result<Asked, PullError> {
    let limits = PprofLimits::default();
    let base = base.trim_end_matches('/');
    let (url, wait) = match kind {
        Kind::Cpu => {
            let seconds = measure.as_secs().max(1);
            (format!("{base}{}?seconds={seconds}", kind.path()), Duration::from_secs(seconds))
        }
        _ => (format!("{base}{}", kind.path()), Duration::ZERO),
    };
    let question = Question {
        url: &url,
        timeout: wait + slack,
        accept: "application/octet-stream, */*",
        compression: false,
        body_bytes_max: limits.bytes_max as u64,
    };
    let answer = fetcher.get(&question).await.map_err(|error| match error {
        FetchError::Status { status: StatusCode::NOT_FOUND, .. } => PullError::NotServed { path: kind.path() },
        FetchError::Status { status: StatusCode::INTERNAL_SERVER_ERROR, words }
            if kind == Kind::Cpu && words.contains(IN_USE) =>
        {
            PullError::Busy
        }
        other => PullError::Fetch(other),
    })?;
    // Some hundred milliseconds for a large one, which others on this thread would wait for.
    let read = tokio::task::spawn_blocking(move || pprof::read(&answer.body, &limits));
    let mut profile = read.await.map_err(|_panicked| PullError::Bug)??;
    // A program's clock may be wrong; it is asked now.
    profile.started_ns = asked_ns;
    let maybe_disabled = kind.must_be_enabled() && profile.rows().len() == 0;
    Ok(Asked { profile, maybe_disabled })
}
