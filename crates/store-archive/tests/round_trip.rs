//! Backups and restores: into a directory, and into a bucket of a real S3 server where one is installed.

#![cfg(test)]
use std::{
    collections::BTreeMap,
    fs,
    io::{BufRead as _, BufReader, Write as _},
    net::TcpListener,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    time::Duration,
};

use homeostat_store_archive::{Archive, ArchiveError, BackedUp, Marks, Waits};
use homeostat_store_objects::PlaceError;
use tempfile::TempDir;

const LAST: &str = "MANIFEST";
const MARKS: Marks<'_> = Marks { last: LAST, used: "log" };

/// Files of a directory that looks like a store; one of them is sent in several pieces.
fn filled(dir: &Path) {
    fs::create_dir_all(dir.join("blocks")).unwrap();
    fs::write(dir.join(LAST), b"manifest").unwrap();
    fs::write(dir.join("blocks/00000001.block"), vec![7; 1000]).unwrap();
    let noise: Vec<u8> = (0..17_000_000_u32).map(|at| (at.wrapping_mul(0x9e37_79b9) >> 24) as u8).collect();
    fs::write(dir.join("blocks/00000002.block"), noise).unwrap();
}

fn contents(dir: &Path) -> BTreeMap<PathBuf, Vec<u8>> {
    let mut files = BTreeMap::new();
    for folder in [dir.to_owned(), dir.join("blocks")] {
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_file() {
                files.insert(path.strip_prefix(dir).unwrap().to_owned(), fs::read(&path).unwrap());
            }
        }
    }
    files
}

async fn back_up(archive: &Archive, dir: &Path, name: &str) -> BackedUp {
    let mut told = 0;
    let done = archive.back_up(dir, name, |progress| {
        assert!(told <= progress.done && progress.done <= progress.all);
        told = progress.done;
    });
    done.await.unwrap()
}

/// What every place must do.
async fn check(archive: &Archive) {
    let from = TempDir::new().unwrap();
    filled(from.path());
    let to = TempDir::new().unwrap();
    let none = archive.restore(None, &to.path().join("x"), MARKS, |_| {}).await;
    assert!(matches!(none, Err(ArchiveError::NoBackup { name: None, .. })), "{none:?}");

    let first = back_up(archive, from.path(), "2026-01-01").await;
    assert_eq!((first.files, first.files_sent, first.bytes_sent), (3, 3, 17_001_008));
    let again = back_up(archive, from.path(), "2026-01-02").await;
    assert_eq!((again.files, again.files_sent, again.bytes), (3, 0, first.bytes));
    fs::write(from.path().join("blocks/00000003.block"), b"new").unwrap();
    fs::write(from.path().join(LAST), b"another").unwrap();
    let more = back_up(archive, from.path(), "2026-01-03").await;
    assert_eq!((more.files, more.files_sent, more.bytes_sent), (4, 2, 10));
    let names = ["2026-01-01", "2026-01-02", "2026-01-03"];
    assert_eq!(archive.backups().await.unwrap(), names);
    let taken = archive.back_up(from.path(), names[1], |_| {}).await;
    assert!(matches!(&taken, Err(ArchiveError::Exists { name, .. }) if name == names[1]), "{taken:?}");
    assert_eq!(archive.read_index(names[1]).await.unwrap().files.len(), 3, "the index is the one that was");

    let latest = to.path().join("latest");
    let restored = archive.restore(None, &latest, MARKS, |_| {}).await.unwrap();
    assert_eq!((restored.name.as_str(), restored.files, restored.files_fetched), ("2026-01-03", 4, 4));
    assert_eq!(contents(&latest), contents(from.path()));
    let twice = archive.restore(None, &latest, MARKS, |_| {}).await;
    assert!(matches!(twice, Err(ArchiveError::NotEmpty { .. })), "{twice:?}");

    // What an interrupted restore has left is used as far as it is right.
    fs::remove_file(latest.join(LAST)).unwrap();
    fs::write(latest.join("blocks/00000001.block"), vec![8; 1000]).unwrap();
    fs::write(latest.join("blocks/00000002.block.new"), b"half").unwrap();
    let resumed = archive.restore(Some("2026-01-01"), &latest, MARKS, |_| {}).await.unwrap();
    assert_eq!(resumed.files_fetched, 2);
    assert_eq!(fs::read(latest.join("blocks/00000001.block")).unwrap(), [7; 1000]);
    assert_eq!(fs::read(latest.join(LAST)).unwrap(), b"manifest");
    let missing = archive.restore(Some("2025"), &to.path().join("y"), MARKS, |_| {}).await;
    assert!(matches!(missing, Err(ArchiveError::NoBackup { name: Some(_), .. })), "{missing:?}");
}

#[tokio::test]
async fn a_directory_keeps_backups() {
    let place = TempDir::new().unwrap();
    let url = format!("file://{}", place.path().join("deep/er").display());
    check(&Archive::open(&url, []).unwrap()).await;
}

#[tokio::test]
async fn an_interrupted_backup_goes_on_and_damage_is_told() {
    let (from, place, to) = (TempDir::new().unwrap(), TempDir::new().unwrap(), TempDir::new().unwrap());
    filled(from.path());
    let archive = Archive::open(&place.path().display().to_string(), []).unwrap();
    back_up(&archive, from.path(), "one").await;
    // As if it had been interrupted before the largest file and the index.
    let objects = place.path().join("objects");
    let largest = fs::read_dir(&objects)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .max_by_key(|path| fs::metadata(path).unwrap().len());
    fs::remove_file(largest.unwrap()).unwrap();
    fs::remove_file(place.path().join("backups/one.json")).unwrap();
    let resumed = back_up(&archive, from.path(), "two").await;
    assert_eq!((resumed.files_sent, resumed.bytes_sent), (1, 17_000_000));

    for (at, object) in fs::read_dir(&objects).unwrap().enumerate() {
        let object = object.unwrap().path();
        let original = fs::read(&object).unwrap();
        let mut bytes = original.clone();
        *bytes.last_mut().unwrap() ^= 1;
        fs::write(&object, bytes).unwrap();
        let dir = to.path().join(at.to_string());
        let damaged = archive.restore(None, &dir, MARKS, |_| {}).await;
        assert!(matches!(damaged, Err(ArchiveError::Damaged { .. })), "{damaged:?}");
        assert!(!dir.join(LAST).exists(), "half a store is none");
        fs::write(&object, original).unwrap();
    }
    archive.restore(None, &to.path().join("x"), MARKS, |_| {}).await.unwrap();
    fs::write(place.path().join("backups/two.json"), b"{").unwrap();
    let unreadable = archive.restore(None, &to.path().join("y"), MARKS, |_| {}).await;
    assert!(matches!(unreadable, Err(ArchiveError::Index { .. })), "{unreadable:?}");
    assert_eq!(back_up(&archive, from.path(), "zzz").await.files_sent, 0, "a new backup does not need the old index");
}

#[tokio::test]
async fn only_blocks_are_known_by_their_ends() {
    let (from, place) = (TempDir::new().unwrap(), TempDir::new().unwrap());
    filled(from.path());
    let mut manifest = vec![1; 200_000];
    fs::write(from.path().join(LAST), &manifest).unwrap();
    let archive = Archive::open(&place.path().display().to_string(), []).unwrap();
    back_up(&archive, from.path(), "one").await;
    manifest[0] = 2;
    fs::write(from.path().join(LAST), &manifest).unwrap();
    assert_eq!(back_up(&archive, from.path(), "two").await.bytes_sent, 200_000);
}

#[tokio::test]
async fn a_place_of_another_store_is_refused() {
    let (one, other, place) = (TempDir::new().unwrap(), TempDir::new().unwrap(), TempDir::new().unwrap());
    filled(one.path());
    filled(other.path());
    fs::write(other.path().join("blocks/00000001.block"), vec![9; 1000]).unwrap();
    let archive = Archive::open(&place.path().display().to_string(), []).unwrap();
    back_up(&archive, one.path(), "one").await;
    let objects = || fs::read_dir(place.path().join("objects")).unwrap().count();
    let before = objects();
    let foreign = archive.back_up(other.path(), "two", |_| {}).await;
    let Err(ArchiveError::Foreign { path, name, .. }) = foreign else { unreachable!("{foreign:?}") };
    assert!(path.ends_with("blocks/00000001.block") && name == "one");
    assert_eq!((objects(), archive.backups().await.unwrap().len()), (before, 1), "nothing was sent");
}

#[tokio::test]
async fn an_index_that_is_no_store_is_refused() {
    let (place, to) = (TempDir::new().unwrap(), TempDir::new().unwrap());
    let archive = Archive::open(&place.path().display().to_string(), []).unwrap();
    let sum = "a".repeat(64);
    let file = |path: &str, bytes: u64| {
        format!(r#"{{"path":"{path}","bytes":{bytes},"sha256":"{sum}","end_sha256":"{sum}"}}"#)
    };
    fs::create_dir_all(place.path().join("backups")).unwrap();
    let bad = [
        ("no `MANIFEST`", vec![file("blocks/1.block", 1)]),
        ("or several", vec![file(LAST, 1), file(LAST, 1)]),
        ("any disk", vec![file(LAST, 1), file("x", u64::MAX)]),
    ];
    for (what, files) in bad {
        let text = format!(r#"{{"format":1,"files":[{}]}}"#, files.join(","));
        fs::write(place.path().join("backups/bad.json"), text).unwrap();
        let refused = archive.restore(None, &to.path().join("x"), MARKS, |_| {}).await;
        assert!(matches!(&refused, Err(ArchiveError::Index { detail, .. }) if detail.contains(what)), "{refused:?}");
        assert!(!to.path().join("x").exists());
    }
}

#[tokio::test]
async fn a_directory_that_somebody_begins_to_use_meanwhile_becomes_no_store() {
    let (from, place, to) = (TempDir::new().unwrap(), TempDir::new().unwrap(), TempDir::new().unwrap());
    filled(from.path());
    let archive = Archive::open(&place.path().display().to_string(), []).unwrap();
    back_up(&archive, from.path(), "one").await;
    let dir = to.path().join("x");
    let opened = archive.restore(None, &dir, MARKS, |_| fs::create_dir_all(dir.join("log")).unwrap()).await;
    assert!(matches!(opened, Err(ArchiveError::NotEmpty { .. })), "{opened:?}");
    assert!(!dir.join(LAST).exists());
}

/// Settings for a server without a certificate.
fn settings(endpoint: &str) -> [(String, String); 6] {
    [
        ("AWS_ACCESS_KEY_ID", "test"),
        ("AWS_SECRET_ACCESS_KEY", "test"),
        ("AWS_REGION", "us-east-1"),
        ("AWS_ENDPOINT_URL", endpoint),
        ("AWS_ALLOW_HTTP", "true"),
        ("PATH", "ignored"),
    ]
    .map(|(name, value)| (name.to_owned(), value.to_owned()))
}

#[tokio::test]
async fn a_bucket_that_never_answers_is_an_error() {
    let waits = Waits { request: Duration::from_millis(50), retries: Duration::ZERO, ..Waits::default() };
    // Connections are accepted by the system; nobody ever reads from the first, the second breaks off in its answer.
    let silent = TcpListener::bind("127.0.0.1:0").unwrap();
    let half = TcpListener::bind("127.0.0.1:0").unwrap();
    let addresses = [&silent, &half].map(|listener| format!("http://{}", listener.local_addr().unwrap()));
    let answering = std::thread::spawn(move || {
        let mut held = Vec::new();
        for _ in 0..2 {
            let (mut stream, _) = half.accept().unwrap();
            let request = BufReader::new(stream.try_clone().unwrap());
            let _header = request.lines().map_while(Result::ok).find(String::is_empty);
            stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 1000\r\n\r\n<").unwrap();
            held.push(stream);
        }
        held
    });
    for address in addresses {
        let archive = Archive::open_with("s3://bucket", settings(&address), waits).unwrap();
        for answer in [archive.backups().await.map(drop), archive.read_index("x").await.map(drop)] {
            let Err(ArchiveError::Remote { source, .. }) = answer else { unreachable!("{answer:?}") };
            let said = format!("{source:?}");
            assert!(said.contains("said nothing for"), "{said}");
        }
    }
    drop(answering.join());
}

#[test]
fn other_addresses_are_refused() {
    for url in ["", "s3://", "s3:///x", "http://example.org/x", "gs://bucket"] {
        assert!(matches!(Archive::open(url, []), Err(ArchiveError::Place(PlaceError::Url { .. }))), "{url}");
    }
}

/// A real S3 server that is not ours.
struct Moto(Child);

impl Drop for Moto {
    fn drop(&mut self) {
        let _gone_already = self.0.kill();
        let _gone_already = self.0.wait();
    }
}

/// Starts one and gives its address; `None` where it is not installed.
fn moto() -> Option<(Moto, String)> {
    // Free a moment ago; whoever takes it in between makes this test fail, not pass.
    let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let mut command = Command::new("moto_server");
    command.args(["-H", "127.0.0.1", "-p", &port.to_string()]).stdout(Stdio::null()).stderr(Stdio::piped());
    let Ok(mut child) = command.spawn() else {
        println!("SKIPPED: moto_server is not installed");
        return None;
    };
    let said = BufReader::new(child.stderr.take().unwrap());
    let server = Moto(child);
    // It keeps its standard error open as long as it runs; the rest of it goes nowhere.
    let mut lines = said.lines().map_while(Result::ok);
    if !lines.any(|line| line.contains("Running on")) {
        println!("SKIPPED: moto_server does not start");
        return None;
    }
    std::thread::spawn(move || lines.for_each(drop));
    Some((server, format!("http://127.0.0.1:{port}")))
}

#[tokio::test]
async fn a_bucket_keeps_backups() {
    let Some((_server, endpoint)) = moto() else { return };
    let nowhere = Archive::open("s3://backups/series", settings(&endpoint)).unwrap();
    let from = TempDir::new().unwrap();
    filled(from.path());
    let refused = nowhere.back_up(from.path(), "x", |_| {}).await;
    assert!(matches!(refused, Err(ArchiveError::Remote { .. })), "there is no bucket yet: {refused:?}");
    let made = Command::new("curl").args(["-sf", "-X", "PUT", &format!("{endpoint}/backups")]).output();
    if !made.is_ok_and(|made| made.status.success()) {
        println!("SKIPPED: no bucket could be made with curl");
        return;
    }
    check(&nowhere).await;
    check(&Archive::open("s3://backups", settings(&endpoint)).unwrap()).await;
}
