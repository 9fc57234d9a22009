//! Random queries that both versions of the language know.
//!
//! What is steered around, because the two differ there on purpose:
//! - ties in `topk` and `bottomk`, which any order breaks: their argument is a plain selector of numbers that do not repeat;
//! - a subquery within a subquery, whose inner window begins at a step of the outer one (left-open only since 3);
//! - `count_values` of what is computed: the last digit would be in a label;
//! - results of `sort`, which is order: answers are compared as sets.

use rand::{Rng, RngExt as _, seq::IndexedRandom as _};

use super::data::START_MS;

pub(crate) struct Grammar<'r, R> {
    rng: &'r mut R,
    /// Within a subquery.
    inner: bool,
}

const UNARY: [&str; 30] = [
    "abs",
    "ceil",
    "floor",
    "sqrt",
    "exp",
    "ln",
    "log2",
    "log10",
    "sgn",
    "round",
    "sin",
    "cos",
    "tan",
    "atan",
    "asinh",
    "tanh",
    "deg",
    "rad",
    "-",
    "+",
    "timestamp",
    "sort",
    "sort_desc",
    "hour",
    "minute",
    "day_of_year",
    "days_in_month",
    "year",
    "absent",
    "acos",
];
const RANGED: [&str; 21] = [
    "rate",
    "increase",
    "delta",
    "idelta",
    "irate",
    "deriv",
    "changes",
    "resets",
    "sum_over_time",
    "avg_over_time",
    "min_over_time",
    "max_over_time",
    "count_over_time",
    "stddev_over_time",
    "stdvar_over_time",
    "last_over_time",
    "present_over_time",
    "absent_over_time",
    "quantile_over_time",
    "predict_linear",
    "double_exponential_smoothing",
];
const FOLDS: [&str; 8] = ["sum", "avg", "min", "max", "count", "group", "stddev", "stdvar"];
const GROUPINGS: [&str; 8] = ["", "by (a)", "by (b)", "by (a, b)", "without (a)", "without (b)", "by ()", "without ()"];
const ARITHMETIC: [&str; 7] = ["+", "-", "*", "/", "%", "^", "atan2"];
const COMPARISONS: [&str; 6] = ["==", "!=", "<", ">", "<=", ">="];
const MATCHINGS: [&str; 6] =
    ["", "on (a, b)", "ignoring (b)", "on (a)", "on (a) group_left ()", "on (a) group_right (b)"];
const RANGES: [&str; 5] = ["45s", "1m", "2m30s", "5m", "10m"];

impl<'r, R: Rng> Grammar<'r, R> {
    pub(crate) fn new(rng: &'r mut R) -> Self {
        Self { rng, inner: false }
    }

    /// A query.
    pub(crate) fn query(&mut self) -> String {
        match self.rng.random_range(0..20) {
            0 => self.scalar(2),
            1 => self.histograms(),
            _ => self.vector(3),
        }
    }

    fn pick<'t>(&mut self, from: &[&'t str]) -> &'t str {
        from.choose(self.rng).copied().unwrap_or_default()
    }

    fn number(&mut self) -> String {
        self.pick(&["0", "1", "-1", "2", "0.5", "3", "10", "-2.5", "1e3", "NaN", "Inf", "-Inf", "0x1F"]).to_owned()
    }

    fn scalar(&mut self, depth: u32) -> String {
        match self.rng.random_range(0..6) {
            0 if 0 < depth => format!("scalar({})", self.vector(depth - 1)),
            1 if 0 < depth => {
                let operator = self.pick(&ARITHMETIC);
                format!("({} {operator} {})", self.scalar(depth - 1), self.scalar(depth - 1))
            }
            2 if 0 < depth => {
                let operator = self.pick(&COMPARISONS);
                format!("({} {operator} bool {})", self.scalar(depth - 1), self.scalar(depth - 1))
            }
            3 => "time()".to_owned(),
            4 => "pi()".to_owned(),
            _ => self.number(),
        }
    }

    fn selector(&mut self) -> String {
        let name = self.pick(&["g", "g", "c_total", "c_total", "m", "gappy", "odd", "nothing"]);
        let matcher = self.pick(&[
            "",
            "",
            "",
            "{a=\"x\"}",
            "{a!=\"x\"}",
            "{a=~\"x|y\"}",
            "{b!~\"1|2\"}",
            "{b=\"\"}",
            "{a=~\".*\",b=~\"[12]\"}",
        ]);
        format!("{name}{matcher}")
    }

    fn shift(&mut self) -> String {
        let at = START_MS / 1000 + self.rng.random_range(0..2400);
        match self.rng.random_range(0..16) {
            0 => " offset 1m".to_owned(),
            1 => " offset -70s".to_owned(),
            2 => format!(" @ {at}.5"),
            3 => " @ start()".to_owned(),
            4 => " @ end()".to_owned(),
            5 => format!(" @ {at}.5 offset 30s"),
            _ => String::new(),
        }
    }

    fn ranged(&mut self, depth: u32) -> String {
        let range = self.pick(&RANGES);
        if depth == 0 || self.inner || self.rng.random_bool(0.7) {
            return format!("{}[{range}]{}", self.selector(), self.shift());
        }
        let step = self.pick(&["10s", "20s", "30s", "1m"]);
        self.inner = true;
        let vector = self.vector(depth - 1);
        self.inner = false;
        format!("({vector})[{range}:{step}]{}", self.shift())
    }

    fn vector(&mut self, depth: u32) -> String {
        if depth == 0 {
            return format!("{}{}", self.selector(), self.shift());
        }
        match self.rng.random_range(0..22) {
            0..=2 => self.unary(depth),
            3..=8 => self.over_time(depth),
            9..=12 => self.aggregation(depth),
            13..=16 => self.binary(depth),
            17 => self.labelled(depth),
            18 => self.quantile(depth),
            19 => format!("vector({})", self.scalar(depth - 1)),
            20 => self.clamped(depth),
            _ => self.vector(0),
        }
    }

    fn unary(&mut self, depth: u32) -> String {
        let function = self.pick(&UNARY);
        format!("{function}({})", self.vector(depth - 1))
    }

    fn clamped(&mut self, depth: u32) -> String {
        let vector = self.vector(depth - 1);
        match self.rng.random_range(0..4) {
            0 => format!("clamp({vector}, {}, {})", self.scalar(0), self.scalar(0)),
            1 => format!("clamp_min({vector}, {})", self.scalar(1)),
            2 => format!("clamp_max({vector}, {})", self.scalar(1)),
            _ => format!("round({vector}, {})", self.scalar(0)),
        }
    }

    fn over_time(&mut self, depth: u32) -> String {
        let function = self.pick(&RANGED);
        let range = self.ranged(depth);
        match function {
            "quantile_over_time" => format!("{function}({}, {range})", self.share()),
            "predict_linear" => format!("{function}({range}, 60)"),
            "double_exponential_smoothing" => format!("{function}({range}, 0.3, 0.6)"),
            _ => format!("{function}({range})"),
        }
    }

    fn share(&mut self) -> &'static str {
        self.pick(&["0", "0.1", "0.5", "0.99", "1", "-1", "2", "NaN"])
    }

    fn aggregation(&mut self, depth: u32) -> String {
        let grouping = self.pick(&GROUPINGS);
        match self.rng.random_range(0..10) {
            0 => {
                let (which, k) = (self.pick(&["topk", "bottomk"]), self.pick(&["1", "2", "5", "0", "-1"]));
                let metric = self.pick(&["g", "c_total", "m"]);
                format!("{which} {grouping} ({k}, {metric})")
            }
            1 => format!("quantile {grouping} ({}, {})", self.share(), self.vector(depth - 1)),
            2 => format!("count_values {grouping} (\"v\", {})", self.selector()),
            _ => {
                let fold = self.pick(&FOLDS);
                format!("{fold} {grouping} ({})", self.vector(depth - 1))
            }
        }
    }

    fn binary(&mut self, depth: u32) -> String {
        let with_scalar = self.rng.random_bool(0.3);
        let (arithmetic, comparison) = (self.pick(&ARITHMETIC), self.pick(&COMPARISONS));
        let operator = match self.rng.random_range(0..10) {
            0..=4 => arithmetic.to_owned(),
            5..=6 => comparison.to_owned(),
            7 => format!("{comparison} bool"),
            _ if with_scalar => arithmetic.to_owned(),
            _ => {
                let (set, matching) = (self.pick(&["and", "or", "unless"]), self.pick(&MATCHINGS[..4]));
                return format!("({} {set} {matching} {})", self.vector(depth - 1), self.vector(depth - 1));
            }
        };
        let matching = self.pick(&MATCHINGS);
        match (with_scalar, self.rng.random_bool(0.5)) {
            (true, true) => format!("({} {operator} {})", self.scalar(1), self.vector(depth - 1)),
            (true, false) => format!("({} {operator} {})", self.vector(depth - 1), self.scalar(1)),
            _ => format!("({} {operator} {matching} {})", self.vector(depth - 1), self.vector(depth - 1)),
        }
    }

    fn labelled(&mut self, depth: u32) -> String {
        let vector = self.vector(depth - 1);
        let call = self.pick(&[
            "label_replace(VECTOR, \"c\", \"$1\", \"a\", \"(x|y)\")",
            "label_replace(VECTOR, \"a\", \"q\", \"a\", \"z\")",
            "label_replace(VECTOR, \"b\", \"\", \"\", \"\")",
            "label_replace(VECTOR, \"c\", \"${n}-$2\", \"a\", \"(?P<n>.)(.*)\")",
            "label_join(VECTOR, \"c\", \"-\", \"a\", \"b\")",
            "label_join(VECTOR, \"b\", \"\", \"a\")",
        ]);
        call.replace("VECTOR", &vector)
    }

    fn quantile(&mut self, _depth: u32) -> String {
        let (share, range) = (self.share(), self.pick(&RANGES));
        match self.rng.random_range(0..3) {
            0 => format!("histogram_quantile({share}, h_bucket)"),
            1 => format!("histogram_quantile({share}, sum by (le) (rate(h_bucket[{range}])))"),
            _ => format!("histogram_quantile({share}, rate(h_bucket[{range}]))"),
        }
    }

    /// Native histograms, as far as Prometheus 2.42 knew them.
    fn histograms(&mut self) -> String {
        let range = self.pick(&RANGES);
        let function = self.pick(&["rate", "increase", "delta"]);
        let (fold, grouping) = (self.pick(&["sum", "count"]), self.pick(&["", "by (a)", "without (a)"]));
        let series = match self.rng.random_range(0..4) {
            0 => "nh".to_owned(),
            1 => format!("nh{}", self.shift()),
            _ => format!("{function}(nh[{range}])"),
        };
        match self.rng.random_range(0..6) {
            0 => series,
            1 => format!("{fold} {grouping} ({series})"),
            2 => format!("histogram_count({series})"),
            3 => format!("histogram_sum({series})"),
            4 => format!("({series} + {series})"),
            _ => format!("histogram_sum(sum {grouping} ({series}))"),
        }
    }
}
