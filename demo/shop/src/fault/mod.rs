//! Faults that a bad release of the shop has: switched on at start or while it runs, each one real.
//!
//! Idea: nothing here pretends. A fault takes a lock too long, writes and syncs, burns CPU on a bad algorithm, keeps
//! memory, or waits for a server that is slow; what clients then see follows by itself. Each fault has one number, its
//! strength, so that a demonstration can be tuned to the machine.
//!
//! Not here: which requests a fault touches (`http`: the business routes, never health, metrics or the switches).
//! Invariant: a fault that is off costs one atomic load a request.

pub mod json;
pub mod leak;
pub mod log;

use std::{
    fmt,
    str::FromStr,
    sync::atomic::{AtomicU64, Ordering},
};

/// What can be wrong with a release.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum Fault {
    /// A share of requests fails with 500.
    Errors = 0,
    /// One lock for all requests, held while another server is asked.
    Lock = 1,
    /// A debug log written on the hot path, line by line, on the thread that serves requests.
    Log = 2,
    /// An answer built by parsing and printing it anew for each element: quadratic.
    Json = 3,
    /// Every request puts entries into a map that nobody empties.
    Leak = 4,
    /// Every request waits for the recommender, which answers late.
    Dependency = 5,
}

/// What a strength means and may be.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Range {
    /// Unit, for people.
    pub unit: &'static str,
    /// Used when none is given.
    pub default: f64,
    /// The least that has an effect.
    pub min: f64,
    /// The most that is accepted.
    pub max: f64,
}

impl Fault {
    /// All faults in the order of their discriminants.
    pub const ALL: [Self; 6] = [Self::Errors, Self::Lock, Self::Log, Self::Json, Self::Leak, Self::Dependency];

    /// The name in commands and paths.
    pub const fn label(self) -> &'static str {
        match self {
            Self::Errors => "errors",
            Self::Lock => "lock",
            Self::Log => "log",
            Self::Json => "json",
            Self::Leak => "leak",
            Self::Dependency => "dependency",
        }
    }

    /// What it does to a request, for people.
    pub const fn about(self) -> &'static str {
        match self {
            Self::Errors => "a share of requests fails with 500",
            Self::Lock => "one lock for all requests, held while another server is asked",
            Self::Log => "a debug log on the hot path, every line a write of its own",
            Self::Json => "an answer that is parsed and printed anew for each of its elements",
            Self::Leak => "every request puts entries into a map that nobody empties",
            Self::Dependency => "the recommender, a server of its own that is asked, answers late",
        }
    }

    /// What its strength means. Defaults hurt a canary that gets about a hundred requests a second within a second or
    /// two: they take more than 10 ms of something that only one request can have at a time.
    pub const fn range(self) -> Range {
        match self {
            Self::Errors => Range { unit: "share of requests", default: 0.3, min: 0.0, max: 1.0 },
            Self::Lock => Range { unit: "ms the lock is held", default: 200.0, min: 1.0, max: 1_000.0 },
            Self::Log => Range { unit: "lines a request", default: 40_000.0, min: 1.0, max: 200_000.0 },
            Self::Json => Range { unit: "elements in the answer", default: 400.0, min: 1.0, max: 5_000.0 },
            Self::Leak => Range { unit: "entries kept a request", default: 50_000.0, min: 1.0, max: 1_000_000.0 },
            Self::Dependency => Range { unit: "ms until it answers", default: 250.0, min: 1.0, max: 10_000.0 },
        }
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.label())
    }
}

/// A name or strength that does not exist.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub enum FaultError {
    /// No fault has this name.
    #[error("there is no fault `{0}`; there are errors, lock, log, json, leak, dependency")]
    Name(String),
    /// The strength is not a number in range.
    #[error("strength `{strength}` of `{fault}` must be a number from {min} to {max} ({unit})")]
    Strength {
        /// Which fault.
        fault: Fault,
        /// What was written.
        strength: String,
        /// Least.
        min: f64,
        /// Most.
        max: f64,
        /// Unit.
        unit: &'static str,
    },
}

impl FromStr for Fault {
    type Err = FaultError;
    fn from_str(name: &str) -> Result<Self, FaultError> {
        Self::ALL.into_iter().find(|f| f.label() == name).ok_or_else(|| FaultError::Name(name.to_owned()))
    }
}

/// A fault with its strength, as written on a command line: `errors` or `errors=0.3`.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Setting {
    /// Which.
    pub fault: Fault,
    /// How much; within [`Fault::range`].
    pub strength: f64,
}

impl Setting {
    /// Checks the strength; `None` takes the default.
    pub fn new(fault: Fault, strength: Option<&str>) -> Result<Self, FaultError> {
        let range = fault.range();
        let Some(text) = strength else { return Ok(Self { fault, strength: range.default }) };
        match text.parse::<f64>() {
            Ok(strength) if (range.min..=range.max).contains(&strength) => Ok(Self { fault, strength }),
            _ => Err(FaultError::Strength {
                fault,
                strength: text.to_owned(),
                min: range.min,
                max: range.max,
                unit: range.unit,
            }),
        }
    }
}

impl FromStr for Setting {
    type Err = FaultError;
    fn from_str(text: &str) -> Result<Self, FaultError> {
        match text.split_once('=') {
            Some((name, strength)) => Self::new(name.parse()?, Some(strength)),
            None => Self::new(text.parse()?, None),
        }
    }
}

impl fmt::Display for Setting {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}={}", self.fault, self.strength)
    }
}

/// The switches: one strength a fault, 0 is off.
#[derive(Debug, Default)]
pub struct Switches {
    strengths: [AtomicU64; Fault::ALL.len()],
    /// Requests that `errors` has looked at.
    tossed: AtomicU64,
}

impl Switches {
    /// Switches a fault on, or changes its strength.
    pub fn set(&self, setting: Setting) {
        self.store(setting.fault, setting.strength);
    }

    /// Switches a fault off.
    pub fn clear(&self, fault: Fault) {
        self.store(fault, 0.0);
    }

    fn store(&self, fault: Fault, strength: f64) {
        if let Some(slot) = self.strengths.get(fault as usize) {
            slot.store(strength.to_bits(), Ordering::Relaxed);
        }
    }

    /// Strength of a fault that is on.
    pub fn strength(&self, fault: Fault) -> Option<f64> {
        let bits = self.strengths.get(fault as usize)?.load(Ordering::Relaxed);
        (bits != 0).then(|| f64::from_bits(bits))
    }

    /// Whether the next request is one of those that `errors` fails.
    pub fn fails_next(&self) -> bool {
        let Some(share) = self.strength(Fault::Errors) else { return false };
        let toss = scatter(self.tossed.fetch_add(1, Ordering::Relaxed));
        // The upper 53 bits make an even number in [0, 1), which a share of 1 always exceeds.
        ((toss >> 11) as f64 / (1_u64 << 53) as f64) < share
    }

    /// All faults that are on.
    pub fn on(&self) -> Vec<Setting> {
        let on = |fault| self.strength(fault).map(|strength| Setting { fault, strength });
        Fault::ALL.into_iter().filter_map(on).collect()
    }
}

/// A number that looks random and is the same in every run: failures neither cluster nor alternate.
/// Source: the finaliser of SplitMix64 (Steele, Lea, Flood, "Fast Splittable Pseudorandom Number Generators", 2014).
const fn scatter(counter: u64) -> u64 {
    let z = counter.wrapping_add(1).wrapping_mul(0x9E37_79B9_7F4A_7C15);
    let z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    let z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    z ^ (z >> 31)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn settings_are_read_and_refused_with_their_range() {
        assert_eq!("errors".parse::<Setting>().unwrap().to_string(), "errors=0.3");
        assert_eq!("json=50".parse::<Setting>().unwrap().to_string(), "json=50");
        for (bad, says) in [
            ("eror", "there is no fault `eror`; there are errors, lock, log, json, leak, dependency"),
            ("errors=2", "strength `2` of `errors` must be a number from 0 to 1 (share of requests)"),
            ("lock=much", "strength `much` of `lock` must be a number from 1 to 1000 (ms the lock is held)"),
            ("leak=NaN", "strength `NaN` of `leak` must be a number from 1 to 1000000 (entries kept a request)"),
        ] {
            assert_eq!(bad.parse::<Setting>().unwrap_err().to_string(), says);
        }
        for fault in Fault::ALL {
            let range = fault.range();
            assert!((range.min..=range.max).contains(&range.default), "{fault}");
        }
    }

    #[test]
    fn errors_fail_their_share_of_requests() {
        let switches = Switches::default();
        let failed = |share| {
            switches.set(Setting { fault: Fault::Errors, strength: share });
            (0..10_000).filter(|_| switches.fails_next()).count()
        };
        let (none, third, all) = (failed(0.0), failed(0.3), failed(1.0));
        assert_eq!((none, all), (0, 10_000));
        // Four standard deviations of 10,000 tosses at 0.3; the sequence is fixed, so this never flickers.
        assert!((2_817..=3_183).contains(&third), "{third}");
        switches.clear(Fault::Errors);
        assert!(!switches.fails_next() && switches.on().is_empty());
    }
}
