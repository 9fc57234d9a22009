//! Numbers for (route, service, version): what the workers' counters are indexed by.
//!
//! A registry lives as long as the process. Every compile asks it for the cells of its table, and the same key gets the
//! same number again, so counters survive reloads and rollbacks without being moved.
//!
//! Invariants: ids are dense from 0; an id never changes its key; at most [`CELLS_MAX`] ids are handed out.

use std::collections::HashMap;

use foldhash::fast::FixedState;
use homeostat_model::{CellId, CellKey, outcome::CELLS_MAX};

/// All cells of this process, also those of earlier configurations.
#[derive(Clone, Debug, Default)]
pub struct CellRegistry {
    keys: Vec<CellKey>,
    ids: HashMap<CellKey, CellId, FixedState>,
}

/// A configuration needs more cells than there are left.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "the configuration needs {new} more cells (route x version), but {used} of {CELLS_MAX} are taken in this process; \
     use fewer routes or versions, or restart to release the cells of earlier configurations"
)]
pub struct CellsFull {
    /// Cells handed out so far.
    pub used: usize,
    /// Cells that would have to be added.
    pub new: usize,
}

impl CellRegistry {
    /// An empty registry.
    pub fn new() -> Self {
        Self::default()
    }

    /// Returns the ids of `keys`, in their order, adding those that are not known yet.
    /// Either all keys get an id or none is added.
    pub fn register(&mut self, keys: &[CellKey]) -> Result<Vec<CellId>, CellsFull> {
        let before = self.keys.len();
        let ids: Vec<CellId> = keys.iter().map(|key| self.id_or_insert(key)).collect();
        if self.keys.len() <= CELLS_MAX {
            return Ok(ids);
        }
        let full = CellsFull { used: before, new: self.keys.len() - before };
        for key in self.keys.drain(before..) {
            self.ids.remove(&key);
        }
        Err(full)
    }

    /// The id of a key, if it was ever registered.
    pub fn get(&self, key: &CellKey) -> Option<CellId> {
        self.ids.get(key).copied()
    }

    /// What an id stands for.
    pub fn key(&self, id: CellId) -> Option<&CellKey> {
        self.keys.get(usize::from(id.0))
    }

    /// Number of ids handed out, at most [`CELLS_MAX`].
    pub fn len(&self) -> usize {
        self.keys.len()
    }

    /// Whether no id was handed out yet.
    pub fn is_empty(&self) -> bool {
        self.keys.is_empty()
    }

    /// All cells, ascending by id.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = (CellId, &CellKey)> {
        self.keys.iter().enumerate().map(|(index, key)| (CellId(index as u16), key))
    }

    fn id_or_insert(&mut self, key: &CellKey) -> CellId {
        if let Some(id) = self.ids.get(key) {
            return *id;
        }
        // Beyond `CELLS_MAX` the number may be wrong; `register` then takes all of them back.
        let id = CellId(self.keys.len() as u16);
        self.keys.push(key.clone());
        self.ids.insert(key.clone(), id);
        id
    }
}

#[cfg(test)]
mod tests {
    use homeostat_model::{RouteName, ServiceName, VersionName};

    use super::*;

    fn key(route: usize) -> CellKey {
        CellKey {
            route: RouteName::new(&format!("r{route}")).unwrap(),
            service: ServiceName::new("s").unwrap(),
            version: VersionName::new("v1").unwrap(),
        }
    }

    #[test]
    fn a_key_keeps_its_number() {
        let mut cells = CellRegistry::new();
        assert_eq!(cells.register(&[key(5), key(6)]), Ok(vec![CellId(0), CellId(1)]));
        assert_eq!(cells.register(&[key(6), key(7), key(7)]), Ok(vec![CellId(1), CellId(2), CellId(2)]));
        assert_eq!(
            cells.iter().map(|(id, key)| (id.0, key.route.as_str())).collect::<Vec<_>>(),
            [(0, "r5"), (1, "r6"), (2, "r7")]
        );
        assert_eq!((cells.get(&key(7)), cells.key(CellId(9))), (Some(CellId(2)), None));
    }

    #[test]
    fn too_many_cells_change_nothing_and_name_the_remedy() {
        let mut cells = CellRegistry::new();
        let most: Vec<CellKey> = (0..CELLS_MAX - 1).map(key).collect();
        assert!(cells.register(&most).is_ok());
        let error = cells.register(&[key(0), key(9_000), key(9_001)]).unwrap_err();
        assert_eq!(error, CellsFull { used: CELLS_MAX - 1, new: 2 });
        assert!(error.to_string().contains("restart"), "{error}");
        assert_eq!((cells.len(), cells.get(&key(9_000))), (CELLS_MAX - 1, None));
        assert_eq!(cells.register(&[key(9_001)]), Ok(vec![CellId(CELLS_MAX as u16 - 1)]));
    }
}
