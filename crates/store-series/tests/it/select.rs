//! Which series matchers choose, against looking at every series.

use homeostat_promql::{Select, SeriesSource as _, Windows};
use homeostat_store_series::{Batch, LabelQuery, StoreOptions};
use homeostat_store_wal::SimDisk;
use proptest::prelude::*;

use crate::{PATIENCE, Seen, collected, fresh, labels, matchers, open, put, read};

fn fleet() -> Vec<String> {
    let mut series = Vec::new();
    for job in ["api", "web", "db"] {
        for instance in 0..8 {
            for name in ["up", "requests_total", "errors_total"] {
                series.push(format!("__name__={name} instance=10.0.0.{instance}:80 job={job}"));
            }
            series.push(format!("__name__=info instance=10.0.0.{instance}:80 job={job} version=v{}", instance % 3));
        }
    }
    series
}

const MATCHERS: [&str; 24] = [
    "__name__=up",
    "__name__=~up|info",
    "__name__=~.*_total",
    "__name__!=up",
    "__name__=~.+",
    "job=api",
    "job=",
    "job!=",
    "job!=api",
    "job=~api|db",
    "job=~(api|web)",
    "job!~a.*",
    "job=~",
    "job=nothing",
    "version=v1",
    "version=",
    "version!=",
    "version=~v1|",
    "version!~v1|v2",
    "version=~v.*",
    "instance=~10\\.0\\.0\\.[0-3]:80",
    "instance!~10.*2:80",
    "other=",
    "other=~.+",
];

proptest! {
    #[test]
    fn matchers_choose_what_looking_at_everything_chooses(chosen in proptest::collection::vec(0..MATCHERS.len(), 1..5)) {
        let fleet = fleet();
        let store = fresh();
        let samples: Vec<_> = fleet.iter().map(|series| (series.as_str(), 7, 1.0)).collect();
        put(&store, &samples);
        let text = chosen.iter().map(|at| MATCHERS[*at]).collect::<Vec<_>>().join(", ");
        let set = matchers(&text);
        let mut expected: Vec<_> = fleet
            .iter()
            .map(|series| labels(series))
            .filter(|labels| set.iter().all(|matcher| matcher.matches(labels.value(&matcher.name))))
            .collect();
        expected.sort();
        let got: Vec<_> = read(&store.snapshot(), &text, 0, 10).into_iter().map(|(labels, _)| labels).collect();
        prop_assert_eq!(&got, &expected, "{}", text);
        let query = LabelQuery { sets: &[&set], ..LabelQuery::default() };
        prop_assert_eq!(store.snapshot().series(&query).unwrap(), expected);
    }
}

#[test]
fn labels_are_listed_with_and_without_matchers() {
    let store = fresh();
    put(&store, &[("__name__=a x=1", 10, 1.0), ("__name__=b x=2 y=3", 20, 1.0), ("__name__=b x=4", 30, 1.0)]);
    let snapshot = store.snapshot();
    let everything = LabelQuery::default();
    assert_eq!(snapshot.label_names(&everything).unwrap(), ["__name__", "x", "y"]);
    assert_eq!(snapshot.label_values("x", &everything).unwrap(), ["1", "2", "4"]);
    assert_eq!(snapshot.label_values("x", &LabelQuery { limit: 2, ..everything }).unwrap(), ["1", "2"]);
    let (b, a) = (matchers("__name__=b"), matchers("__name__=a"));
    let only_b = LabelQuery { sets: &[&b], ..everything };
    assert_eq!(snapshot.label_values("x", &only_b).unwrap(), ["2", "4"]);
    assert_eq!(snapshot.label_values("x", &LabelQuery { end_ms: 25, ..only_b }).unwrap(), ["2"]);
    assert_eq!(snapshot.label_names(&LabelQuery { start_ms: 25, ..only_b }).unwrap(), ["__name__", "x"]);
    assert_eq!(snapshot.series(&LabelQuery { sets: &[&a, &b], ..everything }).unwrap().len(), 3);
    assert_eq!(store.top_values("__name__", 1)[0].text, "b");
    assert_eq!(store.top_labels(1)[0].text, "x");
}

#[test]
fn labels_of_a_part_of_the_time_are_those_of_its_series() {
    let disk = SimDisk::default();
    let (store, _) = open(&disk, StoreOptions::default());
    for at in 0..40_i64 {
        let (own, third) = (format!("__name__=x own={at}"), format!("__name__=y third={}", at % 3));
        put(&store, &[(&own, at * 1000, 1.0), (&third, at * 1000, 1.0)]);
    }
    put(&store, &[("__name__=z late=1", 39_000, 1.0)]);
    let check = |when: &str| {
        let snapshot = store.snapshot();
        let part = LabelQuery { start_ms: 10_000, end_ms: 20_000, ..LabelQuery::default() };
        let mut own = snapshot.label_values("own", &part).unwrap();
        own.sort_by_key(|value| value.parse::<i64>().unwrap());
        assert_eq!(own, (10..=20).map(|at| at.to_string()).collect::<Vec<_>>(), "{when}");
        assert_eq!(snapshot.label_values("third", &part).unwrap(), ["0", "1", "2"], "{when}");
        assert_eq!(snapshot.label_values("late", &part).unwrap(), [""; 0], "{when}");
        assert_eq!(snapshot.label_names(&part).unwrap(), ["__name__", "own", "third"], "{when}");
        let beyond = LabelQuery { start_ms: 60_000, ..LabelQuery::default() };
        assert!(snapshot.label_names(&beyond).unwrap().is_empty(), "{when}");
    };
    check("in memory");
    store.flush().unwrap();
    check("in a block");
    put(&store, &[("__name__=x own=39", 50_000, 1.0)]);
    check("in both");
}

#[test]
fn windows_with_gaps_give_what_lies_in_them() {
    let store = fresh();
    let mut batch = Batch::default();
    let series = [labels("__name__=x kind=ramp"), labels("__name__=x kind=noise"), labels("__name__=x kind=ended")];
    for t in 0..4000_i64 {
        batch.series_of(&series[0]).float(t * 10, t as f64 * 0.5);
        batch.series_of(&series[1]).float(t * 10 + t % 3, f64::from_bits(t as u64 * 0x1234_5678_9abc));
        if t < 100 {
            let value = if t == 99 { homeostat_model::sample::stale_marker() } else { t as f64 };
            batch.series_of(&series[2]).float(t * 10, value);
        }
    }
    let histogram = homeostat_model::Histogram { count: 1.0, zero_count: 1.0, ..Default::default() };
    batch.series_of(&series[2]).histogram(2_000, histogram);
    store.append(&mut batch).unwrap().ticket.wait(PATIENCE).unwrap();
    let check = |when: &str| {
        for (step_ms, width_ms) in [(1000, 50), (7000, 6999), (20_000, 1), (600, 300)] {
            let windows = Windows { first_ms: 500, step_ms, width_ms };
            let set = matchers("__name__=x");
            let select = Select { matchers: &set, start_ms: 500 - width_ms + 1, end_ms: 33_000 };
            let snapshot = store.snapshot();
            let within =
                |t: i64| (t - 500).rem_euclid(step_ms) == 0 || (t - 500).rem_euclid(step_ms) > step_ms - width_ms;
            let kept = |found: crate::Found| -> crate::Found {
                let keep = |samples: Vec<(i64, Seen)>| samples.into_iter().filter(|(t, _)| within(*t)).collect();
                let all = found.into_iter().map(|(labels, samples)| (labels, keep(samples)));
                all.filter(|(_, samples): &(_, Vec<_>)| !samples.is_empty()).collect()
            };
            let sifted = collected(snapshot.select_windows(&select, &windows).unwrap());
            let count = |found: &crate::Found| found.iter().map(|(_, samples)| samples.len()).sum::<usize>();
            let all = collected(snapshot.select(&select).unwrap());
            assert!(width_ms * 2 > step_ms || count(&sifted) < count(&all), "{when}: gaps are left out");
            assert_eq!(kept(sifted), kept(all), "{when} {step_ms} {width_ms}");
        }
    };
    check("in memory");
    store.flush().unwrap();
    check("in a block");
}
