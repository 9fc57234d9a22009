//! Work of one request grows with the square of something.

use super::{Detector, Look, all, over};
use crate::{concept::Concept, thresholds::threshold};

pub(super) const DETECTOR: Detector = Detector {
    pattern: "quadratic",
    meaning: "an algorithm compares or copies everything with everything",
    looks_at: "CPU time of plain computing (the application itself, comparing, copying) below requests, and CPU time of a request",
    confirm: "run that function on inputs of twice the size: four times the time; use a map or sort first",
    limits: &[
        threshold(
            "plain_share",
            0.10,
            "plain computing of requests differs by less from run to run in development programs",
        ),
        threshold("request_factor", 1.2, "requests cost more, not only other things"),
    ],
    look,
};

/// Work that has a name of its own: what was added there is not plain computing.
const NAMED: &[Concept] = &[
    Concept::Regex,
    Concept::Serialise,
    Concept::Compress,
    Concept::Cryptography,
    Concept::Template,
    Concept::Image,
    Concept::TlsHandshake,
    Concept::Log,
    Concept::Format,
    Concept::Gc,
    Concept::Spin,
    Concept::Clock,
    Concept::Calendar,
    Concept::Dns,
    Concept::Lock,
    Concept::Syscall,
    Concept::MapGrow,
    Concept::Checksum,
    Concept::Random,
    Concept::Sort,
    Concept::MapMemory,
    Concept::WriteFile,
    Concept::Arithmetic,
];

fn look(look: &mut Look<'_>) -> f64 {
    let own = look.own_function();
    let compare = look.added_own(Concept::Compare).max(look.added_own(Concept::Copy));
    let named: f64 = NAMED.iter().map(|concept| look.quietly(&format!("c:{}", concept.name()))).sum();
    // Half of what is allocated comes with copying.
    let named = named + look.quietly("c:allocate") / 2.0;
    let beside = look.beside_requests();
    let plain = (crate::vector::added_all(look.both) - named - beside).max(0.0).max(own.max(compare) - named - beside);
    let request = over(look.grew("cpu_ms_per_request"), look.limit("request_factor"));
    all(&[Some(plain / look.limit("plain_share")), request.map(|request| 2.0 * request)])
}
