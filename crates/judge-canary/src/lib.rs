//! Is the canary worse than the baseline? An answer that may be asked for after every request, for ever.
//!
//! Intuition: somebody bets, tick by tick, that the canary fails more often than the baseline. If it does not, no
//! betting strategy gains on average, and the chance that the stake ever grows `1 / alpha`-fold is at most `alpha`
//! (Ville's inequality): over the whole life of a rollout, however often one looks and whenever one stops. If it does
//! fail more often, the wealth grows exponentially, and a bad release shows within a handful of requests.
//!
//! The parts: `pairing` turns ticks into blocks that hold both groups; `block` pays out a bet on one block;
//! `worse` spreads the stake over how bad a canary may be and when it turns bad; `not_worse` asks the opposite
//! question, which opens the gates of a rollout; `judge` puts several SLIs together; [`simulate`] measures all of it.
//!
//! What the bounds rest on, and where practice may break it:
//! - Outcomes of different requests are independent given their rates. Retries of one failing call, or one sticky user
//!   with a broken session, count as many requests but are one fact: set a tolerance, or a larger minimum of events.
//! - Canary and baseline get the same kind of requests. Users who are pinned to a version by a header, or routes that
//!   lead to one version only, make two populations; leave those cells out.
//! - Requests are counted when they end. Just after the canary's first request, quick outcomes are seen before slow
//!   ones: fast errors look too frequent, time-outs are missing. The grace time is there to step over that moment.
//! - The rate that both share may drift or jump; see `pairing` for what a jump inside a block costs.
//!
//! Not here: what follows from a verdict (`control`), whether it may (`act-guard`), counting (`gateway-proxy`).
//! Invariant: no clock, no chance; the same calls give the same bits.
//! Source: Turner, Ly, Grünwald, "Generic E-variables for exact sequential k-sample tests that allow for optional
//! stopping" (arXiv 2106.02693); Ville, "Étude critique de la notion de collectif" (1939).

mod block;
mod judge;
mod not_worse;
mod pairing;
mod projection;
mod reserve;
mod share_estimate;
pub mod simulate;
mod worse;

pub use judge::{CanaryJudge, events};
pub use not_worse::MARGIN_MIN;
pub use pairing::WAIT_MAX;

/// Smallest difference of bad shares that matters, unless a rollout says otherwise: none is too small. What a default
/// above 0 would cost is measured in decision 0030; "not worse" has a margin of its own, [`MARGIN_MIN`].
pub const TOLERANCE_DEFAULT: f64 = 0.0;
