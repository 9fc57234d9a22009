//! t-SNE: a map in two dimensions that keeps neighbours near. For the eye, and for the classical baseline.
//!
//! Exact gradients, so its cost is the square of the number of points for each step. The start is drawn from a seed that the caller
//! gives; the same seed gives the same map.
//!
//! Source: van der Maaten and Hinton 2008 (perplexity by bisection, early exaggeration 12, momentum 0.5 then 0.8, gains).

use super::Distances;

const STEPS: usize = 500;
const STEPS_EXAGGERATED: usize = 125;
const EXAGGERATION: f64 = 12.0;

/// Places of all points.
pub(crate) fn map(distances: &Distances, perplexity: f64, seed: u64) -> Vec<[f64; 2]> {
    let count = distances.count();
    if count < 3 {
        return vec![[0.0; 2]; count];
    }
    let near = affinities(distances, perplexity.min((count - 1) as f64 / 3.0));
    let rate = (count as f64 / EXAGGERATION).max(50.0);
    let mut chance = seed;
    let mut places: Vec<[f64; 2]> = (0..count).map(|_| [small(&mut chance), small(&mut chance)]).collect();
    let (mut speed, mut gain) = (vec![[0.0; 2]; count], vec![[1.0_f64; 2]; count]);
    let mut pull = vec![0.0; count * count];
    for step in 0..STEPS {
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

/// A small number from SplitMix64, between -1e-4 and 1e-4.
fn small(state: &mut u64) -> f64 {
    *state = state.wrapping_add(0x9E37_79B9_7F4A_7C15);
    let mut mixed = *state;
    mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    ((mixed ^ (mixed >> 31)) as f64 / u64::MAX as f64 - 0.5) * 2e-4
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
}
