//! How found points are filtered and written.

use crate::atlas::Point;
use regex::{RegexSet, RegexSetBuilder};
use serde::{Deserialize, Serialize};
use std::fmt::Write as _;

/// Point by point: id, place, tag.
pub fn plain(found: &[Point]) -> String {
    let mut text = String::with_capacity(found.len() * 32);
    for point in found {
        let _ = write!(text, "{} {:.2},{:.2} {};", point.id, point.x, point.y, point.tag);
    }
    text
}

/// Drops points whose tag none of the patterns knows.
pub fn filtered(found: Vec<Point>, patterns: usize) -> Vec<Point> {
    let known = (0..patterns).map(|n| format!(r"^[a-z]{{{},}}(-\w+)*$|tower{n}?", 2 + n % 3));
    let known =
        RegexSetBuilder::new(known).case_insensitive(true).unicode(false).build().unwrap_or_else(|_| RegexSet::empty());
    found.into_iter().filter(|point| known.is_match(&point.tag)).collect()
}

/// A value of a shape that is only known when it is read.
#[derive(Debug, Serialize, Deserialize)]
#[serde(untagged)]
enum Shape {
    Count(u32),
    Place(f64),
    Text(String),
    List(Vec<Shape>),
    Fields(std::collections::BTreeMap<String, Shape>),
}

/// Points as JSON, by way of values of any shape.
pub fn by_any_shape(found: &[Point], passes: usize) -> String {
    let points = found.iter().map(|point| {
        Shape::Fields(
            [
                ("id".to_owned(), Shape::Count(point.id)),
                ("at".to_owned(), Shape::List(vec![Shape::Place(point.x), Shape::Place(point.y)])),
                ("tag".to_owned(), Shape::Text(point.tag.clone())),
            ]
            .into(),
        )
    });
    let mut shape = Shape::List(points.collect());
    for _ in 0..passes {
        let text = serde_json::to_string(&shape).unwrap_or_default();
        shape = serde_json::from_str(&text).unwrap_or(Shape::Count(0));
    }
    serde_json::to_string(&shape).unwrap_or_default()
}
