//! The exposition encoder against the reference checker, `promtool check metrics`, where it is installed.

use std::{
    io::Write as _,
    process::{Command, Stdio},
};

use homeostat_wire::exposition::{Exposition, FamilyKind, HistogramSample};

#[test]
fn promtool_accepts_what_the_encoder_writes() {
    let mut text = String::new();
    let mut exposition = Exposition::new(&mut text);
    let mut requests = exposition.family("homeostat_requests_total", FamilyKind::Counter, "Requests by route.");
    requests.count(&[("route", "checkout \"new\"\n"), ("code", "200")], 12);
    requests.count(&[("route", "ünïcode \\ path"), ("code", "500")], u64::MAX);
    exposition.family("homeostat_budget_left_ratio", FamilyKind::Gauge, "Budget left.").sample(&[], -0.25);
    exposition
        .family("homeostat_step_duration_seconds", FamilyKind::Histogram, "Duration of a step.")
        .histogram(&[("part", "control")], HistogramSample { buckets: &[(0.001, 4), (0.01, 2)], above: 1, sum: 0.5 });

    let Ok(mut promtool) = Command::new("promtool")
        .args(["check", "metrics"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
    else {
        println!("promtool is not installed: nothing was compared");
        return;
    };
    promtool.stdin.take().unwrap().write_all(text.as_bytes()).unwrap();
    let output = promtool.wait_with_output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr).into_owned() + &String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success() && said.trim().is_empty(), "{said}\n{text}");
}
