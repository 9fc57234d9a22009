//! What of calls could not be told.

/// What could not be told.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct CallCounts {
    /// Pieces for which the ring had no room, and messages that could not be followed: of more frames than the program takes steps,
    /// or whose bytes nobody can see. Each makes the requests of its connection unknown that wait.
    pub lost: u64,
    /// Connections on which something else than HTTP is spoken, or something encrypted.
    pub given_up: u64,
    /// Requests whose answer was not seen.
    pub unanswered: u64,
    /// Answers whose request was not seen.
    pub unasked: u64,
}
