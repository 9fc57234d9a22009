//! Explanations arrive late: while an incident is open, or after it is over.

use crate::script::run;

const ROLLED_BACK: &str = "
    service shop v1=100 v2=0
    guard cooldown=0s
    rollout r shop v1>v2 5:pause:60s
    reload
    start r
    load 10s shop=2000 shop/v1=0.1% shop/v2=0.1%
    load 1s shop=2000 shop/v1=0.1% shop/v2=30%
";

/// Lines that tell an explanation, in every record of an incident; the same however often the state is restored.
fn explained(script: &str) -> Vec<String> {
    let said = run(&format!("{ROLLED_BACK}{script}"), 0);
    for restore_every in [1_009, 7] {
        assert_eq!(said, run(&format!("{ROLLED_BACK}{script}"), restore_every));
    }
    let told = said.lines().filter(|line| line.contains(" explained: ") || line.contains("Closed"));
    told.map(|line| line.split_whitespace().collect::<Vec<_>>().join(" ")).collect()
}

#[test]
fn an_open_incident_keeps_its_explanation_until_it_is_closed() {
    let told = explained(
        "explain INC-1 kernel signals
         explain INC-9 nobody knows this incident
         load 7s shop=2000 shop/v1=0.1%
         explain INC-1 a closed incident is explained once",
    );
    assert_eq!(
        told,
        [
            "15.330s incident INC-1 Closed, began 10.000s, harmed 8 of 10680",
            "| 11.010s explained: not enough evidence to name a cause; missing: kernel signals",
        ]
    );
}

#[test]
fn a_closed_incident_is_explained_once_also_after_a_restart() {
    let told = explained(
        "load 6s shop=2000 shop/v1=0.1%
         restart 1s
         explain INC-1 profiles of both sides
         explain INC-1 told once",
    );
    assert_eq!(told.len(), 3, "{told:?}");
    assert!(told[0].contains("incident INC-1 Closed") && told[1].contains("incident INC-1 Closed"), "{told:?}");
    assert!(told[2].ends_with("missing: profiles of both sides"), "{told:?}");
}
