//! Labels of a block's series as text.
//!
//! A reader keeps the pages of values that it has met: the series of one query share most of their labels.

use std::sync::Arc;

use homeostat_model::{Labels, labels::pack_label};

use super::{Block, BlockError, BlockFault, page::Page};

/// Turns pairs into labels.
#[derive(Debug)]
pub(crate) struct LabelReader<'b> {
    block: &'b Block,
    pages: Vec<Option<Arc<Page>>>,
    text: String,
}

impl<'b> LabelReader<'b> {
    pub(crate) fn new(block: &'b Block) -> Self {
        Self { block, pages: vec![None; block.footer.values.len()], text: String::new() }
    }

    /// The packed labels of a series; valid until the next call.
    pub(crate) fn packed(&mut self, pairs: &[u32]) -> Result<&str, BlockError> {
        let mut text = std::mem::take(&mut self.text);
        text.clear();
        for pair in pairs {
            let name = self.name_of(*pair)?;
            pack_label(&mut text, name, self.value_of(*pair)?);
        }
        self.text = text;
        Ok(&self.text)
    }

    /// The labels of a series.
    pub(crate) fn labels(&mut self, pairs: &[u32]) -> Result<Labels, BlockError> {
        let labels = Labels::from_packed(self.packed(pairs)?);
        labels.ok_or_else(|| self.block.error(0, BlockFault::Missing { what: "label" }))
    }

    pub(crate) fn name_of(&self, pair: u32) -> Result<&'b str, BlockError> {
        let block = self.block;
        let at = block.names.partition_point(|name| name.first_pair <= pair);
        // Names without values begin at the same pair as the one behind them: the last one counts.
        let name = at.checked_sub(1).and_then(|at| block.names.get(at));
        name.map(|name| name.text.as_str()).ok_or_else(|| block.error(0, BlockFault::Missing { what: "name" }))
    }

    pub(crate) fn value_of(&mut self, pair: u32) -> Result<&str, BlockError> {
        let block = self.block;
        let at = block.footer.values.partition_point(|(_, first)| *first <= u64::from(pair)).saturating_sub(1);
        let first = block.footer.values.get(at).map_or(0, |(_, first)| *first as u32);
        let missing = || block.error(0, BlockFault::Missing { what: "value" });
        let slot = self.pages.get_mut(at).ok_or_else(missing)?;
        let page = match slot {
            Some(page) => page,
            None => slot.insert(block.values_page(at)?),
        };
        let text = page.as_values().and_then(|values| values.text((pair - first) as usize));
        text.ok_or_else(missing)
    }
}
