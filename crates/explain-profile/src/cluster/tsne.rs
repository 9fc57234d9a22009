//! t-SNE: a map in two dimensions that keeps neighbours near. For the eye, and for the classical baseline.
//!
//! Exact gradients, so its cost is the square of the number of points for each step. It begins with the two principal axes, made
//! small: near points are near from the start, and the map hardly depends on chance. What the seed draws is the start of the search
//! for these axes; the same seed gives the same map.
//!
//! Steps, rate, exaggeration and start are those of scikit-learn 1.9, so that figures of the classical pipeline mean what they would
//! mean there (`bench/classical.py`).
//!
//! Source: van der Maaten and Hinton 2008 (perplexity by bisection, early exaggeration 12, momentum 0.5 then 0.8, gains); Kobak and
//! Berens 2019 (principal axes as a start); Belkina and others 2019 (the rate).

use super::Distances;

const STEPS: usize = 1_000;
const STEPS_EXAGGERATED: usize = 250;
const EXAGGERATION: f64 = 12.0;
/// Standard deviation of the start along the first axis.
const START: f64 = 1e-4;
/// Steps of the search for an axis: one that is a tenth longer than the next is found to the fourth digit.
const AXIS_STEPS: usize = 100;

/// Places of all points.
pub(crate) fn map(distances: &Distances, perplexity: f64, seed: u64) -> Vec<[f64; 2]> {
    let count = distances.count();
    if count < 3 {
        return vec![[0.0; 2]; count];
    }
    let near = affinities(distances, perplexity.min((count - 1) as f64 / 3.0));
    let rate = (count as f64 / EXAGGERATION / 4.0).max(50.0);
    let mut places = principal(distances, seed);
    let (mut speed, mut gain) = (vec![[0.0; 2]; count], vec![[1.0_f64; 2]; count]);
    let mut pull = vec![0.0; count * count];
    for step in 0..STEPS {
        if step == STEPS_EXAGGERATED {
            // What was gained by moving groups apart has no say in how they lie.
            speed.fill([0.0; 2]);
            gain.fill([1.0; 2]);
        }
        let (exaggeration, momentum) = if step < STEPS_EXAGGERATED { (EXAGGERATION, 0.5) } else { (1.0, 0.8) };
        let sum = pulls(&places, &mut pull);
        for at in 0..count {
            let gradient = gradient(at, &places, &near, &pull, sum, exaggeration);
            let (Some(speed), Some(gain)) = (speed.get_mut(at), gain.get_mut(at)) else { break };
            for ((speed, gain), slope) in speed.iter_mut().zip(gain.iter_mut()).zip(gradient) {
                *gain = if (slope < 0.0) == (*speed < 0.0) { (*gain * 0.8).max(0.01) } else { *gain + 0.2 };
                *speed = momentum * *speed - rate * *gain * slope;
            }
        }
        for (place, speed) in places.iter_mut().zip(&speed) {
            place[0] += speed[0];
            place[1] += speed[1];
        }
    }
    places
}

/// Student's t kernel between all pairs; returns its sum.
fn pulls(places: &[[f64; 2]], pull: &mut [f64]) -> f64 {
    let mut sum = 0.0;
    for (a, row) in places.iter().zip(pull.chunks_exact_mut(places.len())) {
        for (b, pull) in places.iter().zip(row) {
            *pull = 1.0 / (1.0 + (a[0] - b[0]).powi(2) + (a[1] - b[1]).powi(2));
            sum += *pull;
        }
    }
    // A point does not pull itself.
    sum - places.len() as f64
}

fn gradient(at: usize, places: &[[f64; 2]], near: &[f64], pull: &[f64], sum: f64, exaggeration: f64) -> [f64; 2] {
    let count = places.len();
    let row = |all: &[f64]| -> Vec<f64> { all.get(at * count..(at + 1) * count).unwrap_or_default().to_vec() };
    let Some(own) = places.get(at) else { return [0.0; 2] };
    let mut gradient = [0.0; 2];
    for ((place, near), pull) in places.iter().zip(row(near)).zip(row(pull)) {
        let force = 4.0 * (exaggeration * near - pull / sum) * pull;
        gradient[0] += force * (own[0] - place[0]);
        gradient[1] += force * (own[1] - place[1]);
    }
    gradient
}

/// Probabilities of being neighbours: for each point a width that gives it the perplexity, then both ways together.
fn affinities(distances: &Distances, perplexity: f64) -> Vec<f64> {
    let count = distances.count();
    let mut near = vec![0.0; count * count];
    for (at, row) in near.chunks_exact_mut(count).enumerate() {
        let (mut low, mut high, mut width) = (0.0, f64::INFINITY, 1.0);
        for _ in 0..60 {
            let entropy = conditional(distances.row(at), at, width, row);
            if (entropy - perplexity.ln()).abs() < 1e-5 {
                break;
            }
            if perplexity.ln() < entropy {
                low = width;
            } else {
                high = width;
            }
            width = if high.is_finite() { f64::midpoint(low, high) } else { width * 2.0 };
        }
    }
    let transposed = |at: usize| near.get((at % count) * count + at / count).copied().unwrap_or(0.0);
    near.iter().enumerate().map(|(at, value)| ((value + transposed(at)) / (2.0 * count as f64)).max(1e-12)).collect()
}

/// Fills one row with probabilities for a width; returns their entropy.
fn conditional(distances: &[f64], at: usize, width: f64, row: &mut [f64]) -> f64 {
    let mut sum = 0.0;
    for ((other, value), far) in row.iter_mut().enumerate().zip(distances) {
        *value = if other == at { 0.0 } else { (-far * far * width).exp() };
        sum += *value;
    }
    let sum = sum.max(f64::MIN_POSITIVE);
    let mut entropy = 0.0;
    for value in row.iter_mut() {
        *value /= sum;
        if 0.0 < *value {
            entropy -= *value * value.ln();
        }
    }
    entropy
}

/// Coordinates along the two principal axes, small. The axes are those of the points that have these distances (classical scaling:
/// Torgerson 1952), each found by multiplying a vector again and again.
fn principal(distances: &Distances, seed: u64) -> Vec<[f64; 2]> {
    let count = distances.count();
    let squares = |at: usize| distances.row(at).iter().map(|far| far * far);
    let means: Vec<f64> = (0..count).map(|at| squares(at).sum::<f64>() / count as f64).collect();
    let mean = means.iter().sum::<f64>() / count as f64;
    // Products of centred points, from their distances.
    let product = |at: usize, vector: &[f64]| -> f64 {
        let own = means.get(at).copied().unwrap_or(0.0);
        let of = squares(at).zip(&means).zip(vector);
        of.map(|((square, other), value)| (own + other - mean - square) / 2.0 * value).sum()
    };
    let mut chance = seed;
    let mut axes: Vec<Vec<f64>> = Vec::new();
    for _ in 0..2 {
        let mut axis: Vec<f64> = (0..count).map(|_| drawn(&mut chance)).collect();
        for _ in 0..AXIS_STEPS {
            for known in &axes {
                let along = dot(&axis, known) / dot(known, known).max(f64::MIN_POSITIVE);
                axis.iter_mut().zip(known).for_each(|(value, known)| *value -= along * known);
            }
            let length = dot(&axis, &axis).sqrt().max(f64::MIN_POSITIVE);
            scale(&mut axis, 1.0 / length);
            axis = (0..count).map(|at| product(at, &axis)).collect();
        }
        // A vector of length one, times its eigenvalue, over the eigenvalue's root: the coordinates.
        let length = dot(&axis, &axis).sqrt().sqrt().max(f64::MIN_POSITIVE);
        scale(&mut axis, 1.0 / length);
        axes.push(axis);
    }
    let along = |axis: usize, at: usize| axes.get(axis).and_then(|axis| axis.get(at)).copied().unwrap_or(0.0);
    let deviation = (axes.first().map_or(0.0, |axis| dot(axis, axis)) / count as f64).sqrt().max(f64::MIN_POSITIVE);
    (0..count).map(|at| [along(0, at), along(1, at)].map(|place| place / deviation * START)).collect()
}

fn scale(vector: &mut [f64], by: f64) {
    for value in vector {
        *value *= by;
    }
}

fn dot(a: &[f64], b: &[f64]) -> f64 {
    a.iter().zip(b).map(|(a, b)| a * b).sum()
}

/// A number from SplitMix64, between -0.5 and 0.5.
fn drawn(state: &mut u64) -> f64 {
    *state = state.wrapping_add(0x9E37_79B9_7F4A_7C15);
    let mut mixed = *state;
    mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    (mixed ^ (mixed >> 31)) as f64 / u64::MAX as f64 - 0.5
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cluster::tests::{euclid, heaps};

    #[test]
    fn neighbours_stay_neighbours_and_a_seed_gives_one_map() {
        let points = heaps();
        let places = map(&euclid(&points), 8.0, 7);
        assert_eq!(places, map(&euclid(&points), 8.0, 7));
        let far = |a: usize, b: usize| (places[a][0] - places[b][0]).hypot(places[a][1] - places[b][1]);
        for at in 0..36 {
            let nearest = (0..36).filter(|other| *other != at).min_by(|a, b| far(at, *a).total_cmp(&far(at, *b)));
            assert_eq!(nearest.map(|other| other / 12), Some(at / 12), "{at}");
        }
        assert_eq!(map(&euclid(&points[..2]), 8.0, 7).len(), 2);
    }

    #[test]
    fn it_begins_with_the_principal_axes() {
        // A long row, whose points lie by turns on both sides.
        let side = |at: i32| if at % 2 == 0 { 1.0 } else { -1.0 };
        let points: Vec<(f64, f64)> = (-10..=10).map(|at| (f64::from(at) * 3.0, side(at))).collect();
        let start = principal(&euclid(&points), 1);
        let scale = start[20][0] / points[20].0;
        let middle = points.iter().map(|point| point.1).sum::<f64>() / points.len() as f64;
        for (place, point) in start.iter().zip(&points) {
            assert!((place[0] - scale * point.0).abs() < 0.05 * START, "{place:?} {point:?}");
            assert!((place[1].abs() - (scale * (point.1 - middle)).abs()).abs() < 0.1 * START, "{place:?} {point:?}");
        }
        assert!(principal(&Distances::new(4, |_, _| 0.0), 1).iter().flatten().all(|place| place.is_finite()));
    }
}
