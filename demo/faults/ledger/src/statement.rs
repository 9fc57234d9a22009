//! An account's statement, and what is made of it.

use crate::book::Row;
use serde::Serialize;
use serde_json::{Map, Value};

#[derive(Debug, Serialize)]
pub struct Statement {
    account: usize,
    rows: Vec<Row>,
    totals: Totals,
}

#[derive(Debug, Serialize)]
struct Totals {
    received: i64,
    paid: i64,
    largest: i64,
}

impl Statement {
    #[cfg(not(feature = "next"))]
    pub fn new(account: usize, rows: Vec<Row>) -> Self {
        let received = rows.iter().filter(|row| 0 < row.cents).map(|row| row.cents).sum();
        let paid = rows.iter().filter(|row| row.cents < 0).map(|row| -row.cents).sum();
        let largest = rows.iter().map(|row| row.cents.abs()).max().unwrap_or(0);
        Self { account, rows, totals: Totals { received, paid, largest } }
    }

    /// The next edition goes over the rows once, newest first.
    #[cfg(feature = "next")]
    pub fn new(account: usize, mut rows: Vec<Row>) -> Self {
        let mut totals = Totals { received: 0, paid: 0, largest: 0 };
        rows.reverse();
        for row in &rows {
            Self::tally(&mut totals, row);
        }
        Self { account, rows, totals }
    }

    #[cfg(feature = "next")]
    #[inline(never)]
    fn tally(totals: &mut Totals, row: &Row) {
        if 0 < row.cents {
            totals.received += row.cents;
        } else {
            totals.paid -= row.cents;
        }
        totals.largest = totals.largest.max(row.cents.abs());
    }

    /// The statement as text, by way of free-form values: into a tree, keys changed, out, in again.
    pub fn by_way_of_values(&self, passes: usize) -> Vec<u8> {
        let mut tree = serde_json::to_value(self).unwrap_or_default();
        for _ in 0..passes {
            let text = serde_json::to_string_pretty(&renamed(&tree)).unwrap_or_default();
            tree = serde_json::from_str(&text).unwrap_or_default();
        }
        tree.to_string().into_bytes()
    }

    /// How many pairs of rows look like one payment made twice; each row is compared with each.
    pub fn repeated(&self, most: usize) -> usize {
        let rows: Vec<&Row> = self.rows.iter().cycle().take(most.min(self.rows.len() * 8)).collect();
        let mut pairs = 0;
        for (at, row) in rows.iter().enumerate() {
            pairs +=
                rows[..at].iter().filter(|other| other.reference == row.reference && other.cents == row.cents).count();
        }
        pairs
    }
}

/// The tree with its keys in upper case, as one of the callers wants them.
fn renamed(tree: &Value) -> Value {
    match tree {
        Value::Object(fields) => {
            Value::Object(fields.iter().map(|(key, value)| (key.to_uppercase(), renamed(value))).collect::<Map<_, _>>())
        }
        Value::Array(items) => Value::Array(items.iter().map(renamed).collect()),
        other => other.clone(),
    }
}

/// A checksum over the text, as often as the archive asks for (FNV-1a, 64 bits).
#[inline(never)]
pub fn seal(text: &[u8], rounds: usize) -> u64 {
    let mut sum = 0xcbf2_9ce4_8422_2325_u64;
    for _ in 0..rounds {
        for byte in text {
            sum = (sum ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3);
        }
    }
    sum
}
