//! Ranks what may have caused an incident, or says that nobody can tell and what is missing.
//!
//! The idea is the oldest one of diagnosis: each possible cause collects reasons for and against it, a reason moves the
//! logarithm of its odds by a weight, and all causes compete with "something else". What does not rise clearly above that
//! is not named. Weights and thresholds are data, each with the reason why it is as large as it is ([`weights`]).
//!
//! ```text
//! changes, shapes of the SLI, patterns of the profile diff, kernel, dependencies
//!      └─▶ suspects: change · pattern · dependency · load · neighbour · network · instance · unreachable
//!             └─▶ reasons, each with a weight ─▶ softmax with "something else" ─▶ at most three, or "not enough evidence"
//! ```
//!
//! Not here: finding patterns in profiles (`explain-profile`), collecting evidence (the edges), acting on it: a cause moves
//! no traffic.
//! Invariants: the same evidence gives the same explanation; nothing that began after the first bad response is its cause;
//! a reason appears in the explanation with the number that it rests on; silence is no evidence.

pub mod evidence;
mod missing;
mod rank;
mod suspect;
pub mod weights;

pub use evidence::{CauseEvidence, Counted, Dependency, Judged, Pattern, ProfileCompared, Shape, SideSignal, Signal};
pub use rank::explain;
