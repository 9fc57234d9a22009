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
    use hickory_resolver::proto::rr::{
        Name,
        rdata::{A, AAAA, SRV},
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
}
