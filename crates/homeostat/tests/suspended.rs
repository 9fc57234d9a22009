//! Every thread but the gateway's workers is suspended under load: requests go on, and nothing that was counted is lost.

#![cfg(test)]

mod common;

use std::{
    io::{BufRead as _, BufReader},
    process::{Command, Stdio},
    sync::atomic::Ordering,
    time::{Duration, Instant},
};

use common::{Load, PATIENCE, Upstream, config, process::Process, write_config};

/// Stops the named threads of a process with ptrace, says so, and lets them go when its input ends.
const SUSPEND: &str = "
import ctypes, os, sys
libc = ctypes.CDLL(None, use_errno=True)
libc.ptrace.argtypes = [ctypes.c_long, ctypes.c_long, ctypes.c_void_p, ctypes.c_void_p]
SEIZE, INTERRUPT, WALL = 0x4206, 0x4207, 0x40000000
pid, stopped = int(sys.argv[1]), []
for tid in map(int, os.listdir(f'/proc/{pid}/task')):
    if open(f'/proc/{pid}/task/{tid}/comm').read().startswith('gateway-'):
        continue
    if libc.ptrace(SEIZE, tid, None, None) != 0:
        print('refused', os.strerror(ctypes.get_errno()), flush=True)
        sys.exit(0)
    libc.ptrace(INTERRUPT, tid, None, None)
    os.waitpid(tid, WALL)
    stopped.append(tid)
print('suspended', len(stopped), flush=True)
sys.stdin.read()
";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_gateway_serves_while_everything_else_is_suspended() {
    let dir = tempfile::tempdir().expect("a folder");
    let (v1, v2) = (Upstream::start().await, Upstream::start().await);
    let file = write_config(dir.path(), &config(&dir.path().join("data"), v1.address, v2.address, None));
    let process = Process::start(&file).await;
    let load = Load::start(process.gateway, 8);
    process.until("/homeostat/v1/rollouts", "control runs", |rollouts| rollouts[0].is_object()).await;

    let tool = Command::new("python3")
        .args(["-c", SUSPEND, &process.pid().to_string()])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn();
    let Ok(mut tool) = tool else {
        println!("SKIPPED: there is no python3 to suspend threads with");
        return;
    };
    let mut said = String::new();
    BufReader::new(tool.stdout.take().expect("piped")).read_line(&mut said).expect("readable");
    if !said.starts_with("suspended") {
        println!("SKIPPED: threads cannot be suspended here ({})", said.trim());
        return;
    }
    let before = load.ok.load(Ordering::Relaxed);
    let deadline = Instant::now() + PATIENCE;
    while load.ok.load(Ordering::Relaxed) < before + 2_000 {
        assert!(
            Instant::now() < deadline,
            "the gateway stopped serving: {} requests since",
            load.ok.load(Ordering::Relaxed) - before
        );
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    drop(tool.stdin.take());
    tool.wait().expect("it ends");

    let (ok, failed, lost) = load.stop().await;
    assert_eq!((failed, lost), (0, 0));
    let deadline = Instant::now() + PATIENCE;
    loop {
        let metrics = process.metrics().await;
        let counted: u64 = metrics
            .lines()
            .filter(|line| line.starts_with("homeostat_requests_total{") && line.contains("outcome=\"ok\""))
            .filter_map(|line| line.rsplit(' ').next()?.parse::<u64>().ok())
            .sum();
        if counted == ok {
            break;
        }
        assert!(Instant::now() < deadline, "{counted} of {ok} requests were counted");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    process.until("/homeostat/v1/health", "it is ready again", |health| health["ready"] == true).await;
    process.kill().await;
}
