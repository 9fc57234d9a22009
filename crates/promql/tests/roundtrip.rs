//! What is printed reads back as what was printed, for any tree that the language can say.

use homeostat_model::labels::METRIC_NAME;
use homeostat_promql::{
    ByteSpan, Expr, ExprKind, Matcher, MatcherOp, ParseOptions,
    ast::{
        Aggregate, AggregateOp, At, Binary, BinaryOp, Call, Duration, DurationKind, Extend, Group, Grouping,
        MatchLabels, Matching, MatrixSelector, Shift, Subquery, UnaryOp, ValueType, VectorSelector,
    },
    functions::{Function, functions},
    parse,
    print::pretty,
};
use proptest::{collection::vec, option, prelude::*, sample::select, strategy::Union};

fn node(kind: ExprKind) -> Expr {
    Expr { kind, span: ByteSpan::default() }
}

fn duration(kind: DurationKind) -> Duration {
    Duration { kind, span: ByteSpan::default() }
}

/// Takes all places out of a tree, to compare what it says.
fn without_places(mut expr: Expr) -> Expr {
    expr.span = ByteSpan::default();
    expr.kind = match expr.kind {
        ExprKind::Paren(inner) => ExprKind::Paren(Box::new(without_places(*inner))),
        ExprKind::Unary(op, inner) => ExprKind::Unary(op, Box::new(without_places(*inner))),
        ExprKind::Binary(mut binary) => {
            binary.op_span = ByteSpan::default();
            binary.left = without_places(binary.left);
            binary.right = without_places(binary.right);
            ExprKind::Binary(binary)
        }
        ExprKind::Aggregate(mut aggregate) => {
            aggregate.param = aggregate.param.map(without_places);
            aggregate.expr = without_places(aggregate.expr);
            ExprKind::Aggregate(aggregate)
        }
        ExprKind::Call(Call { function, args }) => {
            ExprKind::Call(Call { function, args: args.into_iter().map(without_places).collect() })
        }
        ExprKind::Vector(vector) => ExprKind::Vector(selector_without_places(vector)),
        ExprKind::Matrix(MatrixSelector { vector, range, .. }) => ExprKind::Matrix(MatrixSelector {
            vector: selector_without_places(vector),
            vector_span: ByteSpan::default(),
            range: duration_without_places(range),
        }),
        ExprKind::Subquery(subquery) => ExprKind::Subquery(Box::new(Subquery {
            expr: without_places(subquery.expr),
            range: duration_without_places(subquery.range),
            step: subquery.step.map(duration_without_places),
            shift: shift_without_places(subquery.shift),
        })),
        leaf => leaf,
    };
    expr
}

fn selector_without_places(mut vector: VectorSelector) -> VectorSelector {
    vector.shift = shift_without_places(vector.shift);
    // Printing sorts the matchers before the name's.
    let name = vector.matchers.pop_if(|_| vector.named);
    vector.matchers.sort_by_key(Matcher::to_string);
    vector.matchers.extend(name);
    vector
}

fn shift_without_places(shift: Shift) -> Shift {
    Shift { offset: shift.offset.map(duration_without_places), at: shift.at }
}

fn duration_without_places(whole: Duration) -> Duration {
    let inner = |it: Box<Duration>| Box::new(duration_without_places(*it));
    duration(match whole.kind {
        DurationKind::Unary(op, it) => DurationKind::Unary(op, inner(it)),
        DurationKind::Binary(op, left, right) => DurationKind::Binary(op, inner(left), inner(right)),
        DurationKind::Min(left, right) => DurationKind::Min(inner(left), inner(right)),
        DurationKind::Max(left, right) => DurationKind::Max(inner(left), inner(right)),
        DurationKind::Paren(it) => DurationKind::Paren(inner(it)),
        leaf => leaf,
    })
}

/// Words that are names, keywords among them, and texts that are none.
fn name() -> impl Strategy<Value = String> {
    prop_oneof![
        "[a-z_][a-z0-9_]{0,5}",
        select(vec!["sum", "by", "offset", "start", "step", "and", "inf", "NaN", "fill", "on", "bool"])
            .prop_map(str::to_owned),
        "[ -~éß世]{1,4}",
    ]
}

fn labels() -> impl Strategy<Value = Vec<String>> {
    vec(name(), 0..3)
}

fn metric() -> impl Strategy<Value = String> {
    prop_oneof![
        "[a-z_:][a-z0-9_:]{0,6}".prop_filter("names and keywords that are names", |name| {
            !["bool", "on", "ignoring", "group_left", "group_right", "atan2", "inf", "nan"].contains(&name.as_str())
        }),
        select(vec!["sum", "by", "offset", "start", "step", "and", "fill", "smoothed", "min_of"])
            .prop_map(str::to_owned),
    ]
}

fn matcher() -> impl Strategy<Value = Matcher> {
    let value = prop_oneof!["[a-z]{0,3}", "[ -~é世\n\t]{0,4}"];
    let equal = (name(), select(vec![MatcherOp::Equal, MatcherOp::NotEqual]), value);
    let regex = (name(), select(vec![MatcherOp::Regex, MatcherOp::NotRegex]), "[a-z.|]{1,4}");
    prop_oneof![equal.boxed(), regex.boxed()].prop_filter_map("a regular expression", |(name, op, value)| {
        (name != METRIC_NAME).then(|| Matcher::new(&name, op, &value).ok()).flatten()
    })
}

fn selector() -> impl Strategy<Value = VectorSelector> {
    let extend = select(vec![Extend::None, Extend::None, Extend::Anchored, Extend::Smoothed]);
    (metric(), any::<bool>(), vec(matcher(), 0..3), shift(), extend).prop_map(
        |(metric, named, mut matchers, shift, extend)| {
            matchers.push(Matcher::equal(METRIC_NAME, &metric));
            if !named {
                matchers.sort_by_key(Matcher::to_string);
            }
            selector_without_places(VectorSelector { matchers, named, shift, extend })
        },
    )
}

fn shift() -> impl Strategy<Value = Shift> {
    let at =
        prop_oneof![(-1_000_000_000_000_i64..1_000_000_000_000).prop_map(At::Time), Just(At::Start), Just(At::End)];
    (option::weighted(0.2, offset()), option::weighted(0.2, at)).prop_map(|(offset, at)| Shift { offset, at })
}

fn millis() -> impl Strategy<Value = i64> {
    prop_oneof![1..5000_i64, (1..10_000_i64).prop_map(|minutes| minutes * 60_000), 1..10_000_000_000_i64]
}

/// Literals, calls and what is in parentheses: what may stand anywhere.
fn duration_atom() -> BoxedStrategy<DurationKind> {
    let leaf = prop_oneof![
        millis().prop_map(DurationKind::Millis),
        (0.001..1e6).prop_map(DurationKind::Number),
        Just(DurationKind::Step),
        Just(DurationKind::Range),
    ];
    leaf.prop_recursive(3, 12, 2, |inner| {
        let any = computed(inner).prop_map(|kind| Box::new(duration(kind))).boxed();
        prop_oneof![
            (any.clone(), any.clone()).prop_map(|(a, b)| DurationKind::Min(a, b)),
            (any.clone(), any.clone()).prop_map(|(a, b)| DurationKind::Max(a, b)),
            any.prop_filter("parentheses do not nest", |it| !matches!(it.kind, DurationKind::Paren(_)))
                .prop_map(DurationKind::Paren),
        ]
    })
    .boxed()
}

/// Computations over atoms.
fn computed(atom: impl Strategy<Value = DurationKind> + Clone + 'static) -> BoxedStrategy<DurationKind> {
    let ops = select(vec![BinaryOp::Add, BinaryOp::Sub, BinaryOp::Mul, BinaryOp::Div, BinaryOp::Mod, BinaryOp::Pow]);
    prop_oneof![
        atom.clone(),
        atom.clone().prop_map(negated),
        (ops, atom.clone(), atom, any::<bool>()).prop_map(|(op, left, right, minus)| {
            let right = if minus { negated(right) } else { right };
            DurationKind::Binary(op, Box::new(duration(left)), Box::new(duration(right)))
        }),
    ]
    .boxed()
}

/// A minus before a duration; before a literal it is a part of it.
fn negated(kind: DurationKind) -> DurationKind {
    match kind {
        DurationKind::Millis(millis) => DurationKind::Millis(-millis),
        DurationKind::Number(number) => DurationKind::Number(-number),
        kind => DurationKind::Unary(UnaryOp::Minus, Box::new(duration(kind))),
    }
}

fn range() -> impl Strategy<Value = Duration> {
    let computed = computed(duration_atom()).prop_filter("a single number is milliseconds", |kind| {
        !matches!(kind, DurationKind::Number(_) | DurationKind::Millis(..=0))
    });
    prop_oneof![3 => millis().prop_map(DurationKind::Millis), 1 => computed].prop_map(duration)
}

fn offset() -> impl Strategy<Value = Duration> {
    let atom = duration_atom()
        .prop_filter("a single number is milliseconds", |kind| !matches!(kind, DurationKind::Number(_)))
        .boxed();
    prop_oneof![millis().prop_map(DurationKind::Millis), atom.clone(), atom.prop_map(negated)].prop_map(duration)
}

/// Expressions of one type, so high at most.
fn expr(value_type: ValueType, height: u32) -> BoxedStrategy<Expr> {
    match value_type {
        ValueType::Scalar => scalar(height),
        ValueType::Vector => vector(height),
        ValueType::Matrix => matrix(height),
        ValueType::Text => {
            prop_oneof!["[a-z]{0,3}", any::<String>()].prop_map(|text| node(ExprKind::Text(text))).boxed()
        }
    }
}

fn number() -> BoxedStrategy<Expr> {
    let value = prop_oneof![
        any::<f64>().prop_map(f64::abs),
        (0..1000_u32).prop_map(f64::from),
        Just(f64::INFINITY),
        Just(f64::NAN)
    ];
    prop_oneof![
        value.prop_map(|value| node(ExprKind::Number(value.abs()))),
        millis().prop_map(|millis| node(ExprKind::Seconds(millis as f64 / 1000.0))),
    ]
    .boxed()
}

fn scalar(height: u32) -> BoxedStrategy<Expr> {
    let Some(lower) = height.checked_sub(1) else { return number() };
    prop_oneof![
        number(),
        paren(scalar(lower)),
        unary(scalar(lower)),
        binary(scalar(lower), scalar(lower), Just(Matching::default()).boxed(), true),
        call(ValueType::Scalar, lower),
    ]
    .boxed()
}

fn vector(height: u32) -> BoxedStrategy<Expr> {
    let leaf = selector().prop_map(|selector| node(ExprKind::Vector(selector))).boxed();
    let Some(lower) = height.checked_sub(1) else { return leaf };
    let none = Just(Matching::default()).boxed();
    prop_oneof![
        2 => leaf,
        1 => paren(vector(lower)),
        1 => unary(vector(lower)),
        2 => binary(vector(lower), vector(lower), matching(), false),
        1 => binary(vector(lower), scalar(lower), none.clone(), false),
        1 => binary(scalar(lower), vector(lower), none, false),
        2 => aggregate(lower),
        3 => call(ValueType::Vector, lower),
    ]
    .boxed()
}

fn matrix(height: u32) -> BoxedStrategy<Expr> {
    let leaf = (selector(), range())
        .prop_map(|(mut vector, range)| {
            vector.extend = Extend::None;
            node(ExprKind::Matrix(MatrixSelector { vector, vector_span: ByteSpan::default(), range }))
        })
        .boxed();
    let Some(lower) = height.checked_sub(1) else { return leaf };
    let subquery = (vector(lower), range(), option::of(range()), shift()).prop_map(|(expr, range, step, shift)| {
        let expr = if is_primary(&expr) { expr } else { node(ExprKind::Paren(Box::new(expr))) };
        node(ExprKind::Subquery(Box::new(Subquery { expr, range, step, shift: shift_without_places(shift) })))
    });
    prop_oneof![leaf, subquery, paren(matrix(lower))].boxed()
}

fn is_primary(expr: &Expr) -> bool {
    !matches!(expr.kind, ExprKind::Unary(..) | ExprKind::Binary(_))
}

fn paren(inner: BoxedStrategy<Expr>) -> BoxedStrategy<Expr> {
    inner.prop_map(|inner| node(ExprKind::Paren(Box::new(inner)))).boxed()
}

fn unary(inner: BoxedStrategy<Expr>) -> BoxedStrategy<Expr> {
    (inner, any::<bool>())
        .prop_map(|(inner, plus)| match inner.kind {
            ExprKind::Number(value) => node(ExprKind::Number(-value)),
            ExprKind::Seconds(value) => node(ExprKind::Seconds(-value)),
            _ => {
                let op = if plus { UnaryOp::Plus } else { UnaryOp::Minus };
                node(ExprKind::Unary(op, Box::new(guarded(inner, BinaryOp::Pow.precedence()))))
            }
        })
        .boxed()
}

/// The expression, in parentheses if it binds less strongly than is needed.
fn guarded(expr: Expr, precedence_min: u8) -> Expr {
    let signed = |value: f64| value.is_sign_negative() || value.is_infinite();
    let binds = match &expr.kind {
        ExprKind::Binary(binary) => binary.op.precedence(),
        ExprKind::Unary(..) => BinaryOp::Mul.precedence(),
        ExprKind::Number(value) | ExprKind::Seconds(value) if signed(*value) => BinaryOp::Mul.precedence(),
        _ => u8::MAX,
    };
    if precedence_min <= binds { expr } else { node(ExprKind::Paren(Box::new(expr))) }
}

fn matching() -> BoxedStrategy<Matching> {
    let labels = prop_oneof![labels().prop_map(MatchLabels::On), labels().prop_map(MatchLabels::Ignoring)];
    let include = vec("included_[a-z]", 0..3);
    let group =
        prop_oneof![Just(Group::OneToOne), include.clone().prop_map(Group::Left), include.prop_map(Group::Right)];
    let fill = || option::weighted(0.3, prop_oneof![-1e9..1e9, Just(0.0)]);
    prop_oneof![
        Just(Matching::default()),
        (labels, group, fill(), fill()).prop_map(|(labels, group, fill_left, fill_right)| Matching {
            labels,
            group,
            fill_left,
            fill_right
        }),
    ]
    .boxed()
}

fn binary(
    left: BoxedStrategy<Expr>,
    right: BoxedStrategy<Expr>,
    matching: BoxedStrategy<Matching>,
    scalars: bool,
) -> BoxedStrategy<Expr> {
    use BinaryOp::{
        Add, And, Atan2, Div, Eq, Ge, Gt, Le, Lt, Mod, Mul, Ne, Or, Pow, Sub, TrimLower, TrimUpper, Unless,
    };
    let ops = vec![Add, Sub, Mul, Div, Mod, Pow, Atan2, Eq, Ne, Gt, Lt, Ge, Le, TrimLower, TrimUpper, And, Or, Unless];
    (select(ops), left, right, matching, any::<bool>())
        .prop_filter_map("operands of the operator", move |(op, left, right, matching, returns_bool)| {
            let both = left.value_type() == ValueType::Vector && right.value_type() == ValueType::Vector;
            if op.is_set() && (!both || matching != Matching { labels: matching.labels.clone(), ..Matching::default() })
            {
                return None;
            }
            let returns_bool = op.is_comparison() && (returns_bool || scalars);
            let left_min = if op == Pow { u8::MAX } else { op.precedence() };
            let mut left = guarded(left, left_min);
            let right = match &right.kind {
                // A sign may follow any operator.
                ExprKind::Unary(..) | ExprKind::Number(_) | ExprKind::Seconds(_) => right,
                _ => guarded(right, op.precedence() + u8::from(op != Pow)),
            };
            if left.to_string().contains(" offset ") {
                left = node(ExprKind::Paren(Box::new(left)));
            }
            let op_span = ByteSpan::default();
            Some(node(ExprKind::Binary(Box::new(Binary { op, op_span, left, right, returns_bool, matching }))))
        })
        .boxed()
}

fn aggregate(height: u32) -> BoxedStrategy<Expr> {
    use AggregateOp::{
        Avg, Bottomk, Count, CountValues, Group, LimitRatio, Limitk, Max, Min, Quantile, Stddev, Stdvar, Sum, Topk,
    };
    let ops = vec![
        Sum,
        Avg,
        Count,
        Min,
        Max,
        Group,
        Stddev,
        Stdvar,
        Topk,
        Bottomk,
        CountValues,
        Quantile,
        Limitk,
        LimitRatio,
    ];
    let grouping = prop_oneof![labels().prop_map(Grouping::By), labels().prop_map(Grouping::Without)];
    (select(ops), grouping)
        .prop_flat_map(move |(op, grouping)| {
            let param = match op.param_type() {
                Some(param_type) => expr(param_type, height).prop_map(Some).boxed(),
                None => Just(None).boxed(),
            };
            (param, vector(height)).prop_map(move |(param, expr)| {
                let grouping = grouping.clone();
                node(ExprKind::Aggregate(Box::new(Aggregate { op, grouping, param, expr })))
            })
        })
        .boxed()
}

fn call(returns: ValueType, height: u32) -> BoxedStrategy<Expr> {
    let fitting: Vec<_> = functions().iter().filter(|it| it.returns == returns && it.name != "info").collect();
    (select(fitting), 0..4_usize)
        .prop_flat_map(move |(function, more): (&'static Function, usize)| {
            let (least, most) = function.args_min_max();
            let count = (least + more).min(most.unwrap_or(usize::MAX));
            let types = (0..count).filter_map(|at| function.arg_type(at));
            let args: Vec<_> = types.map(|it| Union::new([expr(it, height)])).collect();
            args.prop_map(move |args| node(ExprKind::Call(Call { function, args })))
        })
        .boxed()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(150))]

    #[test]
    fn a_printed_tree_reads_back_as_itself(tree in prop_oneof![vector(3), scalar(3), matrix(3)]) {
        for printed in [tree.to_string(), pretty(&tree)] {
            let read = parse(&printed, &ParseOptions::all());
            prop_assert!(read.is_ok(), "{printed}\n{read:?}");
            let read = read.map(without_places);
            // Texts instead of values: a number that is none equals itself here.
            prop_assert_eq!(format!("{:?}", read), format!("{:?}", Ok::<_, ()>(&tree)), "{}", printed);
        }
    }

    #[test]
    fn any_text_is_read_or_refused(text in "[a-z0-9 ({\\[\\])}\"'`=~!<>+*/%^@,.:#_-]{0,40}") {
        let _ = parse(&text, &ParseOptions::all());
    }

    #[test]
    fn any_words_are_read_or_refused(words in vec(select(vec![
        "a", "1", "5m", "\"x\"", "(", ")", "[", "]", "{", "}", ",", ":", "+", "-", "*", "^", "==", "=", "=~", "@",
        "offset", "by", "on", "bool", "sum", "rate", "step()", "start", "fill", "group_left", "smoothed", "and", "</",
    ]), 0..20)) {
        let text = words.join(" ");
        if let Ok(expr) = parse(&text, &ParseOptions::all()) {
            let printed = expr.to_string();
            let again = parse(&printed, &ParseOptions::all()).map(|expr| expr.to_string());
            prop_assert_eq!(again, Ok(printed), "{}", text);
        }
    }
}
