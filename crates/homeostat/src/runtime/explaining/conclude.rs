//! From what is held about an incident to its explanation.

use base64::{Engine as _, engine::general_purpose::STANDARD};
use homeostat_control::ControlSpec;
use homeostat_explain_cause::{
    CauseEvidence, Dependency, Judged, Pattern, ProfileCompared, explain, weights::SAMPLES_FIRM,
};
use homeostat_explain_profile::{
    DiffOptions, Evidence, Library, Observed, SAMPLES_WANTED, Signs, diff, explain as explain_profile,
};
use homeostat_model::{
    Span, Timestamp, VersionName,
    explanation::{CASES_MAX, CaseAlike, Explanation, FRAMES_MAX, FrameMoved, ProfileKept, ProfileSeen, ProfileSide},
    incident::{BlackBox, Incident, Subject},
    kernel::KernelStrip,
    profile::Profile,
};
use homeostat_profile::merge;
use homeostat_store_events::RECORDING_BYTES_MAX;
use homeostat_wire::pprof::{self, PprofLimits};

use super::{
    super::kernel_strip::Second,
    numbers::{Numbers, Traffic, counted, numbers},
    shapes::shapes,
    sides::{Held, Sided, sides},
    strips::{Kernel, of_sides},
    watch::Measured,
};

/// Bytes of one profile that is kept with an incident, packed. Ten minutes of a busy server are some 300 KiB.
const KEPT_BYTES_MAX: usize = 4 << 20;
/// Bytes of all profiles that are kept with an incident, packed: six of the largest, eighty of a busy server. In base64 they take a
/// third more, and gzip does not shrink again: half of a recording's file.
const KEPT_ALL_BYTES_MAX: usize = 24 << 20;
const _: () = assert!(KEPT_ALL_BYTES_MAX / 3 * 4 <= RECORDING_BYTES_MAX as usize / 2);
// Whoever compares profiles and whoever weighs what they say mean the same by enough samples.
const _: () = assert!(SAMPLES_WANTED == SAMPLES_FIRM);

/// What was found.
#[derive(Debug, Default)]
pub(super) struct Found {
    pub(super) explanation: Explanation,
    pub(super) profiles: Vec<ProfileKept>,
    pub(super) kernel: Vec<KernelStrip>,
}

/// A window that was read.
struct Read {
    of: Sided,
    profile: Profile,
}

/// What is known besides the incident and its profiles.
#[derive(Debug)]
pub(super) struct Known<'a> {
    /// The configuration in force.
    pub(super) spec: &'a ControlSpec,
    /// Cases of this installation; or why they cannot be read, for people.
    pub(super) cases: Result<Library, String>,
    /// What the kernel saw of the service's versions on this machine.
    pub(super) strips: Vec<(VersionName, Vec<Second>)>,
    /// Services that it calls, with how they answered.
    pub(super) dependencies: Vec<Dependency>,
    /// Whether profiles are taken of it, as the configuration in force has it.
    pub(super) is_profiled: bool,
}

/// Explains an incident with everything that is known of it.
pub(super) fn conclude(
    incident: &Incident,
    black_box: Option<&BlackBox>,
    held: &[Held],
    known: Known<'_>,
    at: Timestamp,
) -> Found {
    let read = |of: Sided| {
        // We wrote it ourselves; one that cannot be read would be our own mistake, and says nothing.
        let profile = pprof::read(&of.window.packed, &PprofLimits::default()).ok()?;
        Some(Read { of, profile })
    };
    let windows: Vec<Read> = sides(incident, held).into_iter().filter_map(read).collect();
    let Kernel { signals, seen, strips } = of_sides(incident, &known.strips);
    let mut evidence = CauseEvidence {
        service: incident.service.clone(),
        began_at: incident.began_at,
        judged: judged(incident),
        changes: incident.changes.clone(),
        shapes: black_box.map(|black_box| shapes(incident, black_box, known.spec)).unwrap_or_default(),
        is_profiled: known.is_profiled,
        profiles: None,
        patterns: Vec::new(),
        signals,
        dependencies: known.dependencies,
    };
    let (mut frames, mut cases, mut missing) = (Vec::new(), Vec::new(), Vec::new());
    let library = known.cases.unwrap_or_else(|why| {
        missing.push(format!("cases of this installation, which cannot be read: {why}"));
        Library::shipped()
    });
    if !windows.is_empty() {
        let numbers = black_box.map(|black_box| numbers(incident, black_box, &known.strips)).unwrap_or_default();
        let compared = compare(incident, &windows, numbers, &library);
        frames = compared.frames;
        cases = compared.cases;
        missing.extend(compared.missing);
        evidence.profiles = Some(compared.profiles);
        evidence.patterns = compared.patterns;
    }
    let (profiles, too_large) = kept(&windows);
    let mut explanation = explain(&evidence, at);
    explanation.missing.extend(missing.into_iter().chain(too_large));
    explanation.profiles = profiles.iter().map(|kept| kept.seen.clone()).collect();
    (explanation.frames, explanation.cases, explanation.kernel) = (frames, cases, seen);
    Found { explanation, profiles, kernel: strips }
}

/// What the sequential test said, if it is why there is an incident.
fn judged(incident: &Incident) -> Option<Judged> {
    let Subject::Canary { canary, .. } = &incident.subject else { return None };
    let verdict = incident.milestones.iter().find(|milestone| milestone.what == "verdict")?;
    Some(Judged { version: canary.clone(), text: verdict.detail.clone() })
}

struct Compared {
    profiles: ProfileCompared,
    patterns: Vec<Pattern>,
    frames: Vec<FrameMoved>,
    cases: Vec<CaseAlike>,
    missing: Vec<String>,
}

fn compare(incident: &Incident, windows: &[Read], numbers: Numbers, library: &Library) -> Compared {
    let of = |side: ProfileSide, measured: Measured| -> Vec<&Profile> {
        let there = windows.iter().filter(|read| read.of.side == side && read.of.window.measured == measured);
        // Without requests a canary does what it does beside them, which is not what was harmful.
        let there = there.filter(|read| side == ProfileSide::Good || has_traffic(incident, &numbers, &read.of));
        there.map(|read| &read.profile).collect()
    };
    let moments = |side: ProfileSide| -> Vec<(&str, &Profile)> {
        let census = windows.iter().filter(|read| {
            let is_of_harm =
                || has_traffic(incident, &numbers, &read.of) || is_next_after_harm(incident, windows, read);
            let is_moment = read.of.window.measured == Measured::Goroutines;
            // What is compared with has requests all the time; without them a canary waits for nothing.
            read.of.side == side && is_moment && (side == ProfileSide::Good || is_of_harm())
        });
        census.map(|read| (read.of.profiled.endpoint.as_str(), &read.profile)).collect()
    };
    let observed = |side, evidence: &Evidence| {
        let (mut evidence, mut moments) = (evidence.clone(), moments(side));
        match numbers.traffic {
            Traffic::Alike => evidence.append(&mut counted(moments.iter().copied())),
            // Few requests that wait more than many do are telling.
            Traffic::Less => {}
            // Nine times the requests have nine times the goroutines, at the same places.
            Traffic::More => moments.clear(),
        }
        let census = moments.iter().map(|(_, profile)| *profile);
        Observed::new(of(side, Measured::Cpu), evidence).with_census(census, moments.len() as f64)
    };
    let (good, bad) = (observed(ProfileSide::Good, &numbers.good), observed(ProfileSide::Bad, &numbers.bad));
    let signs = Signs::of_sides(&good, &bad).of_an_incident();
    let said = explain_profile(&signs, library);
    // That there are too few samples to compare at all is told with the causes, once.
    let enough = said.has_enough_samples();
    let missing = if enough { said.missing } else { signs.missing };
    let columns = |side| -> Vec<(&Profile, usize)> {
        of(side, Measured::Cpu).into_iter().map(|profile| (profile, profile.samples_column())).collect()
    };
    let (good, bad) = (columns(ProfileSide::Good), columns(ProfileSide::Bad));
    let moved = diff(&good, &bad, &DiffOptions::default());
    let frames: Vec<FrameMoved> = moved
        .moved
        .iter()
        .take(FRAMES_MAX)
        .map(|moved| FrameMoved { function: moved.function.clone(), good: parts(moved.good), bad: parts(moved.bad) })
        .collect();
    let points = |frame: &FrameMoved| (frame.function.clone(), (i32::from(frame.bad) - i32::from(frame.good)) / 100);
    Compared {
        profiles: ProfileCompared {
            good_samples: moved.good.samples,
            bad_samples: moved.bad.samples,
            enough,
            moved: frames.iter().map(points).collect(),
        },
        patterns: said
            .patterns
            .into_iter()
            .map(|named| Pattern {
                name: named.pattern,
                confidence: named.score,
                lines: named.evidence,
                confirm: named.next,
                without_samples: named.without_samples,
            })
            .collect(),
        frames,
        missing,
        cases: said
            .cases
            .neighbours
            .into_iter()
            .take(CASES_MAX)
            .map(|case| CaseAlike {
                id: case.id,
                pattern: case.pattern,
                likeness_percent: (case.likeness * 100.0).clamp(0.0, 100.0) as u8,
            })
            .collect(),
    }
}

/// Windows after a canary was taken back in which the requests that it had then are still under way: a queue takes as long to end
/// as it took to grow.
const QUEUE_ENDS_WINDOWS: u64 = 2;

/// How late after the verdict a census may be the first and still tell of the harm: the queue of a second, drained at a fifth of
/// the speed at which it grew.
const NEXT_CENSUS_WITHIN: Span = Span::from_secs(5);

/// Whether requests were under way in a window. Those of a canary come with its first request, and end after it was taken back.
fn has_traffic(incident: &Incident, numbers: &Numbers, of: &Sided) -> bool {
    let Some(since) = numbers.with_traffic else { return true };
    since <= of.window.to
        && of.window.from <= incident.opened_at + Span::from_ns(QUEUE_ENDS_WINDOWS * of.profiled.window.ns())
}

/// Whether it is the first census of its program after the verdict, and soon enough: giving names to samples can take so long that
/// none is due while requests are under way, and what waited then ends one after the other.
fn is_next_after_harm(incident: &Incident, windows: &[Read], read: &Read) -> bool {
    let (opened, at) = (incident.opened_at, read.of.window.from);
    let is_earlier =
        |other: &Read| group(other) == group(read) && opened <= other.of.window.from && other.of.window.from < at;
    opened <= at && at <= opened + NEXT_CENSUS_WITHIN && !windows.iter().any(is_earlier)
}

/// A share in hundredths of a percent.
fn parts(share: f64) -> u16 {
    (share * 10_000.0).round().clamp(0.0, 10_000.0) as u16
}

/// One profile a side, version, program and kind, all its windows added up; and what did not fit.
fn kept(windows: &[Read]) -> (Vec<ProfileKept>, Vec<String>) {
    let mut groups: Vec<Group<'_>> = windows.iter().map(group).collect();
    groups.sort();
    groups.dedup();
    let packed = groups.into_iter().filter_map(|wanted| {
        let of: Vec<&Read> = windows.iter().filter(|read| group(read) == wanted).collect();
        let sum = merge(of.iter().map(|read| &read.profile))?;
        let packed = pprof::write(&sum);
        let (side, version, endpoint, measured) = wanted;
        let column = sum.samples_column();
        let seen = ProfileSeen {
            side,
            version: version.clone(),
            kind: measured.name().to_owned(),
            from: of.iter().map(|read| read.of.window.from).min().unwrap_or_default(),
            to: of.iter().map(|read| read.of.window.to).max().unwrap_or_default(),
            windows: u32::try_from(of.len()).unwrap_or(u32::MAX),
            samples: sum.rows().filter_map(|row| row.values.get(column)).map(|count| count.unsigned_abs()).sum(),
        };
        Some((seen, endpoint, packed))
    });
    within_limits(packed, KEPT_BYTES_MAX, KEPT_ALL_BYTES_MAX)
}

/// What is kept, and what is not for its size: those that are too large by themselves, and of the others the largest until the rest
/// fits.
fn within_limits(
    packed: impl IntoIterator<Item = (ProfileSeen, String, Vec<u8>)>,
    bytes_max: usize,
    all_bytes_max: usize,
) -> (Vec<ProfileKept>, Vec<String>) {
    let (mut kept, mut left_out, mut bytes) = (Vec::new(), Vec::new(), 0);
    let not_kept = |seen: &ProfileSeen, endpoint: &str, why: &str| {
        format!("the {} profile of {} at {endpoint} is not kept: {why}", seen.kind, seen.version)
    };
    for (seen, endpoint, packed) in packed {
        if bytes_max < packed.len() {
            left_out.push(not_kept(&seen, &endpoint, "it is too large"));
            continue;
        }
        bytes += packed.len();
        kept.push((seen, endpoint, packed));
        while all_bytes_max < bytes {
            let largest = (0..kept.len()).max_by_key(|at| kept.get(*at).map_or(0, |(.., packed)| packed.len()));
            let Some(largest) = largest else { break };
            let (seen, endpoint, packed) = kept.remove(largest);
            bytes -= packed.len();
            left_out.push(not_kept(&seen, &endpoint, "all of them together are too large"));
        }
    }
    let encoded = |(seen, endpoint, packed)| ProfileKept { seen, endpoint, pprof: STANDARD.encode::<Vec<u8>>(packed) };
    (kept.into_iter().map(encoded).collect(), left_out)
}

/// What is added up to one profile.
type Group<'a> = (ProfileSide, &'a VersionName, String, Measured);

fn group(read: &Read) -> Group<'_> {
    let Sided { side, profiled, window } = &read.of;
    (*side, &profiled.version, profiled.endpoint.clone(), window.measured)
}

#[cfg(test)]
mod tests {
    use std::{
        net::SocketAddr,
        path::{Path, PathBuf},
        sync::{Arc, Mutex},
    };

    use homeostat_explain_profile::Case;
    use homeostat_model::{
        evidence::EventCounts,
        explanation::CauseKind,
        profile::{Frame, LabelSet, LabelValue, Stack, Text, ValueType},
    };

    use super::{
        super::{
            testing,
            watch::{Ring, Window},
        },
        *,
    };
    use crate::config::{Profiled, Taken};

    const BEGAN: Timestamp = Timestamp::from_unix_ms(1_800_000_000_000);
    const WINDOW: Span = Span::from_secs(10);

    fn corpus(file: &str) -> PathBuf {
        Path::new(env!("CARGO_MANIFEST_DIR")).join("../../corpus/kv").join(file)
    }

    fn episode(file: &str) -> Profile {
        pprof::read(&std::fs::read(corpus(file)).unwrap(), &PprofLimits::default()).unwrap()
    }

    /// The windows of an episode, told apart by their label, one after the other from an instant on.
    fn windows(file: &str, from: Timestamp) -> Vec<Window> {
        let all = episode(file);
        let window_of = |row: &homeostat_model::profile::Row<'_>| {
            let labels = all.labels(row.labels);
            labels.iter().find_map(|(name, value)| match value {
                LabelValue::Number { value, .. } if all.text(*name) == "window" => Some(*value),
                _ => None,
            })
        };
        let mut numbers: Vec<i64> = all.rows().filter_map(|row| window_of(&row)).collect();
        numbers.sort_unstable();
        numbers.dedup();
        let window = |(at, number): (i64, &i64)| {
            let mut profile = all.clone().with_types(all.types().to_vec());
            for row in all.rows().filter(|row| window_of(row) == Some(*number)) {
                profile.add(row.stack, row.labels, row.values);
            }
            window(Measured::Cpu, from, at, &profile)
        };
        (0..).zip(&numbers).map(window).collect()
    }

    fn window(measured: Measured, from: Timestamp, at: i64, profile: &Profile) -> Window {
        let from = Timestamp::from_unix_ms(from.unix_ms() + at * 10_000);
        Window { measured, from, to: from + WINDOW, packed: pprof::write(profile).into() }
    }

    /// Three moments of goroutines: eight wait for requests, so many for a lock.
    fn goroutines(from: Timestamp, for_the_lock: i64) -> Vec<Window> {
        let mut profile = Profile::new(vec![ValueType::new("goroutine", "count")]);
        let server = ["net/http.(*conn).serve", "internal/poll.(*FD).Read", "internal/poll.runtime_pollWait"];
        let lock = ["net/http.(*conn).serve", "main.(*cache).get", "sync.(*Mutex).Lock", "sync.(*Mutex).lockSlow"];
        for (stack, count) in [(&server[..], 8), (&lock[..], for_the_lock)] {
            let push = |at: Stack, name: &&str| {
                let (function, none) = (profile.intern(name), Text::EMPTY);
                profile
                    .push_frame(at, Frame { function, file: none, line: 0, module: none, address: 0, inlined: false })
            };
            let at = stack.iter().fold(Stack::EMPTY, push);
            profile.add(at, LabelSet::NONE, &[count]);
        }
        (0..3).map(|at| window(Measured::Goroutines, from, at, &profile)).collect()
    }

    fn incident() -> Incident {
        testing::burning("kv", "kv-latency", BEGAN)
    }

    fn held(windows: Vec<Window>) -> Vec<Held> {
        let endpoint: SocketAddr = "10.0.0.1:80".parse().unwrap();
        let profiled = Profiled {
            service: "kv".parse().unwrap(),
            version: "v1".parse().unwrap(),
            endpoint: endpoint.to_string(),
            taken: Taken::ByItself { base: format!("http://{endpoint}") },
            window: WINDOW,
            capture: WINDOW,
        };
        let mut ring = Ring::default();
        for window in windows {
            ring.push(window);
        }
        vec![Held { profiled, ring: Arc::new(Mutex::new(ring)) }]
    }

    const BEFORE: Timestamp = Timestamp::from_unix_ms(1_800_000_000_000 - 120_000);

    /// What is said about these windows with these cases.
    fn concluded_with(all: Vec<Window>, cases: Result<Library, String>) -> Found {
        let known = Known {
            spec: &ControlSpec::default(),
            cases,
            strips: Vec::new(),
            dependencies: Vec::new(),
            is_profiled: true,
        };
        conclude(&incident(), None, &held(all), known, BEGAN + Span::from_mins(1))
    }

    fn concluded(before: &str, since: &str) -> Found {
        let mut all = windows(before, BEFORE);
        all.extend(windows(since, BEGAN));
        concluded_with(all, Ok(Library::shipped()))
    }

    fn first(found: &Found) -> Option<(CauseKind, &str)> {
        found.explanation.hypotheses.first().map(|first| (first.kind, first.subject.as_str()))
    }

    /// A fault that no detector knows, and a service whose goroutines wait as before: an incident is harm all the same.
    #[test]
    fn a_label_of_the_user_is_named_when_its_fault_comes_again() {
        let (before, since) = ("kv-normal-l2-2.cpu.pb.gz", "kv-unknown_big_sort-4.cpu.pb.gz");
        let all = || {
            let mut all = windows(before, BEFORE);
            all.extend(windows(since, BEGAN));
            all.extend(goroutines(BEFORE, 0));
            all.extend(goroutines(BEGAN, 0));
            all
        };
        let shipped = concluded_with(all(), Ok(Library::shipped()));
        assert_eq!(first(&shipped), None, "{:#?}", shipped.explanation);
        let signs = Signs::of_sides(
            &Observed::new([&episode(before)], Evidence::new()),
            &Observed::new([&episode(since)], Evidence::new()),
        );
        let case = Case {
            id: "INC-7".to_owned(),
            pattern: "sorts_everything".to_owned(),
            program: "kv".to_owned(),
            note: String::new(),
            vector: signs.vector,
            paths: signs.paths,
        };
        let own = Library::shipped().joined(Library { cases: vec![case] });
        let found = concluded_with(all(), Ok(own));
        assert_eq!(first(&found), Some((CauseKind::Pattern, "sorts_everything")), "{:#?}", found.explanation);
        assert_eq!(found.explanation.cases[0].id, "INC-7");
    }

    #[test]
    fn a_service_that_is_called_and_fails_is_a_suspect() {
        let events = |bad| EventCounts { good: 1000, bad };
        let spec = ControlSpec::default();
        let known = |bad| Known {
            spec: &spec,
            cases: Ok(Library::default()),
            strips: Vec::new(),
            dependencies: vec![Dependency { name: "stock".to_owned(), before: events(0), during: events(bad) }],
            is_profiled: false,
        };
        let found = |bad| conclude(&incident(), None, &[], known(bad), BEGAN + Span::from_mins(1));
        assert_eq!(first(&found(500)), Some((CauseKind::Dependency, "stock")));
        assert_eq!(first(&found(1)), None, "one of a thousand");
    }

    #[test]
    fn goroutines_that_wait_for_a_lock_are_evidence() {
        // Enough samples for a firm word: two episodes a side.
        let (one, other) = ("kv-normal-l2-1.cpu.pb.gz", "kv-normal-l2-2.cpu.pb.gz");
        let later = |from: Timestamp| from + Span::from_secs(50);
        let sides = [(one, BEFORE), (other, later(BEFORE)), (other, BEGAN), (one, later(BEGAN))];
        let mut all: Vec<Window> = sides.into_iter().flat_map(|(file, from)| windows(file, from)).collect();
        all.extend(goroutines(BEFORE, 0));
        let mut well = all.clone();
        all.extend(goroutines(BEGAN, 40));
        let found = concluded_with(all, Ok(Library::shipped()));
        assert_eq!(first(&found), Some((CauseKind::Pattern, "lock_contention")), "{:#?}", found.explanation);
        let line = "waiting for lock: 0.0 before, 40.0 now";
        assert!(
            found.explanation.hypotheses[0].evidence.iter().any(|e| e.text.contains(line)),
            "{:#?}",
            found.explanation
        );
        well.extend(goroutines(BEGAN, 0));
        assert_eq!(first(&concluded_with(well, Ok(Library::shipped()))), None);
    }

    /// A canary had requests until the verdict, and no census was due in that time: the first one afterwards tells what waits, those
    /// behind it what is left.
    #[test]
    fn the_first_census_after_the_verdict_is_of_the_harm() {
        let incident = incident();
        let moment = |side: ProfileSide, from: Timestamp, for_the_lock: i64| {
            let window = goroutines(from, for_the_lock).remove(0);
            let profile = pprof::read(&window.packed, &PprofLimits::default()).unwrap();
            let profiled = Profiled { window: Span::from_secs(1), ..held(Vec::new()).remove(0).profiled };
            Read { of: Sided { side, profiled, window: Window { to: window.from, ..window } }, profile }
        };
        let patterns = |after: &[(u64, i64)]| {
            let bad = |&(seconds, for_the_lock): &(u64, i64)| {
                moment(ProfileSide::Bad, incident.opened_at + Span::from_secs(seconds), for_the_lock)
            };
            // Of the baseline one is from before the canary had any request.
            let windows: Vec<Read> =
                std::iter::once(moment(ProfileSide::Good, BEFORE, 0)).chain(after.iter().map(bad)).collect();
            let numbers = Numbers { with_traffic: Some(BEGAN), traffic: Traffic::Less, ..Numbers::default() };
            let compared = compare(&incident, &windows, numbers, &Library::shipped());
            compared.patterns.into_iter().map(|pattern| pattern.name).collect::<Vec<_>>()
        };
        assert_eq!(patterns(&[(4, 40)]), ["lock_contention"]);
        assert_eq!(patterns(&[(4, 0), (5, 40)]), [""; 0], "the queue had ended");
        assert_eq!(patterns(&[(6, 40)]), [""; 0], "too late to be of the harm");
    }

    /// Nine in ten requests wait at the place where one in ten did, nine times as many of them.
    #[test]
    fn goroutines_of_most_of_the_traffic_are_no_leak() {
        let waiting = |from: Timestamp, side: ProfileSide, count: i64| {
            let mut profile = Profile::new(vec![ValueType::new("goroutine", "count")]);
            let stack = ["net/http.(*conn).serve", "main.follow", "runtime.selectgo", "runtime.gopark"];
            let push = |at: Stack, name: &&str| {
                let (function, none) = (profile.intern(name), Text::EMPTY);
                profile
                    .push_frame(at, Frame { function, file: none, line: 0, module: none, address: 0, inlined: false })
            };
            let at = stack.iter().fold(Stack::EMPTY, push);
            profile.add(at, LabelSet::NONE, &[count]);
            let window = window(Measured::Goroutines, from, 0, &profile);
            let profiled = held(Vec::new()).remove(0).profiled;
            Read { of: Sided { side, profiled, window }, profile }
        };
        let windows = [waiting(BEFORE, ProfileSide::Good, 50), waiting(BEGAN, ProfileSide::Bad, 450)];
        let patterns = |traffic: Traffic| {
            let numbers = Numbers { traffic, ..Numbers::default() };
            let compared = compare(&incident(), &windows, numbers, &Library::shipped());
            compared.patterns.into_iter().map(|pattern| pattern.name).collect::<Vec<_>>()
        };
        assert_eq!(patterns(Traffic::Alike), ["goroutine_leak"]);
        assert_eq!(patterns(Traffic::Less), ["goroutine_leak"], "with fewer requests it is one even more");
        assert_eq!(patterns(Traffic::More), [""; 0]);
    }

    #[test]
    fn all_profiles_of_an_incident_have_one_limit_and_the_largest_go() {
        let of = |kind: &str, bytes: usize| {
            let seen = ProfileSeen {
                side: ProfileSide::Bad,
                version: "v1".parse().unwrap(),
                kind: kind.to_owned(),
                from: BEGAN,
                to: BEGAN,
                windows: 1,
                samples: 1,
            };
            (seen, "10.0.0.1:80".to_owned(), vec![0_u8; bytes])
        };
        let all = || [("a", 40), ("b", 101), ("c", 60), ("d", 100), ("e", 100)].map(|(kind, bytes)| of(kind, bytes));
        let (kept, left_out) = within_limits(all(), 100, 200);
        assert_eq!(kept.iter().map(|kept| kept.seen.kind.as_str()).collect::<String>(), "acd");
        assert_eq!(
            left_out,
            [
                "the b profile of v1 at 10.0.0.1:80 is not kept: it is too large",
                "the e profile of v1 at 10.0.0.1:80 is not kept: all of them together are too large",
            ]
        );
        assert_eq!(STANDARD.decode(&kept[1].pprof).unwrap().len(), 60);
    }

    /// A few samples may fall anywhere; forty goroutines at a lock where nobody was are forty.
    #[test]
    fn few_samples_make_a_pattern_of_samples_unlikely_and_no_other() {
        let few = |file: &str| {
            let all = episode(file);
            let ones = vec![1; all.types().len()];
            let mut few = all.clone().with_types(all.types().to_vec());
            for row in all.rows().take(40) {
                few.add(row.stack, row.labels, &ones);
            }
            few
        };
        let sides = |now: &str| {
            let before = window(Measured::Cpu, BEFORE, 0, &few("kv-normal-l2-1.cpu.pb.gz"));
            vec![before, window(Measured::Cpu, BEGAN, 0, &few(now))]
        };
        let mut waiting = sides("kv-normal-l2-1.cpu.pb.gz");
        waiting.extend(goroutines(BEFORE, 0));
        waiting.extend(goroutines(BEGAN, 40));
        let found = concluded_with(waiting, Ok(Library::shipped()));
        assert_eq!(first(&found), Some((CauseKind::Pattern, "lock_contention")), "{:#?}", found.explanation);
        let of_samples = |line: &&String| line.contains("samples to compare") || line.contains("are wanted");
        assert_eq!(found.explanation.missing.iter().filter(of_samples).count(), 1, "{:?}", found.explanation.missing);
        let found = concluded_with(sides("kv-regex-4.cpu.pb.gz"), Ok(Library::shipped()));
        assert_eq!(first(&found), None, "{:#?}", found.explanation);
    }

    #[test]
    fn what_would_have_told_more_is_said() {
        let mut all = windows("kv-normal-l2-1.cpu.pb.gz", BEFORE);
        all.extend(windows("kv-normal-l2-2.cpu.pb.gz", BEGAN));
        let Found { explanation, .. } = concluded_with(all, Err("cases.jsonl: line 2: no case".to_owned()));
        let missing = explanation.missing.join("\n");
        for said in ["a census of both sides", "cases.jsonl: line 2: no case", "requests and CPU seconds"] {
            assert!(missing.contains(said), "{said} is not in\n{missing}");
        }
        assert!(!missing.contains("whether anything got worse"), "{missing}");
    }

    #[test]
    fn a_real_fault_is_named_with_its_functions_and_both_profiles() {
        let Found { explanation, profiles, .. } = concluded("kv-normal-l2-1.cpu.pb.gz", "kv-regex-4.cpu.pb.gz");
        let first = &explanation.hypotheses[0];
        assert_eq!((first.kind, first.subject.as_str()), (CauseKind::Pattern, "regex"), "{explanation:#?}");
        assert!(explanation.frames.iter().any(|frame| frame.function.starts_with("regexp") && frame.good < frame.bad));
        let sides: Vec<_> = profiles.iter().map(|kept| (kept.seen.side, kept.seen.windows)).collect();
        assert_eq!(sides, [(ProfileSide::Good, 5), (ProfileSide::Bad, 5)]);
        let bytes = STANDARD.decode(&profiles[1].pprof).unwrap();
        let kept = pprof::read(&bytes, &PprofLimits::default()).unwrap();
        assert_eq!(samples_of(&kept), profiles[1].seen.samples);
        assert_eq!(profiles[1].seen.samples, 6711, "as the corpus says");
    }

    #[test]
    fn two_windows_of_one_behaviour_name_nothing() {
        let Found { explanation, profiles, .. } = concluded("kv-normal-l2-1.cpu.pb.gz", "kv-normal-l2-2.cpu.pb.gz");
        assert!(explanation.hypotheses.is_empty(), "{explanation:#?}");
        assert_eq!((profiles.len(), explanation.frames.len()), (2, 0), "{:?}", explanation.frames);
    }

    #[test]
    fn without_profiles_it_says_so() {
        let Found { explanation, profiles, .. } = conclude(
            &incident(),
            None,
            &[],
            Known {
                spec: &ControlSpec::default(),
                cases: Ok(Library::default()),
                strips: Vec::new(),
                dependencies: Vec::new(),
                is_profiled: false,
            },
            BEGAN,
        );
        assert!(explanation.hypotheses.is_empty() && profiles.is_empty());
        assert!(explanation.missing.iter().any(|line| line.contains("give the service `profiling`")));
        let Found { explanation, .. } = concluded_with(Vec::new(), Ok(Library::default()));
        assert!(explanation.missing.iter().any(|line| line.contains("no window of that time is held")));
    }

    fn samples_of(profile: &Profile) -> u64 {
        let column = profile.samples_column();
        profile.rows().map(|row| row.values[column].unsigned_abs()).sum()
    }
}
