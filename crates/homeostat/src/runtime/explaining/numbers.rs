//! What was measured of both sides of an incident beside profiles, under the names of `docs/format/cases.md`.
//!
//! Requests and latencies come from the gateway's recording, processor time, waits and connections from the strips of the
//! service's versions, goroutines and threads from the census. All of it is of the time that profiles are of: of a canary,
//! while both versions had traffic; of an objective, before and since the first bad response, until harm ended. A tick that ends
//! with the first bad response holds it, here as in `shapes`.
//!
//! Not here: what the numbers mean (`explain-profile`).
//! Invariant: what was not measured is left out, and so is what was measured too little to be compared; it is never zero.

use std::collections::BTreeMap;

use homeostat_explain_profile::Evidence;
use homeostat_model::{
    CellId, CellKey, ChangeKind, Span, Timestamp, VersionName,
    explanation::ProfileSide,
    incident::{BlackBox, Incident, Subject},
    profile::Profile,
};

use super::{
    super::kernel_strip::Second,
    sides::{CANARY_BEFORE, GOOD_WITHIN, harm_ended, side},
};

/// Time of a side that a rate needs.
const TIME_MIN: Span = Span::from_secs(1);
/// Requests of a side that a rate needs: one more or less is a twentieth then.
const REQUESTS_MIN: u64 = 20;
/// Answers of a side that its 99th percentile needs: two lie above it.
const ANSWERS_P99_MIN: u64 = 200;
/// Processor time that one of the sides has to have, in seconds: the kernel counts in hundredths, so this is right within a tenth.
const CPU_S_MIN: f64 = 0.1;
/// Share of a side's time that the kernel has to have been asked about.
const SEEN_SHARE_MIN: f64 = 0.5;
/// Times as much traffic as the other side has, beyond which nothing is compared that is counted by request: what a process does
/// without any request would be shared by so many fewer. Latencies are compared, and processor time as such: a small canary
/// that takes more of it than the version beside it does not do so for its requests.
const LIKE_TRAFFIC: f64 = 4.0;
/// A tick of the recording.
pub(super) const TICK: Span = Span::from_ms(10);
/// How often latencies are read.
const LATENCIES_EVERY: Span = Span::from_secs(1);

/// Numbers of both sides.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Numbers {
    pub(super) good: Evidence,
    pub(super) bad: Evidence,
    /// Of a canary: since when both versions have had requests under way.
    pub(super) with_traffic: Option<Timestamp>,
    /// Whether the sides can be compared in what depends on traffic.
    pub(super) traffic: Traffic,
}

/// How the traffic of the bad side compares with that of the good one.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Traffic {
    /// Alike enough, or nobody knows.
    #[default]
    Alike,
    /// It is so much less that counts cannot be compared; what there is more of, is more all the same.
    Less,
    /// It is so much more that more goroutines or threads are no news.
    More,
}

/// The time that a side is looked at.
#[derive(Clone, Copy, Debug)]
struct Time {
    from: Timestamp,
    to: Timestamp,
}

impl Time {
    fn holds(self, from: Timestamp, to: Timestamp) -> bool {
        self.from <= from && to <= self.to
    }

    fn seconds(self) -> f64 {
        self.to.since(self.from).secs_f64()
    }
}

/// What the gateway and the kernel measured of both sides.
pub(super) fn numbers(incident: &Incident, black_box: &BlackBox, strips: &[(VersionName, Vec<Second>)]) -> Numbers {
    let recorded =
        Recorded { incident, black_box, cells: black_box.cells.iter().map(|(id, key)| (*id, key)).collect() };
    let Some([good_time, bad_time]) = recorded.times() else { return Numbers::default() };
    let of = |wanted: ProfileSide, time: Time| {
        let mut numbers = recorded.requests(wanted, time);
        if !numbers.is_empty() {
            numbers.append(&mut recorded.latencies(wanted, time));
            numbers.append(&mut kernel(incident, strips, wanted, time));
        }
        numbers
    };
    let (good, bad) = (of(ProfileSide::Good, good_time), of(ProfileSide::Bad, bad_time));
    let mut both = Numbers { good, bad, ..Numbers::default() };
    if matches!(incident.subject, Subject::Canary { .. }) {
        both.with_traffic = Some(recorded.sent_since(good_time.from));
        both.leave_out_what_follows_traffic();
    }
    both.leave_out_what_only_one_has();
    both
}

impl Numbers {
    /// What one side alone has compares nothing.
    fn leave_out_what_only_one_has(&mut self) {
        let cpu = |side: &Evidence| side.get("cpu_seconds").copied().unwrap_or(0.0);
        if cpu(&self.good).max(cpu(&self.bad)) < CPU_S_MIN {
            self.good.remove("cpu_seconds");
        }
        self.good.retain(|name, _| self.bad.contains_key(name));
        self.bad.retain(|name, _| self.good.contains_key(name));
    }

    fn leave_out_what_follows_traffic(&mut self) {
        let rate = |side: &Evidence| side.get("requests_per_second").copied().unwrap_or(0.0);
        let (one, other) = (rate(&self.good), rate(&self.bad));
        self.traffic = match (one, other) {
            (good, bad) if LIKE_TRAFFIC * bad < good => Traffic::Less,
            (good, bad) if LIKE_TRAFFIC * good < bad => Traffic::More,
            _ => Traffic::Alike,
        };
        if self.traffic != Traffic::Alike {
            for side in [&mut self.good, &mut self.bad] {
                side.retain(|name, _| ["p50_ms", "p99_ms", "seconds", "cpu_seconds"].contains(&name.as_str()));
            }
        }
    }
}

/// The gateway's recording, with what its cells mean.
struct Recorded<'a> {
    incident: &'a Incident,
    black_box: &'a BlackBox,
    cells: BTreeMap<CellId, &'a CellKey>,
}

impl Recorded<'_> {
    /// Versions beside each other are looked at while both had traffic; one after the other as long as there is a recording.
    fn times(&self) -> Option<[Time; 2]> {
        let (began, to) = (self.incident.began_at, self.black_box.to);
        let first = |wanted| self.ticks(wanted).find(|(_, requests)| 0 < *requests).map(|(at, _)| at - TICK);
        let times = match &self.incident.subject {
            Subject::Canary { .. } => {
                let both = first(ProfileSide::Bad)?.max(first(ProfileSide::Good)?);
                [Time { from: both.max(began - CANARY_BEFORE), to }; 2]
            }
            Subject::Objective { .. } => {
                let (before, border) = (first(ProfileSide::Good)?.max(began - GOOD_WITHIN), began - TICK);
                let until = harm_ended(self.incident).map_or(to, |ended| to.min(ended));
                [Time { from: before, to: border }, Time { from: border, to: until }]
            }
        };
        Some(times)
    }

    /// Since when requests are under way whose answers were counted from an instant on: a canary has them from when traffic was
    /// moved to it, and answers when it is done. One that takes seconds does its harm before its first answer.
    fn sent_since(&self, counted: Timestamp) -> Timestamp {
        let Subject::Canary { canary, .. } = &self.incident.subject else { return counted };
        let moved = self.incident.changes.iter().filter(|change| {
            change.kind == ChangeKind::Traffic
                && change.version.as_ref() == Some(canary)
                && change.service.as_ref() == Some(&self.incident.service)
        });
        let before = moved.map(|change| change.at).filter(|at| counted - CANARY_BEFORE <= *at && *at <= counted);
        before.max().unwrap_or(counted)
    }

    fn is_of(&self, cell: CellId, (from, to): (Timestamp, Timestamp), wanted: ProfileSide) -> bool {
        let own = self.cells.get(&cell).filter(|key| key.service == self.incident.service);
        own.is_some_and(|key| side(self.incident, &key.version, from, to) == Some(wanted))
    }

    /// Requests of a side by the tick in which they ended.
    fn ticks(&self, wanted: ProfileSide) -> impl Iterator<Item = (Timestamp, u64)> {
        self.black_box.ticks.iter().map(move |tick| {
            let own = tick.deltas.iter().filter(|delta| self.is_of(delta.cell, (tick.at, tick.at), wanted));
            (tick.at, own.map(|delta| delta.counts.total()).sum())
        })
    }

    /// How many a second, over which time; nothing when that is too little.
    fn requests(&self, wanted: ProfileSide, time: Time) -> Evidence {
        let within = self.ticks(wanted).filter(|(at, _)| time.holds(*at - TICK, *at));
        let count: u64 = within.map(|(_, requests)| requests).sum();
        if count < REQUESTS_MIN || time.to.since(time.from) < TIME_MIN {
            return Evidence::new();
        }
        named([("seconds", time.seconds()), ("requests_per_second", count as f64 / time.seconds())])
    }

    fn latencies(&self, wanted: ProfileSide, time: Time) -> Evidence {
        let (mut counts, mut read_before) = (BTreeMap::<u64, u64>::new(), None);
        for second in &self.black_box.latency_seconds {
            let from = read_before.replace(second.at).unwrap_or(second.at - LATENCIES_EVERY);
            for latency in second.cells.iter().filter(|_| time.holds(from, second.at)) {
                if self.is_of(latency.cell, (from, second.at), wanted) {
                    latency.buckets.iter().for_each(|(bound, count)| *counts.entry(*bound).or_default() += count);
                }
            }
        }
        let all: u64 = counts.values().sum();
        let quantile = |share: f64| {
            let (mut seen, rank) = (0, share * all as f64);
            counts.iter().find_map(|(bound, count)| {
                seen += count;
                (rank <= seen as f64).then_some(*bound as f64 / 1000.0)
            })
        };
        let p50 = quantile(0.50).filter(|_| REQUESTS_MIN <= all).map(|ms| ("p50_ms", ms));
        let p99 = quantile(0.99).filter(|_| ANSWERS_P99_MIN <= all).map(|ms| ("p99_ms", ms));
        named(p50.into_iter().chain(p99))
    }
}

/// Versions of a side together: they share its seconds.
#[derive(Clone, Copy, Debug, Default)]
struct Together {
    length_s: f64,
    cpu_s: f64,
    waited_ms: Option<f64>,
    opened: Option<f64>,
    voluntary: Option<f64>,
    involuntary: Option<f64>,
    resident: Option<f64>,
}

/// Processor time, waits for it, switches, memory and connections; nothing when the kernel was asked for too little of the time.
fn kernel(incident: &Incident, strips: &[(VersionName, Vec<Second>)], wanted: ProfileSide, time: Time) -> Evidence {
    let mut seconds = BTreeMap::<Timestamp, Together>::new();
    for (version, strip) in strips {
        for second in strip {
            let from = second.at - Span::from_ms((1000.0 * second.length_s) as u64);
            if time.holds(from, second.at) && side(incident, version, from, second.at) == Some(wanted) {
                seconds.entry(second.at).or_default().add(second);
            }
        }
    }
    let seen: f64 = seconds.values().map(|second| second.length_s).sum();
    if seen < SEEN_SHARE_MIN * time.seconds() || seen < TIME_MIN.secs_f64() {
        return Evidence::new();
    }
    let cpu: f64 = seconds.values().map(|second| second.cpu_s).sum();
    let rate = |of: fn(&Together) -> Option<f64>| {
        let counted: Vec<_> = seconds.values().filter_map(|second| Some((of(second)?, second.length_s))).collect();
        let time: f64 = counted.iter().map(|(_, length)| length).sum();
        (TIME_MIN.secs_f64() <= time).then(|| counted.iter().map(|(count, _)| count).sum::<f64>() / time)
    };
    let cpu = Some(("cpu_seconds", cpu / seen * time.seconds()));
    let waited = rate(|second| second.waited_ms).map(|rate| ("runqueue_wait_ms_per_s", rate));
    let opened = rate(|second| second.opened).map(|rate| ("tcp_opens_per_s", rate));
    let voluntary = rate(|second| second.voluntary).map(|rate| ("voluntary_switches", rate * time.seconds()));
    let involuntary = rate(|second| second.involuntary).map(|rate| ("involuntary_switches", rate * time.seconds()));
    let resident: Vec<f64> = seconds.values().filter_map(|second| second.resident).collect();
    let resident = (!resident.is_empty()).then(|| ("rss_bytes", resident.iter().sum::<f64>() / resident.len() as f64));
    named(cpu.into_iter().chain(waited).chain(opened).chain(voluntary).chain(involuntary).chain(resident))
}

impl Together {
    fn add(&mut self, second: &Second) {
        self.length_s = self.length_s.max(second.length_s);
        self.cpu_s += second.cpu_s;
        if let Some(switches) = &second.switches {
            *self.voluntary.get_or_insert_default() += switches.voluntary as f64;
            *self.involuntary.get_or_insert_default() += switches.involuntary as f64;
        }
        if let Some(bytes) = second.resident_bytes {
            *self.resident.get_or_insert_default() += bytes as f64;
        }
        let Some(activity) = &second.activity else { return };
        if let Some(waits) = &activity.waits {
            *self.waited_ms.get_or_insert_default() += waits.sum_ns as f64 / 1e6;
        }
        if let Some(tcp) = &activity.tcp {
            *self.opened.get_or_insert_default() += tcp.connected.saturating_add(tcp.accepted) as f64;
        }
    }
}

/// How many goroutines or threads a program had, and by how many the program grew where they grew most; from moments of
/// programs, each program's oldest first.
pub(super) fn counted<'a>(moments: impl IntoIterator<Item = (&'a str, &'a Profile)>) -> Evidence {
    let (mut programs, mut kind) = (BTreeMap::<&str, Vec<f64>>::new(), None);
    for (program, profile) in moments {
        kind = Some(profile);
        let count = profile.total(profile.samples_column()).max(0) as f64;
        programs.entry(program).or_default().push(count);
    }
    let Some(profile) = kind else { return Evidence::new() };
    let names = if profile.column("threads").is_some() {
        ("threads", "threads_grown")
    } else {
        ("goroutines", "goroutines_grown")
    };
    let counts: Vec<f64> = programs.values().flatten().copied().collect();
    let mean = counts.iter().sum::<f64>() / counts.len() as f64;
    let grown = programs.values().filter_map(|of_one| match of_one.as_slice() {
        [first, .., last] => Some((last - first).max(0.0)),
        _ => None,
    });
    named([(names.0, mean)].into_iter().chain(grown.reduce(f64::max).map(|grown| (names.1, grown))))
}

fn named(numbers: impl IntoIterator<Item = (&'static str, f64)>) -> Evidence {
    numbers.into_iter().map(|(name, value)| (name.to_owned(), value)).collect()
}

#[cfg(test)]
mod tests {
    use homeostat_control::ControlSpec;
    use homeostat_explain_profile::MEASURED_IN_UP;
    use homeostat_model::{
        Actor, ChangeEvent, OutcomeClass, OutcomeCounts, OutcomeDelta,
        incident::{CellLatency, LatencySecond, Milestone, TickCounts},
        profile::{LabelSet, Stack, ValueType},
    };
    use homeostat_sense_kernel::{Activity, Connections, Switches, Waits};

    use super::{
        super::{shapes::shapes, testing::burning},
        *,
    };

    const BEGAN: Timestamp = Timestamp::from_unix_ms(1_800_000_000_000);
    const V1: CellId = CellId(1);
    const V2: CellId = CellId(2);

    fn at(ms: i64) -> Timestamp {
        Timestamp::from_unix_ms(BEGAN.unix_ms() + ms)
    }

    /// Ten seconds before and ten since. Each cell answers so many requests in every 100 ms, each in so many microseconds, which
    /// are twice as many since.
    fn recording(cells: &[(CellId, &str, u64, u64)]) -> BlackBox {
        let key = |version: &str| CellKey {
            route: "cart".parse().unwrap(),
            service: "shop".parse().unwrap(),
            version: version.parse().unwrap(),
        };
        let tick = |tick: i64| TickCounts {
            at: at(100 * tick),
            deltas: cells
                .iter()
                .map(|(cell, _, requests, _)| OutcomeDelta {
                    cell: *cell,
                    counts: OutcomeCounts::of(OutcomeClass::Ok, *requests),
                })
                .collect(),
        };
        let second = |second: i64| LatencySecond {
            at: at(1000 * second),
            cells: cells
                .iter()
                .map(|(cell, _, requests, us)| CellLatency {
                    cell: *cell,
                    buckets: vec![(if 0 < second { 2 * us } else { *us }, 10 * requests)],
                })
                .collect(),
        };
        BlackBox {
            from: at(-10_000),
            to: at(10_000),
            cells: cells.iter().map(|(cell, version, ..)| (*cell, key(version))).collect(),
            ticks: (-99..=100).map(tick).collect(),
            latency_seconds: (-9..=10).map(second).collect(),
            ..BlackBox::default()
        }
    }

    /// A strip of the same time: so much processor time in each second, and twice as much since.
    fn strip(version: &str, cpu_s: f64) -> (VersionName, Vec<Second>) {
        let second = |second: i64| Second {
            at: at(1000 * second),
            length_s: 1.0,
            cpu_s: if 0 < second { 2.0 * cpu_s } else { cpu_s },
            others_cpu_s: 0.0,
            idle_s: None,
            switches: Some(Switches { voluntary: 500, involuntary: 20 }),
            resident_bytes: Some(if 0 < second { 80 << 20 } else { 40 << 20 }),
            segments: None,
            go: None,
            activity: Some(Activity {
                waits: Some(Waits { sum_ns: 3_000_000, ..Waits::default() }),
                tcp: Some(Connections { connected: 4, accepted: 1, failed: 1, ..Connections::default() }),
            }),
        };
        (version.parse().unwrap(), (-9..=10).map(second).collect())
    }

    fn objective() -> Incident {
        burning("shop", "shop-latency", BEGAN)
    }

    fn canary() -> Incident {
        let [canary, baseline] = ["v2", "v1"].map(|version| version.parse().unwrap());
        Incident { subject: Subject::Canary { rollout: "shop-v2".parse().unwrap(), canary, baseline }, ..objective() }
    }

    fn check(side: &Evidence, wanted: &[(&str, f64)]) {
        let names: Vec<&str> = side.keys().map(String::as_str).collect();
        assert_eq!(names, wanted.iter().map(|(name, _)| *name).collect::<Vec<_>>());
        for (name, value) in wanted {
            assert!((side[*name] - value).abs() < 0.02 * value, "{name}: {} is not {value}", side[*name]);
        }
    }

    #[test]
    fn an_objective_is_compared_with_the_time_before() {
        let both = numbers(&objective(), &recording(&[(V1, "v1", 10, 3000)]), &[strip("v1", 0.2)]);
        check(
            &both.good,
            &[
                ("cpu_seconds", 2.0),
                ("involuntary_switches", 200.0),
                ("p50_ms", 3.0),
                ("p99_ms", 3.0),
                ("requests_per_second", 100.0),
                ("rss_bytes", f64::from(40 << 20)),
                ("runqueue_wait_ms_per_s", 3.0),
                ("seconds", 10.0),
                ("tcp_opens_per_s", 5.0),
                ("voluntary_switches", 5000.0),
            ],
        );
        check(
            &both.bad,
            &[
                ("cpu_seconds", 4.0),
                ("involuntary_switches", 200.0),
                ("p50_ms", 6.0),
                ("p99_ms", 6.0),
                ("requests_per_second", 100.0),
                ("rss_bytes", f64::from(80 << 20)),
                ("runqueue_wait_ms_per_s", 3.0),
                ("seconds", 10.0),
                ("tcp_opens_per_s", 5.0),
                ("voluntary_switches", 5000.0),
            ],
        );
        let names = both.good.keys().map(String::as_str).collect::<Vec<_>>();
        assert!(names.iter().all(|name| MEASURED_IN_UP.contains(name)), "{names:?}");
    }

    #[test]
    fn a_canary_is_compared_with_the_version_beside_it() {
        let black_box = recording(&[(V1, "v1", 10, 3000), (V2, "v2", 5, 9000)]);
        let both = numbers(&canary(), &black_box, &[strip("v1", 0.2), strip("v2", 0.3)]);
        assert!((both.good["requests_per_second"] / both.bad["requests_per_second"] - 2.0).abs() < 1e-9);
        assert!((both.bad["cpu_seconds"] / both.good["cpu_seconds"] - 1.5).abs() < 1e-9);
        assert_eq!((both.good["p50_ms"], both.bad["p50_ms"]), (6.0, 18.0));
    }

    #[test]
    fn a_canary_works_before_it_answers() {
        let black_box = recording(&[(V1, "v1", 10, 3000), (V2, "v2", 5, 9000)]);
        let moved = |ms: i64, version: &str| ChangeEvent {
            at: at(ms),
            kind: ChangeKind::Traffic,
            service: Some("shop".parse().unwrap()),
            version: Some(version.parse().unwrap()),
            summary: String::new(),
            by: Actor::homeostat(),
        };
        let since = |changes| {
            let incident = Incident { changes, ..canary() };
            numbers(&incident, &black_box, &[]).with_traffic.unwrap()
        };
        let counted = since(Vec::new());
        assert_eq!(since(vec![moved(-12_000, "v2"), moved(-14_000, "v2"), moved(-11_000, "v1")]), at(-12_000));
        assert_eq!(
            since(vec![moved(1_000, "v2"), moved(-600_000, "v2")]),
            counted,
            "after its first answer, or long ago"
        );
    }

    #[test]
    fn what_follows_traffic_says_nothing_of_a_small_canary() {
        let black_box = recording(&[(V1, "v1", 100, 3000), (V2, "v2", 5, 9000)]);
        let both = numbers(&canary(), &black_box, &[strip("v1", 0.2), strip("v2", 0.3)]);
        assert_eq!(both.traffic, Traffic::Less);
        for side in [&both.good, &both.bad] {
            assert_eq!(side.keys().collect::<Vec<_>>(), ["cpu_seconds", "p50_ms", "p99_ms", "seconds"]);
        }
    }

    #[test]
    fn most_of_the_traffic_is_told_from_little_of_it() {
        let traffic = |v1, v2| {
            let black_box = recording(&[(V1, "v1", v1, 3000), (V2, "v2", v2, 9000)]);
            numbers(&canary(), &black_box, &[]).traffic
        };
        assert_eq!(
            [(10, 10), (41, 10), (10, 41)].map(|(v1, v2)| traffic(v1, v2)),
            [Traffic::Alike, Traffic::Less, Traffic::More]
        );
    }

    /// The tick that ends with the first bad response is part of the bad side, whoever counts.
    #[test]
    fn numbers_and_shapes_of_one_recording_have_one_border() {
        let black_box = recording(&[(V1, "v1", 10, 3000)]);
        let both = numbers(&objective(), &black_box, &[]);
        let shapes = shapes(&objective(), &black_box, &ControlSpec::default());
        let shape = shapes.iter().find(|shape| shape.version.is_some()).unwrap();
        assert_eq!((shape.before.total(), shape.during.total()), (990, 1010));
        for (counted, side) in [(&shape.before, &both.good), (&shape.during, &both.bad)] {
            let (rate, of_numbers) = (counted.rate().unwrap(), side["requests_per_second"]);
            assert!((rate - of_numbers).abs() < 1e-9, "{rate} {of_numbers}");
        }
    }

    #[test]
    fn what_is_answered_after_harm_ended_is_not_counted() {
        let resolved = Milestone { at: at(4000), what: "resolved".to_owned(), detail: String::new() };
        let incident = Incident { milestones: vec![resolved], ..objective() };
        let both = numbers(&incident, &recording(&[(V1, "v1", 10, 3000)]), &[strip("v1", 0.2)]);
        assert!((both.bad["seconds"] - 4.01).abs() < 1e-9, "{:?}", both.bad);
        assert!((both.bad["requests_per_second"] - 100.0).abs() < 1.0, "{:?}", both.bad);
    }

    #[test]
    fn too_little_is_not_measured() {
        let nothing = Numbers::default();
        let strips = [strip("v1", 0.2)];
        assert_eq!(numbers(&objective(), &BlackBox::default(), &strips), nothing);
        let mut short = recording(&[(V1, "v1", 10, 3000)]);
        short.to = at(900);
        assert_eq!(numbers(&objective(), &short, &strips), nothing, "900 ms of the bad side");
        let other = Incident { service: "other".parse().unwrap(), ..objective() };
        assert_eq!(numbers(&other, &recording(&[(V1, "v1", 10, 3000)]), &strips), nothing);
        let both = numbers(&objective(), &recording(&[(V1, "v1", 10, 3000)]), &[strip("v1", 0.004)]);
        assert_eq!(both.good.get("cpu_seconds"), None, "eight hundredths of a second at most");
        let (version, mut seen) = strip("v1", 0.2);
        seen.truncate(14);
        let both = numbers(&objective(), &recording(&[(V1, "v1", 10, 3000)]), &[(version, seen)]);
        assert_eq!(both.bad.get("cpu_seconds"), None, "four of ten seconds");
    }

    #[test]
    fn programs_are_counted_each_for_itself() {
        let moment = |kind: &str, count: i64| {
            let mut profile = Profile::new(vec![ValueType::new(kind, "count")]);
            profile.add(Stack::EMPTY, LabelSet::NONE, &[count]);
            profile
        };
        let programs = ["127.0.0.1:1", "127.0.0.1:2"];
        let moments =
            [moment("goroutine", 10), moment("goroutine", 30), moment("goroutine", 20), moment("goroutine", 60)];
        let of = [
            (programs[0], &moments[0]),
            (programs[1], &moments[1]),
            (programs[0], &moments[2]),
            (programs[1], &moments[3]),
        ];
        check(&counted(of), &[("goroutines", 30.0), ("goroutines_grown", 30.0)]);
        check(&counted([(programs[0], &moment("threads", 4))]), &[("threads", 4.0)]);
        assert_eq!(counted([]), Evidence::new());
    }
}
