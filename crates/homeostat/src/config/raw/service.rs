//! The `Service` document.

use homeostat_gateway_route::spec::Endpoint;
use homeostat_model::{ReceiverName, ServiceName, Span, VersionName, Weight, objective::OnPage};

use crate::config::{
    read::{Entries, OneOrMany, Short, ShortForm, record, words},
    scalar::{HeaderName, Share, Whole},
    source::At,
};

record! {
    /// Something with versions that routes lead to. Traffic is divided among the versions by weight; a rollout moves the
    /// weights. A configuration without `Route` documents whose only service this is sends it every request.
    Service {
        /// Versions by name.
        "versions" versions: Entries<VersionName, Short<Version>> => required;
        /// What keeps a client on its version: `client-address`, `{cookie: NAME}` or `{header: NAME}`. Requests without
        /// the key are split one by one. Left out: every request is.
        "sticky" sticky: Short<Sticky> => optional;
        /// A request header whose value names the version to use. Left out: clients cannot choose.
        "forcedVersionHeader" forced_version_header: HeaderName => optional;
        /// Services that its programs call. When one of them fails more of its requests than before, or answers more of them
        /// later than its own objective of latency, while this one breaks, it is a suspect. What it answers is counted here:
        /// calls to it go through this gateway. Left out: none is known.
        "dependsOn" depends_on: OneOrMany<ServiceName> => optional;
        /// Takes profiles of its programs all the time, and keeps those around an incident with it. Left out: none are taken.
        "profiling" profiling: Profiling => optional;
        /// Who sees its requests when they do not come through the gateway: its objectives are judged all the same. Routes and
        /// rollouts of such a service are refused. Left out: the gateway does.
        "calls" calls: Calls => optional;
        /// Time limits of its requests.
        "timeouts" timeouts: Timeouts => default "{}";
        /// Objectives in short. They are named after the service: `shop-availability`, `shop-latency`. Use OpenSLO `SLO`
        /// documents for anything that does not fit in here.
        "objectives" objectives: Objectives => optional;
    }
}

record! {
    /// Who serves a version. The short form is an endpoint or a list of them.
    Version {
        /// Upstream addresses: `http://IP:PORT` for HTTP/1.1, `h2c://IP:PORT` for HTTP/2 in cleartext. An empty list
        /// refuses requests with 503.
        "endpoints" endpoints: OneOrMany<Endpoint> => required;
        /// Its share while no rollout moves it; all shares sum up to 100 %. When no version gives one, the first version
        /// has all traffic.
        "weight" weight: Weight => optional;
    }
}

record! {
    /// Profiles of a service's programs, two of each version.
    Profiling {
        /// Which programs.
        "targets" targets: ProfileTargets => default "endpoints";
        /// Who takes them: the programs themselves, or the kernel.
        "from" from: ProfilesFrom => default "pprof";
        /// Port of `/debug/pprof` on each endpoint's or target's address. Left out: its own.
        "port" port: Whole<1, 65_535> => optional;
        /// What stands before `/debug/pprof` in the path, beginning with `/`.
        "prefix" prefix: String => optional;
        /// Samples a second and processor that the kernel takes, 19 to 2000. Left out: 99.
        "rate" rate: Whole<19, 2_000> => optional;
        /// Processor time is measured for this long at a time, one after the other, 1 s to 60 s.
        "window" window: Span => default "10s";
        /// How long profiles of both sides go on being taken after an incident was opened, before they are compared: from two
        /// windows to 5 min. A canary that is taken back does nothing any more; where a side still has traffic, longer is more samples.
        /// Left out: three windows.
        "capture" capture: Span => optional;
    }
}

/// Whose profiles are taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum ProfileTargets {
    Endpoints,
    Scrape,
}

words! { ProfileTargets {
    "endpoints" => ProfileTargets::Endpoints, "The first two endpoints of each version.";
    "scrape" => ProfileTargets::Scrape, "What the `scrapeConfig` of the `Metrics` document finds: targets whose label `service_name`, or else `job`, is the service's name. The label `version` says which version they are; a service with one version needs none. They are spoken to as for scraping (TLS, credentials).";
} }

/// Who takes profiles.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum ProfilesFrom {
    Pprof,
    Kernel,
}

words! { ProfilesFrom {
    "pprof" => ProfilesFrom::Pprof, "The programs serve `/debug/pprof`, as Go programs with `net/http/pprof` do.";
    "kernel" => ProfilesFrom::Kernel, "The kernel samples them as they are; they run on this machine, as this program's user or it as root.";
} }

record! {
    /// Requests of a service that is not behind the gateway.
    Calls {
        /// Who sees them.
        "from" from: CallsFrom => required;
    }
}

/// Who sees requests.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct CallsFrom;

words! { CallsFrom {
    "kernel" => CallsFrom, "The kernel of this machine, by a program that reads the first bytes of what processes receive and send that listen on an endpoint: HTTP/1, HTTP/2 and gRPC in the clear. See `docs/kernel.md`.";
} }

impl ShortForm for Version {
    type Short = OneOrMany<Endpoint>;
    fn from_short(short: At<OneOrMany<Endpoint>>) -> Self {
        Self { endpoints: Some(short), weight: None }
    }
}

record! {
    /// What identifies a client; exactly one of the two.
    Sticky {
        /// The value of this cookie.
        "cookie" cookie: String => optional;
        /// The value of this header.
        "header" header: HeaderName => optional;
    }
}

/// The short form of `sticky`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct ClientAddress;

words! { ClientAddress {
    "client-address" => ClientAddress, "The client's IP address.";
} }

impl ShortForm for Sticky {
    type Short = ClientAddress;
    fn from_short(_: At<ClientAddress>) -> Self {
        Self { cookie: None, header: None }
    }
}

record! {
    /// Time limits of a request towards its upstream.
    Timeouts {
        /// Until the TCP connection stands.
        "connect" connect: Span => default "1s";
        /// From the request's last byte to the answer's first.
        "firstByte" first_byte: Span => default "30s";
        /// Longest silence within a body, in either direction.
        "idle" idle: Span => default "60s";
        /// The whole request; does not apply once a connection is upgraded.
        "total" total: Span => default "10m";
    }
}

record! {
    /// Objectives of a service in short: what to promise. Burn-rate rules are the four defaults (see `SLO`).
    Objectives {
        /// Share of requests that must be answered without a fault of the service.
        "availability" availability: Share => optional;
        /// Share of answered requests that must be fast enough.
        "latency" latency: Latency => optional;
        /// Rolling period of the budgets.
        "period" period: Span => default "30d";
        /// The live window, 10 ms to 60 s.
        "fastWindow" fast_window: Span => default "1s";
        /// Windows with fewer requests are "not enough evidence".
        "minEvents" min_events: Whole<1, 1_000_000_000> => default "200";
        /// What a page proposes while a rollout of the service is in progress.
        "onPage" on_page: OnPage => default "notify";
        /// Who hears of it. Left out: all receivers.
        "receivers" receivers: OneOrMany<ReceiverName> => optional;
    }
}

record! {
    /// A latency objective.
    Latency {
        /// Share of answered requests.
        "target" target: Share => required;
        /// The slowest latency that is still good.
        "within" within: Span => required;
    }
}

words! { OnPage {
    "notify" => OnPage::Notify, "Only tell people.";
    "propose-rollback" => OnPage::ProposeRollback, "Propose to roll the canary back; the guard's `defaultMode` decides.";
} }
