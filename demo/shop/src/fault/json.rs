//! `json`: an answer that is parsed and printed anew for every element it gets.
//!
//! The classic: a helper that adds one entry to a JSON text, called in a loop. Element `n` costs the work of the `n - 1`
//! before it, so twice the elements cost four times the CPU.

use serde_json::{Value, json};

/// Builds a list of `elements` related items the bad way. Returns the text and the elements that were printed on the
/// way: `n (n + 1) / 2`.
pub fn related_items(item: u32, elements: u32) -> (String, u64) {
    let (mut text, mut printed) = ("[]".to_owned(), 0);
    for rank in 0..elements {
        (text, printed) = with_one_more(&text, item, rank, printed);
    }
    (text, printed)
}

fn with_one_more(text: &str, item: u32, rank: u32, printed: u64) -> (String, u64) {
    let mut list: Vec<Value> = serde_json::from_str(text).unwrap_or_default();
    list.push(json!({ "rank": rank, "item": item.wrapping_add(rank), "because": "others bought it too" }));
    let printed = printed + list.len() as u64;
    (Value::Array(list).to_string(), printed)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn work_grows_with_the_square_of_the_answer() {
        for n in [1, 10, 20, 40] {
            let (text, printed) = related_items(7, n);
            assert_eq!(serde_json::from_str::<Vec<Value>>(&text).unwrap().len(), n as usize);
            assert_eq!(printed, u64::from(n) * u64::from(n + 1) / 2);
        }
    }
}
