//! The `Route` document.

use homeostat_gateway_route::spec::HostMatch;
use homeostat_model::{ServiceName, VersionName};

use crate::config::{
    read::{Entries, OneOrMany, Short, ShortForm, record},
    scalar::{HeaderName, PathText},
    source::At,
};

record! {
    /// Which requests go to which service. The most specific route wins; among equally specific ones the earlier.
    Route {
        /// Where it leads.
        "service" service: ServiceName => required;
        /// Hosts, exact or `*.example.org`. Left out: any host.
        "hosts" hosts: OneOrMany<HostMatch> => optional;
        /// Paths: `/a` means `/a` and everything below it by whole segments, `{exact: /a}` only `/a`.
        "path" path: Short<Path> => default "/";
        /// Methods. Left out: any.
        "methods" methods: OneOrMany<http::Method> => optional;
        /// Conditions on headers, all of which must hold: `NAME: VALUE`, or `NAME: {present: true}`.
        "headers" headers: Entries<HeaderName, Short<HeaderCondition>> => optional;
        /// Always this version, whatever the weights say.
        "version" version: VersionName => optional;
    }
}

record! {
    /// A path pattern; exactly one of the two.
    Path {
        /// This path and everything below it; the short form.
        "prefix" prefix: PathText => optional;
        /// Exactly this path.
        "exact" exact: PathText => optional;
    }
}

impl ShortForm for Path {
    type Short = PathText;
    fn from_short(short: At<PathText>) -> Self {
        Self { prefix: Some(short), exact: None }
    }
}

record! {
    /// A condition on a header; exactly one of the two.
    HeaderCondition {
        /// Exactly this value; the short form.
        "exact" exact: String => optional;
        /// There, with whatever value.
        "present" present: bool => optional;
    }
}

impl ShortForm for HeaderCondition {
    type Short = String;
    fn from_short(short: At<String>) -> Self {
        Self { exact: Some(short), present: None }
    }
}
