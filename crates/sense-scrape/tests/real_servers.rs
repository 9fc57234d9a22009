//! Targets as they are met: nginx with TLS, servers that trickle or never end, expositions at the edge of what there is.
#![expect(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::print_stdout,
    reason = "helpers of tests fail by panicking, and say when they skip"
)]

mod common;

use std::{
    net::SocketAddr,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use homeostat_sense_scrape::{
    discover::ReadGroups,
    manager::{Scrapers, Targets, run_job},
    spec::{Discovery, Job, Scheme, TargetGroup, TlsSpec},
};
use homeostat_wire::intake::Collected;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{TcpListener, TcpStream},
    sync::mpsc,
};
use tokio_util::sync::CancellationToken;

use common::Batches;

fn job(at: SocketAddr) -> Job {
    let group = TargetGroup { targets: vec![at.to_string()], labels: Vec::new() };
    Job {
        interval: Duration::from_secs(5),
        timeout: Duration::from_secs(5),
        discovery: vec![Discovery::Static(vec![group])],
        ..Job::named("test")
    }
}

/// The first scrape of a job, and what is said about the target after it.
async fn first(job: Job) -> (Collected, String) {
    let (sender, mut receiver) = mpsc::channel(64);
    let (stop, targets) = (CancellationToken::new(), Targets::default());
    let lists: ReadGroups = Arc::new(|_| Ok(Vec::new()));
    let running = run_job(
        Arc::new(job),
        lists,
        Arc::new(Scrapers(Arc::new(Batches(sender)))),
        targets.clone(),
        stop.clone(),
        CancellationToken::new(),
    );
    let seeing = async {
        let batch = receiver.recv().await.unwrap();
        // The status is set right after the batch was taken.
        let error = loop {
            let view = targets.view();
            let status = view.first().and_then(|(_, view)| Some(view.active.first()?.status.clone()));
            if let Some(status) = status
                && status.up.is_some()
            {
                break status.error.unwrap_or_default();
            }
            tokio::task::yield_now().await;
        };
        stop.cancel();
        (batch, error)
    };
    let (ended, seen) = tokio::join!(running, seeing);
    ended.unwrap();
    seen
}

fn up(batch: &Collected) -> f64 {
    batch.series.iter().find(|series| series.labels.value("__name__") == "up").unwrap().samples[0].value
}

/// Answers every connection once, by hand.
async fn serve<F>(answer: impl Fn(TcpStream) -> F + Send + 'static) -> SocketAddr
where
    F: Future<Output = ()> + Send + 'static,
{
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let at = listener.local_addr().unwrap();
    tokio::spawn(async move {
        while let Ok((mut socket, _)) = listener.accept().await {
            let mut head = [0; 4096];
            if socket.read(&mut head).await.is_ok() {
                tokio::spawn(answer(socket));
            }
        }
    });
    at
}

/// Serves one exposition.
async fn serve_text(body: String) -> SocketAddr {
    serve(move |mut socket| {
        let answer =
            format!("HTTP/1.1 200 OK\r\ncontent-type: text/plain\r\ncontent-length: {}\r\n\r\n{body}", body.len());
        async move { socket.write_all(answer.as_bytes()).await.unwrap_or_default() }
    })
    .await
}

#[tokio::test]
async fn a_target_that_trickles_costs_its_time_out_only() {
    let at = serve(|mut socket| async move {
        let head = b"HTTP/1.1 200 OK\r\ncontent-type: text/plain\r\n\r\n";
        let mut gone = socket.write_all(head).await.is_err();
        while !gone {
            gone = socket.write_all(b"#").await.is_err();
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    })
    .await;
    let (batch, error) = first(Job { timeout: Duration::from_millis(200), ..job(at) }).await;
    assert!(up(&batch) == 0.0 && error.contains("did not answer within 200ms"), "{error}");
}

#[tokio::test]
async fn a_target_that_never_ends_is_given_up_at_the_limit() {
    static WRITTEN: AtomicU64 = AtomicU64::new(0);
    let at = serve(|mut socket| async move {
        let head = b"HTTP/1.1 200 OK\r\ncontent-type: text/plain\r\n\r\n";
        let mut gone = socket.write_all(head).await.is_err();
        let piece = "# gigabytes\n".repeat(4096);
        while !gone {
            gone = socket.write_all(piece.as_bytes()).await.is_err();
            WRITTEN.fetch_add(piece.len() as u64, Ordering::Relaxed);
        }
    })
    .await;
    let mut endless = job(at);
    endless.limits.body_bytes = 1 << 20;
    let (batch, error) = first(endless).await;
    assert!(up(&batch) == 0.0 && error.contains("body_size_limit"), "{error}");
    // The limit, and what fits into the buffers of both sockets.
    let written = WRITTEN.load(Ordering::Relaxed);
    assert!(written < 64 << 20, "{written} bytes were taken");
}

#[tokio::test]
async fn numbers_and_times_at_their_ends_are_read_as_they_are() {
    let (min, max) = (i64::MIN, i64::MAX);
    let at = serve_text(format!("old 1 {min}\nnew 2 {max}\nnan NaN\ninf -Inf\nhuge 1.7976931348623157e308\n")).await;
    let (batch, error) = first(job(at)).await;
    assert!(up(&batch).to_bits() == 1.0_f64.to_bits(), "{error}");
    let sample = |name: &str| batch.series.iter().find(|s| s.labels.value("__name__") == name).unwrap().samples[0];
    assert_eq!((sample("old").t_ms, sample("new").t_ms), (min, max));
    // Not the one that marks the end of a series.
    assert!(sample("nan").value.is_nan() && !homeostat_model::sample::is_stale(sample("nan").value));
    assert_eq!((sample("inf").value, sample("huge").value), (f64::NEG_INFINITY, f64::MAX));
}

#[tokio::test]
async fn a_series_of_ten_thousand_labels_harms_nobody() {
    use std::fmt::Write as _;
    let mut body = "good 1\nwide{".to_owned();
    for number in 0..10_000 {
        write!(body, "l{number}=\"x\",").unwrap();
    }
    body.push_str("} 1\nalso 1\n");
    let (batch, error) = first(job(serve_text(body).await)).await;
    // As with every body that cannot be read: no half of a target is stored, and it is said why, and where.
    assert!(up(&batch) == 0.0 && error.contains("line 2, column 1: it has more than 256 labels"), "{error}");
    let mut names: Vec<_> = batch.series.iter().map(|s| s.labels.value("__name__").to_owned()).collect();
    names.sort();
    let about = ["scrape_duration_seconds", "scrape_samples_post_metric_relabeling", "scrape_samples_scraped"];
    assert_eq!(names, [&about[..], &["scrape_series_added", "up"]].concat());
    assert!(batch.refused.is_empty(), "{:?}", batch.refused);
    // One label less than too many is taken, beside its neighbours.
    let labels = (0..255).map(|number| format!("l{number}=\"x\"")).collect::<Vec<_>>().join(",");
    let (batch, error) = first(job(serve_text(format!("good 1\nwide{{{labels}}} 1\n")).await)).await;
    let wide = batch.series.iter().find(|s| s.labels.value("__name__") == "wide").map(|s| s.labels.iter().count());
    assert!(up(&batch) > 0.0 && wide > Some(255), "{error}: {wide:?}");
}

/// A running nginx; ended when dropped.
struct Nginx(Child);

impl Drop for Nginx {
    fn drop(&mut self) {
        let _gone_already = self.0.kill();
        let _gone_already = self.0.wait();
    }
}

/// A certificate of its own authority, and its key, as files.
fn certificate(dir: &Path, name: &str) -> (PathBuf, PathBuf) {
    let key = rcgen::KeyPair::generate().unwrap();
    let mut params = rcgen::CertificateParams::new(["127.0.0.1".to_owned(), "metrics.test".to_owned()]).unwrap();
    params.distinguished_name.push(rcgen::DnType::CommonName, name);
    let certificate = params.self_signed(&key).unwrap();
    let (file, key_file) = (dir.join(format!("{name}.pem")), dir.join(format!("{name}.key")));
    std::fs::write(&file, certificate.pem()).unwrap();
    std::fs::write(&key_file, key.serialize_pem()).unwrap();
    (file, key_file)
}

/// Ports are free when they are chosen, and may be taken by the time a server listens; then another one is.
const PORTS_TRIED: usize = 20;

async fn nginx(dir: &Path, server: &(PathBuf, PathBuf), client: &Path) -> Option<(Nginx, SocketAddr)> {
    let program = ["/usr/sbin/nginx", "nginx"].into_iter().find(|program| {
        let asked = Command::new(program).arg("-v").stderr(Stdio::null()).status();
        asked.is_ok_and(|status| status.success())
    });
    let Some(program) = program else {
        println!("SKIPPED: nginx is not installed");
        return None;
    };
    for _ in 0..PORTS_TRIED {
        let running = nginx_once(program, dir, server, client).await;
        if running.is_some() {
            return running;
        }
    }
    let log = std::fs::read_to_string(dir.join("error.log")).unwrap_or_default();
    unreachable!("nginx ends as soon as it is started: {log}");
}

/// `None` when it ended before it listened.
async fn nginx_once(
    program: &str,
    dir: &Path,
    server: &(PathBuf, PathBuf),
    client: &Path,
) -> Option<(Nginx, SocketAddr)> {
    let at = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    std::fs::write(dir.join("metrics"), "served_by_nginx 1\n").unwrap();
    let (root, certificate, key) = (dir.display(), server.0.display(), server.1.display());
    let config = format!(
        "daemon off; master_process off; pid {root}/pid; error_log {root}/error.log;
events {{}}
http {{
  access_log off; default_type text/plain;
  client_body_temp_path {root}/b; proxy_temp_path {root}/p; fastcgi_temp_path {root}/f; uwsgi_temp_path {root}/u; scgi_temp_path {root}/s;
  server {{
    listen {at} ssl; root {root};
    ssl_certificate {certificate}; ssl_certificate_key {key};
    ssl_client_certificate {client}; ssl_verify_client on;
  }}
}}
",
        client = client.display()
    );
    let file = dir.join("nginx.conf");
    std::fs::write(&file, config).unwrap();
    let child = Command::new(program).arg("-p").arg(dir).arg("-c").arg(&file).stderr(Stdio::null()).spawn().unwrap();
    let mut running = Nginx(child);
    // Another server may answer at a port that it did not get.
    while running.0.try_wait().unwrap().is_none() {
        if TcpStream::connect(at).await.is_ok() && dir.join("pid").exists() {
            return Some((running, at));
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    None
}

#[tokio::test]
async fn nginx_is_scraped_over_tls_with_certificates_on_both_sides() {
    let dir = tempfile::tempdir().unwrap();
    let (server, client, other) =
        (certificate(dir.path(), "server"), certificate(dir.path(), "client"), certificate(dir.path(), "other"));
    let Some((_running, at)) = nginx(dir.path(), &server, &client.0).await else { return };
    let scrape = |tls: TlsSpec| {
        let mut job = Job { scheme: Scheme::Https, ..job(at) };
        job.http.tls = tls;
        first(job)
    };
    let good = TlsSpec { ca_file: Some(server.0.clone()), client: Some(client.clone()), ..TlsSpec::default() };
    let named = TlsSpec { server_name: Some("metrics.test".to_owned()), ..good.clone() };
    let blind = TlsSpec { ca_file: None, insecure_skip_verify: true, ..good.clone() };
    for tls in [good.clone(), named, blind] {
        let (batch, error) = scrape(tls.clone()).await;
        assert!(up(&batch) > 0.0, "{tls:?}: {error}");
        assert!(batch.series.iter().any(|series| series.labels.value("__name__") == "served_by_nginx"));
    }
    for (tls, why) in [
        (TlsSpec { ca_file: Some(other.0.clone()), ..good.clone() }, "the target cannot be reached"),
        (TlsSpec { server_name: Some("other.test".to_owned()), ..good.clone() }, "the target cannot be reached"),
        (TlsSpec { client: None, ..good.clone() }, "the target answered 400"),
        (TlsSpec { client: Some(other), ..good }, "the target answered 400"),
    ] {
        let (batch, error) = scrape(tls.clone()).await;
        assert!(up(&batch) == 0.0 && error.contains(why), "{tls:?}: {error}");
    }
}
