//! Points on a square of 1000 by 1000, in a grid of cells.

use std::collections::HashMap;

/// Cells along a side.
const SIDE: usize = 50;

#[derive(Debug, Clone, PartialEq)]
pub struct Point {
    pub id: u32,
    pub x: f64,
    pub y: f64,
    pub tag: String,
}

#[derive(Debug)]
pub struct Atlas {
    cells: Vec<Vec<Point>>,
    version: u64,
}

impl Atlas {
    /// The same points at every start.
    pub fn scattered(count: u32) -> Self {
        let mut atlas = Self { cells: vec![Vec::new(); SIDE * SIDE], version: 0 };
        let mut state = 88_172_645_463_325_252_u64;
        let mut next = || {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            (state % 100_000) as f64 / 100.0
        };
        for id in 0..count {
            let at = (next(), next());
            atlas.add(id, at, ["cafe", "school", "bridge", "park-north", "tower"][id as usize % 5]);
        }
        atlas
    }

    /// Puts a point in and returns the atlas's new version; a full cell forgets its oldest.
    pub fn add(&mut self, id: u32, (x, y): (f64, f64), tag: &str) -> u64 {
        let cell = &mut self.cells[index(x, y)];
        if cell.len() == 40 {
            cell.swap_remove(0);
        }
        cell.push(Point { id, x, y, tag: tag.to_owned() });
        self.version += 1;
        self.version
    }

    /// The points nearest to a place, from the cells around it.
    #[cfg(not(feature = "next"))]
    pub fn nearest(&self, x: f64, y: f64, count: usize) -> Vec<Point> {
        let mut found: Vec<(f64, &Point)> = Vec::new();
        let mut reach = 1;
        while found.len() < count && reach < SIDE {
            found.clear();
            for cell in self.around(x, y, reach) {
                found.extend(cell.iter().map(|point| ((point.x - x).powi(2) + (point.y - y).powi(2), point)));
            }
            reach *= 2;
        }
        found.sort_by(|a, b| a.0.total_cmp(&b.0));
        found.into_iter().take(count).map(|(_, point)| point.clone()).collect()
    }

    /// The next edition selects before it sorts.
    #[cfg(feature = "next")]
    pub fn nearest(&self, x: f64, y: f64, count: usize) -> Vec<Point> {
        let square = |point: &Point| (point.x - x).mul_add(point.x - x, (point.y - y) * (point.y - y));
        let mut candidates: Vec<&Point> = Vec::with_capacity(512);
        for reach in [1, 2, 4, 8, 16, 32] {
            candidates.clear();
            candidates.extend(self.around(x, y, reach).flatten());
            if count <= candidates.len() {
                break;
            }
        }
        if count < candidates.len() {
            candidates.select_nth_unstable_by(count, |a, b| square(a).total_cmp(&square(b)));
            candidates.truncate(count);
        }
        candidates.sort_unstable_by(|a, b| square(a).total_cmp(&square(b)));
        candidates.into_iter().cloned().collect()
    }

    fn around(&self, x: f64, y: f64, reach: usize) -> impl Iterator<Item = &Vec<Point>> {
        let (row, column) = (place(y), place(x));
        let rows = row.saturating_sub(reach)..(row + reach + 1).min(SIDE);
        rows.flat_map(move |row| {
            (column.saturating_sub(reach)..(column + reach + 1).min(SIDE))
                .map(move |column| &self.cells[row * SIDE + column])
        })
    }

    /// How many points lie in a square.
    pub fn inside(&self, x: f64, y: f64, side: f64) -> usize {
        self.cells
            .iter()
            .flatten()
            .filter(|point| (point.x - x).abs() < side / 2.0 && (point.y - y).abs() < side / 2.0)
            .count()
    }

    /// Points by their place to the metre: an index that is made anew.
    #[inline(never)]
    pub fn gathered(&self, most: usize) -> HashMap<(i32, i32), Vec<u32>> {
        let mut by_place: HashMap<(i32, i32), Vec<u32>> = HashMap::new();
        for point in self.cells.iter().flatten().take(most) {
            by_place.entry((point.x as i32, point.y as i32)).or_default().push(point.id);
        }
        by_place
    }

    /// The shortest way to any of some points along the globe's surface (the haversine formula).
    #[inline(never)]
    pub fn on_the_globe(&self, x: f64, y: f64, most: usize) -> f64 {
        let (latitude, longitude) = ((y / 1000.0).to_radians(), (x / 1000.0).to_radians());
        self.cells.iter().flatten().take(most).fold(f64::MAX, |least, point| {
            let (to, across) = ((point.y / 1000.0).to_radians(), (point.x / 1000.0).to_radians());
            let half = ((to - latitude) / 2.0).sin().powi(2)
                + latitude.cos() * to.cos() * ((across - longitude) / 2.0).sin().powi(2);
            least.min(2.0 * half.sqrt().asin())
        })
    }
}

fn place(along: f64) -> usize {
    ((along / 1000.0 * SIDE as f64) as usize).min(SIDE - 1)
}

fn index(x: f64, y: f64) -> usize {
    place(y) * SIDE + place(x)
}

/// The widest distance between any two of the points, taken as often as there are to be `most` of them.
#[inline(never)]
pub fn spread(points: &[Point], most: usize) -> f64 {
    let mut widest: f64 = 0.0;
    for a in points.iter().cycle().take(most) {
        for b in points.iter().cycle().take(most) {
            let distance = (a.x - b.x).hypot(a.y - b.y);
            if a.tag.starts_with(&b.tag) && widest < distance {
                widest = distance;
            }
        }
    }
    widest
}

/// Scores of as many places, in order.
#[inline(never)]
pub fn ranked(seed: f64, count: usize) -> Vec<u64> {
    let mut state = seed.to_bits() | 1;
    let mut scores: Vec<u64> = (0..count)
        .map(|_| {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            state >> 20
        })
        .collect();
    scores.sort_by(|a, b| b.cmp(a));
    scores
}
