//! The configuration that all programs run under: one gateway, default rules, profiles of everybody.

use std::{fmt::Write, net::SocketAddr, path::Path};

use super::programs::{From, Program};

/// What most people would promise of such programs on a machine that others use, too.
const OBJECTIVES: &str = "{ availability: 99.9%, latency: { target: 99%, within: 250ms } }";

/// Where Homeostat listens.
#[derive(Debug)]
pub(super) struct Ends {
    pub(super) gateway: SocketAddr,
    pub(super) api: SocketAddr,
}

pub(super) fn text(ends: &Ends, programs: &[Program], data: &Path) -> String {
    let mut text = String::new();
    let mut document = |kind: &str, name: &str, spec: &str| {
        // Writing to a String cannot fail.
        let _ =
            write!(text, "---\napiVersion: homeostat/v1\nkind: {kind}\nmetadata: {{ name: {name} }}\nspec: {spec}\n");
    };
    document("Gateway", "gateway", &format!("{{ listeners: ['{}'], workers: 1 }}", ends.gateway));
    document("Api", "api", &format!("{{ listen: '{}' }}", ends.api));
    document("Store", "store", &format!("{{ dir: '{}' }}", data.display()));
    for program in programs {
        let Program { name, at, .. } = program;
        let profiling = match program.profiles {
            From::Pprof(from) => format!("{{ from: pprof, port: {} }}", from.port()),
            From::Kernel => "{ from: kernel }".to_owned(),
        };
        let spec = format!("{{ versions: {{ v1: 'http://{at}' }}, profiling: {profiling}, objectives: {OBJECTIVES} }}");
        document("Service", name, &spec);
        for (number, path) in program.paths.iter().enumerate() {
            document("Route", &format!("{name}-{number}"), &format!("{{ service: {name}, path: '{path}' }}"));
        }
    }
    text
}
