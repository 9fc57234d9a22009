//! Targets from DNS (`dns_sd_configs`): each record of a name is one.

use std::time::Duration;

use hickory_resolver::{
    Resolver, TokioResolver,
    proto::rr::{RData, RecordType},
};
use tokio::{sync::watch, time::MissedTickBehavior};

use super::{Found, tell};
use crate::spec::{DnsKind, TargetGroup};

/// Label with the name that was asked for.
const META_NAME: &str = "__meta_dns_name";
/// Label with the host of an SRV record.
const META_SRV_TARGET: &str = "__meta_dns_srv_record_target";
/// Label with the port of an SRV record.
const META_SRV_PORT: &str = "__meta_dns_srv_record_port";

pub(super) async fn follow(
    names: &[String],
    kind: DnsKind,
    port: u16,
    refresh: Duration,
    found: &watch::Sender<Found>,
) {
    let source = names.first().map_or("", String::as_str);
    let resolver = match Resolver::builder_tokio().and_then(hickory_resolver::ResolverBuilder::build) {
        Ok(resolver) => resolver,
        Err(error) => return tell(found, source, Err(format!("the system's resolver cannot be used: {error}"))),
    };
    let mut ticks = tokio::time::interval(refresh);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        ticks.tick().await;
        tell(found, source, all(&resolver, names, kind, port).await);
    }
}

async fn all(resolver: &TokioResolver, names: &[String], kind: DnsKind, port: u16) -> Result<Vec<TargetGroup>, String> {
    let mut groups = Vec::new();
    for name in names {
        groups.extend(one(resolver, name, kind, port).await?);
    }
    Ok(groups)
}

async fn one(resolver: &TokioResolver, name: &str, kind: DnsKind, port: u16) -> Result<Vec<TargetGroup>, String> {
    let record = match kind {
        DnsKind::Srv => RecordType::SRV,
        DnsKind::A => RecordType::A,
        DnsKind::Aaaa => RecordType::AAAA,
    };
    let answer = resolver.lookup(name, record).await;
    let answer = answer.map_err(|error| format!("{name}: {error}"))?;
    let mut groups: Vec<_> = answer.answers().iter().filter_map(|record| group_of(name, port, &record.data)).collect();
    // Servers turn their answers round; the list is the same.
    groups.sort_unstable_by(|a, b| a.targets.cmp(&b.targets));
    Ok(groups)
}

fn group_of(name: &str, port: u16, data: &RData) -> Option<TargetGroup> {
    let mut labels = vec![(META_NAME.to_owned(), name.to_owned())];
    let target = match data {
        RData::A(address) => format!("{}:{port}", address.0),
        RData::AAAA(address) => format!("[{}]:{port}", address.0),
        RData::SRV(srv) => {
            let host = srv.target.to_utf8();
            labels.push((META_SRV_TARGET.to_owned(), host.clone()));
            labels.push((META_SRV_PORT.to_owned(), srv.port.to_string()));
            format!("{}:{}", host.trim_end_matches('.'), srv.port)
        }
        _ => return None,
    };
    Some(TargetGroup { targets: vec![target], labels })
}

#[cfg(test)]
mod tests {
    use std::{net::SocketAddr, path::Path, process::Child};

    use hickory_resolver::{
        config::{ConnectionConfig, NameServerConfig, ResolverConfig},
        net::runtime::TokioRuntimeProvider,
        proto::rr::{
            Name,
            rdata::{A, AAAA, SRV},
        },
    };

    use super::*;

    #[test]
    fn each_record_is_a_target() {
        let target = |data: RData| group_of("web", 9100, &data).unwrap().targets.concat();
        assert_eq!(target(RData::A(A::new(10, 0, 0, 1))), "10.0.0.1:9100");
        assert_eq!(target(RData::AAAA(AAAA::new(0, 0, 0, 0, 0, 0, 0, 1))), "[::1]:9100");
        let host = Name::from_utf8("a.example.").unwrap();
        let group = group_of("_web._tcp", 0, &RData::SRV(SRV::new(1, 1, 8080, host))).unwrap();
        assert_eq!(group.targets, ["a.example:8080"]);
        assert_eq!(group.labels.last().unwrap().1, "8080");
    }

    /// A DNS server of the distribution; ended when dropped.
    struct Dnsmasq(Child);

    impl Drop for Dnsmasq {
        fn drop(&mut self) {
            let _gone_already = self.0.kill();
            let _gone_already = self.0.wait();
        }
    }

    fn dnsmasq(dir: &Path) -> Option<(Dnsmasq, SocketAddr)> {
        let at = std::net::UdpSocket::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
        let config = format!(
            "port={port}\nlisten-address=127.0.0.1\nbind-interfaces\nno-resolv\nno-hosts\nno-daemon\nuser=\ngroup=\npid-file={dir}/pid
local=/test/\nhost-record=one.test,10.0.0.1\nhost-record=web.test,10.0.0.2,fd00::2\nhost-record=web.test,10.0.0.3
srv-host=_metrics._tcp.test,one.test,9100\nsrv-host=_metrics._tcp.test,web.test,9101\n",
            port = at.port(),
            dir = dir.display(),
        );
        std::fs::write(dir.join("dnsmasq.conf"), config).unwrap();
        let file = format!("--conf-file={}", dir.join("dnsmasq.conf").display());
        let started = ["/usr/sbin/dnsmasq", "dnsmasq"]
            .into_iter()
            .find_map(|program| std::process::Command::new(program).arg(&file).spawn().ok());
        if started.is_none() {
            println!("SKIPPED: dnsmasq (package dnsmasq-base) is not installed");
        }
        started.map(|child| (Dnsmasq(child), at))
    }

    /// A resolver that asks one server.
    fn asking(at: SocketAddr) -> TokioResolver {
        let mut connection = ConnectionConfig::udp();
        connection.port = at.port();
        let server = NameServerConfig::new(at.ip(), true, vec![connection]);
        let config = ResolverConfig::from_parts(None, Vec::new(), vec![server]);
        Resolver::builder_with_config(config, TokioRuntimeProvider::default()).build().unwrap()
    }

    /// Ports are free when they are chosen, and may be taken by the time a server listens; then another one is.
    const PORTS_TRIED: usize = 20;

    #[tokio::test]
    async fn a_real_server_is_asked_for_each_kind_of_record() {
        let dir = tempfile::tempdir().unwrap();
        let mut tried = 0;
        let (_running, resolver, services) = 'started: loop {
            assert!(tried < PORTS_TRIED, "dnsmasq ends as soon as it is started; what it says stands above");
            tried += 1;
            let Some((mut running, at)) = dnsmasq(dir.path()) else { return };
            let resolver = asking(at);
            // It needs a moment to listen.
            while running.0.try_wait().unwrap().is_none() {
                if let Ok(groups) = all(&resolver, &["_metrics._tcp.test.".to_owned()], DnsKind::Srv, 80).await {
                    break 'started (running, resolver, groups);
                }
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        };
        let ask = async |name: &str, kind| all(&resolver, &[name.to_owned()], kind, 80).await;
        let targets =
            |groups: &[TargetGroup]| groups.iter().flat_map(|group| group.targets.clone()).collect::<Vec<_>>();
        assert_eq!(targets(&services), ["one.test:9100", "web.test:9101"]);
        assert_eq!(targets(&ask("web.test.", DnsKind::A).await.unwrap()), ["10.0.0.2:80", "10.0.0.3:80"]);
        assert_eq!(targets(&ask("web.test.", DnsKind::Aaaa).await.unwrap()), ["[fd00::2]:80"]);
        let missing = ask("nobody.test.", DnsKind::A).await.unwrap_err();
        assert!(missing.starts_with("nobody.test."), "{missing}");
    }
}
