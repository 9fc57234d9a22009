//! Words that mean something: operators, aggregations, and what stands between other words.

use super::TokenKind;
use crate::ast::{AggregateOp, BinaryOp};

/// A word of the language that is not an operator or aggregation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Keyword {
    Offset,
    Anchored,
    Smoothed,
    By,
    Without,
    On,
    Ignoring,
    GroupLeft,
    GroupRight,
    Bool,
    Fill,
    FillLeft,
    FillRight,
    Start,
    End,
    Step,
    Range,
    MinOf,
    MaxOf,
}

impl Keyword {
    /// Returns true for the words that may stand in a duration.
    pub(super) fn is_duration(self) -> bool {
        matches!(self, Self::Step | Self::Range | Self::MinOf | Self::MaxOf)
    }

    /// Returns true for the words that are functions when a parenthesis follows.
    pub(crate) fn is_function(self) -> bool {
        self.is_duration() || matches!(self, Self::Start | Self::End)
    }
}

/// Reads a word as a keyword, in any case.
pub(super) fn read(word: &str) -> Option<TokenKind> {
    use AggregateOp as A;
    use Keyword as K;
    /// Bytes of the longest keyword, `count_values`.
    const KEYWORD_BYTES_MAX: usize = 12;
    if KEYWORD_BYTES_MAX < word.len() {
        return None;
    }
    Some(match word.to_ascii_lowercase().as_str() {
        "and" => TokenKind::Op(BinaryOp::And),
        "or" => TokenKind::Op(BinaryOp::Or),
        "unless" => TokenKind::Op(BinaryOp::Unless),
        "atan2" => TokenKind::Op(BinaryOp::Atan2),
        "sum" => TokenKind::Aggregate(A::Sum),
        "avg" => TokenKind::Aggregate(A::Avg),
        "count" => TokenKind::Aggregate(A::Count),
        "min" => TokenKind::Aggregate(A::Min),
        "max" => TokenKind::Aggregate(A::Max),
        "group" => TokenKind::Aggregate(A::Group),
        "stddev" => TokenKind::Aggregate(A::Stddev),
        "stdvar" => TokenKind::Aggregate(A::Stdvar),
        "topk" => TokenKind::Aggregate(A::Topk),
        "bottomk" => TokenKind::Aggregate(A::Bottomk),
        "count_values" => TokenKind::Aggregate(A::CountValues),
        "quantile" => TokenKind::Aggregate(A::Quantile),
        "limitk" => TokenKind::Aggregate(A::Limitk),
        "limit_ratio" => TokenKind::Aggregate(A::LimitRatio),
        "offset" => TokenKind::Keyword(K::Offset),
        "anchored" => TokenKind::Keyword(K::Anchored),
        "smoothed" => TokenKind::Keyword(K::Smoothed),
        "by" => TokenKind::Keyword(K::By),
        "without" => TokenKind::Keyword(K::Without),
        "on" => TokenKind::Keyword(K::On),
        "ignoring" => TokenKind::Keyword(K::Ignoring),
        "group_left" => TokenKind::Keyword(K::GroupLeft),
        "group_right" => TokenKind::Keyword(K::GroupRight),
        "bool" => TokenKind::Keyword(K::Bool),
        "fill" => TokenKind::Keyword(K::Fill),
        "fill_left" => TokenKind::Keyword(K::FillLeft),
        "fill_right" => TokenKind::Keyword(K::FillRight),
        "start" => TokenKind::Keyword(K::Start),
        "end" => TokenKind::Keyword(K::End),
        "step" => TokenKind::Keyword(K::Step),
        "range" => TokenKind::Keyword(K::Range),
        "min_of" => TokenKind::Keyword(K::MinOf),
        "max_of" => TokenKind::Keyword(K::MaxOf),
        "inf" | "nan" => TokenKind::Number,
        _ => return None,
    })
}
