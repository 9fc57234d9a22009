//! What sources say about metric families: kind, help, unit.

use std::collections::BTreeMap;

use homeostat_model::MetricKind;
use homeostat_wire::series::record::MetadataRef;

/// Families at most; a large fleet has some ten thousand.
const FAMILIES_MAX: usize = 100_000;
/// Different statements about one family at most: versions of a program that run side by side.
const VARIANTS_MAX: usize = 4;
/// Bytes of one statement at most.
const BYTES_MAX: usize = 4096;

/// What a source says about a metric family.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Metadata {
    /// Its kind.
    pub kind: MetricKind,
    /// Text for people.
    pub help: String,
    /// Unit; may be empty.
    pub unit: String,
}

/// All that is known, by family.
#[derive(Debug, Default)]
pub(crate) struct Families {
    by_name: BTreeMap<String, Vec<Metadata>>,
}

impl Families {
    /// Takes a statement in; true when it is news. The newest one of a family comes first.
    pub(crate) fn learn(&mut self, said: MetadataRef<'_>) -> bool {
        let MetadataRef { family, kind, help, unit } = said;
        let too_long = BYTES_MAX < family.len() + help.len() + unit.len();
        if too_long || family.is_empty() || !self.by_name.contains_key(family) && FAMILIES_MAX <= self.by_name.len() {
            return false;
        }
        let known = self.by_name.entry(family.to_owned()).or_default();
        if known.iter().any(|m| m.kind == kind && m.help == help && m.unit == unit) {
            return false;
        }
        known.insert(0, Metadata { kind, help: help.to_owned(), unit: unit.to_owned() });
        known.truncate(VARIANTS_MAX);
        true
    }

    /// All statements, of each family the oldest first, so that learning them again gives the same order.
    pub(crate) fn iter(&self) -> impl Iterator<Item = MetadataRef<'_>> {
        self.by_name.iter().flat_map(|(family, said)| {
            said.iter().rev().map(|m| MetadataRef { family, kind: m.kind, help: &m.help, unit: &m.unit })
        })
    }

    pub(crate) fn get(&self, family: &str) -> Vec<Metadata> {
        self.by_name.get(family).cloned().unwrap_or_default()
    }

    /// All families, `limit` at most, by name.
    pub(crate) fn all(&self, limit: usize) -> Vec<(String, Vec<Metadata>)> {
        self.by_name.iter().take(limit).map(|(family, said)| (family.clone(), said.clone())).collect()
    }
}
