//! What the kernel saw of both sides of an incident, from the strips of its service.

use std::collections::{BTreeMap, BTreeSet};

use homeostat_explain_cause::{SideSignal, Signal};
use homeostat_model::{
    Span, Timestamp, VersionName,
    explanation::ProfileSide,
    incident::{Incident, Subject},
    kernel::{KernelConnections, KernelCounted, KernelGo, KernelSecond, KernelSeen, KernelStrip, KernelWaits},
};
use homeostat_sense_kernel::{Activity, GoActivity, Segments, Waits};

use super::{super::kernel_strip::Second, sides::side};

/// Waits of a side that its 99th percentile needs: ten lie above it then.
const WAITS_MIN: u64 = 1000;
/// Segments of a side that a share of a thousandth needs.
const SEGMENTS_MIN: u64 = 1000;
/// Seconds of a side.
const SECONDS_MIN: f64 = 1.5;

/// Strips of a service by version, with what they say.
#[derive(Debug, Default)]
pub(super) struct Kernel {
    pub(super) signals: Vec<SideSignal>,
    pub(super) seen: Vec<KernelSeen>,
    pub(super) strips: Vec<KernelStrip>,
}

/// Seconds of one side together.
#[derive(Clone, Debug, Default)]
struct Sum {
    seconds: u32,
    length_s: f64,
    cpu_s: f64,
    others_cpu_s: f64,
    /// Time of the machine's CPUs, and how much of it they had nothing to do.
    machine_s: f64,
    idle_s: f64,
    segments: Segments,
    waits: Waits,
}

/// Adds up what each version did on each side, and compares the sides.
pub(super) fn of_sides(incident: &Incident, strips: &[(VersionName, Vec<Second>)]) -> Kernel {
    let siblings = siblings(strips);
    let mut versions = BTreeMap::<(ProfileSide, &VersionName), Sum>::new();
    let (mut wholes, mut moments) = (BTreeMap::<ProfileSide, Sum>::new(), BTreeSet::new());
    for (version, strip) in strips {
        for second in strip {
            let from = second.at - Span::from_ms((1000.0 * second.length_s) as u64);
            let Some(side) = side(incident, version, from, second.at) else { continue };
            let others_s = others_s(second, &siblings);
            let of_version = versions.entry((side, version)).or_default();
            of_version.add_own(second);
            of_version.add_around(second, others_s);
            let whole = wholes.entry(side).or_default();
            whole.add_own(second);
            // Of versions beside each other, what is around them is the same.
            if moments.insert((side, second.at)) {
                whole.add_around(second, others_s);
            }
        }
    }
    Kernel {
        signals: signals(incident, &wholes),
        seen: versions.iter().map(|((side, version), sum)| sum.seen(*side, version)).collect(),
        strips: strips.iter().map(|(version, strip)| kept(version, strip, &siblings)).collect(),
    }
}

/// Processor time of all versions, by the instant at which a second ended: versions are looked at together.
fn siblings(strips: &[(VersionName, Vec<Second>)]) -> BTreeMap<Timestamp, f64> {
    let mut sums = BTreeMap::new();
    for second in strips.iter().flat_map(|(_, strip)| strip) {
        *sums.entry(second.at).or_default() += second.cpu_s;
    }
    sums
}

/// Processor time of programs that are no version of the service.
fn others_s(second: &Second, siblings: &BTreeMap<Timestamp, f64>) -> f64 {
    let all_s = siblings.get(&second.at).copied().unwrap_or(second.cpu_s);
    (second.others_cpu_s + second.cpu_s - all_s).max(0.0)
}

impl Sum {
    /// What the version itself did in a second.
    fn add_own(&mut self, second: &Second) {
        self.cpu_s += second.cpu_s;
        if let Some(waits) = second.activity.as_ref().and_then(|activity| activity.waits.as_ref()) {
            self.waits.add(waits);
        }
    }

    /// What went on around it.
    fn add_around(&mut self, second: &Second, others_s: f64) {
        self.seconds += 1;
        self.length_s += second.length_s;
        self.others_cpu_s += others_s;
        if let Some(idle_s) = second.idle_s {
            self.idle_s += idle_s;
            self.machine_s += idle_s + second.cpu_s + second.others_cpu_s;
        }
        if let Some(segments) = &second.segments {
            self.segments.sent = self.segments.sent.saturating_add(segments.sent);
            self.segments.sent_again = self.segments.sent_again.saturating_add(segments.sent_again);
        }
    }

    fn wait_ms_p99(&self) -> Option<f64> {
        self.waits.quantile_ms(0.99).filter(|_| WAITS_MIN <= self.waits.by_length.count())
    }

    fn sent_again(&self) -> Option<f64> {
        let all = self.segments.sent.saturating_add(self.segments.sent_again);
        (SEGMENTS_MIN <= all).then(|| self.segments.sent_again as f64 / all as f64)
    }

    fn idle_percent(&self) -> Option<f64> {
        (0.0 < self.machine_s).then(|| 100.0 * self.idle_s / self.machine_s)
    }

    fn ms_per_s(&self, seconds: f64) -> f64 {
        1000.0 * seconds / self.length_s.max(f64::MIN_POSITIVE)
    }

    fn seen(&self, side: ProfileSide, version: &VersionName) -> KernelSeen {
        KernelSeen {
            side,
            version: version.clone(),
            seconds: self.seconds,
            wait_us_p99: self.wait_ms_p99().map(|ms| (1000.0 * ms).round() as u64),
            cpu_ms_per_s: self.ms_per_s(self.cpu_s).round() as u64,
            others_cpu_ms_per_s: self.ms_per_s(self.others_cpu_s).round() as u64,
            sent_again_ppm: self.sent_again().map(|share| (1e6 * share).round() as u64),
        }
    }
}

/// What can be compared. Versions beside each other get different shares of the traffic, so that their processor times say
/// nothing; before and since, they do.
fn signals(incident: &Incident, wholes: &BTreeMap<ProfileSide, Sum>) -> Vec<SideSignal> {
    let (Some(good), Some(bad)) = (wholes.get(&ProfileSide::Good), wholes.get(&ProfileSide::Bad)) else {
        return Vec::new();
    };
    if good.length_s < SECONDS_MIN || bad.length_s < SECONDS_MIN {
        return Vec::new();
    }
    let both = |signal, good: Option<f64>, bad: Option<f64>| Some(SideSignal { signal, good: good?, bad: bad? });
    let per_mille = |sum: &Sum| sum.sent_again().map(|share| 1000.0 * share);
    let mut signals = vec![
        both(Signal::RunQueueP99Ms, good.wait_ms_p99(), bad.wait_ms_p99()),
        both(Signal::RetransmitsPerMille, per_mille(good), per_mille(bad)),
        both(Signal::IdlePercent, good.idle_percent(), bad.idle_percent()),
    ];
    if matches!(incident.subject, Subject::Objective { .. }) {
        let cpu = |sum: &Sum| Some(sum.ms_per_s(sum.cpu_s));
        let others = |sum: &Sum| Some(sum.ms_per_s(sum.others_cpu_s));
        signals.push(both(Signal::CpuMsPerS, cpu(good), cpu(bad)));
        signals.push(both(Signal::OthersCpuMsPerS, others(good), others(bad)));
    }
    signals.into_iter().flatten().collect()
}

/// As it is kept with the incident.
fn kept(version: &VersionName, strip: &[Second], siblings: &BTreeMap<Timestamp, f64>) -> KernelStrip {
    let ms = |seconds: f64| (1000.0 * seconds).round() as u64;
    let second = |second: &Second| KernelSecond {
        at: second.at,
        length_ms: ms(second.length_s),
        cpu_ms: ms(second.cpu_s),
        others_cpu_ms: ms(others_s(second, siblings)),
        counted: second.activity.as_ref().map(counted),
        go: second.go.as_ref().map(go),
    };
    KernelStrip { version: version.clone(), seconds: strip.iter().map(second).collect() }
}

/// What was counted; what the kernel did not tell is absent, and no zero.
fn counted(activity: &Activity) -> KernelCounted {
    let waits = activity.waits.as_ref().map(|waits| KernelWaits {
        waits: waits.by_length.count(),
        wait_us_p99: waits.quantile_ms(0.99).map_or(0, |ms| (1000.0 * ms).round() as u64),
    });
    let connections = activity.tcp.as_ref().map(|tcp| KernelConnections {
        begun: tcp.connected,
        accepted: tcp.accepted,
        failed: tcp.failed,
        sent_again: tcp.sent_again,
    });
    KernelCounted { waits, connections }
}

/// What Go's runtime did.
fn go(activity: &GoActivity) -> KernelGo {
    KernelGo {
        gc_cycles: activity.collections,
        gc_pauses: activity.pauses.count(),
        gc_pause_us: activity.stopped_ns / 1000,
    }
}

#[cfg(test)]
mod tests {
    use super::{
        super::testing::{about, burning},
        *,
    };

    const BEGAN: Timestamp = Timestamp::from_unix_ms(1_800_000_000_000);

    fn incident(subject: Subject) -> Incident {
        about("shop", subject, BEGAN)
    }

    fn objective() -> Incident {
        burning("shop", "shop-latency", BEGAN)
    }

    fn canary() -> Incident {
        incident(Subject::Canary {
            rollout: "shop-v2".parse().unwrap(),
            canary: "v2".parse().unwrap(),
            baseline: "v1".parse().unwrap(),
        })
    }

    /// Seconds of a version, counted from the first bad response: each with 200 waits of so many units of a microsecond.
    fn strip(version: &str, seconds: &[(i64, u64, f64, f64)]) -> (VersionName, Vec<Second>) {
        let second = |&(ends_s, wait, cpu_s, others_cpu_s): &(i64, u64, f64, f64)| {
            let by_length = std::iter::repeat_n(wait, 200).collect();
            Second {
                at: Timestamp::from_unix_ms(BEGAN.unix_ms() + 1000 * ends_s),
                length_s: 1.0,
                cpu_s,
                others_cpu_s,
                idle_s: Some(0.25),
                segments: Some(Segments { sent: 990, sent_again: 10 }),
                activity: Some(Activity { waits: Some(Waits { by_length, sum_ns: 1 }), tcp: None }),
                go: Some(GoActivity { collections: 3, stopped_ns: 4_500_000, ..GoActivity::default() }),
                ..Second::default()
            }
        };
        (version.parse().unwrap(), seconds.iter().map(second).collect())
    }

    fn value(of: &Kernel, wanted: Signal) -> Option<(f64, f64)> {
        of.signals.iter().find(|signal| signal.signal == wanted).map(|signal| (signal.good, signal.bad))
    }

    #[test]
    fn an_objective_is_compared_with_the_time_before() {
        let before = (-9..=0).map(|end| (end, 100, 0.4, 0.1));
        let since = (2..=12).map(|end| (end, 8000, 0.4, 1.5));
        let seconds: Vec<_> = before.chain(since).collect();
        let found = of_sides(&objective(), &[strip("v1", &seconds)]);
        let (good, bad) = value(&found, Signal::RunQueueP99Ms).unwrap();
        assert!((0.064..=0.132).contains(&good) && (4.0..8.4).contains(&bad), "{good} {bad}");
        let (was, is) = value(&found, Signal::OthersCpuMsPerS).unwrap();
        assert!((was - 100.0).abs() < 1e-6 && (is - 1500.0).abs() < 1e-6, "{was} {is}");
        assert_eq!(value(&found, Signal::RetransmitsPerMille), Some((10.0, 10.0)));
        let sides: Vec<_> = found.seen.iter().map(|seen| (seen.side, seen.seconds, seen.sent_again_ppm)).collect();
        assert_eq!(sides, [(ProfileSide::Good, 10, Some(10_000)), (ProfileSide::Bad, 11, Some(10_000))]);
        assert_eq!(found.strips[0].seconds.len(), 21);
        let counted = found.strips[0].seconds[20].counted.unwrap();
        assert_eq!((counted.waits.unwrap().waits, counted.connections), (200, None), "connections were not counted");
        let go = found.strips[0].seconds[20].go.unwrap();
        assert_eq!((go.gc_cycles, go.gc_pause_us), (3, 4500));
    }

    #[test]
    fn a_canary_is_compared_with_the_version_beside_it_which_is_no_neighbour() {
        let good: Vec<_> = (-9..=9).map(|end| (end, 100, 0.8, 0.3)).collect();
        let bad: Vec<_> = (-9..=9).map(|end| (end, 100, 0.1, 1.0)).collect();
        let found = of_sides(&canary(), &[strip("v1", &good), strip("v2", &bad)]);
        assert!(value(&found, Signal::RunQueueP99Ms).is_some());
        assert_eq!(value(&found, Signal::CpuMsPerS), None, "they do not get the same traffic");
        let others: Vec<_> = found.seen.iter().map(|seen| (seen.side, seen.others_cpu_ms_per_s)).collect();
        assert_eq!(others, [(ProfileSide::Good, 200), (ProfileSide::Bad, 200)]);
        assert_eq!(found.strips[1].seconds[0].others_cpu_ms, 200);
    }

    /// Blue and green: one version runs until the other one takes over.
    #[test]
    fn versions_one_after_the_other_are_no_more_than_one() {
        let blue: Vec<_> = (-19..=-10).map(|end| (end, 100, 0.6, 0.1)).collect();
        let green: Vec<_> = (-9..=10).map(|end| (end, 100, 0.6, if end <= 0 { 0.5 } else { 0.9 })).collect();
        let found = of_sides(&objective(), &[strip("v1", &blue), strip("v2", &green)]);
        let near = |wanted, (good, bad): (f64, f64)| {
            let (was, is) = value(&found, wanted).unwrap();
            assert!((was - good).abs() < 1e-6 && (is - bad).abs() < 1e-6, "{wanted:?} {was} {is}");
        };
        near(Signal::CpuMsPerS, (600.0, 600.0));
        near(Signal::OthersCpuMsPerS, (300.0, 900.0));
        // A quarter of a second in each: of 0.95 and 1.35 s before, of 1.75 s since.
        near(Signal::IdlePercent, (100.0 * 5.0 / 23.0, 100.0 / 7.0));
    }

    #[test]
    fn too_little_is_no_signal() {
        let few =
            of_sides(&objective(), &[strip("v1", &[(-1, 100, 0.1, 0.1), (0, 100, 0.1, 0.1), (2, 100, 0.1, 0.1)])]);
        assert_eq!((few.signals.len(), few.seen.len()), (0, 2), "one second on the bad side");
        let some: Vec<_> = [-1, 0, 2, 3].map(|end| (end, 100, 0.1, 0.1)).to_vec();
        let found = of_sides(&objective(), &[strip("v1", &some)]);
        assert_eq!(value(&found, Signal::RunQueueP99Ms), None, "400 waits a side");
        assert!(value(&found, Signal::RetransmitsPerMille).is_some());
        assert_eq!(of_sides(&objective(), &[]).signals, []);
    }
}
