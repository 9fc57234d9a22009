//! A column of cells, one for each step between the first and the last at which its group has a series.

/// A column that grows at both ends.
#[derive(Clone, Debug)]
pub(super) struct Cells<C> {
    first: usize,
    cells: Vec<C>,
}

impl<C> Default for Cells<C> {
    fn default() -> Self {
        Self { first: 0, cells: Vec::new() }
    }
}

impl<C: Clone + Default> Cells<C> {
    /// The cells of the steps from `first` to `end`, exclusive; they are made if need be.
    pub(super) fn cover(&mut self, first: usize, end: usize) -> &mut [C] {
        if self.cells.is_empty() {
            self.first = first;
        }
        if first < self.first {
            let missing = self.first - first;
            self.cells.splice(..0, std::iter::repeat_n(C::default(), missing));
            self.first = first;
        }
        if self.cells.len() < end - self.first {
            self.cells.resize(end - self.first, C::default());
        }
        self.cells.get_mut(first - self.first..end - self.first).unwrap_or_default()
    }

    /// The step of the first cell.
    pub(super) fn first(&self) -> usize {
        self.first
    }

    /// All cells.
    pub(super) fn all(&self) -> &[C] {
        &self.cells
    }

    /// All cells, taken out.
    pub(super) fn into_all(self) -> Vec<C> {
        self.cells
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_column_grows_at_both_ends() {
        let mut cells: Cells<u32> = Cells::default();
        cells.cover(5, 7).fill(1);
        cells.cover(3, 6).iter_mut().for_each(|cell| *cell += 10);
        cells.cover(8, 9).fill(2);
        assert_eq!((cells.first(), cells.all()), (3, &[10, 10, 11, 1, 0, 2][..]));
    }
}
