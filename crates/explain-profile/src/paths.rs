//! The stacks that were added most, and how alike two of them are.
//!
//! A vector forgets the order of frames; a stack remembers it. Two stacks are compared by the cost of turning one into the
//! other, where a frame costs more the rarer it is and the nearer it stands to where the time is spent.
//!
//! Source: TraceSim (arXiv 2009.12590): weights by rarity and position in an edit distance.

use std::collections::BTreeMap;

use homeostat_model::profile::{Profile, Stack};

use crate::frame::{APPLICATION, Origin, place};

/// Innermost frames that are kept of a stack: what lies further out is the server's frame, which is alike everywhere.
const FRAMES_MAX: usize = 12;
/// Stacks that are kept of a change.
const PATHS_MAX: usize = 3;
/// Smallest added share of a stack that is kept.
const SHARE_MIN: f64 = 0.01;
/// How fast a frame's weight falls with its distance from the innermost one.
const DECAY: f64 = 0.7;

/// A stack: transferable names, innermost first, runs of the application as one.
pub type Path = Vec<String>;

/// Samples by path.
#[derive(Clone, Debug, Default)]
pub(crate) struct Paths {
    samples: BTreeMap<Path, f64>,
    sum: f64,
}

impl Paths {
    /// Counts one column of a profile.
    pub(crate) fn add(&mut self, profile: &Profile, column: usize) {
        for row in profile.rows() {
            let samples = row.values.get(column).copied().unwrap_or(0).max(0) as f64;
            if 0.0 < samples {
                self.sum += samples;
                *self.samples.entry(path(profile, row.stack)).or_default() += samples;
            }
        }
    }

    /// The paths that `now` has beyond what was kept of these, the largest first.
    pub(crate) fn added(&self, now: &Self, kept: f64) -> Vec<Path> {
        let share = |paths: &Self, path: &Path| paths.samples.get(path).map_or(0.0, |samples| samples / paths.sum);
        let mut added: Vec<(f64, &Path)> = now
            .samples
            .keys()
            .map(|path| (share(now, path) - kept * share(self, path), path))
            .filter(|(added, _)| SHARE_MIN <= *added)
            .collect();
        added.sort_by(|a, b| b.0.total_cmp(&a.0).then_with(|| a.1.cmp(b.1)));
        added.into_iter().take(PATHS_MAX).map(|(_, path)| path.clone()).collect()
    }
}

fn path(profile: &Profile, stack: Stack) -> Path {
    let frames: Vec<_> = profile.stacks().walk(stack).collect();
    let (mut path, mut in_kernel) = (Path::new(), false);
    // From the outermost inwards, for only the stack tells where the kernel begins.
    for frame in frames.into_iter().rev() {
        let place = place(profile.text(frame.function), profile.text(frame.module), in_kernel);
        in_kernel = place.origin == Origin::Kernel;
        if path.last() != Some(&place.name) {
            path.push(place.name);
        }
    }
    path.reverse();
    path.truncate(FRAMES_MAX);
    path
}

/// How alike two paths are, 0 to 1, given how rare a frame is.
pub(crate) fn alike(a: &[String], b: &[String], rarity: &dyn Fn(&str) -> f64) -> f64 {
    let weight = |path: &[String], at: usize| -> f64 {
        let frame = path.get(at).map_or("", String::as_str);
        // The application is everywhere; that it is there still says something.
        let rarity = if frame == APPLICATION { 0.2 } else { rarity(frame) };
        rarity * DECAY.powi(at as i32)
    };
    let whole: f64 = (0..a.len()).map(|at| weight(a, at)).chain((0..b.len()).map(|at| weight(b, at))).sum();
    if whole == 0.0 {
        return 0.0;
    }
    let mut costs: Vec<f64> = std::iter::once(0.0)
        .chain((0..b.len()).scan(0.0, |sum, at| {
            *sum += weight(b, at);
            Some(*sum)
        }))
        .collect();
    for (row, frame) in a.iter().enumerate() {
        let mut diagonal = costs.first().copied().unwrap_or(0.0);
        let mut left = diagonal + weight(a, row);
        if let Some(first) = costs.first_mut() {
            *first = left;
        }
        for (column, other) in b.iter().enumerate() {
            let Some(cost) = costs.get_mut(column + 1) else { break };
            let above = *cost;
            let replaced = diagonal + if frame == other { 0.0 } else { weight(a, row) + weight(b, column) };
            *cost = replaced.min(above + weight(a, row)).min(left + weight(b, column));
            (diagonal, left) = (above, *cost);
        }
    }
    1.0 - costs.last().copied().unwrap_or(whole) / whole
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::profile;

    fn names(path: &str) -> Path {
        path.split(' ').map(str::to_owned).collect()
    }

    #[test]
    fn likeness_is_one_for_the_same_zero_for_others_and_counts_the_inner_frames_more() {
        let rare = |_: &str| 1.0;
        let (a, b) = (names("x y z"), names("p q r"));
        assert!((alike(&a, &a, &rare) - 1.0).abs() < 1e-12);
        assert!(alike(&a, &b, &rare).abs() < 1e-12);
        let (inner, outer) = (names("x y w"), names("w y z"));
        assert!(alike(&a, &outer, &rare) < alike(&a, &inner, &rare));
        assert!((alike(&a, &inner, &rare) - alike(&inner, &a, &rare)).abs() < 1e-12);
        assert!(alike(&[], &[], &rare).abs() < 1e-12);
    }

    #[test]
    fn the_paths_that_were_added() {
        let of = |lines: &str| {
            let mut paths = Paths::default();
            paths.add(&profile(lines), 0);
            paths
        };
        let (base, now) = (of("main.a 100"), of("main.a 100\nmain.a;main.b;regexp.run;runtime.memmove 100"));
        assert_eq!(base.added(&now, 0.5), [names("runtime.memmove regexp.run <app>")]);
    }
}
