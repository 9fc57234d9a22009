//! Every request writes to a log and waits for it.

use super::{Detector, Look, any, over};
use crate::{concept::Concept, thresholds::threshold};

pub(super) const DETECTOR: Detector = Detector {
    pattern: "sync_logging",
    meaning: "requests write log lines themselves and wait for the file or terminal",
    looks_at: "CPU time in logging and in writes to files, and write calls of a request",
    confirm: "count lines a second in the log and write calls (`strace -c -f -e write`); lower the level or log from a queue",
    limits: &[
        threshold(
            "log_share",
            0.025,
            "a line for each request stays below a hundredth or two in development programs; debug logging takes more",
        ),
        threshold("file_share", 0.012, "handlers that write no files spend nothing there"),
        threshold("file_share_alone", 0.04, "without a count of calls the time has to carry it alone"),
        threshold("writes_factor", 1.4, "one more write for each request where there was one for the answer"),
    ],
    look,
};

fn look(look: &mut Look<'_>) -> f64 {
    let log = look.added(Concept::Log) / look.limit("log_share");
    let file = look.added(Concept::WriteFile);
    let writes = over(look.grew("writes_per_request"), look.limit("writes_factor"));
    // A log that is written by hand is a file that is written to once more in each request.
    let by_hand = match writes {
        // Each alone may be something else; half of one and twice the other together are not.
        Some(writes) => {
            let file = file / look.limit("file_share");
            file.min(2.0 * writes).max((file * writes).sqrt().min(2.0 * file))
        }
        None => file / look.limit("file_share_alone"),
    };
    any(&[Some(log), Some(by_hand)])
}
