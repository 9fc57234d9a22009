//! One request asks a neighbour many times for what it could ask once.

use super::{Detector, Look, all, over};
use crate::{concept::Concept, thresholds::threshold};

pub(super) const DETECTOR: Detector = Detector {
    pattern: "n_plus_one",
    meaning: "one request makes many round trips to another service or database",
    looks_at: "reads and writes of a request, CPU time in clients and sockets, switches",
    confirm: "look at one trace: the same call many times in a row; ask for all of it at once",
    limits: &[
        threshold(
            "calls_factor",
            1.8,
            "round trips come in pairs of a write and a read; one more where there were two",
        ),
        threshold("client_share", 0.08, "CPU time of clients and sockets follows the number of round trips"),
        threshold("connections_factor", 1.8, "with as many new connections it is churn, not round trips"),
    ],
    look,
};

fn look(look: &mut Look<'_>) -> f64 {
    let reads = over(look.grew("reads_per_request"), look.limit("calls_factor"));
    let writes = over(look.grew("writes_per_request"), look.limit("calls_factor"));
    let client = look.added(Concept::Client).max(look.added(Concept::SocketIo)) / look.limit("client_share");
    let churn = look.both.ratio("connections_per_request").unwrap_or(1.0).max(1.0).ln();
    let kept_open = (1.5 - churn / look.limit("connections_factor").ln()).clamp(0.0, 1.0);
    // Counted at the other end, round trips need no guess.
    if let Some(calls) = over(look.grew("calls_out_per_request"), look.limit("calls_factor")) {
        return calls;
    }
    let files = look.quietly("c:write_file") + look.quietly("c:read_file") + look.quietly("c:dns");
    let calls = match (reads, writes) {
        (None, None) => 0.6 * client,
        _ => all(&[reads, writes, Some(client)]),
    };
    calls * kept_open * (1.0 - files / 0.02).clamp(0.0, 1.0)
}
