//! How much each reason counts: data, each with why it is as large as it is.
//!
//! A weight is added to the logarithm (base e) of a suspect's odds against "something else", whose odds are 1: +1.1 makes a
//! cause three times as likely, +2.3 ten times, +3.4 thirty times. They are judgements in steps of these sizes, not
//! measurements; the scenarios in `tests/scenarios` say what they have to add up to.
//! Source of the scale: `Kass, Raftery: Bayes Factors`, 1995, which calls a factor of 3 "positive" and 20 "strong" evidence.

/// A reason's weight.
#[derive(Debug, PartialEq)]
pub struct Weight {
    /// A stable name.
    pub name: &'static str,
    /// What it adds to the logarithm of the odds.
    pub log_odds: f64,
    /// Why it is as large as it is.
    pub why: &'static str,
}

macro_rules! weights {
    ($($constant:ident = $log_odds:expr, $why:literal;)*) => {
        $(#[doc = $why] pub const $constant: Weight = Weight { name: stringify!($constant), log_odds: $log_odds, why: $why };)*
        /// All weights.
        pub const ALL: &[Weight] = &[$($constant),*];
    };
}

/// Factor 3.
const POSITIVE: f64 = 1.1;
/// Factor 10.
const CLEAR: f64 = 2.3;
/// Factor 30.
const STRONG: f64 = 3.4;

weights! {
    // Before anything is known of this incident.
    PRIOR_CHANGE = -CLEAR, "most outages follow a change, but most changes cause none";
    PRIOR_PATTERN = -POSITIVE, "a detector that speaks at all has looked for this very thing";
    PRIOR_DEPENDENCY = -CLEAR, "each of several dependencies is one suspect among many";
    PRIOR_LOAD = -CLEAR, "load changes all day and rarely breaks an objective";
    PRIOR_NEIGHBOUR = -CLEAR, "machines are shared everywhere, and mostly in peace";
    PRIOR_INSTANCE = -CLEAR, "each of several instances is one suspect among many";
    PRIOR_UNREACHABLE = -CLEAR, "requests that nobody accepts say what happens, seldom why";

    // Changes.
    CHANGE_JUST_BEFORE = CLEAR, "within two minutes before the first bad response: by chance once in seven hundred days of one change a day";
    CHANGE_BEFORE = POSITIVE, "within ten minutes before: caches fill, pools drain and leaks grow in that time";
    CHANGE_LONG_BEFORE = -POSITIVE, "longer before: what it broke would mostly have shown by then";
    CHANGE_NAMES_SERVICE = POSITIVE, "it touched this very service";
    CHANGE_VERSION_ALONE_BAD = STRONG, "its version fails and the others, under the same load at the same time, do not: an experiment with a control";
    CHANGE_VERSION_JUDGED = STRONG, "a sequential test found its version worse than the one beside it, and errs once in a thousand times at its default";
    CHANGE_ALL_VERSIONS_BAD = -STRONG, "versions that it did not touch fail as much: the same experiment with the opposite result";
    CHANGE_ONLY_MOVED_TRAFFIC = -CLEAR, "moving traffic shows a fault more often than it is one";
    CHANGE_ANOTHER_STEP = 0.0, "one more step of the same version is told and adds nothing: the version is one suspect";
    CHANGE_BROUGHT_THE_PATTERN = POSITIVE, "its version was judged, and the profiles of it hold a known pattern that the other side lacks";

    // Patterns of profiles.
    PATTERN_SURE = STRONG, "its score is nine in ten or more; of faults named as `up` sees them, nine in ten are right for programs left out (docs/explain.md), and that a program is at fault at all is the prior's part";
    PATTERN_LIKELY = CLEAR, "the finder's score is well above one half, where it just speaks";
    PATTERN_WEAK = 0.0, "the finder has seen it, and would not bet on it";
    PATTERN_FEW_SAMPLES = -CLEAR, "there are too few samples on a side: differences of that size come by chance";
    PATTERN_SOME_SAMPLES = -POSITIVE, "limits of finders were set while looking at more samples a side than there are";

    // Services that are called.
    DEPENDENCY_FAILS = STRONG, "calls to it fail ten times as often as before, beyond what its numbers scatter";
    DEPENDENCY_WORSE = CLEAR, "calls to it fail three times as often as before";
    DEPENDENCY_CALLER_WAITS = POSITIVE, "requests end by time-out or late while the program itself does not work more: it waits for somebody";
    DEPENDENCY_CALLER_BUSY = -POSITIVE, "the program itself works more than before: waiting alone does not do that";

    // Load.
    LOAD_DOUBLED = CLEAR, "half as many requests again or more, and queues lengthen faster than load";
    LOAD_EVERYWHERE_ALIKE = POSITIVE, "all versions and routes are worse alike, as under load they must be";
    LOAD_ONE_ALONE = -CLEAR, "one version or route alone is worse; load would not choose";
    LOAD_CPU_FOLLOWS = POSITIVE, "processor time grew as requests did: the same work, more often";
    LOAD_STEADY = -STRONG, "there are no more requests than before";

    // The machine.
    NEIGHBOUR_QUEUES = CLEAR, "threads wait several times longer for a processor";
    NEIGHBOUR_OTHERS_BUSY = CLEAR, "other programs take the processors";
    NEIGHBOUR_OWN_BUSY = -CLEAR, "the program takes them itself";
    NEIGHBOUR_ONE_VERSION = -POSITIVE, "versions on the same machines are not worse alike";
    NETWORK_RETRANSMITS = STRONG, "segments are lost several times as often, and more than weather explains";
    NETWORK_NO_PROCESSOR = -CLEAR, "a segment is also sent again when whoever has to acknowledge it waits for a processor, and nothing is lost then";

    // Instances.
    INSTANCE_ALONE_BAD = STRONG, "one instance fails and others of the same version, at the same time, do not";

    // Nobody there.
    UNREACHABLE_REFUSED = STRONG, "most bad requests were refused or cut off before an answer: processes are down, restarting or full";
}

/// A change this long before the first bad response counts as just before it, in seconds.
pub const JUST_BEFORE_S: f64 = 120.0;
/// And this long as before it. The black box keeps changes of this time too.
pub const BEFORE_S: f64 = 600.0;
/// A share of bad requests is worse when it is this many times the other one …
pub const WORSE_RATIO: f64 = 3.0;
/// … and larger by this much: below it, objectives do not break.
pub const WORSE_SHARE: f64 = 0.005;
/// A dependency fails when it is this many times worse.
pub const FAILS_RATIO: f64 = 10.0;
/// Requests on each side of a comparison of shares at least: at one bad in two hundred fewer say nothing. Of rates as well: half
/// as many again are more than four standard deviations of such counts then.
pub const REQUESTS_MIN: u64 = 200;
/// Load has grown when there are this many times as many requests a second.
pub const LOAD_RATIO: f64 = 1.5;
/// A signal of the kernel has risen when it is this many times as large.
pub const SIGNAL_RATIO: f64 = 3.0;
/// Processor time has risen when it is this many times as large.
pub const CPU_RATIO: f64 = 1.3;
/// Others work more only when it is a fifth of a processor at least, in milliseconds a second: we work more ourselves while there is an incident.
pub const OTHERS_BUSY_MS_PER_S: f64 = 200.0;
/// Waiting for a processor that is shorter harms nobody, in milliseconds.
pub const RUN_QUEUE_HARMFUL_MS: f64 = 5.0;
/// Lost segments below this share are weather, per thousand.
pub const RETRANSMITS_HARMFUL: f64 = 5.0;
/// A machine that is idle for less than this keeps somebody waiting nearly always, in percent.
pub const IDLE_PERCENT_MIN: f64 = 5.0;
/// Samples on each side from which on comparisons of profiles are as good as they get: as many as whoever compares them wants.
pub const SAMPLES_FIRM: u64 = 5_000;
/// A finder's score from which on it is sure. Scores order what is said and are no probabilities: nothing was calibrated.
pub const SURE: f64 = 0.9;
/// And the score of what is likely.
pub const LIKELY: f64 = 0.6;
/// What is less likely is not named beside it: two in three times it would be wrong.
pub const NAMED_MIN: f64 = 0.33;
/// The first one must have this much, or nothing is named at all: a bet on it is better than one on all the rest.
pub const FIRST_MIN: f64 = 0.55;
