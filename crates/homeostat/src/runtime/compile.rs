//! From a checked configuration to what the gateway and control take.

use homeostat_control::ControlSpec;
use homeostat_gateway_route::{CellRegistry, RouteTable};

use crate::config::CheckedConfig;

/// A configuration that can be put into force.
#[derive(Debug)]
pub(super) struct Compiled {
    pub(super) config: CheckedConfig,
    pub(super) table: RouteTable,
    pub(super) spec: ControlSpec,
}

/// Compiles; problems come as lines for people. Cells keep the ids that the registry gave them before.
pub(super) fn compile(config: CheckedConfig, registry: &mut CellRegistry) -> Result<Compiled, Vec<String>> {
    let table = RouteTable::compile(&config.gateway, registry)
        .map_err(|problems| problems.iter().map(ToString::to_string).collect::<Vec<_>>())?;
    let (keys, names): (Vec<_>, Vec<_>) = config.indicators().into_iter().unzip();
    let ids = registry.register(&keys).map_err(|problem| vec![problem.to_string()])?;
    let indicators: Vec<_> = ids.into_iter().zip(keys).zip(names).map(|((id, key), name)| (id, key, name)).collect();
    let called = config.called_cells();
    let ids = registry.register(&called).map_err(|problem| vec![problem.to_string()])?;
    let cells: Vec<_> = table.cells().iter().cloned().chain(ids.into_iter().zip(called)).collect();
    let spec = config.control_spec(&cells, &indicators);
    Ok(Compiled { config, table, spec })
}
