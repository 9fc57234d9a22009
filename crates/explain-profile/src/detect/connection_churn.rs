//! Connections are opened for each request instead of being kept.

use super::{Detector, Look, any, over};
use crate::{concept::Concept, thresholds::threshold};

pub(super) const DETECTOR: Detector = Detector {
    pattern: "connection_churn",
    meaning: "connections are opened and closed for each request, with their handshakes",
    looks_at: "CPU time in connecting, accepting, closing and TLS handshakes, and connections for each request",
    confirm: "count connections in TIME_WAIT (`ss -s`); keep connections open and reuse them, check limits of idle connections",
    limits: &[
        threshold("handshake_share", 0.05, "handshakes of kept connections are over before a baseline is taken"),
        threshold("connect_share", 0.05, "as for handshakes; a probe now and then is below a hundredth"),
        threshold("connections_factor", 2.0, "twice as many for each request"),
    ],
    look,
};

fn look(look: &mut Look<'_>) -> f64 {
    let names = look.quietly("c:dns");
    let handshake = look.added(Concept::TlsHandshake) / look.limit("handshake_share");
    let connect = look.added(Concept::Connect).max(look.added(Concept::Accept)).max(look.added(Concept::Disconnect));
    // Looking up names opens sockets as well.
    let connect = (connect - 2.0 * names).max(0.0) / look.limit("connect_share");
    let calls = look.both.ratio("calls_out_per_request").unwrap_or(1.0).max(1.0);
    let opened = look.grew("connections_per_request").map(|opened| opened / calls);
    let opened = over(opened, look.limit("connections_factor"));
    let cost = any(&[Some(handshake), Some(connect)]);
    // Connections that cost nothing are those of a queue that grew.
    let counted = opened.map(|opened| if names < 0.01 { opened.min(4.0 * cost) } else { 0.0 });
    any(&[Some(cost / calls), counted])
}
