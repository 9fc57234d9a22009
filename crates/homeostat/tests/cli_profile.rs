//! `homeostat profile` from outside: files, URLs, what it writes, and what it refuses.
//! The profiles are those of Prometheus that the codec's and the diff's own tests use.

#![expect(clippy::unwrap_used, reason = "helpers of tests fail by panicking")]

use std::{
    io::{Read as _, Write as _},
    net::TcpListener,
    path::{Path, PathBuf},
    process::Command,
};

use serde_json::Value;

fn fixtures() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

fn file(path: &str) -> String {
    fixtures().join(path).to_str().unwrap().to_owned()
}

fn windows(range: std::ops::RangeInclusive<u32>) -> Vec<String> {
    range.map(|n| file(&format!("explain-profile/tests/fixtures/prometheus/{n:02}.pb.gz"))).collect()
}

/// Exit code, output and errors.
fn run(args: &[&str]) -> (i32, String, String) {
    let output = Command::new(env!("CARGO_BIN_EXE_homeostat")).arg("profile").args(args).output().unwrap();
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
    (output.status.code().unwrap(), text(output.stdout), text(output.stderr))
}

#[test]
fn heaviest_functions_are_shown_and_everything_can_be_written() {
    let cpu = file("wire/tests/fixtures/pprof/cpu.pb.gz");
    let (code, page, errors) = run(&["show", &cpu, "--top", "3"]);
    assert_eq!((code, errors.as_str()), (0, ""));
    assert!(page.starts_with("cpu: 1.42 s in 5."), "{page}");
    assert_eq!(page.lines().count(), 6, "{page}");
    let (_, json, _) = run(&["show", &cpu, &cpu, "--json"]);
    let json: Value = serde_json::from_str(&json).unwrap();
    assert_eq!((&json["sum"], &json["type"]), (&2_840_000_000_i64.into(), &"cpu".into()));

    let dir = tempfile::tempdir().unwrap();
    let out = |name: &str| dir.path().join(name).to_str().unwrap().to_owned();
    for name in ["a.svg", "a.pb.gz", "a.folded", "a.json"] {
        assert_eq!(run(&["show", &cpu, "-o", &out(name)]).0, 0, "{name}");
    }
    // What was written is a profile again, with the same functions.
    assert_eq!(run(&["show", &out("a.pb.gz")]).1, run(&["show", &cpu]).1);
    let folded = std::fs::read_to_string(out("a.folded")).unwrap();
    let sum: i64 = folded.lines().map(|line| line.rsplit_once(' ').unwrap().1.parse::<i64>().unwrap()).sum();
    assert_eq!(sum, 1_420_000_000);
    assert!(std::fs::read_to_string(out("a.svg")).unwrap().contains("<title>net/http.(*conn).serve"));
    let bearer: Value = serde_json::from_str(&std::fs::read_to_string(out("a.json")).unwrap()).unwrap();
    assert_eq!(bearer["flamebearer"]["numTicks"], 1_420_000_000_i64);
    assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 4, "no parts are left");
}

#[test]
fn a_comparison_names_nothing_without_reason() {
    let (good, bad) = (windows(1..=6), windows(7..=12));
    let mut args = vec!["diff", "--good"];
    args.extend(good.iter().map(String::as_str));
    args.push("--bad");
    args.extend(bad.iter().map(String::as_str));
    let (code, page, _) = run(&args);
    assert_eq!(code, 0);
    assert!(page.contains("nothing moved beyond noise"), "{page}");
    args.push("--json");
    let json: Value = serde_json::from_str(&run(&args).1).unwrap();
    assert_eq!((&json["good"]["windows"], json["moved"].as_array().unwrap().len()), (&6.into(), 0));
    // Another program is another behaviour.
    let dir = tempfile::tempdir().unwrap();
    let picture = dir.path().join("d.svg").to_str().unwrap().to_owned();
    let goroutine = file("wire/tests/fixtures/pprof/goroutine.pb.gz");
    let (code, page, _) = run(&["diff", "--good", &good[0], "--bad", &goroutine]);
    assert_eq!(code, 0, "{page}");
    assert_eq!(run(&["diff", "--good", &good[0], "--bad", &goroutine, "-o", &picture]).0, 0);
    assert!(std::fs::read_to_string(picture).unwrap().starts_with("<svg "));
}

#[test]
fn an_endpoint_is_asked() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}/debug/pprof/profile?seconds=1", listener.local_addr().unwrap());
    let body = std::fs::read(file("wire/tests/fixtures/pprof/goroutine.pb.gz")).unwrap();
    let server = std::thread::spawn(move || {
        let (mut stream, _) = listener.accept().unwrap();
        let mut request = [0; 4096];
        let n = stream.read(&mut request).unwrap();
        let head = format!(
            "HTTP/1.1 200 OK\r\ncontent-type: application/octet-stream\r\ncontent-length: {}\r\n\r\n",
            body.len()
        );
        stream.write_all(head.as_bytes()).unwrap();
        stream.write_all(&body).unwrap();
        String::from_utf8_lossy(&request[..n]).lines().next().unwrap().to_owned()
    });
    let (code, page, errors) = run(&["show", &url]);
    assert_eq!(code, 0, "{errors}");
    assert!(page.starts_with("goroutine: "), "{page}");
    assert_eq!(server.join().unwrap(), "GET /debug/pprof/profile?seconds=1 HTTP/1.1");
}

#[test]
fn what_cannot_be_done_says_what_to_do() {
    let cpu = file("wire/tests/fixtures/pprof/cpu.pb.gz");
    let no_profile = file("homeostat/Cargo.toml");
    let dir = tempfile::tempdir().unwrap();
    let nowhere = dir.path().join("no/such/a.svg").to_str().unwrap().to_owned();
    for (args, said) in [
        (&["show", "/no/such/file"][..], "/no/such/file cannot be read: No such file"),
        (&["show", &no_profile], "Cargo.toml cannot be read: no pprof profile"),
        (&["show", &cpu, "--type", "heap"], "the profile does not count `heap`; it counts `samples`, `cpu`"),
        (&["show", &cpu, "-o", "a.png"], "end the name in `.svg`, `.pb.gz`, `.folded` or `.json`"),
        (&["show", &cpu, "-o", &nowhere], "a.svg cannot be written: No such file"),
        (&["show", "http://127.0.0.1:1/x"], "http://127.0.0.1:1/x does not answer"),
        (&["diff", "--good", &cpu, "--bad", &cpu, "--effect", "101"], "`--effect` is a share in percent"),
        (&["diff", "--good", &cpu, "--bad", &cpu, "-o", "a.folded"], "a comparison is written as `.svg` or `.json`"),
    ] {
        let (code, _, errors) = run(args);
        assert_eq!(code, 1, "{args:?}");
        assert!(errors.contains(said), "{args:?}: {errors}");
    }
    let mutex = file("wire/tests/fixtures/pprof/mutex.pb.gz");
    let (code, page, _) = run(&["show", &mutex]);
    assert_eq!(code, 0);
    assert!(page.contains("has not switched this profile on"), "{page}");
}
