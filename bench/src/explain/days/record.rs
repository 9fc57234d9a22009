//! Seconds of real operation, as `./dev bench normal --keep` writes them.

use std::path::Path;

use homeostat_model::Span;

use crate::Failed;

/// Bounds whose later answers are recorded.
const BOUNDS_MS: [u64; 5] = [10, 25, 50, 100, 250];
/// A budget that people give to late answers: the bound is taken whose share of later answers is nearest.
const LATE_WANTED: f64 = 0.01;

/// A program's record.
#[derive(Clone, Debug)]
pub(super) struct Recorded {
    pub(super) name: String,
    /// What its latency objective promises.
    pub(super) within: Span,
    /// Share of later answers of each second, 0 to 1; none for a second without requests.
    pub(super) seconds: Vec<Option<f64>>,
    /// Mean of that share.
    pub(super) late: f64,
}

impl Recorded {
    /// Share of later answers of a second; the record begins again at its end.
    pub(super) fn late_at(&self, second: usize) -> f64 {
        self.seconds.get(second % self.seconds.len().max(1)).copied().flatten().unwrap_or(0.0)
    }
}

/// Reads a record. A line is a program's name and its seconds: all requests, failed ones, those beyond each bound.
pub(super) fn read(file: &Path) -> Result<Vec<Recorded>, Failed> {
    let text = std::fs::read_to_string(file)
        .map_err(|error| format!("{}: {error}; `./dev bench normal --keep` makes it", file.display()))?;
    let programs: Vec<Recorded> =
        text.lines().enumerate().map(|(number, line)| recorded(file, number + 1, line)).collect::<Result<_, _>>()?;
    if programs.is_empty() {
        return Err(format!("{} holds no program", file.display()).into());
    }
    Ok(programs)
}

fn recorded(file: &Path, number: usize, line: &str) -> Result<Recorded, Failed> {
    let wrong =
        || format!("{}, line {number}: not a name and seconds of {} numbers each", file.display(), BOUNDS_MS.len() + 2);
    let mut words = line.split(' ');
    let name = words.next().filter(|name| !name.is_empty()).ok_or_else(wrong)?.to_owned();
    let seconds: Vec<Vec<u64>> = words
        .map(|word| {
            let numbers: Option<Vec<u64>> = word.split(',').map(|number| number.parse().ok()).collect();
            numbers.filter(|numbers| numbers.len() == BOUNDS_MS.len() + 2).ok_or_else(wrong)
        })
        .collect::<Result<_, _>>()?;
    let shares = |bound: usize| -> Vec<Option<f64>> {
        let share = |second: &Vec<u64>| {
            let (all, late) = (*second.first()?, *second.get(bound + 2)?);
            (0 < all).then(|| late as f64 / all as f64)
        };
        seconds.iter().map(share).collect()
    };
    let far = |late: f64| (late.max(1e-9) / LATE_WANTED).ln().abs();
    let bounds = BOUNDS_MS.iter().enumerate().map(|(bound, ms)| {
        let shares = shares(bound);
        let late = mean(&shares);
        Recorded { name: name.clone(), within: Span::from_ms(*ms), seconds: shares, late }
    });
    bounds.min_by(|a, b| far(a.late).total_cmp(&far(b.late))).ok_or_else(|| wrong().into())
}

fn mean(shares: &[Option<f64>]) -> f64 {
    let known: Vec<f64> = shares.iter().flatten().copied().collect();
    if known.is_empty() { 0.0 } else { known.iter().sum::<f64>() / known.len() as f64 }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_bound_is_taken_that_one_in_a_hundred_exceeds() {
        let line = "shop 100,0,90,50,2,0,0 50,0,50,25,0,0,0 0,0,0,0,0,0,0";
        let shop = recorded(Path::new("record"), 1, line).unwrap();
        assert_eq!((shop.name.as_str(), shop.within), ("shop", Span::from_ms(50)));
        assert_eq!(shop.seconds, [Some(0.02), Some(0.0), None]);
        assert!((shop.late - 0.01).abs() < 1e-12);
        assert!(recorded(Path::new("record"), 7, "shop 1,x,2,3,4,5,6,7").is_err());
        let wrong = recorded(Path::new("record"), 7, "shop 1,2").unwrap_err();
        assert!(wrong.to_string().starts_with("record, line 7: "), "{wrong}");
    }
}
