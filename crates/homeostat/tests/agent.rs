//! `homeostat agent` on bad days: the real binary against a real server, killed, cut off, starved and refused.

#![cfg(test)]

#[path = "common/metrics_server.rs"]
mod metrics_server;

#[path = "agent/world.rs"]
mod world;

use std::{
    collections::BTreeSet,
    fs,
    os::unix::fs::PermissionsExt as _,
    path::Path,
    process::{Command, Output, Stdio},
    sync::{
        Arc, Mutex,
        atomic::{AtomicU64, Ordering},
    },
};

use axum::{
    Router,
    http::{HeaderMap, StatusCode},
    response::IntoResponse as _,
    routing::{get, post},
};
use homeostat_model::profile::Profile;
use homeostat_relay_profiles::Entry;
use homeostat_store_wal::{RealDisk, survey};
use homeostat_wire::{
    pprof::{self, PprofLimits},
    pyroscope::decode_push,
};
use metrics_server::MetricsServer;
use serde_json::{Value, json};
use world::{
    Agent, QUICK, Target, WHATEVER, Way, all_once, command, found, goroutines, hanging, name_of, serve, until, value_of,
};

/// What all tests use.
struct World {
    dir: tempfile::TempDir,
    way: Way,
    target: Target,
}

impl World {
    async fn new() -> Self {
        Self { dir: tempfile::tempdir().unwrap(), way: Way::start().await, target: Target::start().await }
    }

    fn data(&self) -> std::path::PathBuf {
        self.dir.path().join("agent")
    }

    /// An agent that pulls the target as quickly as it may.
    fn agent(&self, more: &[&str]) -> Agent {
        let service = self.target.service();
        let budget = if more.contains(&"--cpu-budget") { &[][..] } else { &WHATEVER };
        Agent::start(&self.data(), &self.way.url(), &[&QUICK, budget, &["--service", &service], more].concat())
    }

    /// A server that the way leads to.
    fn server(&self) -> MetricsServer {
        let server = MetricsServer::start(&self.dir.path().join("server"));
        self.way.leads_to(Some(server.address));
        server
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_that_was_away_for_an_hour_gets_every_window_once() {
    let world = World::new().await;
    let agent = world.agent(&[]);
    // An hour of windows of 15 s.
    agent.at_least("windows_queued_total", 240.0).await;
    assert_eq!(agent.count("server_failing").await, 1);
    assert_eq!(agent.count("windows_shipped_total").await, 0);
    let status = agent.status().await;
    assert!(status["server"]["trouble"].as_str().unwrap().contains("cannot be reached"), "{status}");
    assert_eq!(status["services"][0]["state"], "pulled", "{status}");
    let windows = world.target.close();
    let server = world.server();
    agent.until_shipped().await;
    all_once(&server, windows).await;
    assert_eq!(agent.count("windows_shipped_total").await, windows);
    assert_eq!(agent.count("server_failing").await, 0);
    let log = agent.log();
    assert!(log.contains("windows wait") && log.contains("windows are shipped"), "{log}");
    assert_eq!(agent.stop(), Some(0));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_agent_that_is_killed_again_and_again_loses_nothing_and_repeats_nothing() {
    let world = World::new().await;
    let server = world.server();
    let mut unfinished = BTreeSet::new();
    for run in 0..12 {
        let agent = world.agent(&[]);
        agent.at_least("windows_shipped_total", f64::from(3 + run % 5)).await;
        agent.kill();
        // The next profile is asked for only when the one before is durable, so the last one alone may be lost: the one that
        // was given last, or the one that is given when the dead agent's last question is read.
        let given = world.target.given();
        unfinished.extend([name_of(given - 1), name_of(given)]);
        if run % 3 == 2 {
            // As if the answers had been lost: what the log still has is sent again.
            fs::remove_file(world.data().join("queue/shipped")).unwrap();
        }
    }
    let windows = world.target.close();
    let agent = world.agent(&[]);
    agent.until_shipped().await;
    let found = found(&server).await;
    for number in 0..windows {
        let (name, times) = (name_of(number), found.get(&name_of(number)).copied());
        assert!(times == Some(1) || (times.is_none() && unfinished.contains(&name)), "{name}: {times:?}");
    }
    let (_, metrics) = server.client().await.text("GET", "/metrics").await;
    assert!(0.0 < value_of(&metrics, "homeostat_profile_repeated_total").unwrap(), "windows were sent again");
    assert_eq!(value_of(&metrics, "homeostat_profile_senders"), Some(1.0), "it is the same agent all along");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_that_is_killed_again_and_again_has_every_window_once() {
    let world = World::new().await;
    let agent = world.agent(&[]);
    let mut shipped = 0.0;
    for _ in 0..5 {
        let server = world.server();
        shipped += 4.0;
        agent.at_least("windows_shipped_total", shipped).await;
        shipped = agent.metric("windows_shipped_total").await;
        world.way.leads_to(None);
        server.kill();
    }
    let windows = world.target.close();
    let server = world.server();
    agent.until_shipped().await;
    all_once(&server, windows).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn at_its_memory_limit_it_senses_nothing_and_ships_what_waits() {
    let world = World::new().await;
    let agent = world.agent(&[]);
    agent.at_least("windows_queued_total", 20.0).await;
    assert_eq!(agent.stop(), Some(0));
    let given = world.target.given();
    let agent = world.agent(&["--max-rss", "1MiB"]);
    let status = agent.status().await;
    assert_eq!(status["sensing"], json!({"level": 0.0, "held_back_by": ["memory"]}), "{status}");
    let server = world.server();
    agent.until_shipped().await;
    assert_eq!(world.target.given(), given, "nothing was asked for");
    assert!(20 <= found(&server).await.len());
    assert_eq!(agent.count(r#"held_back{reason="memory"}"#).await, 1);
    assert!(agent.metric("level").await.abs() < f64::EPSILON);
    assert_eq!(agent.count("memory_stops_total").await, 1);
    assert!(agent.metric("rss_bytes_limit").await < agent.metric("rss_bytes").await);
    assert!(agent.log().contains("memory is at its limit"), "{}", agent.log());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn beyond_its_budget_it_backs_off_step_by_step() {
    let world = World::new().await;
    let server = world.server();
    let agent = world.agent(&["--cpu-budget", "0.0001"]);
    until("nothing is sensed", async || (agent.metric("level").await.abs() < f64::EPSILON).then_some(())).await;
    assert_eq!(agent.count("back_offs_total").await, 2);
    assert_eq!(agent.count(r#"held_back{reason="budget"}"#).await, 1);
    assert!(agent.metric("cpu_share_budget").await < agent.metric("cpu_share").await);
    let log = agent.log();
    assert!(log.contains("from=Full to=Half") && log.contains("from=Half to=Off"), "{log}");
    agent.until_shipped().await;
    assert!(!found(&server).await.is_empty());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_target_that_hangs_in_the_middle_holds_nobody_up() {
    let world = World::new().await;
    let hung = format!("hung=url:http://{}", hanging().await);
    let server = world.server();
    let agent = world.agent(&["--service", &hung]);
    agent.at_least("windows_shipped_total", 10.0).await;
    until("the hung one is given up", async || {
        let status = agent.status().await;
        (status["services"][1]["state"] == "failing").then_some(status)
    })
    .await;
    let before = agent.metric("windows_shipped_total").await;
    agent.at_least("windows_shipped_total", before + 5.0).await;
    let up = |service: &str| {
        let (name, source) = service.split_once('=').unwrap();
        format!(r#"pull_up{{service="{name}",source="{source}"}}"#)
    };
    assert_eq!(agent.count(&up(&world.target.service())).await, 1);
    assert_eq!(agent.count(&up(&hung)).await, 0);
    drop(server);
}

/// Runs a command that is to end by itself, and gives what it said.
async fn ended(mut command: Command) -> Output {
    let mut child = command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap();
    let over = until("it ends by itself", async || child.try_wait().unwrap());
    // What it says fits into the pipe.
    over.await;
    child.wait_with_output().unwrap()
}

/// Runs a command as nobody, who may not load programs into the kernel; `None` where that cannot be done.
fn as_nobody(dir: &Path, data: &Path, server: &str, args: &[&str]) -> Option<Command> {
    if !rustix::process::geteuid().is_root() {
        return Some(command(data, server, args));
    }
    // Whoever runs the tests may keep the binary where nobody may look.
    fs::set_permissions(dir, fs::Permissions::from_mode(0o777)).unwrap();
    let binary = dir.join("homeostat");
    if !binary.exists() && fs::hard_link(env!("CARGO_BIN_EXE_homeostat"), &binary).is_err() {
        fs::copy(env!("CARGO_BIN_EXE_homeostat"), &binary).unwrap();
    }
    let own = ["--reuid=65534", "--regid=65534", "--clear-groups"];
    let tried = Command::new("setpriv").args(own).arg(&binary).arg("--version").stdin(Stdio::null()).output();
    if !tried.is_ok_and(|output| output.status.success()) {
        return None;
    }
    let mut command = Command::new("setpriv");
    command.args(own).arg(&binary).args(["agent", "--server", server, "--data"]).arg(data).args(args);
    Some(command)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn where_the_kernel_refuses_it_says_so_and_goes_on_with_what_works() {
    let world = World::new().await;
    let own = format!("own=pid:{}", std::process::id());
    let (dir, url) = (world.dir.path(), world.way.url());
    let alone = ["--service", &own, "--window", "1s"];
    let Some(useless) = as_nobody(dir, &world.data(), &url, &alone) else {
        println!("SKIPPED: no `setpriv` to become nobody");
        return;
    };
    // Nothing works, so there is nothing to run for.
    let output = ended(useless).await;
    let said = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(1), "{said}");
    assert!(said.contains("nothing can be sensed here") && said.contains("probe `cpu`"), "{said}");
    // Something works.
    let server = world.server();
    let service = world.target.service();
    let both =
        ["--service", &own, "--service", &service, "--kinds", "goroutine", "--window", "1s", "--cpu-budget", "10000"];
    let data = dir.join("both");
    let agent = Agent::of(as_nobody(dir, &data, &url, &both).unwrap(), &data);
    agent.at_least("windows_shipped_total", 1.0).await;
    let status = until("sampling is refused", async || {
        let status = agent.status().await;
        (status["services"][0]["state"] == "refused").then_some(status)
    })
    .await;
    let why = status["services"][0]["trouble"].as_str().unwrap();
    assert!(why.contains(if cfg!(feature = "bpf") { "CAP_" } else { "--features bpf" }), "{why}");
    assert_eq!(status["services"][1]["state"], "pulled");
    assert_eq!(agent.count("sampling_refused").await, 1);
    drop(server);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_full_disk_is_told_and_nothing_is_lost_when_there_is_room_again() {
    let world = World::new().await;
    let data = world.data();
    fs::create_dir(&data).unwrap();
    // A file system of three mebibytes that this process alone sees.
    let script = r#"mount -t tmpfs -o size=3m agent "$0" && exec "$@""#;
    let mount = |command: &[&str]| {
        let mut mounted = Command::new("unshare");
        mounted.args(["--mount", "sh", "-c", script]).arg(&data).args(command).stdin(Stdio::null());
        mounted
    };
    if !mount(&["true"]).output().is_ok_and(|output| output.status.success()) {
        println!("SKIPPED: no file system can be mounted here");
        return;
    }
    let (url, service) = (world.way.url(), world.target.service());
    let binary = [env!("CARGO_BIN_EXE_homeostat"), "agent", "--server", &url, "--data", data.to_str().unwrap()];
    let agent = Agent::of(mount(&[&binary[..], &QUICK, &WHATEVER, &["--service", &service]].concat()), &data);
    agent.at_least("windows_queued_total", 5.0).await;
    let ballast = format!("/proc/{}/root{}/ballast", agent.pid(), data.display());
    let full = fs::write(&ballast, vec![7; 4 << 20]).unwrap_err();
    assert_eq!(full.kind(), std::io::ErrorKind::StorageFull);
    until("the disk fails", async || (agent.count("disk_failing").await == 1).then_some(())).await;
    let status = agent.status().await;
    assert!(status["queue"]["disk_trouble"].as_str().unwrap().contains("No space left"), "{status}");
    fs::remove_file(&ballast).unwrap();
    until("the disk works", async || (agent.count("disk_failing").await == 0).then_some(())).await;
    let queued = agent.metric("windows_queued_total").await;
    agent.at_least("windows_queued_total", queued + 5.0).await;
    let windows = world.target.close();
    let server = world.server();
    agent.until_shipped().await;
    all_once(&server, windows).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_the_server_will_never_take_is_dropped_aloud_and_what_it_may_take_waits() {
    let world = World::new().await;
    let seen = Arc::new(Mutex::new(Vec::new()));
    let (asked, counts) = (Arc::new(AtomicU64::new(0)), Arc::clone(&seen));
    let door = move |headers: HeaderMap| {
        let at = asked.fetch_add(1, Ordering::SeqCst);
        let window = headers["x-homeostat-window"].to_str().unwrap().split_once('-').unwrap().1.to_owned();
        counts.lock().unwrap().push(window);
        async move {
            match at {
                0 => (StatusCode::SERVICE_UNAVAILABLE, [("retry-after", "1")], "no room").into_response(),
                1 => (StatusCode::TOO_MANY_REQUESTS, "too many").into_response(),
                2 => (StatusCode::NOT_FOUND, "wrong door").into_response(),
                3 => (StatusCode::BAD_REQUEST, "no profile").into_response(),
                _ => StatusCode::OK.into_response(),
            }
        }
    };
    let server = serve(Router::new().route("/push.v1.PusherService/Push", post(door))).await;
    world.way.leads_to(Some(server));
    let agent = world.agent(&[]);
    agent.at_least("windows_shipped_total", 3.0).await;
    assert_eq!(agent.count(r#"windows_dropped_total{reason="refused"}"#).await, 1);
    assert_eq!(agent.count("retries_total").await, 3);
    assert_eq!(seen.lock().unwrap()[..6], ["1", "1", "1", "1", "2", "3"]);
    let log = agent.log();
    assert!(log.contains("will never take a window") && log.contains("400 Bad Request: no profile"), "{log}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_full_queue_drops_the_oldest_windows_and_says_so() {
    let world = World::new().await;
    // Each window is nearly a segment of its own: text that does not pack.
    let mut state = 7_u64;
    let noise = std::iter::repeat_with(|| {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        char::from(33 + (state >> 33) as u8 % 90)
    });
    let large = goroutines(&noise.take(60_000).collect::<String>());
    let large = serve(Router::new().route("/debug/pprof/goroutine", get(async move || large))).await;
    let service = format!("shop=url:http://{large}");
    let args = [&QUICK[..], &WHATEVER, &["--service", &service, "--max-queue", "512KiB"]].concat();
    let agent = Agent::start(&world.data(), &world.way.url(), &args);
    agent.at_least(r#"windows_dropped_total{reason="queue_full"}"#, 3.0).await;
    let (bytes, limit) = (agent.count("queue_bytes").await, agent.count("queue_bytes_limit").await);
    assert!(limit == 512 << 10 && bytes <= limit + (64 << 10), "{bytes}");
    assert!(agent.log().contains("the queue is full; its oldest windows are dropped"), "{}", agent.log());
}

/// All windows that wait in a queue that nobody uses.
fn waiting(data: &Path) -> Vec<(Vec<(String, String)>, Profile)> {
    let mut found = Vec::new();
    let survey = survey(&RealDisk, &data.join("queue"), &mut |_, record: &[u8]| {
        let entry = Entry::decode(record).unwrap();
        for sample in decode_push(&entry.body).unwrap() {
            found.push((sample.labels, pprof::read(&sample.profile, &PprofLimits::default()).unwrap()));
        }
    });
    survey.unwrap();
    found
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_private_is_not_even_in_the_queue() {
    let world = World::new().await;
    // A home, spelled so that it is not taken for one of this machine.
    let (home, place) = (["", "home", "alice", "app"].join("/"), ["", "home", "<user>", "app"].join("/"));
    let private = format!("serve https://user:secret@intern.example/x?token=1 {home} CARD-4711");
    let target = serve(Router::new().route("/debug/pprof/goroutine", get(async move || goroutines(&private)))).await;
    let service = format!("shop=url:http://{target}");
    let own =
        ["--service", &service, "--label", "hostname=web-17", "--label", "zone=a", "--redact-texts", "CARD-[0-9]+"];
    let agent = Agent::start(&world.data(), &world.way.url(), &[&QUICK[..], &WHATEVER, &own].concat());
    agent.at_least("windows_queued_total", 2.0).await;
    assert_eq!(agent.stop(), Some(0));
    let windows = waiting(&world.data());
    assert!(2 <= windows.len());
    for (labels, profile) in windows {
        let label = |name: &str| labels.iter().find(|(key, _)| key == name).map_or("", |(_, value)| value.as_str());
        assert_eq!((label("hostname"), label("zone"), label("service_name")), ("<redacted>", "a", "shop"));
        assert_eq!((label("__name__"), label("agent").len()), ("goroutine", 16));
        let texts = profile.strings().iter().collect::<Vec<_>>().join("\n");
        assert!(texts.contains(&format!("serve <url> {place} <redacted>")), "{texts}");
    }
}

#[tokio::test]
async fn only_this_machine_may_ask_unless_somebody_says_otherwise() {
    let dir = tempfile::tempdir().unwrap();
    let everywhere = ["--service", "a=url:http://127.0.0.1:1", "--listen", "0.0.0.0:0"];
    let output = ended(command(&dir.path().join("agent"), "http://127.0.0.1:1", &everywhere)).await;
    let said = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(1), "{said}");
    assert!(said.contains("`--open-to-network` if that is what you want"), "{said}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_addresses_of_one_service_are_told_apart() {
    let world = World::new().await;
    let other = Target::start().await.service();
    let agent = world.agent(&["--service", &other]);
    until("both are asked", async || {
        let status = agent.status().await;
        let services = status["services"].as_array().unwrap();
        services.iter().all(|service| service["state"] == "pulled").then_some(())
    })
    .await;
    let metrics = agent.metrics().await;
    let up: BTreeSet<_> = metrics.lines().filter(|line| line.starts_with("homeostat_agent_pull_up{")).collect();
    assert_eq!(up.len(), 2, "{metrics}");
}

#[test]
fn flags_teach() {
    let dir = tempfile::tempdir().unwrap();
    let refused = |args: &[&str]| {
        let output = command(&dir.path().join("agent"), "http://127.0.0.1:1", args).output().unwrap();
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(output.status.code(), Some(2), "{args:?}: {said}");
        said
    };
    for (args, said) in [
        (&[][..], "--service"),
        (&["--service", "shop"], "NAME=comm:nginx"),
        (&["--service", "a=pid:1", "--service", "a=comm:x"], "a name of its own"),
        (&["--service", "a=pid:1", "--window", "500ms"], "must be 1s at least"),
        (&["--service", "a=pid:1", "--window", "2h"], "between 10ms and 1m"),
        (&["--service", "a=pid:1", "--hz", "5"], "19 to 2000"),
        (&["--service", "a=pid:1", "--kinds", "cpu,rpm"], "cpu, heap, allocs"),
        (&["--service", "a=pid:1", "--max-queue", "1KiB"], "must be 512KiB at least"),
        (&["--service", "a=pid:1", "--max-age", "8d"], "at most 7d"),
        (&["--service", "a=pid:1", "--label", "agent=x"], "set by the agent itself"),
        (&["--service", "a=pid:1", "--cpu-budget", "0"], "two percent"),
        (&["--service", "a=pid:1", "--redact-texts", "("], "no pattern"),
    ] {
        let answer = refused(args);
        assert!(answer.contains(said), "{args:?}: {answer}");
    }
    let output = command(dir.path(), "127.0.0.1:9090", &["--service", "a=pid:1"]).output().unwrap();
    assert!(String::from_utf8_lossy(&output.stderr).contains("as http://127.0.0.1:9090"));
    let help = Command::new(env!("CARGO_BIN_EXE_homeostat")).args(["agent", "--help"]).output().unwrap();
    let help = String::from_utf8_lossy(&help.stdout).into_owned();
    for word in ["--service shop=comm:shop", "--max-queue", "--cpu-budget", "/status as JSON"] {
        assert!(help.contains(word), "{word}: {help}");
    }
}

/// Whether a process has asked the kernel for samples.
fn is_sampling(pid: u32) -> bool {
    let files = fs::read_dir(format!("/proc/{pid}/fd")).into_iter().flatten().flatten();
    files.filter_map(|file| fs::read_link(file.path()).ok()).any(|to| to.to_string_lossy().contains("[perf_event]"))
}

/// CPU time of a process in its own code, in hundredths of a second.
fn cpu_ticks(pid: u32) -> u64 {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap();
    let (_, behind_name) = stat.rsplit_once(')').unwrap();
    behind_name.split_ascii_whitespace().nth(11).unwrap().parse().unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_kernel_samples_services_and_the_machine() {
    let doctor = Command::new(env!("CARGO_BIN_EXE_homeostat")).args(["doctor", "--json"]).output().unwrap();
    let said: Value = serde_json::from_slice(&doctor.stdout).unwrap();
    let probe = said["probes"].as_array().unwrap().iter().find(|probe| probe["name"] == "cpu").unwrap().clone();
    if probe["state"] != "ok" {
        println!("SKIPPED: probe `cpu` is {}: {}", probe["state"], probe["reason"]);
        return;
    }
    let world = World::new().await;
    let server = world.server();
    let mut busy = Command::new("sh").args(["-c", "while :; do :; done"]).stdin(Stdio::null()).spawn().unwrap();
    let (by_pid, gone) = (format!("busy=pid:{}", busy.id()), format!("gone=pid:{}", u32::MAX));
    let args = ["--service", &by_pid, "--service", &gone, "--service", "all=machine", "--window", "1s", "--hz", "99"];
    let agent = Agent::start(
        &world.data(),
        &world.way.url(),
        &[&args[..], &["--cpu-budget", "10000", "--max-rss", "4GiB"]].concat(),
    );
    let ticks = async |service: &str| {
        let query = format!("process_cpu:cpu:nanoseconds:cpu:nanoseconds%7Bservice_name%3D%22{service}%22%7D");
        let path = format!("/pyroscope/render?from=now-1h&until=now&query={query}");
        server.client().await.get(&path).await.1["flamebearer"]["numTicks"].as_i64().unwrap()
    };
    until("the busy one is seen", async || (0 < ticks("busy").await).then_some(())).await;
    until("the machine is seen", async || (0 < ticks("all").await).then_some(())).await;
    assert_eq!(ticks("gone").await, 0);
    assert!(0.0 < agent.metric("samples_total").await);
    assert_eq!(
        (agent.count("sampling_hz").await, agent.status().await["services"][0]["state"].as_str()),
        (99, Some("sampled"))
    );
    assert_eq!(agent.stop(), Some(0));
    assert_eq!(ticks("late").await, 0);

    // What was begun is kept at the end, and shipped by the next run.
    let late = world.dir.path().join("late");
    let service = format!("late=pid:{}", busy.id());
    let args = ["--service", &service, "--window", "1m", "--hz", "99", "--cpu-budget", "10000", "--max-rss", "4GiB"];
    world.way.leads_to(None);
    let agent = Agent::start(&late, &world.way.url(), &args);
    until("the kernel samples", async || is_sampling(agent.pid()).then_some(())).await;
    let before = cpu_ticks(busy.id());
    // Half a second of CPU time: some fifty samples.
    until("the busy one has run", async || (before + 50 < cpu_ticks(busy.id())).then_some(())).await;
    assert_eq!(agent.stop(), Some(0));
    assert!(!waiting(&late).is_empty(), "a minute is not over, and what there is of it waits");
    world.way.leads_to(Some(server.address));
    let agent = Agent::start(&late, &world.way.url(), &args);
    agent.at_least("windows_shipped_total", 1.0).await;
    assert!(0 < ticks("late").await);
    drop(agent);
    busy.kill().unwrap();
    busy.wait().unwrap();
}
