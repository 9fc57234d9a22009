//! Where log lines go: standard error, as text or JSON.

use tracing_subscriber::EnvFilter;

use super::up::LogFormat;

/// A filter that cannot be understood, or a second installation.
#[derive(Debug, thiserror::Error)]
pub(crate) enum LogError {
    /// The filter's syntax is wrong.
    #[error(
        "`--log {filter}` cannot be understood ({problem}); write a level (error, warn, info, debug, trace) or pairs like `info,homeostat_api=debug`"
    )]
    Filter { filter: String, problem: String },
    /// Something in this process logs already.
    #[error("logging is installed already: {0}")]
    Installed(String),
}

/// Installs the process-wide logger.
pub(crate) fn install(filter: &str, format: LogFormat) -> Result<(), LogError> {
    let parsed = EnvFilter::builder()
        .parse(filter)
        .map_err(|problem| LogError::Filter { filter: filter.to_owned(), problem: problem.to_string() })?;
    // A log that nobody reads any more is no reason to stop: told on standard error, the failure to write there would end
    // the thread that logs, were it the one that decides.
    let lines = tracing_subscriber::fmt()
        .log_internal_errors(false)
        .with_env_filter(parsed)
        .with_writer(std::io::stderr)
        .with_target(false);
    let installed = match format {
        LogFormat::Text => lines.with_ansi(std::io::IsTerminal::is_terminal(&std::io::stderr())).try_init(),
        LogFormat::Json => lines.json().try_init(),
    };
    installed.map_err(|problem| LogError::Installed(problem.to_string()))
}
