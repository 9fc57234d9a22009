//! The cheapest way over a made-up network of roads (Dijkstra 1959, with a binary heap).

use std::cmp::Reverse;
use std::collections::BinaryHeap;

/// Crossings along a side of the network.
const SIDE: usize = 24;

/// Cost of the way, or `usize::MAX` when there is none.
pub fn shortest(from: usize, to: usize) -> usize {
    let (from, to) = (from % (SIDE * SIDE), to % (SIDE * SIDE));
    let mut cost = vec![usize::MAX; SIDE * SIDE];
    let mut open = BinaryHeap::from([Reverse((0, from))]);
    cost[from] = 0;
    while let Some(Reverse((so_far, at))) = open.pop() {
        if at == to {
            return so_far;
        }
        if cost[at] < so_far {
            continue;
        }
        for next in neighbours(at) {
            let through = so_far + 1 + (at * 31 + next * 17) % 9;
            if through < cost[next] {
                cost[next] = through;
                open.push(Reverse((through, next)));
            }
        }
    }
    usize::MAX
}

fn neighbours(at: usize) -> impl Iterator<Item = usize> {
    let (row, column) = (at / SIDE, at % SIDE);
    [(row.wrapping_sub(1), column), (row + 1, column), (row, column.wrapping_sub(1)), (row, column + 1)]
        .into_iter()
        .filter(|&(row, column)| row < SIDE && column < SIDE)
        .map(|(row, column)| row * SIDE + column)
}
