//! Which series matchers choose, against looking at every series.

use homeostat_store_series::LabelQuery;
use proptest::prelude::*;

use crate::{fresh, labels, matchers, put, read};

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
