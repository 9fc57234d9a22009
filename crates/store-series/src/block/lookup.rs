//! Lists of a block's series by label, as `select` asks for them.

use std::{borrow::Cow, ops::Range};

use homeostat_promql::SourceError;
use homeostat_wire::series::{dictionary::Name, postings};

use super::{
    Block, BlockError,
    page::{OwnList, Page},
};
use crate::select::{Lookup, Marks};

impl Block {
    fn name(&self, name: &str) -> Option<&Name> {
        self.names.get(self.names.binary_search_by(|entry| entry.text.as_str().cmp(name)).ok()?)
    }

    /// The numbers of a name's pairs.
    pub(crate) fn pairs_of(&self, name: &str) -> Option<Range<u32>> {
        self.name(name).map(|name| name.first_pair..name.first_pair + name.values)
    }

    /// Pages of values that hold pairs of a range, by place.
    fn pages_of(&self, pairs: Range<u32>) -> Range<usize> {
        let values = &self.footer.values;
        let from = values.partition_point(|(_, first)| *first <= u64::from(pairs.start)).saturating_sub(1);
        from..values.partition_point(|(_, first)| *first < u64::from(pairs.end))
    }

    /// Visits the values of a name from `from` on, in order, until `visit` says false.
    fn for_each_value_from(
        &self,
        name: &Name,
        from: &str,
        mut visit: impl FnMut(&str, &OwnList) -> Result<bool, BlockError>,
    ) -> Result<(), BlockError> {
        let pairs = name.first_pair..name.first_pair + name.values;
        let mut places = self.pages_of(pairs.clone());
        // Pages that end before `from` are skipped by their first values.
        let (mut low, mut high) = (places.start, places.end);
        while low + 1 < high {
            let middle = usize::midpoint(low, high);
            let page = self.values_page(middle)?;
            if page.as_values().and_then(|values| values.text(0)).is_some_and(|first| first <= from) {
                low = middle;
            } else {
                high = middle;
            }
        }
        places.start = low;
        for place in places {
            let page = self.values_page(place)?;
            let Some(values) = page.as_values() else { continue };
            let first = self.footer.values.get(place).map_or(0, |(_, first)| *first as u32);
            let begin = pairs.start.saturating_sub(first) as usize;
            let end = (pairs.end.saturating_sub(first) as usize).min(values.len());
            for at in begin..end {
                let (Some(text), Some(list)) = (values.text(at), values.list(at)) else { continue };
                if from <= text && !visit(text, list)? {
                    return Ok(());
                }
            }
        }
        Ok(())
    }

    /// Visits the values of a name that somebody has, in order.
    pub(crate) fn for_each_value(&self, name: &str, mut visit: impl FnMut(&str)) -> Result<(), BlockError> {
        let Some(name) = self.name(name) else { return Ok(()) };
        self.for_each_value_from(name, "", |text, list| {
            if !is_empty(list) {
                visit(text);
            }
            Ok(true)
        })
    }

    /// Visits the values of a name that somebody has, in order, each with its pair's number.
    pub(crate) fn for_each_numbered_value(
        &self,
        name: &str,
        mut visit: impl FnMut(u32, &str),
    ) -> Result<(), BlockError> {
        let Some(name) = self.name(name) else { return Ok(()) };
        let mut pair = name.first_pair;
        self.for_each_value_from(name, "", |text, list| {
            if !is_empty(list) {
                visit(pair, text);
            }
            pair += 1;
            Ok(true)
        })
    }

    /// The number of series with each value of a name.
    pub(crate) fn for_each_count(&self, name: &str, mut visit: impl FnMut(&str, u64)) -> Result<(), BlockError> {
        let Some(name) = self.name(name) else { return Ok(()) };
        self.for_each_value_from(name, "", |text, list| {
            visit(text, self.with_list(list, |bytes| postings::count(bytes, self.footer.series))?);
            Ok(true)
        })
    }

    fn with_list<T>(
        &self,
        list: &OwnList,
        read: impl FnOnce(&[u8]) -> Result<T, homeostat_wire::series::Malformed>,
    ) -> Result<T, BlockError> {
        match list {
            OwnList::Inline(bytes) => read(bytes).map_err(|error| self.error(self.footer.names.offset, error)),
            OwnList::At(at) => {
                let page = self.page(*at, |payload| Ok(Page::raw(payload)))?;
                read(page.as_raw()).map_err(|error| self.error(at.offset, error))
            }
        }
    }
}

/// Returns true for the list of a label that nobody has any more.
fn is_empty(list: &OwnList) -> bool {
    matches!(list, OwnList::Inline(bytes) if **bytes == [0])
}

impl Lookup for Block {
    fn series_len(&self) -> usize {
        self.footer.series as usize
    }

    fn list(&self, name: &str, value: &str) -> Result<Cow<'_, [u32]>, SourceError> {
        let mut found = Vec::new();
        let Some(name) = self.name(name) else { return Ok(Cow::Owned(found)) };
        self.for_each_value_from(name, value, |text, list| {
            if text == value {
                self.with_list(list, |bytes| postings::decode(bytes, self.footer.series, &mut found))?;
            }
            Ok(false)
        })?;
        Ok(Cow::Owned(found))
    }

    fn values_len(&self, name: &str) -> Option<usize> {
        self.name(name).map(|name| name.values as usize)
    }

    fn mark(
        &self,
        name: &str,
        beginning: &str,
        wanted: &mut dyn FnMut(&str) -> bool,
        marks: &mut Marks,
    ) -> Result<(), SourceError> {
        let Some(name) = self.name(name) else { return Ok(()) };
        self.for_each_value_from(name, beginning, |text, list| {
            if wanted(text) {
                let limit = self.footer.series;
                self.with_list(list, |bytes| {
                    postings::for_each_run(bytes, limit, |start, len| marks.add_run(start, len))
                })?;
            }
            Ok(text.starts_with(beginning))
        })?;
        Ok(())
    }

    fn look(&self, _series: u32, _name: &str, _test: &mut dyn FnMut(&str) -> bool) -> Option<bool> {
        // A look at a series means reading its page and those of its values: lists are cheaper.
        None
    }
}
