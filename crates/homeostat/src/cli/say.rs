//! Standard output and standard error of the commands.
//!
//! Whoever reads them may stop reading: `homeostat schema | head -1` is no error. After a closed pipe the rest of the
//! output goes nowhere and the command ends as it would have, with the exit code it would have had. Output that is lost
//! for another reason, a full disk say, is told once on standard error and makes the command fail.
//!
//! The macros of the standard library panic in both cases; `cli` covers them with its own of the same names.

use std::{
    fmt,
    io::{self, Write as _},
    process::ExitCode,
    sync::atomic::{AtomicBool, Ordering},
};

/// Whether nobody reads standard output any more.
static CLOSED: AtomicBool = AtomicBool::new(false);
/// Whether output was lost that somebody wanted.
static LOST: AtomicBool = AtomicBool::new(false);

/// Writes to standard output, at once.
pub(crate) fn out(text: fmt::Arguments<'_>) {
    if CLOSED.load(Ordering::Relaxed) {
        return;
    }
    let mut out = io::stdout().lock();
    match out.write_fmt(text).and_then(|()| out.flush()) {
        Ok(()) => {}
        Err(problem) if problem.kind() == io::ErrorKind::BrokenPipe => CLOSED.store(true, Ordering::Relaxed),
        Err(problem) => {
            if !LOST.swap(true, Ordering::Relaxed) {
                err(format_args!("homeostat: cannot write to standard output: {problem}\n"));
            }
        }
    }
}

/// Writes to standard error. When that fails there is no place left to say so.
pub(crate) fn err(text: fmt::Arguments<'_>) {
    let _nobody_reads = io::stderr().lock().write_fmt(text);
}

/// Whether the reader of standard output has gone: what only prints may end.
pub(crate) fn is_closed() -> bool {
    CLOSED.load(Ordering::Relaxed)
}

/// The exit code of a command that ended with `code`: lost output is a failure.
pub(crate) fn ended(code: ExitCode) -> ExitCode {
    if code == ExitCode::SUCCESS && LOST.load(Ordering::Relaxed) { ExitCode::FAILURE } else { code }
}
