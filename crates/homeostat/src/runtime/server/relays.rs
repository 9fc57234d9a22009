//! What the store takes, on to other stores: the section `remote_write`.
//!
//! A write is acknowledged when it is durable here and in the queue of every destination. Batches enter the queues in
//! the order in which the store takes them, so a series' samples leave in order.

use std::{
    path::Path,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use bytes::Bytes;
use homeostat_model::error_chain::chain;
use homeostat_relay_write::{Answer, Carrier, Carrying, OpenError, Relay, Version, Written};
use homeostat_sense_scrape::fetch::{Fetcher, Sent};
use homeostat_store_series::Batch;
use homeostat_store_wal::{Full, RealDisk, Ticket};
use http::{HeaderMap, HeaderValue, StatusCode, header};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use crate::{config::prometheus::Remote, runtime::retry_after::retry_after};

/// Folder of the queues within the data directory.
const QUEUES_DIR: &str = "relay";

/// Bytes that a sample takes in a queue, labels included, before it is packed: what room is asked for.
const SAMPLE_BYTES: usize = 64;

/// Why samples cannot be sent on.
#[derive(Debug, thiserror::Error)]
pub enum RelayError {
    /// The queue.
    #[error("cannot open the queue of the destination `{name}`")]
    Queue {
        /// Which destination.
        name: String,
        /// Why not.
        source: OpenError,
    },
    /// Certificates.
    #[error("cannot speak to the destination `{name}`: {why}")]
    Speak {
        /// Which destination.
        name: String,
        /// Why not.
        why: String,
    },
}

/// One a destination.
pub(super) type Carriers = Vec<Arc<dyn Carrier>>;

/// All destinations.
#[derive(Debug, Default)]
pub(super) struct Relays {
    all: Vec<Arc<Relay>>,
    order: Mutex<()>,
}

/// Who sends, until they are stopped.
#[derive(Debug, Default)]
pub(super) struct Sending {
    relays: Arc<Relays>,
    tasks: JoinSet<bool>,
    stop: CancellationToken,
}

impl Relays {
    /// Opens the queues and makes the carriers. Blocks for the disk.
    pub(super) fn open(remotes: Vec<Remote>, dir: &Path) -> Result<(Arc<Self>, Carriers), RelayError> {
        let (mut all, mut carriers) = (Vec::new(), Carriers::new());
        for remote in remotes {
            let name = remote.relay.name.clone();
            let folder = dir.join(QUEUES_DIR).join(folder_name(&name));
            let relay = Relay::open(remote.relay, &folder, Arc::new(RealDisk));
            all.push(Arc::new(relay.map_err(|source| RelayError::Queue { name: name.clone(), source })?));
            let fetcher = Fetcher::new(Arc::new(remote.http));
            let fetcher = fetcher.map_err(|error| RelayError::Speak { name, why: chain(&error) })?;
            carriers.push(Arc::new(HttpCarrier { fetcher, url: remote.url.into(), timeout: remote.timeout }));
        }
        Ok((Arc::new(Self { all, order: Mutex::default() }), carriers))
    }

    /// Keeps the order: held from before the store takes a batch until it is queued. `None` when nothing is sent on.
    pub(super) fn hold(&self) -> Option<MutexGuard<'_, ()>> {
        (!self.all.is_empty()).then(|| self.order.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Asks beforehand whether a batch would be taken.
    pub(super) fn room(&self, batch: &Batch) -> Result<(), Full> {
        self.all.iter().try_for_each(|relay| relay.room(SAMPLE_BYTES * batch.samples_len()))
    }

    /// Queues what the store has taken of a batch.
    pub(super) fn queue(&self, batch: &Batch) -> Result<Vec<Ticket>, Full> {
        let mut tickets = Vec::new();
        for relay in &self.all {
            let mut queued = relay.begin();
            for series in batch.taken() {
                let starts = (series.float_starts.as_slice(), series.histogram_starts.as_slice());
                queued.series(series.labels, &series.floats, &series.histograms, starts);
            }
            tickets.extend(relay.commit(queued)?);
        }
        Ok(tickets)
    }

    /// What a person should know who asks how the process is.
    pub(super) fn troubles(&self) -> Vec<String> {
        self.all.iter().filter_map(|relay| relay.trouble()).collect()
    }

    /// Appends the metrics of all destinations.
    pub(super) fn metrics(&self, out: &mut String) {
        if !self.all.is_empty() {
            Relay::metrics(&self.all, out);
        }
    }
}

impl Sending {
    /// Starts sending. When it is stopped, a disk that holds somebody up is waited for as long as `patience`.
    pub(super) fn start(relays: Arc<Relays>, carriers: Carriers, patience: Duration) -> Self {
        let (mut tasks, stop) = (JoinSet::new(), CancellationToken::new());
        for (relay, carrier) in relays.all.iter().zip(carriers) {
            let (relay, stop) = (Arc::clone(relay), stop.clone());
            tasks.spawn(async move { relay.run(carrier, stop, patience).await });
        }
        Self { relays, tasks, stop }
    }

    /// Stops sending; what was under way is sent again by the next run.
    pub(super) async fn stop(mut self, timeout: Duration) {
        self.stop.cancel();
        while let Some(ended) = self.tasks.join_next().await {
            if !ended.unwrap_or(false) {
                tracing::error!("the disk holds up a queue for other stores; what was under way is sent again");
            }
        }
        let relays = self.relays;
        let close = move || relays.all.iter().map(|relay| relay.close(timeout).err().unwrap_or(0)).sum::<usize>();
        let lost = tokio::task::spawn_blocking(close).await.unwrap_or(0);
        if lost > 0 {
            tracing::error!(lost, "records for other stores did not reach the disk; none of them was acknowledged");
        }
    }
}

/// A name as a folder's: what a file system may not like is spelled in hexadecimal digits.
fn folder_name(name: &str) -> String {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_');
    name.bytes().map(|byte| if plain(byte) { char::from(byte).to_string() } else { format!("%{byte:02x}") }).collect()
}

/// Carries requests over HTTP.
#[derive(Clone, Debug)]
struct HttpCarrier {
    fetcher: Fetcher,
    url: Arc<str>,
    timeout: Duration,
}

impl Carrier for HttpCarrier {
    fn carry(&self, body: Bytes, version: Version) -> Carrying {
        let carrier = self.clone();
        Box::pin(async move {
            let (media, number) = match version {
                Version::V1 => ("application/x-protobuf", "0.1.0"),
                Version::V2 => ("application/x-protobuf;proto=io.prometheus.write.v2.Request", "2.0.0"),
            };
            let mut headers = HeaderMap::new();
            headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(media));
            headers.insert(header::CONTENT_ENCODING, HeaderValue::from_static("snappy"));
            headers.insert("x-prometheus-remote-write-version", HeaderValue::from_static(number));
            match carrier.fetcher.post(&carrier.url, headers, body, carrier.timeout).await {
                Ok((status, headers, words)) => answer(version, status, &headers, words),
                Err(unanswered) => {
                    let perhaps = unanswered.sent == Sent::Perhaps;
                    Answer::Later { after: None, why: chain(&unanswered.error), perhaps }
                }
            }
        })
    }
}

fn answer(version: Version, status: StatusCode, headers: &HeaderMap, words: String) -> Answer {
    let why = format!("it answers {status}: {words}");
    if status.is_success() {
        Answer::Taken { written: written(version, headers) }
    } else if status.is_server_error() || status == StatusCode::TOO_MANY_REQUESTS {
        let after = retry_after(headers);
        // These two say that nothing was done; a proxy's word or an error in the middle says nothing.
        let undone = matches!(status, StatusCode::TOO_MANY_REQUESTS | StatusCode::SERVICE_UNAVAILABLE);
        Answer::Later { after, why, perhaps: !undone }
    } else {
        Answer::Refused { status: status.as_u16(), why, written: written(version, headers) }
    }
}

/// What a receiver of version 2.0 says that it has written.
/// Source: prometheus.io/docs/specs/prw/remote_write_spec_2_0, "Required Written Response Headers".
fn written(version: Version, headers: &HeaderMap) -> Option<Written> {
    let count = |what: &str| {
        headers.get(format!("x-prometheus-remote-write-{what}-written"))?.to_str().ok()?.trim().parse().ok()
    };
    match (version, count("samples"), count("histograms")) {
        (Version::V1, ..) | (_, None, None) => None,
        (_, samples, histograms) => {
            Some(Written { samples: samples.unwrap_or(0), histograms: histograms.unwrap_or(0) })
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn answers_say_whether_to_come_again() {
        let of = |status: u16, retry_after: Option<&str>| {
            let mut headers = HeaderMap::new();
            if let Some(text) = retry_after {
                headers.insert(header::RETRY_AFTER, HeaderValue::try_from(text).unwrap());
            }
            answer(Version::V1, StatusCode::from_u16(status).unwrap(), &headers, "x".to_owned())
        };
        assert_eq!(of(204, None), Answer::Taken { written: None });
        let why = |status: &str| format!("it answers {status}: x");
        let seconds = Some(Duration::from_secs(7));
        assert_eq!(
            of(429, Some("7")),
            Answer::Later { after: seconds, why: why("429 Too Many Requests"), perhaps: false }
        );
        assert_eq!(of(503, None), Answer::Later { after: None, why: why("503 Service Unavailable"), perhaps: false });
        assert!(matches!(of(502, None), Answer::Later { perhaps: true, .. }));
        assert_eq!(of(404, Some("7")), Answer::Refused { status: 404, why: why("404 Not Found"), written: None });
        assert_eq!(folder_name("../a b"), "%2e%2e%2fa%20b");
    }

    #[test]
    fn version_2_says_how_much_was_written() {
        let mut headers = HeaderMap::new();
        let of = |version, headers: &HeaderMap| answer(version, StatusCode::BAD_REQUEST, headers, "x".to_owned());
        let written = |answer| if let Answer::Refused { written, .. } = answer { written } else { None };
        assert_eq!(written(of(Version::V2, &headers)), None);
        headers.insert("x-prometheus-remote-write-samples-written", HeaderValue::from_static("90"));
        assert_eq!(written(of(Version::V2, &headers)), Some(Written { samples: 90, histograms: 0 }));
        headers.insert("x-prometheus-remote-write-histograms-written", HeaderValue::from_static("7"));
        assert_eq!(written(of(Version::V2, &headers)), Some(Written { samples: 90, histograms: 7 }));
        assert_eq!(written(of(Version::V1, &headers)), None, "its receivers count nothing");
        let taken = answer(Version::V2, StatusCode::NO_CONTENT, &headers, String::new());
        assert!(matches!(taken, Answer::Taken { written: Some(Written { samples: 90, .. }) }));
    }

    #[tokio::test]
    async fn only_what_was_sent_may_have_arrived() {
        let carry = async |address: std::net::SocketAddr| {
            let fetcher = Fetcher::new(Arc::default()).unwrap();
            let url = format!("http://{address}/").into();
            let carrier = HttpCarrier { fetcher, url, timeout: Duration::from_secs(30) };
            match carrier.carry(Bytes::from_static(b"packed"), Version::V1).await {
                Answer::Later { perhaps, .. } => perhaps,
                other => unreachable!("nobody answers: {other:?}"),
            }
        };
        // A port that was free a moment ago, and nobody listens on it.
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let broken = tokio::spawn(async move {
            let (mut stream, _) = listener.accept().await.unwrap();
            let mut request = [0; 1];
            tokio::io::AsyncReadExt::read_exact(&mut stream, &mut request).await.unwrap();
        });
        assert!(carry(address).await, "it was read, and the answer never came");
        broken.await.unwrap();
        assert!(!carry(address).await, "there was nobody to take it");
    }
}
