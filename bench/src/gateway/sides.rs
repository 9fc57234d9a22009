//! The proxies and what is behind them.

use std::{
    net::SocketAddr,
    path::{Path, PathBuf},
    time::Duration,
};

use crate::{
    Failed,
    child::{Process, free_port},
    client,
};

const START_WITHIN: Duration = Duration::from_secs(15);

/// What answers: nginx with a fixed text of 1 KiB, the same for both proxies.
#[derive(Debug)]
pub(crate) struct Upstream {
    pub(crate) at: SocketAddr,
    _process: Process,
}

impl Upstream {
    pub(crate) async fn start(dir: &Path) -> Result<Self, Failed> {
        let at = free_port()?;
        let body = "x".repeat(1_024);
        let server =
            format!("server {{ listen {at}; keepalive_requests 100000000; location / {{ return 200 '{body}'; }} }}");
        Ok(Self { at, _process: nginx(dir, "upstream", &server, at).await? })
    }
}

/// The peer.
#[derive(Debug)]
pub(crate) struct Nginx {
    pub(crate) at: SocketAddr,
    process: Process,
}

impl Nginx {
    pub(crate) async fn start(dir: &Path, upstream: SocketAddr) -> Result<Self, Failed> {
        let at = free_port()?;
        let server = format!(
            "upstream behind {{ server {upstream}; keepalive 128; keepalive_requests 100000000; }}
             server {{ listen {at}; keepalive_requests 100000000; location / {{
                 proxy_pass http://behind; proxy_http_version 1.1; proxy_set_header Connection '';
                 proxy_set_header X-Forwarded-For $remote_addr; proxy_set_header X-Forwarded-Proto $scheme;
             }} }}"
        );
        Ok(Self { at, process: nginx(dir, "proxy", &server, at).await? })
    }

    pub(crate) fn pid(&self) -> Result<u32, Failed> {
        self.process.pid()
    }
}

async fn nginx(dir: &Path, name: &str, servers: &str, at: SocketAddr) -> Result<Process, Failed> {
    let dir = dir.join(name);
    std::fs::create_dir_all(&dir)?;
    let place = dir.display();
    let temporary: String = ["client_body", "proxy", "fastcgi", "uwsgi", "scgi"]
        .iter()
        .flat_map(|kind| [*kind, "_temp_path ", "tmp-", *kind, ";\n"])
        .collect();
    let config = format!(
        "daemon off; worker_processes 1; pid {place}/nginx.pid; error_log {place}/error.log;
         events {{ worker_connections 4096; }}
         http {{ access_log off; {temporary} {servers} }}\n"
    );
    let path = dir.join("nginx.conf");
    std::fs::write(&path, config)?;
    let arguments = ["-p".to_owned(), place.to_string(), "-c".to_owned(), path.display().to_string()];
    let process = Process::start(&PathBuf::from("nginx"), &arguments, dir.join("output.log"))?;
    match client::ready(at, "/", START_WITHIN).await {
        Ok(()) => Ok(process),
        Err(error) => Err(format!("nginx as {name}: {error}{}", process.last_words()).into()),
    }
}

/// Ours, as users run it.
#[derive(Debug)]
pub(crate) struct Homeostat {
    pub(crate) at: SocketAddr,
    process: Process,
}

impl Homeostat {
    pub(crate) async fn start(binary: &Path, dir: &Path, upstream: SocketAddr) -> Result<Self, Failed> {
        let (at, api) = (free_port()?, free_port()?);
        let data = dir.join("homeostat-data");
        let config = format!(
            "apiVersion: homeostat/v1\nkind: Gateway\nspec: {{ listeners: ['{at}'], workers: 1 }}\n---\n\
             apiVersion: homeostat/v1\nkind: Api\nspec: {{ listen: '{api}' }}\n---\n\
             apiVersion: homeostat/v1\nkind: Store\nspec: {{ dir: '{}' }}\n---\n\
             apiVersion: homeostat/v1\nkind: Service\nmetadata: {{ name: behind }}\n\
             spec: {{ versions: {{ v1: 'http://{upstream}' }}, objectives: {{ availability: 99.9% }} }}\n",
            data.display()
        );
        let path = dir.join("gateway.yaml");
        std::fs::write(&path, config)?;
        let arguments = ["up".to_owned(), "--config".to_owned(), path.display().to_string()];
        let process = Process::start(binary, &arguments, dir.join("homeostat.log"))?;
        match client::ready(at, "/", START_WITHIN).await {
            Ok(()) => Ok(Self { at, process }),
            Err(error) => Err(format!("homeostat: {error}{}", process.last_words()).into()),
        }
    }

    pub(crate) fn pid(&self) -> Result<u32, Failed> {
        self.process.pid()
    }
}
