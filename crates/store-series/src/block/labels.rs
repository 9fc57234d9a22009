//! Labels of a block's series as text.
//!
//! A reader keeps the pages of values that it has met, and the series before: neighbours share most of their labels, and
//! what they share is copied instead of looked up.

use std::sync::Arc;

use homeostat_model::{Labels, labels::pack_label};

use super::{Block, BlockError, BlockFault, page::Page};

/// Turns pairs into labels.
#[derive(Debug)]
pub(crate) struct LabelReader<'b> {
    block: &'b Block,
    pages: Vec<Option<Arc<Page>>>,
    /// The series before: its pairs, where each ends in its packed labels, and those.
    pairs: Vec<u32>,
    ends: Vec<usize>,
    text: String,
    /// Memory for the next one's.
    next_ends: Vec<usize>,
    next_text: String,
}

impl<'b> LabelReader<'b> {
    pub(crate) fn new(block: &'b Block) -> Self {
        Self {
            block,
            pages: vec![None; block.footer.values.len()],
            pairs: Vec::new(),
            ends: Vec::new(),
            text: String::new(),
            next_ends: Vec::new(),
            next_text: String::new(),
        }
    }

    /// The labels of a series.
    pub(crate) fn labels(&mut self, pairs: &[u32]) -> Result<Labels, BlockError> {
        let mut text = std::mem::take(&mut self.next_text);
        text.clear();
        self.next_ends.clear();
        for (at, pair) in pairs.iter().enumerate() {
            if self.pairs.get(at) == Some(pair) {
                let start = at.checked_sub(1).and_then(|before| self.ends.get(before)).copied().unwrap_or(0);
                let end = self.ends.get(at).copied().unwrap_or(start);
                text.push_str(self.text.get(start..end).unwrap_or_default());
            } else {
                let name = self.name_of(*pair)?;
                pack_label(&mut text, name, self.value_of(*pair)?);
            }
            self.next_ends.push(text.len());
        }
        self.pairs.clear();
        self.pairs.extend_from_slice(pairs);
        std::mem::swap(&mut self.ends, &mut self.next_ends);
        self.next_text = std::mem::replace(&mut self.text, text);
        // Names and values of a block are sorted, and so are the pairs of a series: its page was checked when read.
        Ok(Labels::from_trusted(&self.text))
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
