//! Clients that others wrote: curl, h2load, wrk. Without the tool a test says so and passes.

use std::{path::Path, process::Command};

use homeostat_gateway_proxy::spec::TlsFiles;
use homeostat_model::OutcomeClass;

use crate::support::{Setup, recording_upstream};

/// Runs a tool to its end and returns what it printed; `None`, aloud, when it is not installed.
fn run(tool: &str, arguments: &[&str]) -> Option<String> {
    match Command::new(tool).args(arguments).output() {
        Ok(output) => {
            let shown = String::from_utf8_lossy(&output.stdout).into_owned();
            assert!(
                output.status.success(),
                "{tool} {arguments:?}: {shown}{}",
                String::from_utf8_lossy(&output.stderr)
            );
            Some(shown)
        }
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
            println!("SKIPPED: {tool} is not installed (apt install curl nghttp2-client wrk)");
            None
        }
        Err(error) => panic!("{tool}: {error}"),
    }
}

/// A certificate for `localhost` that names itself `name`.
pub(crate) fn certificate(directory: &Path, name: &str) -> TlsFiles {
    let mut params = rcgen::CertificateParams::new(["localhost".to_owned()]).expect("params");
    params.distinguished_name.push(rcgen::DnType::CommonName, name);
    let key = rcgen::KeyPair::generate().expect("key");
    let certificate = params.self_signed(&key).expect("certificate");
    let files = TlsFiles { certificate: directory.join("cert.pem"), key: directory.join("key.pem") };
    std::fs::write(&files.certificate, certificate.pem()).expect("written");
    std::fs::write(&files.key, key.serialize_pem()).expect("written");
    files
}

#[test]
fn curl_speaks_every_version() {
    let directory = tempfile::tempdir().expect("directory");
    let files = certificate(directory.path(), "first");
    let ca = files.certificate.to_str().expect("path").to_owned();
    let (backend, _seen) = recording_upstream();
    let clear = Setup::http1(backend).start();
    let tls = Setup::http1(backend).with(|s| s.tls = Some(files)).start();
    let (clear_url, tls_url) =
        (format!("http://localhost:{}/x", clear.address.port()), format!("https://localhost:{}/x", tls.address.port()));
    let format = "%{http_code} %{http_version}";
    for (arguments, expected) in [
        (vec!["--http1.0", &*clear_url], "ok200 1"),
        (vec!["--http1.1", &clear_url], "ok200 1.1"),
        (vec!["--http2", &clear_url], "ok200 1.1"), // Offers `Upgrade: h2c`, which is ignored.
        (vec!["--http2-prior-knowledge", &clear_url], "ok200 2"),
        (vec!["--http1.1", "--cacert", &ca, &tls_url], "ok200 1.1"),
        (vec!["--http2", "--cacert", &ca, &tls_url], "ok200 2"),
        (vec!["--http1.1", "-d", "body", "-H", "Expect: 100-continue", &clear_url], "ok200 1.1"),
        (vec!["--path-as-is", &format!("{clear_url}/../y")], "400 1.1"),
    ] {
        let common = ["-s", "-4", "--max-time", "20", "-w", format];
        let Some(shown) = run("curl", &[&common[..], &arguments].concat()) else { return };
        assert!(shown.contains(expected), "{arguments:?}: {shown}");
    }
    assert_eq!(clear.outcomes(5).class(OutcomeClass::Ok), 5);
    assert_eq!(tls.outcomes(2).class(OutcomeClass::Ok), 2);
}

#[test]
fn h2load_gets_all_its_answers() {
    let (backend, _seen) = recording_upstream();
    let gateway = Setup::http1(backend).with(|s| s.workers = 2).start();
    let url = format!("http://127.0.0.1:{}/", gateway.address.port());
    let Some(shown) = run("h2load", &["-n2000", "-c8", "-m16", &url]) else { return };
    assert!(shown.contains("2000 succeeded, 0 failed, 0 errored, 0 timeout"), "{shown}");
    assert_eq!(gateway.outcomes(2_000).class(OutcomeClass::Ok), 2_000);
}

#[test]
fn wrk_sees_no_errors() {
    let (backend, _seen) = recording_upstream();
    let gateway = Setup::http1(backend).with(|s| s.workers = 2).start();
    let url = format!("http://127.0.0.1:{}/", gateway.address.port());
    let Some(shown) = run("wrk", &["-t1", "-c16", "-d1s", &url]) else { return };
    assert!(!shown.contains("Socket errors") && !shown.contains("Non-2xx"), "{shown}");
    let counts = gateway.outcomes(1);
    // wrk breaks its last requests off: at most one a connection, and that is its own doing.
    assert!(counts.bad() == 0 && counts.class(OutcomeClass::ClientError) <= 16, "{counts:?}");
}
