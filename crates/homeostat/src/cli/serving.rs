//! How commands that run until they are asked to stop begin and end.

use std::{process::ExitCode, time::Duration};

use super::{log, up::LogFormat};

/// How long threads are waited for at the end: a disk or a resolver that hangs must not hold the exit up.
const PATIENCE: Duration = Duration::from_secs(1);

/// Begins to log as asked, and works on so many threads.
pub(super) fn run<F: Future<Output = ExitCode>>(
    log: &str,
    format: LogFormat,
    threads: usize,
    serve: impl FnOnce() -> Result<F, String>,
) -> ExitCode {
    if let Err(problem) = log::install(log, format) {
        eprintln!("homeostat: {problem}");
        return ExitCode::from(2);
    }
    let serve = match serve() {
        Ok(serve) => serve,
        Err(problem) => {
            eprintln!("homeostat: {problem}");
            return ExitCode::from(2);
        }
    };
    let runtime = match tokio::runtime::Builder::new_multi_thread().worker_threads(threads).enable_all().build() {
        Ok(runtime) => runtime,
        Err(problem) => {
            eprintln!("homeostat: cannot start threads: {problem}");
            return ExitCode::FAILURE;
        }
    };
    let code = runtime.block_on(serve);
    runtime.shutdown_timeout(PATIENCE);
    code
}
