//! What can be computed with profiles: sums, differences, weights of functions, flame graphs.
//!
//! Everything here is a loop over rows and over the trie from its end; nothing guesses. Which difference means anything
//! is for `explain-profile` to say.
//!
//! Not here: file formats (`wire`), significance and causes (`explain-profile`), keeping profiles (`store-profiles`).

mod delta;
mod flame;
mod merge;
mod redact;
mod svg;
mod translation;
mod weights;

pub use delta::{Delta, delta};
pub use flame::{Flame, FlameNode, flame, flame_diff};
pub use merge::{Merger, merge};
pub use redact::{BadPattern, KEYS_DEFAULT, REDACTED, Redaction, VALUES_DEFAULT};
pub use svg::{Drawing, svg};
pub use translation::Translation;
pub use weights::{FunctionWeight, Weights, weights};
