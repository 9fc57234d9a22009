//! A real Go program, not changed for it, begins to leak goroutines behind the gateway: its incident says so, and who starts them.

#![cfg(test)]

mod common;

use std::{
    io::{BufRead as _, BufReader, Write as _},
    path::Path,
    process::{Child, Command, Stdio},
};

use common::{around, explained, quick_objective, start, until_answered};
use homeostat_load::{Load, Mix};
use homeostat_model::explanation::CauseKind;
use homeostat_sense_kernel::{ProbeState, examine};
use tokio_util::sync::CancellationToken;

/// Requests a second: 6000 goroutines.
const RATE: f64 = 200.0;
/// Answers before anything breaks: seconds of the good side.
const ANSWERS_BEFORE: u64 = 800;

/// The program; it ends with its standard input.
struct Pages {
    child: Child,
    address: String,
}

impl Pages {
    /// `None`, said aloud, without Go.
    fn start(dir: &Path) -> Option<Self> {
        let (program, here) = (dir.join("pages"), Path::new(env!("CARGO_MANIFEST_DIR")));
        let mut go = Command::new("go");
        go.args(["build", "-o"]).arg(&program).current_dir(here.join("../sense-kernel/tests/programs/handing"));
        let Ok(built) = go.env("GOCACHE", Path::new(env!("CARGO_TARGET_TMPDIR")).join("go-cache")).status() else {
            println!("SKIPPED: a Go program that leaks goroutines: there is no `go` (package golang-go)");
            return None;
        };
        assert!(built.success());
        let mut child = Command::new(program).stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
        let mut address = String::new();
        BufReader::new(child.stdout.take().unwrap()).read_line(&mut address).unwrap();
        Some(Self { child, address: address.trim().to_owned() })
    }

    fn is_late_from_now_on(&mut self) {
        writeln!(self.child.stdin.as_mut().unwrap(), "late").unwrap();
    }
}

impl Drop for Pages {
    fn drop(&mut self) {
        drop(self.child.stdin.take());
        let _gone_already = self.child.wait();
    }
}

fn config(dir: &Path, pages: &str) -> String {
    let service = format!(
        "apiVersion: homeostat/v1
kind: Service
metadata: {{name: pages}}
spec:
  versions: {{v1: 'http://{pages}'}}
  profiling: {{from: kernel, window: 1s}}
---
apiVersion: homeostat/v1
kind: Route
metadata: {{name: pages}}
spec: {{service: pages}}
"
    );
    let answered = "{ratioMetric: {bad: {metricSource: {type: Homeostat, spec: {outcome: failed}}}, \
                    total: {metricSource: {type: Homeostat}}}}";
    around(dir) + &service + &quick_objective("pages", answered, "")
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn goroutines_that_nobody_ends_are_named_with_who_starts_them() {
    let works = examine().into_iter().find(|probe| probe.name == "goroutines").unwrap();
    if works.state != ProbeState::Ok || !cfg!(target_arch = "x86_64") {
        println!("SKIPPED: {works:?}");
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    let Some(mut pages) = Pages::start(dir.path()) else { return };
    let running = start(dir.path(), &config(dir.path(), &pages.address)).await;
    let (_, gateway) = running.gateway_addresses().remove(0);
    let load = Load::new(gateway, RATE, Mix::Get("/".to_owned())).spawn(CancellationToken::new()).unwrap();
    until_answered(&running, "pages", ANSWERS_BEFORE).await;
    pages.is_late_from_now_on();
    let incident = explained(&running, "pages").await;
    let first = incident.explanation.as_ref().unwrap().hypotheses.first();
    let Some(first) = first else { panic!("nothing is named: {incident:#?}") };
    assert_eq!((first.kind, first.subject.as_str()), (CauseKind::Pattern, "goroutine_leak"), "{incident:#?}");
    let says = |line: &str| line.contains("that main.page started wait for send, and have not ended");
    assert!(first.evidence.iter().any(|line| says(&line.text)), "{first:#?}");
    tokio::task::spawn_blocking(|| load.finish()).await.unwrap();
    running.stop().await;
}
