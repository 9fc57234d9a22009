//! OTLP on addresses of its own, where it is asked for. The main address takes it in any case: metrics at Prometheus' path,
//! profiles where Pyroscope has them.

use std::{net::SocketAddr, sync::Arc};

use homeostat_api::prometheus::{IntakeServer, Protocol, ServeError, ServerSpec};
use homeostat_sense_receive::{OtlpReceiver, OtlpSettings, ProfileReceiver};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use super::{intake::StoreIntake, profiles::ProfileDoor};

/// How OTLP is taken.
#[derive(Debug, Default)]
pub struct OtlpServing {
    /// Where OTLP/HTTP is served.
    pub http: Option<ServerSpec>,
    /// Where OTLP/gRPC is served.
    pub grpc: Option<ServerSpec>,
    /// How metrics become series.
    pub settings: OtlpSettings,
}

/// Bound servers, before they run.
#[derive(Debug, Default)]
pub(super) struct OtlpServers(Vec<(&'static str, IntakeServer)>);

impl OtlpServers {
    /// Takes the addresses.
    pub(super) async fn bind(
        http: Option<ServerSpec>,
        grpc: Option<ServerSpec>,
        metrics: &Arc<OtlpReceiver<StoreIntake>>,
        profiles: &Arc<ProfileReceiver<ProfileDoor>>,
    ) -> Result<Self, ServeError> {
        let mut servers = Self::default();
        if let Some(spec) = http {
            let routes = metrics.http_router().merge(profiles.otlp_http_router());
            let server = IntakeServer::bind(spec, Protocol::Http1, routes).await?;
            servers.0.push(("HTTP", server));
        }
        if let Some(spec) = grpc {
            let routes = metrics.grpc_router().merge(profiles.otlp_grpc_router());
            let server = IntakeServer::bind(spec, Protocol::Http2, routes).await?;
            servers.0.push(("gRPC", server));
        }
        Ok(servers)
    }

    /// What is spoken, and where.
    pub(super) fn addresses(&self) -> Vec<(&'static str, SocketAddr)> {
        self.0.iter().map(|(transport, server)| (*transport, server.local_addr())).collect()
    }

    /// Serves until `stop`.
    pub(super) async fn run(self, stop: CancellationToken) {
        let mut running: JoinSet<()> = self.0.into_iter().map(|(_, server)| server.run(stop.clone())).collect();
        while running.join_next().await.is_some() {}
    }
}
